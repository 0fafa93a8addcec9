//! Tests of proof and chance.

use monitor_common::Class;
use monitor_model::{
    loops::{
        LoopChange::{Appeared, Ended, Proven},
        Proof,
    },
    observation::{State, ThreadState, Transport},
};

use super::host::{BDI, DISK, Host, connection, mount, rpc_client, transport};
use crate::tests::node::wait;

fn proof(host: &Host) -> Option<Proof> {
    host.found().map(|one| one.proof)
}

#[test]
fn three_recent_calls_served_here_are_proof_in_the_same_tick() {
    let mut host = Host::new();
    host.second(2, 2);
    assert_eq!(proof(&host), None, "two may be chance");
    host.second(2, 2);
    let one = host.found().expect("a loop");
    assert_eq!((one.id.as_str(), one.proof), ("0:29-nfsd", Proof::Xid));
    assert_eq!((one.calls, one.calls_served_here), (4, 4));
    assert_eq!(one.since_ms, 1_002_000);
    host.seconds(3, 0, 0);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn writes_that_wait_for_their_answer_do_not_speak_against_a_loop() {
    // The loop froze in its first second: 64 WRITEs are on their way, 4 of them taken.
    let mut host = Host::new();
    host.now.clients[0].writes_sent = 64;
    host.now.clients[0].writes_acked = 4;
    host.second(64, 4);
    assert_eq!(proof(&host), Some(Proof::Xid));
    // All calls are answered, but elsewhere.
    let mut host = Host::new();
    host.now.clients[0].writes_sent = 64;
    host.now.clients[0].writes_acked = 64;
    host.second(64, 4);
    assert_eq!(proof(&host), None);
}

#[test]
fn the_root_that_the_kernel_mounts_on_its_way_to_a_directory_is_not_a_loop() {
    let mut host = Host::new();
    host.look_up(|topology| topology.mounts[0].mount_points.clear());
    host.seconds(3, 5, 5);
    assert_eq!(host.events, []);
    // The loop ends with the next look-up.
    host.look_up(|topology| topology.mounts.clear());
    host.seconds(3, 5, 5);
    assert_eq!(host.events, []);
    assert!(host.found().is_none());
    // A mount that no look-up can see becomes a loop with its first write.
    host.now.clients[0].writes_sent = 1;
    host.second(1, 1);
    assert_eq!(proof(&host), Some(Proof::Xid));
}

#[test]
fn a_burst_of_chance_matches_among_other_calls_is_not_a_proof() {
    let mut host = Host::new();
    host.seconds(20, 50, 0);
    // Two counters pass each other, so for two seconds every call matches.
    host.seconds(2, 50, 50);
    host.seconds(60, 50, 0);
    assert_eq!(host.events, []);
}

#[test]
fn single_chance_matches_of_a_client_that_calls_seldom_are_no_proof() {
    let mut host = Host::new();
    for _ in 0..50 {
        host.second(1, 1).seconds(20, 1, 0).seconds(60, 0, 0);
    }
    assert_eq!(host.events, []);
}

#[test]
fn calls_before_the_device_was_learned_count_once_it_is() {
    let mut host = Host::new();
    host.now.clients.clear();
    host.now.rpc_clients = vec![rpc_client(7, "")];
    host.second(12, 12).second(0, 0);
    host.now.clients = Host::new().now.clients;
    host.now.rpc_clients[0].bdi = BDI.into();
    host.second(1, 1);
    assert_eq!(proof(&host), Some(Proof::Xid));
}

#[test]
fn calls_made_long_before_the_first_look_are_no_recent_calls() {
    let mut host = Host::new();
    let rpc = &mut host.now.rpc_clients[0];
    (rpc.calls, rpc.served_here) = (500, 500);
    rpc.last_call_ns = host.now.monotonic_ns - 600_000_000_000;
    host.second(0, 0);
    assert_eq!(proof(&host), None);
}

#[test]
fn a_counter_that_starts_anew_proves_and_refutes_nothing() {
    let mut host = Host::new();
    host.seconds(5, 10, 10);
    host.now.rpc_clients[0] = rpc_client(7, BDI);
    host.second(40, 0);
    assert_eq!(
        proof(&host),
        Some(Proof::Xid),
        "where it begins is not known"
    );
    let gone = std::mem::take(&mut host.now.rpc_clients);
    host.seconds(60, 0, 0);
    assert_eq!(proof(&host), Some(Proof::Xid), "who is idle is not listed");
    host.now.rpc_clients = gone;
    host.second(1, 1);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn a_proof_stands_until_the_calls_are_seen_to_go_elsewhere() {
    let mut host = Host::new();
    host.seconds(5, 10, 10).seconds(300, 0, 0);
    assert_eq!(proof(&host), Some(Proof::Xid), "idle");
    host.second(15, 0);
    assert_eq!(proof(&host), Some(Proof::Xid), "15 are not enough");
    host.second(1, 0);
    assert_eq!(proof(&host), None);
    assert_eq!(host.changes(), [Appeared, Ended]);
    assert_eq!(
        host.events[1].message,
        "0:29 is no longer a loop with nfsd: another host answers its calls now"
    );
}

#[test]
fn a_tenth_of_the_calls_served_here_does_not_refute_it_and_less_does() {
    for (served, stands) in [(2, true), (1, false)] {
        let mut host = Host::new();
        host.seconds(5, 10, 10).second(20, served);
        assert_eq!(proof(&host).is_some(), stands, "{served}");
    }
}

#[test]
fn only_calls_that_a_free_thread_would_have_taken_refute_it() {
    use ThreadState::{Blocked, Idle, Running};
    for (threads, waiting, refuted) in [
        (vec![Idle, Running], None, true),
        (vec![Idle, Idle], Some(Class::User), true),
        (vec![], None, true),
        (vec![Idle, Idle], Some(Class::Nfsd), false),
        (vec![Idle, Blocked], None, false),
        (vec![Running, Running], None, false),
        (vec![Blocked, Blocked], Some(Class::Nfsd), false),
    ] {
        let mut host = Host::new();
        host.seconds(5, 10, 10);
        if let Some(nfsd) = &mut host.now.nfsd {
            nfsd.threads.truncate(threads.len());
            let states = nfsd.threads.iter_mut().zip(&threads);
            states.for_each(|(thread, &state)| thread.state = state);
        }
        host.now.waits = waiting
            .map(|class| wait(100, class, DISK))
            .into_iter()
            .collect();
        host.second(0, 0).second(20, 0);
        assert_eq!(proof(&host).is_none(), refuted, "{threads:?} {waiting:?}");
    }
}

#[test]
fn unanswered_calls_in_a_freeze_refute_nothing() {
    let mut host = Host::new();
    host.seconds(5, 10, 10);
    host.threads(ThreadState::Blocked);
    // As many calls as fit into the socket, and all of them again after a minute.
    host.second(200, 0).seconds(60, 0, 0).second(200, 0);
    assert_eq!(proof(&host), Some(Proof::Xid));
    host.threads(ThreadState::Idle);
    host.second(0, 0);
    assert_eq!(host.changes(), [Appeared]);
}

#[test]
fn an_unlearned_client_is_known_by_the_address_that_it_sends_to() {
    let mut host = Host::new();
    host.now.rpc_clients = vec![rpc_client(7, "")];
    host.second(12, 12);
    assert_eq!(proof(&host), None);
    host.look_up(|t| t.transports = vec![transport(7)]);
    host.second(3, 3);
    assert_eq!(proof(&host), Some(Proof::Xid));
}

#[test]
fn an_unlearned_client_is_not_known_by_what_others_send_or_where_else_it_sends() {
    let elsewhere = Transport {
        server: ([10, 9, 0, 3], 2049).into(),
        ..transport(7)
    };
    let other_port = Transport {
        server: ([10, 9, 0, 2], 20049).into(),
        ..transport(7)
    };
    for (transports, learned, known) in [
        (vec![transport(7)], "", true),
        (vec![elsewhere.clone(), transport(7)], "", true),
        (vec![elsewhere], "", false),
        (vec![other_port], "", false),
        (vec![transport(8)], "", false),
        (vec![transport(7)], "0:99", false),
    ] {
        let mut host = Host::new();
        host.now.rpc_clients = vec![rpc_client(7, learned)];
        host.look_up(|t| t.transports.clone_from(&transports));
        host.second(12, 12);
        assert_eq!(proof(&host).is_some(), known, "{transports:?} {learned}");
    }
}

#[test]
fn another_mount_of_the_same_server_leaves_it_in_doubt_only_from_another_namespace() {
    let server = mount(BDI).server;
    let other = Some(([10, 9, 0, 3], 2049).into());
    for (netns, address, known) in [
        (Some(11), server, true),
        (Some(99), other, true),
        (Some(99), None, true),
        (Some(99), server, false),
        (None, server, false),
    ] {
        let mut host = Host::new();
        host.now.rpc_clients = vec![rpc_client(7, "")];
        host.look_up(|t| {
            t.transports = vec![transport(7)];
            t.mounts.push(mount("0:30"));
            (t.mounts[1].netns, t.mounts[1].server) = (netns, address);
        });
        host.seconds(5, 12, 12);
        let found = host.loops.found().iter();
        let found = found.filter(|one| one.client_bdi == BDI).count();
        assert_eq!(found == 1, known, "{netns:?} {address:?}");
    }
}

#[test]
fn one_address_in_two_namespaces_may_be_two_servers() {
    let mut host = Host::new();
    host.now.rpc_clients = vec![rpc_client(7, "")];
    host.look_up(|t| {
        t.transports = vec![transport(7)];
        t.mounts.push(mount("0:30"));
        t.mounts[1].netns = Some(99);
    });
    host.seconds(5, 12, 12);
    assert_eq!(host.loops.found(), []);
    host.now.rpc_clients[0].bdi = "0:30".into();
    host.second(1, 1);
    let found: Vec<_> = host.loops.found().iter().map(|l| l.id.as_str()).collect();
    assert_eq!(found, ["0:30-nfsd"], "what the kernel learned is exact");
}

#[test]
fn a_connection_in_the_clients_namespace_is_proof_and_the_same_one_in_another_is_not() {
    for (netns, is_loop) in [(11, true), (12, false)] {
        let mut host = Host::new();
        host.look_up(|t| {
            t.connections = vec![connection("unfsd")];
            t.connections[0].client_netns = netns;
        });
        host.second(0, 0);
        assert_eq!(proof(&host), is_loop.then_some(Proof::Socket));
        let id = host.found().map(|one| one.id.as_str());
        assert_eq!(id, is_loop.then_some("0:29-unfsd"));
    }
}

#[test]
fn the_strongest_proof_is_reported_and_a_later_weaker_one_is_not() {
    let mut host = Host::new();
    host.look_up(|t| t.mounts[0].listener = Some("nfsd".into()));
    host.second(0, 0);
    assert_eq!(proof(&host), Some(Proof::Address));
    host.look_up(|t| t.connections = vec![connection("nfsd")]);
    host.second(0, 0);
    assert_eq!(proof(&host), Some(Proof::Socket));
    host.second(3, 3);
    host.look_up(|t| t.mounts[0].listener = Some("nfsd".into()));
    host.second(0, 0);
    assert_eq!(proof(&host), Some(Proof::Xid));
    assert_eq!(host.changes(), [Appeared, Proven, Proven]);
    assert_eq!(
        host.events[2].message,
        "0:29 (10.9.0.2:/ at /mnt) is served by this node's own nfsd in another network namespace: \
         its calls are served here, as observed; before, it was only known that both ends of its \
         connection are on this node"
    );
}

#[test]
fn transaction_ids_refute_what_was_looked_up_of_nfsd_and_of_no_other_server() {
    for (owner, attached, stands) in [
        ("nfsd", true, false),
        ("nfsd", false, true),
        ("ganesha.nfsd", true, true),
    ] {
        let mut host = Host::new();
        if !attached {
            host.now.signals[0].state = State::Unavailable;
        }
        host.look_up(|t| t.connections = vec![connection(owner)]);
        host.seconds(2, 0, 0);
        assert_eq!(proof(&host), Some(Proof::Socket));
        host.second(20, 0);
        assert_eq!(proof(&host).is_some(), stands, "{owner}, {attached}");
    }
}
