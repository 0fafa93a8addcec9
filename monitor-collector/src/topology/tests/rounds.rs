use std::{fs, time::Duration};

use monitor_model::observation::{Connection, FarEnd, ServerProcess, Topology};

use super::node::{ESTABLISHED, LISTEN, Node, peers};
use crate::topology::{Lookup, LookupRequest};

/// A client in the initial network namespace, a server at 10.9.0.2 in that of
/// process 50.
fn two_namespaces() -> Node {
    let node = Node::new();
    node.process(50, "server-pod", 21, 31);
    node.nfs_mount(1, "0:29", "10.9.0.2:2049");
    node.address(1, "10.9.0.1");
    node.address(50, "10.9.0.2");
    node.socket(1, "10.9.0.1:801", "10.9.0.2:2049", ESTABLISHED, 900);
    node.socket(50, "10.9.0.2:2049", "10.9.0.1:801", ESTABLISHED, 901);
    node
}

fn round(node: &Node) -> Topology {
    node.reader(&["ganesha.nfsd"])
        .round(&LookupRequest::default())
}

fn loops(topology: &Topology) -> Vec<String> {
    let text = |c: &Connection| {
        format!(
            "{} in {} to {} in {}: {}",
            c.client, c.client_netns, c.server, c.server_netns, c.owner
        )
    };
    topology.connections.iter().map(text).collect()
}

#[test]
fn both_ends_in_two_namespaces_are_a_connection_of_the_kernels_server() {
    let node = two_namespaces();
    node.nfsd_loaded();
    let topology = round(&node);
    assert_eq!(
        loops(&topology),
        ["10.9.0.1:801 in 30 to 10.9.0.2:2049 in 31: nfsd"]
    );
    let mount = &topology.mounts[0];
    assert_eq!(mount.bdi, "0:29");
    assert_eq!(mount.netns, Some(30));
    assert_eq!(mount.server, Some("10.9.0.2:2049".parse().unwrap()));
    assert_eq!(mount.listener, None);
    assert_eq!(topology.incomplete, Vec::<String>::new());
    assert!(topology.read_ns > 0);
}

#[test]
fn the_pods_of_server_client_and_volume_are_named_from_the_kubelet_s_directories() {
    const SERVER: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
    const STATIC: &str = "33d556edd3ae8ef21980288cef77ae8b";
    const UNKNOWN: &str = "1b2c3d4e-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
    let node = two_namespaces();
    node.nfsd_loaded();
    let id = "3f4c5d6e".repeat(8);
    node.append(50, "cgroup", &format!("0::/kubepods/pod{SERVER}/{id}"));
    for (n, uid) in [STATIC, UNKNOWN].iter().enumerate() {
        let at = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~nfs/data");
        let line = format!("4{n} 27 0:29 / {at} rw - nfs4 10.9.0.2:/ rw,addr=10.9.0.2");
        node.append(1, "mountinfo", &line);
    }
    fs::create_dir_all(node.path("proc/self")).unwrap();
    fs::copy(
        node.path("proc/1/mountinfo"),
        node.path("proc/self/mountinfo"),
    )
    .unwrap();
    for name in [
        format!("storage_nfs-0_{SERVER}"),
        format!("kube-system_backup-node-1_{STATIC}"),
    ] {
        fs::create_dir_all(node.path("pods").join(name)).unwrap();
    }
    let topology = round(&node);
    let server = topology.container_of_netns(31).expect("a pod");
    assert_eq!((&*server.namespace, &*server.pod), ("storage", "nfs-0"));
    let volume = |uid: &str| {
        let at = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~nfs/data");
        topology.pod_of_volume(&at).expect("a pod").words()
    };
    assert_eq!(volume(STATIC), "pod kube-system/backup-node-1");
    assert_eq!(volume(UNKNOWN), format!("pod {UNKNOWN}"));
}

#[test]
fn without_a_server_in_the_kernel_an_unowned_socket_is_not_a_servers() {
    assert_eq!(loops(&round(&two_namespaces())), Vec::<String>::new());
}

