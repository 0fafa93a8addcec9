//! Who serves behind a process that may relay, on made-up nodes.

use std::collections::{BTreeMap, BTreeSet};

use monitor_model::observation::{Proof, Topology};

use super::node::{ESTABLISHED, LISTEN, Node};
use crate::topology::connections::{Connections, Found};
use crate::topology::namespaces::Namespaces;
use crate::topology::round::{Round, Tables};
use crate::topology::warnings::LookupWarnings;
use crate::topology::{LookupRequest, served};

/// A mount of 127.0.0.1:2049, where process 7 listens, and an nfsd at 10.9.0.2 in the namespace of
/// process 50.
fn through(comm: &str) -> Node {
    let node = Node::new();
    node.nfsd_loaded();
    node.process(50, "server-pod", 21, 31);
    node.process(7, comm, 20, 30);
    node.nfs_mount(1, "0:29", "127.0.0.1:2049");
    node.address(1, "127.0.0.1");
    node.address(1, "10.9.0.1");
    node.address(50, "10.9.0.2");
    node.socket(1, "127.0.0.1:2049", "0.0.0.0:0", LISTEN, 700);
    node.socket(1, "127.0.0.1:801", "127.0.0.1:2049", ESTABLISHED, 900);
    node.socket(1, "127.0.0.1:2049", "127.0.0.1:801", ESTABLISHED, 701);
    node.fd(7, 700);
    node.fd(7, 701);
    node
}

/// Connects process 7 to a server, from this port.
fn connected(node: &Node, port: u16, server: &str) {
    let own = format!("10.9.0.1:{port}");
    node.socket(1, &own, server, ESTABLISHED, port.into());
    node.fd(7, port.into());
    if server.starts_with("10.9.0.2:") {
        node.socket(50, server, &own, ESTABLISHED, u64::from(port) + 1);
    }
}

fn round(node: &Node) -> Topology {
    node.reader(&["ganesha.nfsd"])
        .round(&LookupRequest::default())
}

fn said(topology: &Topology) -> Vec<String> {
    let connections = topology.connections.iter().map(|c| {
        let relays: Vec<_> = c.relays.iter().map(|one| &*one.name).collect();
        format!("{} in {} by {relays:?}", c.owner, c.server_netns)
    });
    let far_ends = topology.far_ends.iter();
    connections
        .chain(far_ends.map(|end| format!("may relay: {}", end.name)))
        .collect()
}

