//! Tests of how loops begin and end.

use monitor_model::{
    loops::{
        LoopChange::{Appeared, Ended},
        Proof,
    },
    observation::{OpenCalls, ServerExit, ThreadState, Topology},
};

use super::host::{BDI, Host, connection, mount};
use crate::loops::MAX_LOOPS;

#[test]
fn a_mount_whose_server_moves_here_makes_the_node_its_own_client() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(10, 5, 0).seconds(30, 0, 0);
    host.seconds(5, 20, 20);
    let one = host.found().expect("a loop");
    assert!(one.became_own_client);
    let message = &host.events[0].message;
    let words = "this node has become its own NFS client: 0:29 (10.9.0.2:/ at /mnt) was served by \
                 another host and is served by this node's nfsd now (its calls are served here, as observed): whether nfsd is exempt";
    assert!(message.starts_with(words), "{message}");
}

#[test]
fn a_server_that_moves_here_and_stalls_at_once_is_found_by_its_connection() {
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
fn that_nfsd_listens_does_not_excuse_calls_that_go_elsewhere() {
    let mut host = Host::new();
    host.seconds(20, 100, 0);
    host.look_up(|_| ()).second(0, 0);
    host.look_up(|t| t.mounts[0].listener = Some("nfsd".into()))
        .second(0, 0);
    assert_eq!(host.found(), None);
}

#[test]
fn a_connection_excuses_no_calls_that_were_not_judged_yet() {
    let mut host = Host::new();
    host.second(0, 0).second(15, 0);
    host.look_up(|here| here.connections.push(connection("nfsd")));
    host.second(0, 0);
    assert!(host.found().is_some(), "fifteen are not enough");
    host.second(1, 0);
    assert_eq!(host.found(), None);
}

#[test]
fn eight_calls_elsewhere_before_the_first_here_make_a_node_its_own_client() {
    for (elsewhere, became) in [(7, false), (8, true)] {
        let mut host = Host::new();
        host.look_up(|_| ()).second(0, 0).second(elsewhere, 0);
        host.seconds(60, 0, 0).seconds(3, 7, 7);
        let one = host.found().expect("a loop");
        assert_eq!(one.became_own_client, became, "{elsewhere}");
    }
}

#[test]
fn a_mount_served_here_from_the_first_call_did_not_become_its_own_client() {
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
        "0:29 (10.9.0.2:/ at /mnt) is no longer a loop with nfsd: it is no longer mounted"
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
    assert_eq!(host.found(), None, "the calls were to another server");
    host.seconds(4, 5, 5);
    assert_eq!(host.changes(), [Appeared, Ended, Appeared]);
}

#[test]
fn a_server_that_changes_with_each_look_up_is_another_one_each_time() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(5, 10, 10);
    for other in [3, 4] {
        host.look_up(|t| t.mounts[0].server = Some(([10, 9, 0, other], 2049).into()));
        host.second(5, 5);
        let since_ms = host.found().map(|one| one.since_ms);
        assert_eq!(since_ms, Some(host.now.monotonic_ns / 1_000_000));
    }
    assert_eq!(host.changes(), [Appeared, Ended], "one was never told");
    host.seconds(3, 5, 5);
    assert_eq!(host.changes(), [Appeared, Ended, Appeared]);
    assert_eq!(host.events[2].unix_ms, host.now.unix_ms);
    assert_eq!(
        host.events[2].monotonic_ms,
        host.now.monotonic_ns / 1_000_000
    );
}