#[test]
fn a_server_process_gives_the_connection_its_name() {
    let node = two_namespaces();
    node.nfsd_loaded();
    node.process(51, "ganesha.nfsd", 21, 31);
    node.fd(51, 901);
    assert_eq!(
        loops(&round(&node)),
        ["10.9.0.1:801 in 30 to 10.9.0.2:2049 in 31: ganesha.nfsd"]
    );
}

#[test]
fn a_server_process_is_listed_until_it_ends() {
    let node = two_namespaces();
    node.process(51, "ganesha.nfsd", 21, 31);
    node.fd(51, 901);
    let mut reader = node.reader(&["ganesha.nfsd"]);
    let mut told = || {
        let topology = reader.round(&LookupRequest::default());
        let words = |p: &ServerProcess| format!("{} {}", p.tgid, p.name);
        topology
            .server_processes
            .iter()
            .map(words)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(), ["51 ganesha.nfsd"]);
    assert_eq!(
        told(),
        ["51 ganesha.nfsd"],
        "though nothing is searched again"
    );
    fs::write(node.path("proc/51/comm"), "bash\n").unwrap();
    assert_eq!(told(), Vec::<String>::new());
}

#[test]
fn a_tunnel_that_ends_here_is_not_a_server() {
    let node = two_namespaces();
    node.nfsd_loaded();
    node.process(51, "stunnel", 21, 31);
    node.fd(51, 901);
    let topology = round(&node);
    assert_eq!(loops(&topology), Vec::<String>::new());
    assert_eq!(far_ends(&topology), ["10.9.0.1:801 in 30: stunnel 51"]);
}

fn far_ends(topology: &Topology) -> Vec<String> {
    let text = |f: &FarEnd| {
        let behind = if f.translated { " behind " } else { "" };
        let address = if f.translated {
            f.server.to_string()
        } else {
            String::new()
        };
        let tgid = f.tgid.map(|tgid| format!(" {tgid}")).unwrap_or_default();
        let (client, netns, name) = (f.client, f.client_netns, &f.name);
        format!("{client} in {netns}: {name}{tgid}{behind}{address}")
    };
    topology.far_ends.iter().map(text).collect()
}

/// The mount uses a service address that no namespace has. Process 51 is in the pod and has a
/// socket whose peer is the client.
fn behind_a_service_address(comm: &str) -> Node {
    let node = Node::new();
    node.process(50, "server-pod", 21, 31);
    node.process(51, comm, 21, 31);
    node.nfs_mount(1, "0:29", "10.96.7.7:2049");
    node.address(1, "10.9.0.1");
    node.address(50, "10.9.0.2");
    node.socket(1, "10.9.0.1:801", "10.96.7.7:2049", ESTABLISHED, 900);
    node.socket(50, "10.9.0.2:2049", "10.9.0.1:801", ESTABLISHED, 901);
    node.fd(51, 901);
    node
}

#[test]
fn a_server_behind_a_translation_is_found_by_the_clients_address() {
    let topology = round(&behind_a_service_address("ganesha.nfsd"));
    assert_eq!(loops(&topology), Vec::<String>::new());
    assert_eq!(
        far_ends(&topology),
        ["10.9.0.1:801 in 30: ganesha.nfsd 51 behind 10.96.7.7:2049"]
    );
    // Another program's socket with this peer proves nothing.
    let topology = round(&behind_a_service_address("nginx"));
    assert_eq!(far_ends(&topology), Vec::<String>::new());
}

#[test]
fn a_server_on_another_host_is_looked_for_in_no_namespace() {
    let node = two_namespaces();
    node.nfsd_loaded();
    fs::remove_file(node.path("proc/50/net/fib_trie")).unwrap();
    assert_eq!(loops(&round(&node)), Vec::<String>::new());
}