#[test]
fn a_relay_leads_to_the_server_that_all_its_connections_lead_to() {
    let node = through("stunnel");
    connected(&node, 5000, "10.9.0.2:2049");
    connected(&node, 5002, "10.9.0.2:2049");
    // Its log, for instance.
    connected(&node, 5004, "203.0.113.1:514");
    let topology = round(&node);
    assert_eq!(said(&topology), [r#"nfsd in 31 by ["stunnel"]"#]);
    let connection = &topology.connections[0];
    assert_eq!(connection.server, "127.0.0.1:2049".parse().unwrap());
    assert_eq!(connection.relays[0].tgid, Some(7));
    assert_eq!(connection.proof, Proof::Socket);
    assert_eq!(topology.server_processes, []);
}

#[test]
fn a_relay_with_one_connection_to_another_host_may_lead_there() {
    let node = through("stunnel");
    connected(&node, 5000, "10.9.0.2:2049");
    connected(&node, 5002, "203.0.113.1:2049");
    assert_eq!(said(&round(&node)), ["may relay: stunnel"]);
}

#[test]
fn a_process_with_any_connection_may_relay_over_that() {
    let node = through("ssh");
    connected(&node, 5000, "203.0.113.1:22");
    assert_eq!(said(&round(&node)), ["may relay: ssh"]);
}

#[test]
fn a_relay_is_recognised_by_the_server_that_it_leads_to_whatever_the_port() {
    let node = through("stunnel");
    connected(&node, 5000, "10.9.0.2:20049");
    assert_eq!(said(&round(&node)), [r#"nfsd in 31 by ["stunnel"]"#]);
}

#[test]
fn who_listens_and_is_connected_to_nobody_may_be_a_relay_whose_server_is_gone() {
    assert_eq!(said(&round(&through("zerofs"))), ["may relay: zerofs"]);
}

#[test]
fn who_does_not_listen_any_more_may_relay_by_other_means() {
    let node = through("socat");
    std::fs::remove_file(node.path("proc/7/fd/700")).unwrap();
    assert_eq!(said(&round(&node)), ["may relay: socat"]);
}

#[test]
fn relays_in_a_row_are_followed_and_a_circle_ends() {
    let node = through("stunnel");
    node.process(8, "efs-proxy", 20, 30);
    node.socket(1, "10.9.0.1:2050", "0.0.0.0:0", LISTEN, 710);
    node.socket(1, "10.9.0.1:5000", "10.9.0.1:2050", ESTABLISHED, 5000);
    node.socket(1, "10.9.0.1:2050", "10.9.0.1:5000", ESTABLISHED, 711);
    node.fd(7, 5000);
    for inode in [710, 711] {
        node.fd(8, inode);
    }
    assert_eq!(
        said(&round(&node)),
        ["may relay: stunnel"],
        "to a port that is not NFS"
    );
    let own = "10.9.0.1:5001";
    node.socket(1, own, "10.9.0.2:2050", ESTABLISHED, 5001);
    node.socket(50, "10.9.0.2:2050", own, ESTABLISHED, 5002);
    node.fd(8, 5001);
    node.socket(1, "10.9.0.1:6000", "127.0.0.1:2049", ESTABLISHED, 6000);
    node.socket(1, "127.0.0.1:2049", "10.9.0.1:6000", ESTABLISHED, 6001);
    node.fd(7, 6000);
    node.fd(7, 6001);
    let both = ["may relay: stunnel"; 2];
    assert_eq!(said(&round(&node)), both, "to itself");
}

#[test]
fn a_relay_in_front_of_a_relay_leads_to_the_last_server() {
    let node = through("stunnel");
    node.process(8, "efs-proxy", 20, 30);
    node.socket(1, "10.9.0.1:2049", "0.0.0.0:0", LISTEN, 710);
    node.socket(1, "10.9.0.1:5000", "10.9.0.1:2049", ESTABLISHED, 5000);
    node.socket(1, "10.9.0.1:2049", "10.9.0.1:5000", ESTABLISHED, 711);
    node.fd(7, 5000);
    for inode in [710, 711] {
        node.fd(8, inode);
    }
    node.socket(1, "10.9.0.1:5001", "10.9.0.2:2049", ESTABLISHED, 5001);
    node.socket(50, "10.9.0.2:2049", "10.9.0.1:5001", ESTABLISHED, 5002);
    node.fd(8, 5001);
    assert_eq!(
        said(&round(&node)),
        [r#"nfsd in 31 by ["stunnel", "efs-proxy"]"#]
    );
}

/// The servers at an address that no NFS mount has.
fn at(node: &Node, address: &str) -> Found {
    let mut warnings = LookupWarnings::default();
    let spaces = Namespaces::walk(&node.path("proc"), &mut warnings).unwrap();
    let mut round = Round {
        spaces: &spaces,
        nfsd: false,
        exporting: BTreeSet::new(),
        tables: Tables::default(),
        warnings: &mut warnings,
    };
    let places = BTreeSet::from([address.parse().unwrap()]);
    let peers = BTreeSet::new();
    Connections::new(&[]).read(&mut round, &mut [], &[], &peers, &places)
}

#[test]
fn the_server_of_another_protocol_is_found_in_any_namespace() {
    let node = Node::new();
    node.process(50, "client-pod", 21, 31);
    node.process(51, "smbd", 22, 31);
    node.address(50, "127.0.0.1");
    node.socket(50, "0.0.0.0:445", "0.0.0.0:0", LISTEN, 700);
    node.socket(50, "127.0.0.1:801", "127.0.0.1:445", ESTABLISHED, 900);
    node.socket(50, "127.0.0.1:445", "127.0.0.1:801", ESTABLISHED, 901);
    node.socket(50, "127.0.0.1:802", "203.0.113.1:389", ESTABLISHED, 902);
    assert_eq!(at(&node, "127.0.0.1:445").places.len(), 1, "the kernel's");
    // One process for each connection, and it asks a directory.
    node.fd(51, 901);
    node.fd(51, 902);
    let found = at(&node, "127.0.0.1:445");
    let place = &found.places[&"127.0.0.1:445".parse().unwrap()];
    let process = place.process.as_ref().unwrap();
    assert_eq!((process.tgid, &*process.name), (51, "smbd"));
    assert_eq!((place.client_netns, place.server_netns), (31, 31));
    assert_eq!(place.proof, Proof::Socket);
    assert_eq!(at(&node, "127.0.0.1:446").places, BTreeMap::new());
    // Another connection, to another process: which is which device's is unknown.
    node.process(52, "smbd", 22, 31);
    node.socket(50, "127.0.0.1:803", "127.0.0.1:445", ESTABLISHED, 903);
    node.socket(50, "127.0.0.1:445", "127.0.0.1:803", ESTABLISHED, 904);
    node.fd(52, 904);
    assert_eq!(at(&node, "127.0.0.1:445").places, BTreeMap::new());
}

#[test]
fn the_kernels_server_of_a_disk_is_the_devices_target() {
    use monitor_model::observation::{ClientKind, ServerKind};
    use served::{Device, Graph, Memory, NodeFiles, Place, Target};

    let node = Node::new();
    node.address(1, "127.0.0.1");
    node.socket(1, "127.0.0.1:801", "127.0.0.1:3260", ESTABLISHED, 900);
    node.socket(1, "127.0.0.1:3260", "127.0.0.1:801", ESTABLISHED, 901);
    let device = |kind, target: Option<&str>| Device {
        bdi: "8:0".into(),
        kind,
        name: "/dev/sda".into(),
        server: Place::Tcp("[::ffff:127.0.0.1]:3260".parse().unwrap()),
        target: target.map(|name| Target {
            name: name.into(),
            files: None,
        }),
    };
    let devices = vec![device(ClientKind::Scsi, Some("lio"))];
    let addresses = served::addresses(&devices);
    assert_eq!(addresses, ["127.0.0.1:3260".parse().unwrap()].into());
    let places = at(&node, "127.0.0.1:3260").places;
    let mut warnings = LookupWarnings::default();
    let spaces = Namespaces::walk(&node.path("proc"), &mut warnings).unwrap();
    let mut files = NodeFiles {
        sysfs: &node.path("sys"),
        spaces: &spaces,
        file_systems: &[],
        smb: &[],
        memory: &mut Memory::default(),
        warnings: &mut warnings,
    };
    let graph = Graph::of(devices, &places, &mut files);
    let served = &graph.served[0];
    assert_eq!(
        (&*served.server.name, served.server.kind),
        ("lio", ServerKind::Target)
    );
    assert_eq!(
        (&*served.address, served.client_netns),
        ("127.0.0.1:3260", Some(30))
    );
    let graph = Graph::of(vec![device(ClientKind::Nbd, None)], &places, &mut files);
    assert_eq!(graph.served, [], "the kernel serves no NBD");
}

#[test]
fn a_device_whose_connection_leads_to_no_process_of_this_node_is_remote() {
    use monitor_model::observation::{ClientKind, RemoteDevice};
    use served::{Device, Place};

    let node = Node::new();
    node.address(1, "127.0.0.1");
    node.address(1, "10.7.0.1");
    let device = |address: &str| Device {
        bdi: "8:0".into(),
        kind: ClientKind::Scsi,
        name: "/dev/sda".into(),
        server: Place::Tcp(address.parse().unwrap()),
        target: None,
    };
    let remote = |address: &str| {
        let far = at(&node, address).far_places;
        served::remote(&[device(address)], &far)
    };
    assert_eq!(remote("10.7.0.2:3260"), [], "no connection");
    node.socket(1, "10.7.0.1:801", "10.7.0.2:3260", ESTABLISHED, 900);
    let expected = RemoteDevice {
        bdi: "8:0".into(),
        kind: ClientKind::Scsi,
        name: "/dev/sda".into(),
        address: "10.7.0.2:3260".into(),
    };
    assert_eq!(remote("10.7.0.2:3260"), [expected]);
    // An end on this node, whoever has it.
    node.process(51, "smbd", 20, 30);
    node.socket(1, "10.7.0.1:802", "10.7.0.1:445", ESTABLISHED, 901);
    node.socket(1, "10.7.0.1:445", "10.7.0.1:802", ESTABLISHED, 902);
    assert_eq!(remote("10.7.0.1:445"), []);
    node.fd(51, 902);
    assert_eq!(remote("10.7.0.1:445"), []);
    node.socket(1, "127.0.0.1:803", "127.0.0.1:10809", ESTABLISHED, 903);
    assert_eq!(remote("127.0.0.1:10809"), [], "it is on this node");
}