#[test]
fn a_loop_with_a_known_mount_and_an_unknown_scope_is_reported_later() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(3, 5, 5);
    assert!(host.found().is_some_and(|one| !one.mounts.is_empty()));
    assert_eq!(host.changes(), []);
    host.second(5, 5);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn a_mount_that_was_listed_is_missed_ten_seconds_after_its_last_sign_of_life() {
    let mut host = Host::new();
    host.look_up(|_| ()).seconds(5, 10, 10);
    host.look_up(|t| t.mounts.clear());
    for _ in 0..30 {
        host.second(1, 1);
        host.now.clients[0].last_acked_ns = host.now.monotonic_ns;
    }
    host.seconds(19, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
    host.second(0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn just_after_the_boot_a_mount_that_never_wrote_shows_no_sign_of_life() {
    let mut host = Host::new();
    host.now.monotonic_ns = 0;
    host.look_up(|_| ()).seconds(3, 10, 10);
    host.look_up(|t| t.mounts.clear());
    host.seconds(10, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
    host.second(0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn a_loop_is_reported_once_it_is_located_or_after_a_delay() {
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
    // The client writes again, and no look-up finds its connection here.
    for _ in 0..3 {
        host.now.clients[0].last_sent_ns = host.now.monotonic_ns;
        host.look_up(|_| ()).seconds(5, 0, 0);
    }
    assert_eq!(host.changes(), [Appeared, Ended]);
}

#[test]
fn a_listener_that_one_look_up_misses_is_not_gone() {
    let mut host = Host::new();
    let listens = |t: &mut Topology| t.mounts[0].listener = Some("nfsd".into());
    host.look_up(listens).second(0, 0);
    host.look_up(|_| ()).seconds(8, 0, 0);
    host.look_up(listens).seconds(20, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
    host.look_up(|_| ()).seconds(11, 0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
    let message = &host.events[1].message;
    let why = "its server is no longer found on this node";
    assert!(message.ends_with(why), "{message}");
}

#[test]
fn a_connection_that_is_seen_again_is_as_young_as_that() {
    let mut host = Host::new();
    let connected = |t: &mut Topology| t.connections = vec![connection("unfsd")];
    host.look_up(connected).second(0, 0);
    host.now.clients[0].last_sent_ns = host.now.monotonic_ns;
    host.second(0, 0);
    host.look_up(connected).second(0, 0);
    host.look_up(|_| ()).seconds(60, 0, 0);
    assert_eq!(host.changes(), [Appeared], "it was closed when idle");
}

#[test]
fn a_connection_is_missed_once_the_client_wrote_or_called_after_it_was_seen() {
    let activities: [fn(&mut Host, u64); 3] = [
        |host, ns| host.now.clients[0].last_sent_ns = ns,
        |host, ns| host.now.clients[0].last_acked_ns = ns,
        |host, ns| host.now.rpc_clients[0].last_call_ns = ns,
    ];
    for activity in activities {
        for (after_ns, ended) in [(0, false), (1, true)] {
            let mut host = Host::new();
            host.look_up(|t| t.connections = vec![connection("unfsd")]);
            let seen_ns = host.now.monotonic_ns;
            host.second(0, 0);
            activity(&mut host, seen_ns + after_ns);
            host.look_up(|_| ()).seconds(15, 0, 0);
            assert_eq!(host.found().is_none(), ended, "{after_ns}");
        }
    }
}

#[test]
fn a_listening_server_replaces_a_connection_without_weakening_the_proof() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("unfsd")])
        .second(0, 0);
    host.look_up(|t| t.mounts[0].listener = Some("unfsd".into()))
        .second(0, 0);
    assert_eq!(host.found().expect("a loop").proof, Proof::Socket);
    host.look_up(|t| t.mounts[0].listener = Some("ganesha.nfsd".into()))
        .second(0, 0);
    let one = host.found().expect("a loop");
    assert_eq!((&*one.server, one.proof), ("ganesha.nfsd", Proof::Address));
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
fn mounts_that_are_no_loops_take_no_room_from_those_that_are() {
    let mut host = Host::new();
    host.look_up(|t| {
        t.mounts = (0..2 * MAX_LOOPS)
            .map(|n| mount(&format!("0:{}", 1000 + n)))
            .collect();
        t.mounts.iter_mut().for_each(|mount| mount.server = None);
        t.mounts.push(mount("1:5"));
    });
    host.now.rpc_clients[0].bdi = "1:5".into();
    host.seconds(3, 5, 5);
    let found: Vec<_> = host.loops.found().iter().map(|l| l.id.as_str()).collect();
    assert_eq!(found, ["1:5-nfsd"]);
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

#[test]
fn a_userspace_server_that_ended_is_reported_as_ended_and_not_as_another_host() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("ganesha.nfsd")]);
    host.seconds(5, 20, 0);
    assert_eq!(host.found().expect("a loop").server_tgid, Some(204));
    host.now.server_exits = vec![ServerExit {
        name: "ganesha.nfsd".into(),
        tgid: 204,
        gone_ns: host.now.monotonic_ns,
        cgroup_oom_kills: None,
        node_oom_kills: Some(1),
    }];
    host.seconds(1, 30, 0);
    host.look_up(|_| ()).seconds(12, 0, 0);
    assert_eq!(host.changes(), [Appeared, Ended]);
    let message = &host.events[1].message;
    let why = "its server, ganesha.nfsd[204], is gone for 12.0 s; the OOM killer killed 1 process of \
               this node at that moment";
    assert!(message.ends_with(why), "{message}");
    assert_eq!(host.loops.former()[0].tgid, Some(204));
    // The server answers one call.
    host.now.clients[0].writes_acked += 1;
    host.seconds(1, 1, 0);
    assert_eq!(host.loops.former(), []);
}

#[test]
fn calls_without_an_answer_do_not_count_as_answered_elsewhere() {
    for (open, more, ended) in [(30, false, false), (14, false, true), (14, true, false)] {
        let mut host = Host::new();
        host.look_up(|t| t.connections = vec![connection("nfsd")]);
        host.seconds(5, 20, 20);
        host.now.nfsd = None;
        host.now.rpc_clients[0].open = Some(OpenCalls {
            count: open,
            more,
            ..OpenCalls::default()
        });
        host.seconds(1, 30, 0).seconds(3, 0, 0);
        assert_eq!(host.changes().last() == Some(&Ended), ended, "{open}");
    }
}