#[test]
fn a_loopback_mount_is_found_with_its_listener() {
    let node = Node::new();
    node.nfsd_loaded();
    node.process(50, "pod", 21, 31);
    node.nfs_mount(1, "0:29", "127.0.0.1:2049");
    for pid in [1, 50] {
        node.append(pid, "net/fib_trie", "   |-- 127.0.0.0\n      /8 host LOCAL");
    }
    node.socket(1, "0.0.0.0:2049", "0.0.0.0:0", LISTEN, 800);
    node.socket(1, "127.0.0.1:801", "127.0.0.1:2049", ESTABLISHED, 900);
    node.socket(1, "127.0.0.1:2049", "127.0.0.1:801", ESTABLISHED, 901);
    // The same addresses have another meaning in another namespace.
    node.socket(50, "127.0.0.1:2049", "127.0.0.1:801", ESTABLISHED, 902);
    let topology = round(&node);
    assert_eq!(
        loops(&topology),
        ["127.0.0.1:801 in 30 to 127.0.0.1:2049 in 30: nfsd"]
    );
    assert_eq!(topology.mounts[0].listener.as_deref(), Some("nfsd"));
}

#[test]
fn a_mount_of_its_own_namespaces_ipv6_address_has_a_listener_before_it_connects() {
    let node = Node::new();
    node.nfs_mount(1, "0:29", "[fd00::2]:2049");
    node.address(1, "fd00::2");
    node.process(7, "ganesha.nfsd", 20, 30);
    node.socket(1, "[::]:2049", "[::]:0", LISTEN, 800);
    node.fd(7, 800);
    let topology = round(&node);
    assert_eq!(topology.mounts[0].listener.as_deref(), Some("ganesha.nfsd"));
}

#[test]
fn a_tunnel_that_listens_is_not_a_listener() {
    let node = Node::new();
    node.nfsd_loaded();
    node.nfs_mount(1, "0:29", "127.0.0.1:2049");
    node.address(1, "127.0.0.1");
    node.process(7, "ssh", 20, 30);
    node.socket(1, "127.0.0.1:2049", "0.0.0.0:0", LISTEN, 800);
    node.socket(1, "[::]:2049", "[::]:0", LISTEN, 801);
    node.fd(7, 800);
    assert_eq!(round(&node).mounts[0].listener, None);
}

#[test]
fn a_server_behind_ipv4_in_ipv6_is_found() {
    let node = two_namespaces();
    node.nfsd_loaded();
    fs::remove_file(node.path("proc/50/net/tcp")).unwrap();
    node.socket(
        50,
        "[::ffff:10.9.0.2]:2049",
        "[::ffff:10.9.0.1]:801",
        ESTABLISHED,
        901,
    );
    assert_eq!(loops(&round(&node)).len(), 1);
}

#[test]
fn peers_are_found_by_the_address_that_the_server_sees() {
    let node = two_namespaces();
    node.nfsd_loaded();
    // Behind NAT no client socket has this address.
    node.socket(50, "10.9.0.2:2049", "10.0.0.99:50001", ESTABLISHED, 902);
    node.append(50, "net/rpc/nfsd.export/content", "/srv\t*(rw)");
    let wanted = LookupRequest {
        peers: peers(&["10.0.0.99:50001", "10.9.0.1:801", "10.0.0.99:7"]),
        ..LookupRequest::default()
    };
    let topology = node.reader(&[]).round(&wanted);
    let found: Vec<_> = topology
        .peers
        .iter()
        .map(|p| format!("{} {} {}", p.peer, p.server, p.netns))
        .collect();
    assert_eq!(
        found,
        [
            "10.0.0.99:50001 10.9.0.2:2049 31",
            "10.9.0.1:801 10.9.0.2:2049 31"
        ]
    );
    assert_eq!(wanted.unanswered(&topology).peers, peers(&["10.0.0.99:7"]));
}

