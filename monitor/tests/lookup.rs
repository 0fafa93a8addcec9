//! Namespaces and sockets of this kernel, as root: `./dev test` runs these,
//! `cargo test` leaves them out. Only the NFS mount is made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "host/undo.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod undo;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, symlink},
        net::UnixStream,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use monitor_collector::topology::{HostPaths, Lookup, LookupRequest};
use monitor_model::observation::{Proof, Topology};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use undo::{Undo, has_capabilities, skip};

const CLIENT: &str = "10.123.45.1";
const SERVER: &str = "10.123.45.2";
/// The server's address for its clients, which no namespace has.
const SERVICE: &str = "10.96.7.7";
/// An address of the client's namespace that its connection does not have.
const ANOTHER: &str = "10.123.45.3";
/// A crowded node: processes, network namespaces, connections in each.
const MANY: (usize, usize, usize) = (1000, 200, 13);
/// Tells a copy of this program which end to be.
const END: &str = "THROTTLE_MONITOR_TEST_END";
/// The device of the server of a block device.
const DEVICE: &str = "THROTTLE_MONITOR_TEST_DEVICE";

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn proc(&self) -> String {
        format!("/proc/{}", self.0.id())
    }

    fn netns(&self) -> u64 {
        fs::metadata(format!("{}/ns/net", self.proc()))
            .unwrap()
            .ino()
    }

    /// Runs a program in this process's network namespace.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.0.id().to_string();
        command.args(["--target", &pid, "--net", program]);
        command
    }

    fn ip(&self, args: &str) {
        let status = self.inside("ip").args(args.split(' ')).status().unwrap();
        assert!(status.success(), "ip {args}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace of its own, once it is one.
fn namespace() -> Process {
    let process = Process::start(Command::new("unshare").args(["--net", "sleep", "600"]));
    let ours = fs::metadata("/proc/self/ns/net").unwrap().ino();
    wait_for(|| (process.netns() != ours).then_some(()));
    process
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = what() {
            return it;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "never");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Not a test: one end of the connection, when a test runs this program for it.
#[test]
#[ignore = "is run by another test"]
fn one_end_of_a_connection() {
    let _open = match env::var(END).as_deref() {
        Ok("server") => {
            TcpListener::bind((SERVER, 2049))
                .unwrap()
                .accept()
                .unwrap()
                .0
        }
        Ok("relay") => {
            let away = TcpListener::bind((SERVER, 0)).unwrap();
            let here = TcpListener::bind((SERVER, 2049)).unwrap();
            let from = here.accept().unwrap().0;
            let to = TcpStream::connect(away.local_addr().unwrap()).unwrap();
            let (mut read, mut write) = (from.try_clone().unwrap(), to);
            thread::spawn(move || std::io::copy(&mut read, &mut write));
            from
        }
        Ok("client") => wait_for(|| TcpStream::connect((SERVER, 2049)).ok()),
        Ok("onward") => {
            let here = TcpListener::bind((CLIENT, 2049)).unwrap();
            let from = here.accept().unwrap().0;
            let to = wait_for(|| TcpStream::connect((SERVER, 2049)).ok());
            let (mut read, mut write) = (from.try_clone().unwrap(), to);
            thread::spawn(move || std::io::copy(&mut read, &mut write));
            thread::sleep(Duration::from_mins(10));
            drop(here);
            from
        }
        Ok("client of a relay") => wait_for(|| TcpStream::connect((CLIENT, 2049)).ok()),
        Ok("answers") => {
            let listener = TcpListener::bind((SERVER, 2049)).unwrap();
            let mut stream = listener.accept().unwrap().0;
            let mut request = vec![0; 16 << 10];
            while stream.read_exact(&mut request).is_ok() {
                stream.write_all(&[1; 100]).unwrap();
            }
            return;
        }
        Ok("many") => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let pair = |_| {
                (
                    TcpStream::connect(address).unwrap(),
                    listener.accept().unwrap().0,
                )
            };
            let _pairs: Vec<_> = (0..MANY.2).map(pair).collect();
            thread::sleep(Duration::from_mins(10));
            return;
        }
        // Has both ends of the kernel's socket, as qemu-nbd.
        Ok("nbd") => {
            let _ends = UnixStream::pair().unwrap();
            let _device = fs::File::open(env::var(DEVICE).unwrap()).unwrap();
            thread::sleep(Duration::from_mins(10));
            return;
        }
        // Writes two megabytes and rests.
        Ok("writes") => {
            let mut stream = wait_for(|| TcpStream::connect((SERVICE, 2049)).ok());
            for _ in 0..128 {
                stream.write_all(&[0; 16 << 10]).unwrap();
                stream.read_exact(&mut [0; 100]).unwrap();
            }
            stream
        }
        _ => return,
    };
    thread::sleep(Duration::from_mins(10));
}

/// The client's process with an NFS mount that it does not have, and the
/// server's as it is.
fn node(client: &Process, server: &Process) -> TempDir {
    node_with(client, server, SERVER)
}

/// The same with a mount of this address.
fn node_with(client: &Process, server: &Process, mounted: &str) -> TempDir {
    let node = TempDir::new().unwrap();
    let at = |path: &str| {
        let path = node.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    symlink(server.proc(), at(&server.proc()[1..])).unwrap();
    let own = client.proc();
    for file in [
        "ns",
        "fd",
        "comm",
        "stat",
        "net/unix",
        "net/tcp",
        "net/tcp6",
        "net/fib_trie",
        "net/if_inet6",
    ] {
        symlink(
            format!("{own}/{file}"),
            at(&format!("{}/{file}", &own[1..])),
        )
        .unwrap();
    }
    let mount = format!("36 27 0:99 / /mnt rw - nfs4 {mounted}:/ rw,vers=4.2,addr={mounted}\n");
    fs::write(at(&format!("{}/mountinfo", &own[1..])), mount).unwrap();
    let address: Ipv4Addr = mounted.parse().unwrap();
    let volumes = format!(
        "NV SERVER   PORT DEV\nv4 {:08x}  801 0:99 0:0 no\n",
        address.to_bits()
    );
    fs::write(at(&format!("{}/net/nfsfs/volumes", &own[1..])), volumes).unwrap();
    fs::create_dir_all(at("sys/kernel/debug/bdi")).unwrap();
    node
}

fn paths(node: &Path) -> HostPaths {
    HostPaths {
        procfs: node.join("proc"),
        sysfs: node.join("sys"),
        pod_logs: node.join("pods"),
    }
}

fn look_up(node: &Path, server: &str) -> Topology {
    Lookup::once(paths(node), &[server.to_owned()])
}

/// Joins two namespaces.
fn connect(here: &Process, there: &Process) {
    let peer = there.0.id();
    here.ip(&format!(
        "link add one type veth peer name two netns {peer}"
    ));
    here.ip(&format!("addr add {CLIENT}/24 dev one"));
    here.ip("link set one up");
    there.ip(&format!("addr add {SERVER}/24 dev two"));
    there.ip("link set two up");
}

/// One end, with mounts of its own, or the client's made-up ones were not read.
fn end(program: &Path, of: &Process, end: &str) -> Process {
    let program = program.to_str().unwrap();
    let args = [
        "--mount",
        program,
        "--ignored",
        "--exact",
        "one_end_of_a_connection",
    ];
    Process::start(of.inside("unshare").args(args).env(END, end))
}

#[test]
#[ignore = "needs root and two network namespaces"]
fn a_server_process_is_found_in_its_namespace_and_a_tunnel_is_not_taken_for_one() {
    // CAP_NET_ADMIN, which a container has only if it is asked for.
    if !has_capabilities(&[12]) {
        skip("no CAP_NET_ADMIN: no pair of network devices can be made");
        return;
    }
    let (here, there) = (namespace(), namespace());
    connect(&here, &there);
    let bin = TempDir::new().unwrap();
    // The process's name is its file's.
    let program = bin.path().join("ganesha.nfsd");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let server = end(&program, &there, "server");
    let client = end(&program, &here, "client");
    wait_for(|| {
        let tcp = fs::read_to_string(format!("{}/net/tcp", client.proc())).ok()?;
        tcp.contains(" 01 ").then_some(())
    });
    let node = node(&client, &server);

    let topology = wait_for(|| {
        let topology = look_up(node.path(), "ganesha.nfsd");
        (!topology.connections.is_empty()).then_some(topology)
    });
    println!("{topology:#?}");
    let connection = &topology.connections[0];
    assert_eq!(connection.owner, "ganesha.nfsd");
    assert_eq!(connection.server.to_string(), format!("{SERVER}:2049"));
    assert_eq!(connection.client.ip().to_string(), CLIENT);
    assert_eq!(connection.client_netns, here.netns());
    assert_eq!(connection.server_netns, there.netns());
    assert_eq!(topology.connections.len(), 1);
    assert_eq!(topology.incomplete, Vec::<String>::new());

    assert_eq!(connection.owner_tgid, Some(server.0.id()));

    let tunnel = look_up(node.path(), "another-server");
    assert_eq!(tunnel.connections, []);
    let end = &tunnel.far_ends[0];
    assert_eq!(
        (&*end.name, end.tgid),
        ("ganesha.nfsd", Some(server.0.id()))
    );
    assert!(!end.translated);
}

#[test]
#[ignore = "needs root and two network namespaces"]
fn the_relay_that_a_mount_leads_to_is_named() {
    // CAP_NET_ADMIN, which a container has only if it is asked for.
    if !has_capabilities(&[12]) {
        skip("no CAP_NET_ADMIN: no pair of network devices can be made");
        return;
    }
    let (here, there) = (namespace(), namespace());
    connect(&here, &there);
    let bin = TempDir::new().unwrap();
    let program = bin.path().join("relay");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let relay = end(&program, &there, "relay");
    let client = end(&program, &here, "client");
    wait_for(|| {
        let tcp = fs::read_to_string(format!("{}/net/tcp", client.proc())).ok()?;
        tcp.contains(" 01 ").then_some(())
    });
    let node = node(&client, &relay);
    let topology = wait_for(|| {
        let topology = look_up(node.path(), "ganesha.nfsd");
        (!topology.far_ends.is_empty()).then_some(topology)
    });
    println!("{topology:#?}");
    assert_eq!(topology.connections, []);
    assert_eq!(topology.far_ends.len(), 1);
    let far_end = &topology.far_ends[0];
    assert_eq!(far_end.name, "relay");
    assert_eq!(far_end.tgid, Some(relay.0.id()));
    assert_eq!(far_end.server.to_string(), format!("{SERVER}:2049"));
    assert_eq!(far_end.client_netns, here.netns());
    assert!(!far_end.translated);
}

/// Translates the service's address into the server's, in the client's namespace. `None`, and says so,
/// where that is not possible.
fn translate(here: &Process, masquerade: bool) -> Option<()> {
    here.ip(&format!("route add 10.96.0.0/12 via {SERVER}"));
    let mut rules = vec![format!(
        "-t nat -A OUTPUT -d {SERVICE} -p tcp -j DNAT --to-destination {SERVER}"
    )];
    if masquerade {
        here.ip(&format!("addr add {ANOTHER}/24 dev one"));
        rules.push(format!(
            "-t nat -A POSTROUTING -d {SERVER} -p tcp -j SNAT --to-source {ANOTHER}:40000-40010"
        ));
    }
    for rule in rules {
        let mut command = here.inside("iptables");
        let status = command.args(rule.split(' ')).status();
        if !status.is_ok_and(|status| status.success()) {
            skip("no iptables, or no NAT in this kernel");
            return None;
        }
    }
    Some(())
}

fn found_behind_a_translation(masquerade: bool) {
    // CAP_NET_ADMIN, which a container has only if it is asked for.
    if !has_capabilities(&[12]) {
        skip("no CAP_NET_ADMIN: no pair of network devices can be made");
        return;
    }
    let (here, there) = (namespace(), namespace());
    connect(&here, &there);
    if translate(&here, masquerade).is_none() {
        return;
    }
    let bin = TempDir::new().unwrap();
    let program = bin.path().join("zerofs");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let server = end(&program, &there, "answers");
    let client = end(&program, &here, "writes");
    let node = node_with(&client, &server, SERVICE);
    // Not a server's name: the bytes prove it.
    let topology = wait_for(|| {
        let topology = look_up(node.path(), "ganesha.nfsd");
        if topology
            .incomplete
            .iter()
            .any(|words| words.contains("modprobe tcp_diag"))
        {
            return Some(topology);
        }
        (!topology.connections.is_empty()).then_some(topology)
    });
    println!("{topology:#?}");
    if topology.connections.is_empty() {
        skip("no tcp_diag");
        return;
    }
    let connection = &topology.connections[0];
    assert_eq!(connection.proof, Proof::Stream);
    assert_eq!(connection.owner, "zerofs");
    assert_eq!(connection.owner_tgid, Some(server.0.id()));
    assert_eq!(connection.server.to_string(), format!("{SERVICE}:2049"));
    assert_eq!(connection.client_netns, here.netns());
    assert_eq!(connection.server_netns, there.netns());
    assert_eq!(connection.client_is_local, Some(false));
    let processes = &topology.server_processes;
    assert_eq!(processes[0].tgid, server.0.id());
}

#[test]
#[ignore = "needs root and two network namespaces"]
fn a_server_behind_a_service_address_is_proven_by_what_its_stream_carries() {
    found_behind_a_translation(false);
}

#[test]
#[ignore = "needs root and two network namespaces"]
fn a_server_that_sees_another_address_and_port_than_the_clients_is_proven_too() {
    found_behind_a_translation(true);
}

#[test]
#[ignore = "needs root and two network namespaces"]
fn the_server_behind_a_relay_of_this_node_is_found() {
    // CAP_NET_ADMIN, which a container has only if it is asked for.
    if !has_capabilities(&[12]) {
        skip("no CAP_NET_ADMIN: no pair of network devices can be made");
        return;
    }
    let (here, there) = (namespace(), namespace());
    connect(&here, &there);
    here.ip("link set lo up");
    let bin = TempDir::new().unwrap();
    let (relay, server) = (bin.path().join("stunnel"), bin.path().join("ganesha.nfsd"));
    for program in [&relay, &server] {
        fs::copy(env::current_exe().unwrap(), program).unwrap();
    }
    let server = end(&server, &there, "server");
    let client = end(&relay, &here, "client of a relay");
    let relay = end(&relay, &here, "onward");
    let node = node_with(&client, &server, CLIENT);
    symlink(relay.proc(), node.path().join(&relay.proc()[1..])).unwrap();
    let topology = wait_for(|| {
        let topology = look_up(node.path(), "ganesha.nfsd");
        (!topology.connections.is_empty()).then_some(topology)
    });
    println!("{topology:#?}");
    let connection = &topology.connections[0];
    assert_eq!(connection.owner_tgid, Some(server.0.id()));
    assert_eq!(connection.server_netns, there.netns());
    let relays: Vec<_> = connection.relays.iter().map(|one| one.tgid).collect();
    assert_eq!(relays, [Some(relay.0.id())]);
    assert_eq!(topology.far_ends, []);
}

/// A network namespace as `ip netns` leaves it.
struct Kept {
    name: String,
    _undo: Undo,
}

impl Kept {
    fn new() -> Self {
        let name = format!("throttle-monitor-{}", std::process::id());
        let status = Command::new("ip").args(["netns", "add", &name]).status();
        assert!(status.unwrap().success());
        let undo = Undo::new("ip", &["netns", "del", &name]);
        Self { name, _undo: undo }
    }

    fn netns(&self) -> u64 {
        fs::metadata(format!("/run/netns/{}", self.name))
            .unwrap()
            .ino()
    }
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_namespace_in_which_no_process_lives_is_seen_and_let_go_again() {
    let kept = Kept::new();
    let mut lookup = Lookup::start(HostPaths::default(), vec!["ganesha.nfsd".into()]).unwrap();
    let before = lookup.latest().read_ns;
    // Somebody asks, so that namespaces matter.
    lookup.ask(&LookupRequest {
        peers: [([192, 0, 2, 1], 700).into()].into(),
        ..LookupRequest::default()
    });
    let topology = wait_for(|| Some(lookup.latest()).filter(|t| t.read_ns > before));
    let number = kept.netns().to_string();
    let told = topology
        .incomplete
        .iter()
        .any(|words| words.contains(&number));
    assert!(!told, "{:?}", topology.incomplete);
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let inside = threads.filter(|thread| {
        let link = fs::read_link(thread.path().join("ns/net"));
        link.is_ok_and(|link| link.to_string_lossy().contains(&number))
    });
    assert_eq!(inside.count(), 0, "nobody stays in it between two rounds");
}

/// A loop device on a file, until the test ends.
struct LoopDevice {
    path: String,
    _undo: Undo,
}

impl LoopDevice {
    /// `None`, and says so, where there is none.
    fn on(file: &Path) -> Option<Self> {
        let losetup = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output();
        let losetup = losetup.unwrap();
        if !losetup.status.success() {
            assert!(!Path::new("/dev/loop-control").exists(), "{losetup:?}");
            skip("no /dev/loop-control");
            return None;
        }
        let path = String::from_utf8(losetup.stdout).unwrap().trim().to_owned();
        let undo = Undo::new("losetup", &["--detach", &path]);
        Some(Self { path, _undo: undo })
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_loop_device_is_found_with_its_file_and_the_file_system_under_it() {
    // Not in /tmp, which may be a tmpfs.
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("an image");
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let Some(device) = LoopDevice::on(&file) else {
        return;
    };
    let look = || Lookup::once(HostPaths::default(), &[]).loop_devices;
    let found = look();
    println!("{found:#?}");
    let name = device.path.strip_prefix("/dev/").unwrap();
    let number = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    let is_it = |d: &&monitor_model::observation::LoopDevice| d.bdi == number.trim();
    let one = found.iter().find(is_it).unwrap();
    assert_eq!(Path::new(&one.file), file);
    // Where that file system has a BDI of its own, which overlayfs has not.
    let stat = fs::metadata(&file).unwrap().dev();
    let dev = format!("{}:{}", rustix::fs::major(stat), rustix::fs::minor(stat));
    let topology = Lookup::once(HostPaths::default(), &[]);
    let mounted = topology.file_systems.iter().find(|fs| fs.device == dev);
    assert_eq!(one.on, mounted.map(|fs| fs.bdi.clone()).unwrap_or_default());
    fs::remove_file(&file).unwrap();
    let deleted = look();
    assert!(
        deleted
            .iter()
            .find(is_it)
            .unwrap()
            .file
            .ends_with(" (deleted)")
    );
    drop(device);
    assert!(!look().iter().any(|d| d.bdi == number.trim()));
}

/// The time of the processors that this process and its threads took.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

#[test]
#[ignore = "makes a thousand processes and two hundred network namespaces"]
fn a_crowded_node_is_read() {
    if !has_capabilities(&[12]) {
        skip("no CAP_NET_ADMIN: no pair of network devices can be made");
        return;
    }
    let bin = TempDir::new().unwrap();
    let program = bin.path().join("zerofs");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let (processes, namespaces, _) = MANY;
    let many = format!(
        "ip link set lo up && exec {} --ignored --exact one_end_of_a_connection",
        program.display()
    );
    let crowd: Vec<_> = (0..processes)
        .map(|n| {
            if n < namespaces {
                let mut command = Command::new("unshare");
                command.args(["--net", "sh", "-c", &many]).env(END, "many");
                Process::start(&mut command)
            } else {
                Process::start(Command::new("sleep").arg("600"))
            }
        })
        .collect();
    let (here, there) = (namespace(), namespace());
    connect(&here, &there);
    if translate(&here, true).is_none() {
        return;
    }
    let server = end(&program, &there, "answers");
    let client = end(&program, &here, "writes");
    // Without the server, as if it were on another host.
    let node = node_with(&client, &here, SERVICE);
    let link = |process: &Process| {
        symlink(process.proc(), node.path().join(&process.proc()[1..])).unwrap();
    };
    crowd.iter().for_each(link);
    wait_for(|| {
        let sockets = |process: &Process| {
            let tcp = fs::read_to_string(format!("{}/net/tcp", process.proc()));
            tcp.is_ok_and(|tcp| tcp.lines().count() > 2 * MANY.2)
        };
        crowd.iter().take(namespaces).all(sockets).then_some(())
    });
    let plainly = || timed(|| read_plainly(&node.path().join("proc"))).1;
    plainly();
    let peer = plainly();
    println!("the same files, read plainly: {peer:?} of a processor");

    let mut round = rounds(node.path());
    let (topology, first) = round("the server is on another host");
    assert_eq!(topology.connections, []);
    let least = |round: &mut dyn FnMut(&str) -> (Topology, Duration), what: &str| {
        (0..4).map(|_| round(what).1).min().unwrap_or_default()
    };
    round("the same, searched for again");
    round("the same, searched for again");
    let rest = least(&mut round, "the same, not searched for any more");
    link(&there);
    link(&server);
    let mut round = rounds(node.path());
    let (topology, found) = round("the server is on this node");
    assert_eq!(topology.connections[0].proof, Proof::Stream);
    let rest_found = least(&mut round, "the same, at rest");
    with_other_clients(node.path(), &client);
    let mut round = rounds(node.path());
    let (_, others) = round("with a client of each kind");
    round("the same, searched for again");
    round("the same, searched for again");
    let rest_others = least(&mut round, "the same, at rest");
    let nbd = block_server(node.path(), &program);
    link(&nbd);
    let mut round = rounds(node.path());
    let (topology, _) = round("with the server of the NBD device on this node");
    let mut devices = topology.served.iter();
    assert!(devices.any(|one| one.server.tgid == Some(nbd.0.id())));
    round("the same, searched for again");
    round("the same, searched for again");
    let rest_served = least(&mut round, "the same, at rest");
    fs::write(node.path().join(&client.proc()[1..]).join("mountinfo"), "").unwrap();
    fs::remove_dir_all(node.path().join("sys/block")).unwrap();
    let mut round = rounds(node.path());
    assert_eq!(round("no client").0.connections, []);
    let idle = least(&mut round, "the same, at rest");

    // Nothing is read much more often than once. Where a search is over, little is read at all.
    for searched in [first, found, others] {
        assert!(searched < peer * 3, "{searched:?}, {peer:?} plainly");
    }
    for rest in [rest, rest_found, rest_others, rest_served, idle] {
        assert!(rest < peer, "{rest:?}, {peer:?} plainly");
    }
}

/// A process that serves `/dev/nbd0` and waits in it.
fn block_server(node: &Path, program: &Path) -> Process {
    let device = program.with_file_name("nbd0");
    fs::write(&device, "").unwrap();
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "one_end_of_a_connection"]);
    let process = Process::start(command.env(END, "nbd").env(DEVICE, &device));
    let pid = format!("{}\n", process.0.id());
    fs::write(node.join("sys/block/nbd0/pid"), pid).unwrap();
    wait_for(|| {
        let fds = fs::read_dir(format!("{}/fd", process.proc())).ok()?;
        let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        links.find(|link| *link == device)
    });
    process
}

/// Runs rounds of one look-up, and prints what each costs: of its memory what its own thread
/// allocates, not those that enter network namespaces or read streams.
fn rounds(node: &Path) -> impl FnMut(&str) -> (Topology, Duration) {
    let servers = ["ganesha.nfsd".to_owned()];
    let mut round = Lookup::rounds(paths(node), &servers);
    move |what| {
        let start = Instant::now();
        let mut topology = Topology::default();
        let (allocated, computed) =
            timed(|| measure(|| topology = round(&LookupRequest::default())));
        let (took, incomplete) = (start.elapsed(), &topology.incomplete);
        println!(
            "{what}: {computed:?} of a processor, {took:?}, {} allocations, {} KiB at once: {incomplete:?}",
            allocated.count_total,
            allocated.bytes_max >> 10,
        );
        (topology, computed)
    }
}

/// The same with the time of the processors that it took.
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begun = computed();
    let done = what();
    (done, computed().saturating_sub(begun))
}

/// Reads the namespaces of each process, and the files of each network namespace, once.
fn read_plainly(procfs: &Path) {
    let mut seen = BTreeSet::new();
    for process in fs::read_dir(procfs).unwrap().flatten() {
        let process = process.path();
        let _ = fs::read_link(process.join("ns/mnt"));
        let net = fs::read_link(process.join("ns/net"));
        if net.is_ok_and(|net| seen.insert(net)) {
            for file in ["tcp", "tcp6", "fib_trie", "if_inet6"] {
                let _ = fs::read(process.join("net").join(file));
            }
        }
    }
}

/// Adds an NBD device whose socket no process holds, one of ublk, and mounts of SMB and FUSE, all
/// without a server on this node.
fn with_other_clients(node: &Path, client: &Process) {
    let write = |path: String, text: &str| {
        let path = node.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("sys/block/nbd0/pid".into(), "4194303\n");
    write("sys/block/nbd0/dev".into(), "43:0\n");
    write("sys/block/ublkb0/dev".into(), "259:0\n");
    for bdi in ["cifs-1", "0:98"] {
        write(format!("sys/class/bdi/{bdi}/x"), "");
    }
    let mountinfo = format!("{}/mountinfo", &client.proc()[1..]);
    let mut text = fs::read_to_string(node.join(&mountinfo)).unwrap();
    text += "37 27 0:98 / /fuse rw - fuse.bindfs bindfs rw\n\
             38 27 0:97 / /smb rw - cifs //198.51.100.7/a rw,vers=3.1.1,addr=198.51.100.7\n";
    write(mountinfo, &text);
}

#[test]
#[ignore = "reads this machine"]
fn this_machine_is_read_fast() {
    let read = || Lookup::once(HostPaths::default(), &["ganesha.nfsd".into()]);
    let topology = read();
    assert!(!topology.file_systems.is_empty(), "{topology:#?}");
    let start = Instant::now();
    let rounds = 20;
    (0..rounds).for_each(|_| drop(read()));
    let took = start.elapsed() / rounds;
    println!("{took:?} a round: {topology:#?}");
    assert!(took < Duration::from_secs(1), "{took:?} a round");
}
