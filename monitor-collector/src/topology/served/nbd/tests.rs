use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::symlink,
    path::PathBuf,
};

use proptest::prelude::*;

use super::search::{Ends, Search, choose};
use super::{Connected, Servers};
use crate::topology::LookupRequest;
use crate::topology::namespaces::Namespaces;
use crate::topology::served::Place;
use crate::topology::served::tables::{self, Unix, unix};
use crate::topology::tests::node::{ESTABLISHED, LISTEN, Node};
use crate::topology::warnings::LookupWarnings;

/// The client's side, the server, and somebody else.
const CLIENT: u32 = 70;
const SERVER: u32 = 80;
const OTHER: u32 = 90;
const SERVER_ADDRESS: &str = "127.0.0.1:10809";

/// A node with `/dev/nbd0`, which process 70 set up.
fn node() -> Node {
    let node = Node::new();
    for (pid, name) in [(CLIENT, "nbd-client"), (SERVER, "server"), (OTHER, "other")] {
        node.process(pid, name, 20, 30);
        node.append(pid, "status", &format!("Tgid:\t{pid}"));
        let net = node.path(&format!("proc/{pid}/net"));
        // They share the first process's network namespace.
        symlink(node.path("proc/1/net"), net).unwrap();
    }
    node.append(
        1,
        "net/unix",
        "Num       RefCount Protocol Flags    Type St Inode Path",
    );
    node.append(1, "net/tcp", "  sl  local_address rem_address   st");
    node.sysfs("block/nbd0/pid", &format!("{CLIENT}\n"));
    node.sysfs("block/nbd0/dev", "43:0\n");
    node
}

/// The process waits in the device, as with `NBD_DO_IT`.
fn waits(node: &Node, pid: u32) {
    let fds = node.path(&format!("proc/{pid}/fd"));
    symlink("/dev/nbd0", fds.join("9")).unwrap();
}

fn ends_its_life(node: &Node, pid: u32) {
    fs::remove_dir_all(node.path(&format!("proc/{pid}"))).unwrap();
}

/// Both ends of a unix connection; the second one was accepted and has a name.
fn pair(node: &Node, one: u64, other: u64, name: &str) {
    for (inode, name) in [(one, ""), (other, name)] {
        let line = format!("0000000000000000: 00000003 00000000 00000000 0001 03 {inode} {name}");
        node.append(1, "net/unix", &line);
    }
    node.append(1, "peers", &format!("{one} {other}"));
    node.append(1, "peers", &format!("{other} {one}"));
}

/// Both ends of a TCP connection.
fn connection(node: &Node, client: &str, server: &str, inodes: [u64; 2]) {
    node.socket(1, client, server, ESTABLISHED, inodes[0]);
    node.socket(1, server, client, ESTABLISHED, inodes[1]);
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it stands in for what hands them to a thread"
)]
fn read_peers(_: u64, file: PathBuf, asked: BTreeSet<u64>) -> io::Result<BTreeMap<u64, u64>> {
    let procfs = file.ancestors().nth(3).unwrap();
    let text = fs::read_to_string(procfs.join("1/peers"))?;
    let pair = |line: &str| {
        let (one, other) = line.split_once(' ').unwrap();
        (one.parse().unwrap(), other.parse().unwrap())
    };
    let all = text.lines().map(pair);
    Ok(all.filter(|(inode, _)| asked.contains(inode)).collect())
}

fn server(node: &Node) -> Result<Place, &'static str> {
    let (mut warnings, sysfs) = (LookupWarnings::default(), node.path("sys"));
    let spaces = Namespaces::walk(&node.path("proc"), &mut warnings).unwrap();
    let connected = ["nbd0".into()];
    let mut search = Search::new(&spaces, &sysfs, &connected, BTreeSet::new(), read_peers);
    let found = search.server("nbd0", CLIENT);
    found.map(|found| found.place)
}