#[test]
fn a_peer_is_looked_for_only_where_something_is_exported() {
    let node = two_namespaces();
    node.nfsd_loaded();
    let wanted = LookupRequest {
        peers: peers(&["10.9.0.1:801"]),
        ..LookupRequest::default()
    };
    assert_eq!(node.reader(&[]).round(&wanted).peers, []);
}

#[test]
fn a_connection_is_kept_while_its_client_end_lasts() {
    let node = two_namespaces();
    node.nfsd_loaded();
    let mut reader = node.reader(&[]);
    let mut connections = || loops(&reader.round(&LookupRequest::default())).len();
    assert_eq!(connections(), 1);
    // The file is not read again: the connection cannot have moved.
    fs::remove_file(node.path("proc/50/net/tcp")).unwrap();
    assert_eq!(connections(), 1);
    fs::remove_file(node.path("proc/1/net/tcp")).unwrap();
    assert_eq!(connections(), 0);
}

#[test]
fn a_server_that_accepts_late_is_found_by_a_later_round() {
    let node = two_namespaces();
    node.nfsd_loaded();
    let tcp = node.path("proc/50/net/tcp");
    let accepted = fs::read_to_string(&tcp).unwrap();
    fs::write(&tcp, accepted.replace(" 901 ", " 0 ")).unwrap();
    let mut reader = node.reader(&[]);
    let mut connections = || loops(&reader.round(&LookupRequest::default())).len();
    assert_eq!(connections(), 0);
    fs::write(&tcp, accepted).unwrap();
    assert_eq!(connections(), 1);
}

#[test]
fn an_export_has_the_bdi_under_it_in_its_servers_mounts() {
    let node = Node::new();
    node.nfsd_loaded();
    node.sysfs("class/bdi/254:16/x", "");
    node.process(50, "pause", 21, 31);
    node.process(51, "rpc.mountd", 22, 31);
    node.append(50, "mountinfo", "1 0 0:50 / / ro - overlay overlay ro");
    for line in [
        "1 0 0:51 / / rw - overlay overlay rw",
        "2 1 254:0 / /srv rw - ext4 /dev/vda rw",
        "3 2 254:16 /data /srv/a\\040b rw - xfs /dev/vdb rw",
        "4 1 0:60 / /tmp rw - tmpfs tmpfs rw",
    ] {
        node.append(51, "mountinfo", line);
    }
    for line in [
        "#path domain(flags)",
        "/srv/a\\040b/c\t*(rw,sync)",
        "/srv\t10.0.0.0/8(rw)",
        "/srv\t*(rw)",
        "/tmp\t*(rw)",
        "# /gone\t*()",
    ] {
        node.append(50, "net/rpc/nfsd.export/content", line);
    }
    let exports: Vec<_> = round(&node)
        .exports
        .iter()
        .map(|e| format!("{} {} {}", e.netns, e.path, e.bdi))
        .collect();
    assert_eq!(
        exports,
        ["31 /srv 254:0", "31 /srv/a b/c 254:16", "31 /tmp 0:60"]
    );
}

#[test]
fn file_systems_are_listed_once_for_each_device_and_pseudo_ones_not() {
    let node = Node::new();
    node.process(50, "pod", 21, 31);
    for line in [
        "28 27 0:21 / /proc rw - proc proc rw",
        "29 27 0:25 / /run rw - tmpfs tmpfs rw",
        "30 27 0:26 / /x rw - overlay overlay rw,lowerdir=/a",
        "31 27 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
    ] {
        node.append(1, "mountinfo", line);
    }
    node.append(50, "mountinfo", "1 0 254:0 /x / rw - ext4 /dev/vda rw");
    let topology = round(&node);
    let all: Vec<_> = topology
        .file_systems
        .iter()
        .map(|f| {
            format!(
                "{} {:?} {} {}",
                f.device,
                f.bdi.as_str(),
                f.fstype,
                f.mount_point
            )
        })
        .collect();
    assert_eq!(all, ["0:25 \"\" tmpfs /run", "254:0 \"254:0\" ext4 /"]);
    assert!(topology.mounts.is_empty());
}

