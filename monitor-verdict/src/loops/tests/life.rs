//! How loops come and go.

use super::host::{BDI, Host, connection, mount};
use crate::loops::LoopChange::{Appeared, Ended};
use crate::loops::Proof;
use crate::observation::ThreadState;

#[test]
fn a_mount_whose_server_moves_here_makes_the_node_its_own_client() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(10, 5, 0).seconds(30, 0, 0);
    host.seconds(5, 20, 20);
    let one = host.found().expect("a loop");
    assert!(one.became_own_client);
    let message = &host.events[0].message;
    let words = "this node has become its own NFS client: 0:29 (10.9.0.2:/ at /mnt) was served by \
                 another host and is served by this node's nfsd now (its calls are seen to be \
                 served here): nfsd's exemption";
    assert!(message.starts_with(words), "{message}");
}

#[test]
fn a_server_that_moves_here_and_stands_still_at_once_is_told_by_its_connection() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(20, 100, 0);
    host.threads(ThreadState::Blocked);
    host.second(2, 2);
    assert!(host.found().is_none(), "by two calls alone");
    host.look_up(|here| here.connections.push(connection("nfsd")));
    host.seconds(3, 0, 0);
    let one = host.found().expect("a loop");
    assert_eq!(one.proof, Proof::Socket);
    assert!(!one.became_own_client, "its calls will say that");
}

#[test]
fn a_connection_does_not_excuse_the_calls_that_go_elsewhere_after_it() {
    let mut host = Host::new();
    host.look_up(|here| here.connections.push(connection("nfsd")));
    host.seconds(20, 100, 0);
    assert!(host.found().is_none());
    host.look_up(|here| here.connections.push(connection("nfsd")));
    host.seconds(20, 100, 0);
    assert!(host.found().is_none(), "it is the one of before");
}

#[test]
fn a_mount_that_was_served_here_from_the_first_call_is_no_such_node() {
    let mut host = Host::new();
    host.seconds(10, 5, 5);
    assert!(!host.found().expect("a loop").became_own_client);
}

#[test]
fn a_server_that_moves_away_and_back_makes_it_its_own_client_again() {
    let mut host = Host::new();
    host.seconds(10, 20, 20)
        .seconds(60, 20, 0)
        .seconds(60, 20, 20);
    assert_eq!(host.changes(), [Appeared, Ended, Appeared]);
    assert!(host.found().expect("a loop").became_own_client);
}

#[test]
fn a_loop_ends_with_its_mount_and_not_with_one_torn_look_up() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(5, 10, 10);
    host.look_up(|t| t.mounts.clear()).seconds(8, 0, 0);
    host.look_up(|_| ()).seconds(20, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
    host.look_up(|t| t.mounts.clear()).seconds(11, 0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
    assert_eq!(
        host.events[1].message,
        "0:29 (10.9.0.2:/ at /mnt) is no loop with nfsd any more: it is no longer mounted"
    );
    assert_eq!(host.loops.found(), []);
}

#[test]
fn a_mount_that_no_look_up_sees_is_there_while_it_writes_or_hangs() {
    let mut host = Host::new();
    host.look_up(|t| t.mounts.clear()).seconds(2, 10, 10);
    for _ in 0..30 {
        host.now.clients[0].writes_sent += 1;
        host.now.clients[0].last_sent_ns = host.now.monotonic_ns;
        host.look_up(|t| t.mounts.clear()).second(1, 1);
    }
    host.seconds(60, 0, 0);
    assert_eq!(host.changes(), [Appeared], "its writes are unanswered");
    host.now.clients[0].writes_acked = host.now.clients[0].writes_sent;
    host.seconds(11, 0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn a_mount_younger_than_the_look_up_is_not_missed_in_it() {
    let mut host = Host::new();
    host.now.clients.clear();
    host.look_up(|t| t.mounts.clear()).seconds(5, 0, 0);
    host.now.clients = Host::new().now.clients;
    host.second(10, 10).seconds(60, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn another_server_under_the_same_device_number_is_another_loop() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(5, 10, 10);
    host.look_up(|t| t.mounts[0].server = Some(([10, 9, 0, 3], 2049).into()));
    host.second(0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
    host.seconds(4, 5, 5);
    assert_eq!(host.changes(), [Appeared, Ended, Appeared]);
}

#[test]
fn a_loop_is_told_as_soon_as_it_is_known_where_it_is_or_a_little_later_all_the_same() {
    let mut host = Host::new();
    host.seconds(2, 5, 5);
    assert!(host.found().is_some() && host.events.is_empty());
    host.look_up(|t| t.connections = vec![connection("nfsd")]);
    host.second(5, 5);
    assert_eq!(host.changes(), [Appeared]);
    assert!(host.events[0].message.contains("/mnt"), "{:?}", host.events);
    let mut host = Host::new();
    host.seconds(4, 5, 5);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn an_idle_client_closes_its_connection_and_stays_a_loop() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("ganesha.nfsd")])
        .second(0, 0);
    for _ in 0..10 {
        host.look_up(|_| ()).seconds(30, 0, 0);
    }
    assert_eq!(host.changes(), [Appeared]);
    // It writes again, and its connection is found nowhere here.
    for _ in 0..3 {
        host.now.clients[0].last_sent_ns = host.now.monotonic_ns;
        host.look_up(|_| ()).seconds(5, 0, 0);
    }
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn a_listener_that_one_look_up_misses_is_not_gone() {
    let mut host = Host::new();
    let listens = |t: &mut crate::observation::Topology| t.mounts[0].listener = Some("nfsd".into());
    host.look_up(listens).second(0, 0);
    host.look_up(|_| ()).seconds(8, 0, 0);
    host.look_up(listens).seconds(20, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
    host.look_up(|_| ()).seconds(11, 0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn another_server_on_this_node_is_another_loop_at_once() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("unfsd")])
        .second(0, 0);
    host.look_up(|t| t.connections = vec![connection("ganesha.nfsd")])
        .second(0, 0);
    assert_eq!(host.changes(), [Appeared, Ended, Appeared]);
    let found: Vec<_> = host.loops.found().iter().map(|l| l.id.as_str()).collect();
    assert_eq!(found, ["0:29-ganesha.nfsd"]);
}

#[test]
fn loops_are_in_the_order_of_their_devices_and_each_its_own() {
    let mut host = Host::new();
    host.look_up(|t| {
        t.mounts = ["0:31", BDI, "0:30"].map(mount).to_vec();
        t.connections = vec![connection("unfsd")];
        t.mounts[2].netns = Some(99);
    });
    host.second(3, 3);
    let found: Vec<_> = host.loops.found().iter().collect();
    let ids: Vec<_> = found
        .iter()
        .map(|one| (one.id.as_str(), one.proof))
        .collect();
    assert_eq!(
        ids,
        [("0:29-nfsd", Proof::Xid), ("0:31-unfsd", Proof::Socket)]
    );
}

#[test]
fn an_observation_that_comes_twice_or_from_the_past_changes_nothing() {
    let mut host = Host::new();
    host.seconds(5, 10, 10);
    let before = host.loops.found().to_vec();
    let again = host.now.clone();
    assert_eq!(host.loops.observe(&again), []);
    assert_eq!(host.loops.found(), before);
    host.now.monotonic_ns = 5;
    host.seconds(30, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
}