fn tcp() -> Place {
    Place::Tcp(SERVER_ADDRESS.parse().unwrap())
}

#[test]
fn a_process_with_both_ends_of_the_socket_is_the_server() {
    let node = node();
    waits(&node, CLIENT);
    pair(&node, 11, 12, "/var/lock/qemu-nbd-nbd0");
    node.fd(CLIENT, 11);
    node.fd(CLIENT, 12);
    assert_eq!(server(&node), Ok(Place::Process(CLIENT)));
}

#[test]
fn a_log_on_standard_error_is_not_the_devices_connection() {
    let node = node();
    waits(&node, CLIENT);
    pair(&node, 11, 12, "");
    pair(&node, 21, 22, "/run/systemd/journal/stdout");
    node.fd(CLIENT, 11);
    node.fd(CLIENT, 12);
    node.fd(OTHER, 22);
    let stderr = node.path(&format!("proc/{CLIENT}/fd/2"));
    symlink("socket:[21]", &stderr).unwrap();
    assert_eq!(server(&node), Ok(Place::Process(CLIENT)));
    // Under another number it may be.
    fs::rename(&stderr, stderr.with_file_name("5")).unwrap();
    assert!(server(&node).is_err());
}

#[test]
fn the_clients_side_is_not_the_server() {
    let node = node();
    waits(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(CLIENT, 11);
    node.fd(SERVER, 12);
    assert_eq!(server(&node), Ok(tcp()));
    // Over several connections, too.
    connection(&node, "127.0.0.1:40002", SERVER_ADDRESS, [13, 14]);
    node.fd(CLIENT, 13);
    assert_eq!(server(&node), Ok(tcp()));
    connection(&node, "127.0.0.1:40004", "127.0.0.1:22", [15, 16]);
    node.fd(CLIENT, 15);
    assert!(server(&node).is_err());
}

#[test]
fn the_process_at_the_other_end_of_a_unix_socket_is_the_server() {
    let node = node();
    waits(&node, CLIENT);
    pair(&node, 11, 12, "/run/nbd.sock");
    node.fd(CLIENT, 11);
    node.fd(SERVER, 12);
    assert_eq!(server(&node), Ok(Place::Process(SERVER)));
    // A client of the server's is not a connection that it made.
    node.socket(1, "10.9.0.1:10809", "10.9.0.2:50000", ESTABLISHED, 31);
    node.socket(1, "10.9.0.1:10809", "0.0.0.0:0", LISTEN, 32);
    node.fd(SERVER, 31);
    assert_eq!(server(&node), Ok(Place::Process(SERVER)));
}

#[test]
fn who_only_passes_on_what_it_reads_is_not_the_server() {
    let node = node();
    waits(&node, CLIENT);
    pair(&node, 11, 12, "");
    node.fd(CLIENT, 11);
    node.fd(SERVER, 12);
    // It encrypts the bytes for a server elsewhere.
    node.socket(1, "10.9.0.1:50000", "10.9.0.2:10809", ESTABLISHED, 31);
    node.fd(SERVER, 31);
    assert!(server(&node).is_err());
}

#[test]
fn an_end_that_several_processes_inherited_has_no_server() {
    let node = node();
    waits(&node, CLIENT);
    pair(&node, 11, 12, "/run/nbd.sock");
    node.fd(CLIENT, 11);
    node.fd(SERVER, 12);
    node.fd(OTHER, 12);
    assert!(server(&node).is_err());
}

#[test]
fn without_its_process_a_device_leads_where_the_only_socket_without_one_leads() {
    let node = node();
    ends_its_life(&node, CLIENT);
    assert!(server(&node).is_err());
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.socket(1, SERVER_ADDRESS, "0.0.0.0:0", LISTEN, 10);
    node.fd(SERVER, 12);
    node.fd(SERVER, 10);
    // Some other client's connection.
    connection(&node, "127.0.0.1:40002", "127.0.0.1:22", [21, 22]);
    node.fd(OTHER, 21);
    node.fd(OTHER, 22);
    assert_eq!(server(&node), Ok(tcp()));
    // Another client in the kernel, of which nothing is known.
    node.socket(1, "10.9.0.1:50000", "10.9.0.2:6789", ESTABLISHED, 31);
    assert!(server(&node).is_err());
}

#[test]
fn a_connection_that_is_closed_while_processes_are_read_is_nobodys() {
    let node = node();
    ends_its_life(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    let mut warnings = LookupWarnings::default();
    let (spaces, sysfs) = (
        Namespaces::walk(&node.path("proc"), &mut warnings).unwrap(),
        node.path("sys"),
    );
    let search = Search::new(&spaces, &sysfs, &[], BTreeSet::new(), read_peers);
    let (&net, pids) = spaces.nets.first_key_value().unwrap();
    let mut seen = tables::all(&spaces, pids, |inode| inode == 11).unwrap();
    let mut closed = seen.tcp[0];
    closed.inode = 13;
    seen.tcp.push(closed);
    let left = search.orphans_among(net, seen, &BTreeMap::new()).unwrap();
    let inodes: Vec<_> = left.tcp.iter().map(|socket| socket.inode).collect();
    assert_eq!(inodes, [11]);
}

#[test]
fn the_sockets_of_nfs_smb_iscsi_and_the_kernels_servers_are_not_a_devices() {
    let node = node();
    ends_its_life(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(SERVER, 12);
    node.nfs_mount(1, "0:29", "10.9.0.2:2049");
    node.socket(1, "10.9.0.1:801", "10.9.0.2:2049", ESTABLISHED, 31);
    node.socket(1, "10.9.0.1:50000", "10.9.0.3:445", ESTABLISHED, 32);
    node.socket(1, "10.9.0.1:50002", "10.9.0.4:3260", ESTABLISHED, 33);
    node.sysfs("class/iscsi_connection/connection1:0/address", "10.9.0.4\n");
    node.sysfs("class/iscsi_connection/connection1:0/port", "3260\n");
    node.socket(1, "0.0.0.0:2049", "0.0.0.0:0", LISTEN, 34);
    node.socket(1, "10.9.0.1:2049", "10.9.0.5:700", ESTABLISHED, 35);
    assert_eq!(server(&node), Ok(tcp()));
}

#[test]
fn without_its_process_a_unix_socket_leads_to_the_server_too() {
    let node = node();
    ends_its_life(&node, CLIENT);
    pair(&node, 11, 12, "/run/nbd.sock");
    node.fd(SERVER, 12);
    assert_eq!(server(&node), Ok(Place::Process(SERVER)));
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [21, 22]);
    assert!(server(&node).is_err());
}

#[test]
fn a_process_that_keeps_the_other_end_of_the_kernels_socket_is_the_server() {
    let node = node();
    pair(&node, 11, 12, "");
    node.fd(CLIENT, 12);
    assert_eq!(server(&node), Ok(Place::Process(CLIENT)));
}

#[test]
fn a_process_with_a_pair_of_its_own_that_does_not_wait_in_the_device_is_not_its_server() {
    // Its id may be that of the client, which has ended.
    let node = node();
    pair(&node, 11, 12, "");
    node.fd(CLIENT, 11);
    node.fd(CLIENT, 12);
    assert!(server(&node).is_err());
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [21, 22]);
    node.fd(CLIENT, 21);
    assert!(server(&node).is_err());
}

/// When the device was set up: 60 ticks before its client, as a test has it, was started.
const SET_UP: u64 = 1010;

/// A process that serves the device, or another one, over the socket 12, and whose own connection
/// leads elsewhere. Other sockets that no process holds lead to two servers.
fn shown_with_connections() -> Node {
    let node = node();
    pair(&node, 11, 12, "");
    node.fd(CLIENT, 12);
    connection(&node, "127.0.0.1:40000", "127.0.0.1:22", [21, 22]);
    node.fd(CLIENT, 21);
    node.fd(OTHER, 22);
    connection(&node, "127.0.0.1:40002", SERVER_ADDRESS, [31, 32]);
    node.fd(SERVER, 32);
    node
}

#[test]
fn a_process_that_set_the_device_up_and_has_the_kernels_other_end_serves_it() {
    // Whether it is the one is unknown.
    assert!(server(&shown_with_connections()).is_err());
    for (thread, ticks) in [
        ("knbd0-recv", 2000),
        ("nbd0-recv", 5),
        ("kworker/R-nbd0-", 5),
    ] {
        let node = shown_with_connections();
        node.kernel_thread(60, thread, ticks);
        assert_eq!(server(&node), Ok(Place::Process(CLIENT)), "{thread}");
    }
}

#[test]
fn a_process_that_started_after_the_device_was_set_up_is_another() {
    let node = shown_with_connections();
    node.kernel_thread(60, "knbd0-recv", SET_UP);
    assert!(server(&node).is_err(), "two servers are possible");
    let text = fs::read_to_string(node.path("proc/1/net/unix")).unwrap();
    let kept = text.lines().filter(|line| !line.contains(" 03 1"));
    let kept: Vec<_> = kept.collect();
    fs::write(node.path("proc/1/net/unix"), kept.join("\n")).unwrap();
    assert_eq!(server(&node), Ok(tcp()), "its own connection is not");
    // Within the same tick the order is unknown.
    node.started(60, "knbd0-recv", 2, 1000 + u64::from(CLIENT));
    assert!(server(&node).is_err());
    node.started(60, "knbd0-recv", 2, SET_UP);
    waits(&node, CLIENT);
    assert_eq!(server(&node), Ok(tcp()), "whatever it does with the device");
}

#[test]
fn a_name_alone_does_not_make_a_thread_of_the_driver() {
    let node = shown_with_connections();
    node.process(60, "knbd0-recv", 20, 30);
    node.started(60, "knbd0-recv", 1, 2000);
    assert!(server(&node).is_err());
    // A kernel that starts it for all devices, before one is set up.
    node.kernel_thread(61, "knbd0-recv", 2000);
    node.kernel_thread(62, "knbd1-recv", 2000);
    assert!(server(&node).is_err());
}

/// The servers of devices from round to round.
fn find(node: &Node, servers: &mut Servers, devices: &[(&str, u64, u32)]) -> Vec<Option<Place>> {
    let (mut warnings, sysfs) = (LookupWarnings::default(), node.path("sys"));
    let spaces = Namespaces::walk(&node.path("proc"), &mut warnings).unwrap();
    let connected = devices.iter().map(|(name, inode, tid)| Connected {
        key: ((*name).into(), *inode),
        bdi: "43:0".into(),
        tid: *tid,
    });
    let connected: Vec<_> = connected.collect();
    servers.find(&spaces, &sysfs, &connected, read_peers);
    let servers = connected.iter().map(|one| servers.known.get(&one.key));
    servers.map(Option::<&Place>::cloned).collect()
}

/// A node on which the client has ended, and the kernel's socket 11 leads to the server.
fn netlink() -> Node {
    let node = node();
    ends_its_life(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(SERVER, 12);
    node
}

fn close(node: &Node, table: &str, inode: u64) {
    let table = node.path(&format!("proc/1/net/{table}"));
    let text = fs::read_to_string(&table).unwrap();
    let inode = format!(" {inode} ");
    let left: Vec<_> = text.lines().filter(|l| !l.contains(&inode)).collect();
    fs::write(table, left.join("\n") + "\n").unwrap();
}

#[test]
fn a_known_server_stays_while_the_kernels_socket_leads_to_it() {
    let (node, mut servers) = (netlink(), Servers::default());
    assert_eq!(
        find(&node, &mut servers, &[("nbd0", 1, CLIENT)]),
        [Some(tcp())]
    );
    // A search would have no answer, and sysfs shows another process.
    node.socket(1, "10.9.0.1:50000", "10.9.0.2:6789", ESTABLISHED, 41);
    node.socket(1, "10.9.0.1:50002", "10.9.0.2:22", ESTABLISHED, 42);
    node.fd(OTHER, 42);
    assert_eq!(
        find(&node, &mut servers, &[("nbd0", 1, OTHER)]),
        [Some(tcp())]
    );
    assert_eq!(
        find(&node, &mut Servers::default(), &[("nbd0", 1, OTHER)]),
        [None]
    );
    close(&node, "tcp", 11);
    assert_eq!(find(&node, &mut servers, &[("nbd0", 1, OTHER)]), [None]);
}

#[test]
fn a_device_that_was_connected_to_another_server_between_two_rounds_has_that() {
    let (node, mut servers) = (netlink(), Servers::default());
    find(&node, &mut servers, &[("nbd0", 1, CLIENT)]);
    close(&node, "tcp", 11);
    let other = "127.0.0.1:10999";
    connection(&node, "127.0.0.1:40002", other, [21, 22]);
    node.fd(OTHER, 22);
    let other = Some(Place::Tcp(other.parse().unwrap()));
    // The socket was replaced, or the device was set up anew.
    assert_eq!(find(&node, &mut servers, &[("nbd0", 1, CLIENT)]), [other]);
    connection(&node, "127.0.0.1:40004", SERVER_ADDRESS, [31, 32]);
    node.fd(SERVER, 32);
    assert_eq!(find(&node, &mut servers, &[("nbd0", 2, CLIENT)]), [None]);
}

#[test]
fn a_server_that_restarted_or_whose_id_is_anothers_is_not_known_any_more() {
    let node = node();
    ends_its_life(&node, CLIENT);
    pair(&node, 11, 12, "/run/nbd.sock");
    node.fd(SERVER, 12);
    let mut servers = Servers::default();
    let devices = [("nbd0", 1, CLIENT)];
    assert_eq!(
        find(&node, &mut servers, &devices),
        [Some(Place::Process(SERVER))]
    );
    node.started(SERVER, "server", 1, 9000);
    node.fd(OTHER, 12);
    fs::remove_file(node.path(&format!("proc/{SERVER}/fd/12"))).unwrap();
    assert_eq!(
        find(&node, &mut servers, &devices),
        [Some(Place::Process(OTHER))]
    );
    fs::remove_file(node.path(&format!("proc/{OTHER}/fd/12"))).unwrap();
    assert_eq!(find(&node, &mut servers, &devices), [None]);
}

#[test]
fn a_known_process_in_the_device_stays_until_it_has_another_socket() {
    let (node, mut servers) = (node(), Servers::default());
    waits(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(CLIENT, 11);
    let devices = [("nbd0", 1, CLIENT)];
    assert_eq!(find(&node, &mut servers, &devices), [Some(tcp())]);
    connection(&node, "127.0.0.1:40002", "127.0.0.1:22", [21, 22]);
    node.fd(CLIENT, 21);
    assert_eq!(find(&node, &mut servers, &devices), [Some(tcp())]);
    fs::remove_file(node.path(&format!("proc/{CLIENT}/fd/11"))).unwrap();
    let other = Place::Tcp("127.0.0.1:22".parse().unwrap());
    assert_eq!(find(&node, &mut servers, &devices), [Some(other)]);
}

#[test]
fn a_device_that_is_set_up_later_has_the_server_of_the_new_socket() {
    let (node, mut servers) = (netlink(), Servers::default());
    let (first, second) = (("nbd0", 1, CLIENT), ("nbd1", 2, CLIENT));
    find(&node, &mut servers, &[first]);
    connection(&node, "127.0.0.1:40002", "127.0.0.1:10999", [21, 22]);
    node.fd(OTHER, 22);
    let other = Place::Tcp("127.0.0.1:10999".parse().unwrap());
    let both = [Some(tcp()), Some(other)];
    assert_eq!(find(&node, &mut servers, &[first, second]), both);
    // Without what was known, either may be either's.
    assert_eq!(
        find(&node, &mut Servers::default(), &[first, second]),
        [None, None]
    );
}

#[test]
fn a_search_without_an_answer_is_made_ever_more_seldom_until_something_changes() {
    let (node, mut servers) = (node(), Servers::default());
    ends_its_life(&node, CLIENT);
    let devices = [("nbd0", 1, CLIENT)];
    for _ in 0..3 {
        assert_eq!(find(&node, &mut servers, &devices), [None]);
    }
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(SERVER, 12);
    for _ in 0..4 {
        assert_eq!(find(&node, &mut servers, &devices), [None]);
    }
    assert_eq!(find(&node, &mut servers, &devices), [Some(tcp())]);
    let (mut servers, gone) = (Servers::default(), [("nbd0", 1, 71)]);
    fs::remove_file(node.path("proc/1/net/unix")).unwrap();
    for _ in 0..3 {
        assert_eq!(find(&node, &mut servers, &devices), [None]);
    }
    node.append(1, "net/unix", "");
    assert_eq!(find(&node, &mut servers, &gone), [Some(tcp())]);
}

#[test]
fn an_incomplete_search_has_no_answer_and_that_is_reported() {
    let node = node();
    ends_its_life(&node, CLIENT);
    connection(&node, "127.0.0.1:40000", SERVER_ADDRESS, [11, 12]);
    node.fd(SERVER, 12);
    fs::remove_file(node.path("proc/1/net/unix")).unwrap();
    assert!(server(&node).is_err());
    let topology = node.reader(&[]).round(&LookupRequest::default());
    assert!(topology.served.is_empty());
    let said = topology.incomplete.join(" ");
    assert!(
        said.contains("The server of /dev/nbd0 is unknown"),
        "{said}"
    );
}

#[test]
fn a_device_without_a_connection_is_left_out() {
    let node = node();
    fs::remove_file(node.path("sys/block/nbd0/pid")).unwrap();
    let topology = node.reader(&[]).round(&LookupRequest::default());
    assert!(topology.served.is_empty() && topology.incomplete.is_empty());
}

#[test]
fn only_connected_streams_are_read() {
    let line =
        |kind, state, inode| format!("0: 00000003 00000000 00000000 {kind} {state} {inode} /run/x");
    let one = Unix {
        inode: 42,
        named: true,
    };
    assert_eq!(unix(&line("0001", "03", "42")), Some(one));
    for no in [
        line("0002", "03", "42"),
        line("0001", "01", "42"),
        line("0001", "03", "0"),
    ] {
        assert_eq!(unix(&no), None);
    }
    assert_eq!(
        unix("Num       RefCount Protocol Flags    Type St Inode Path"),
        None
    );
}

fn ends() -> impl Strategy<Value = Ends> {
    let address = (1u8..4).prop_map(|last| format!("10.0.0.{last}:10809").parse().unwrap());
    let tcp = prop::collection::btree_set(address, 0..3);
    let unix = prop::collection::btree_map(1u32..4, Just(BTreeMap::from([(7, 9)])), 0..3);
    (any::<bool>(), tcp, unix).prop_map(|(own, tcp, unix)| Ends { own, tcp, unix })
}

proptest! {
    #[test]
    fn there_is_an_answer_exactly_if_one_is_possible(ends in ends()) {
        let possible = usize::from(ends.own) + ends.tcp.len() + ends.unix.len();
        prop_assert_eq!(choose(9, &ends).is_ok(), possible == 1);
    }

    #[test]
    fn no_line_of_unix_sockets_makes_the_parser_panic(line in "[0-9a-f: /é]{0,60}") {
        if let Some(one) = unix(&line) {
            prop_assert!(line.contains(&one.inode.to_string()) && one.inode != 0);
        }
    }
}