#[test]
fn a_mount_that_no_process_sees_is_known_from_its_volume() {
    let node = Node::new();
    node.append(1, "net/nfsfs/volumes", "v4 0a090002  801 0:44  0:0 no");
    let wanted = LookupRequest {
        devices: ["0:44".into()].into(),
        ..LookupRequest::default()
    };
    let topology = node.reader(&[]).round(&wanted);
    assert!(wanted.unanswered(&topology).is_empty());
    let mount = &topology.mounts[0];
    assert_eq!((mount.fstype.as_str(), mount.netns), ("nfs4", Some(30)));
    assert!(mount.mount_points.is_empty());
}

#[test]
fn a_namespace_without_a_process_is_named_where_nfs_is_used() {
    let node = two_namespaces();
    let kept = "40 27 0:4 net:[77] /run/netns/b rw - nsfs nsfs rw";
    node.append(1, "mountinfo", kept);
    let incomplete = round(&node).incomplete;
    assert_eq!(incomplete.len(), 1);
    assert!(
        incomplete[0].contains("77 (/run/netns/b)"),
        "{incomplete:?}"
    );
    let node = Node::new();
    node.append(1, "mountinfo", kept);
    assert!(round(&node).incomplete.is_empty());
}

#[test]
fn the_thread_answers_at_the_start_and_soon_after_a_new_question() {
    let node = two_namespaces();
    node.nfsd_loaded();
    node.append(50, "net/rpc/nfsd.export/content", "/srv\t*(rw)");
    let mut lookup = Lookup::start(node.paths(), Vec::new()).unwrap();
    let first = lookup.latest();
    assert_eq!(loops(&first).len(), 1);
    let wanted = LookupRequest {
        peers: peers(&["10.9.0.1:801"]),
        ..LookupRequest::default()
    };
    for _ in 0..50 {
        lookup.ask(&wanted);
        if wanted.unanswered(&lookup.latest()).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no answer in 5 s: {:?}", lookup.latest());
}

#[test]
fn an_smb_mount_is_listed_with_its_bdi_once_that_is_known() {
    let node = Node::new();
    node.sysfs("class/bdi/cifs-1/x", "");
    let mount = |minor: u32, share: &str| {
        let line = format!(
            "{minor} 27 0:{minor} / /{share} rw - cifs //127.0.0.1/{share} rw,addr=127.0.0.1"
        );
        node.append(1, "mountinfo", &line);
    };
    let listed = |topology: &Topology| {
        let smb = topology
            .file_systems
            .iter()
            .filter(|fs| fs.fstype == "cifs");
        let words = |fs: &monitor_model::observation::FileSystem| {
            format!("{} {} {}", fs.device, fs.bdi, fs.mount_point)
        };
        smb.map(words).collect::<Vec<_>>()
    };
    mount(45, "x");
    assert_eq!(listed(&round(&node)), ["0:45 cifs-1 /x"]);
    mount(46, "y");
    node.sysfs("class/bdi/cifs-2/x", "");
    let topology = round(&node);
    assert_eq!(listed(&topology), Vec::<String>::new());
    let said = topology.incomplete.join(" ");
    assert!(said.contains("SMB mount /x (0:45)"), "{said}");
    fs::create_dir_all(node.path("proc/fs/cifs")).unwrap();
    let stats = r"1) \\127.0.0.1\y
Bytes read: 0  Bytes written: 52428800
2) \\127.0.0.1\x
Bytes read: 0  Bytes written: 0
";
    fs::write(node.path("proc/fs/cifs/Stats"), stats).unwrap();
    node.sysfs(
        "kernel/debug/bdi/cifs-1/stats",
        "BdiWritten:             51200 kB\n",
    );
    node.sysfs(
        "kernel/debug/bdi/cifs-2/stats",
        "BdiWritten:                 0 kB\n",
    );
    assert_eq!(listed(&round(&node)), ["0:45 cifs-2 /x", "0:46 cifs-1 /y"]);
}
