//! Tests of server processes, and of mounts that write without a server thread.

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::UserServer,
    verdict::{
        LivelockState::{Deadlock, Livelock, None as Nothing, Recovered, Suspected},
        Signature::{DirtyThrottle, ReclaimCongestion},
    },
};

use super::node::{CLIENT, DISK, Node, Phase, Watched};

const NAME: &str = "ganesha.nfsd";

fn ganesha() -> Watched {
    Watched::of(Node::userspace(8, NAME))
}

#[test]
fn a_freeze_of_nfs_ganesha_is_a_livelock_then_a_deadlock_and_recovers() {
    let mut watched = ganesha();
    watched.play(&Phase::HEALTHY, 5);
    watched.play(&Phase::FROZEN_6_12, 45);
    let verdict = watched.verdict();
    assert_eq!(verdict.loop_id, "0:29-ganesha.nfsd");
    assert_eq!(
        (verdict.state, verdict.signature),
        (Deadlock, DirtyThrottle)
    );
    assert_eq!(verdict.server_bdi.as_deref(), Some(DISK), "by its pauses");
    assert!(
        watched.first(Livelock).expect("confirmed") <= 5 + 9,
        "{:?}",
        watched.timeline
    );
    let words = "no byte for 45.0 s: 2 of 8 busy ganesha.nfsd threads wait in \
                 balance_dirty_pages on 254:0 ";
    assert!(verdict.reason.starts_with(words), "{}", verdict.reason);
    watched.play(&Phase::HEALTHY, 20);
    let states: Vec<_> = watched.timeline.iter().map(|&(_, to)| to).collect();
    assert_eq!(states, [Suspected, Livelock, Deadlock, Recovered, Nothing]);
}

#[test]
fn healthy_and_slow_servers_in_userspace_have_no_verdict() {
    let mut watched = ganesha();
    watched.play(&Phase::HEALTHY, 60);
    for _ in 0..5 {
        watched.play(&Phase::SLOW_DISK, 9);
        watched.play(&Phase::SLOW_DISK_MOVES, 1);
    }
    watched.play(&Phase::SERVER_GONE, 60);
    assert_eq!(watched.timeline, []);
}

#[test]
fn a_userspace_server_sleeps_in_reclaim_throttle() {
    let mut watched = ganesha();
    watched.node.in_dirty = false;
    watched.node.congest(true);
    watched.play(&Phase::HEALTHY, 5);
    watched.node.spends = vec![(Cause::ReclaimThrottle, Class::Server, "", 1900)];
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    assert_eq!(watched.verdict().signature, ReclaimCongestion);
}

#[test]
fn where_its_threads_were_not_looked_at_its_waits_tell_with_less_confidence() {
    let mut watched = ganesha();
    watched.play(&Phase::HEALTHY, 5);
    let listed = watched.verdict().confidence.share;
    watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| o.user_servers.clear());
    assert_eq!(watched.state(), Livelock);
    let confidence = watched.verdict().confidence;
    assert!(confidence.share < listed, "{confidence:?}");
    let says = |words: &str| confidence.missing.iter().any(|one| one.contains(words));
    assert!(says("threads could not be read"), "{confidence:?}");
    assert!(
        says("writes of a userspace server are not visible"),
        "{confidence:?}"
    );
}

#[test]
fn without_threads_and_without_waits_nothing_is_blocked() {
    let mut watched = ganesha();
    watched.node.now.user_servers.clear();
    watched.play(&Phase::SERVER_GONE, 60);
    assert_eq!(watched.timeline, []);
    let holds = watched.verdict().conditions.all().map(|(_, c)| c.holds);
    assert_eq!(holds, [Some(true), Some(true), Some(false), Some(false)]);
}

#[test]
fn the_pauses_of_nfsd_are_not_those_of_a_process() {
    let mut watched = ganesha();
    watched.node.paused = (Class::Nfsd, DISK);
    watched.node.now.user_servers[0].threads.clear();
    watched.play(&Phase::FROZEN_6_12, 60);
    assert_eq!(watched.timeline, []);
}

#[test]
fn progress_of_a_process_is_what_the_client_got_acknowledged() {
    let mut watched = ganesha();
    watched.play(&Phase::FROZEN_6_12, 12);
    let moves = Phase {
        acked: 9_000_000,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&moves, 5), Recovered);
    let why = watched.verdict().conditions.no_progress.why;
    assert!(
        why.contains("writes of ganesha.nfsd are not visible"),
        "{why}"
    );
}

#[test]
fn another_server_beside_it_is_distinguished_by_its_threads() {
    let mut watched = ganesha();
    watched.play(&Phase::HEALTHY, 5);
    let alone = watched.verdict().confidence.share;
    watched.node.now.user_servers.push(UserServer {
        stopped: false,
        name: "unfsd".into(),
        tgid: 91,
        threads: Node::new(4).now.nfsd.expect("runs").threads,
        ..UserServer::default()
    });
    watched.play(&Phase::FROZEN_6_12, 12);
    assert_eq!(watched.state(), Livelock);
    let verdict = watched.verdict();
    assert!(verdict.reason.contains("2 of 8 busy"), "{}", verdict.reason);
    assert!(verdict.confidence.share < alone, "{:?}", verdict.confidence);
}

/// The client's WRITEs are done by its own workers.
fn localio() -> Watched {
    let mut node = Node::new(8);
    node.paused = (Class::Kworker, DISK);
    let mut watched = Watched::of(node);
    let local = |_: u64, o: &mut monitor_model::observation::Observation| {
        o.clients[0].writes_by_rpc = Some(0);
    };
    watched.play_with(&Phase::HEALTHY, 5, local);
    assert!(watched.engine.loops()[0].localio);
    watched
}

/// No thread of nfsd is busy. The workers are, and their waits show them.
const WORKERS: Phase = Phase {
    throttled: 0,
    blocked: 0,
    ..Phase::FROZEN_6_12
};

#[test]
fn workers_of_localio_are_judged_in_the_place_of_threads() {
    let mut watched = localio();
    watched.node.lasting = vec![super::node::wait(70, Class::Kworker, DISK)];
    assert_eq!(
        watched.play(&WORKERS, 12),
        Livelock,
        "{:?}",
        watched.verdict()
    );
    let reason = watched.verdict().reason;
    assert!(
        reason.starts_with("1 of 1 busy nfsd threads wait"),
        "{reason}"
    );
}

#[test]
fn of_localio_s_workers_only_those_count_that_are_throttled_on_the_server_s_disk() {
    let mut watched = localio();
    let mut reclaiming = super::node::wait(71, Class::Kworker, DISK);
    reclaiming.cause = Cause::DirectReclaim;
    watched.node.lasting = vec![
        super::node::wait(70, Class::Kworker, DISK),
        reclaiming,
        super::node::wait(72, Class::Kworker, CLIENT),
        super::node::wait(73, Class::User, CLIENT),
    ];
    watched.play(&WORKERS, 12);
    let reason = watched.verdict().reason;
    assert!(
        reason.starts_with("1 of 1 busy nfsd threads wait"),
        "{reason}"
    );
}

#[test]
fn the_same_workers_belong_to_no_loop_without_localio() {
    let mut node = Node::new(8);
    node.paused = (Class::Kworker, DISK);
    let mut watched = Watched::of(node);
    watched.play(&Phase::HEALTHY, 5);
    watched.node.lasting = vec![super::node::wait(70, Class::Kworker, DISK)];
    watched.play(&WORKERS, 60);
    assert_eq!(watched.timeline, []);
}

#[test]
fn workers_that_write_to_another_disk_are_not_localios() {
    let mut watched = localio();
    watched.node.paused = (Class::Kworker, "8:16");
    watched.node.lasting = vec![super::node::wait(70, Class::Kworker, "8:16")];
    watched.play(&WORKERS, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn an_address_alone_is_less_certain_than_a_connection() {
    let watched = |name: Option<&str>| {
        let mut watched = ganesha();
        watched.node.look_up(&[(CLIENT, name)]);
        watched.play(&Phase::HEALTHY, 5);
        watched
    };
    let confidence = watched(Some(NAME)).verdict().confidence;
    assert!(
        confidence
            .missing
            .iter()
            .any(|one| one.contains("address alone")),
        "{confidence:?}"
    );
}

#[test]
fn the_slow_disk_of_a_process_in_a_cgroup_works_though_debugfs_does_not_show_it() {
    for sectors in [10_000, 0] {
        let mut watched = ganesha();
        watched.play(&Phase::HEALTHY, 5);
        watched.node.in_dirty = false;
        watched.node.congest(true);
        watched.node.spends = vec![(Cause::ReclaimThrottle, Class::Server, "", 1900)];
        watched.node.writes = vec![(DISK, 0)];
        let slow = Phase {
            disk_busy_ms: 960,
            ..Phase::FROZEN_RECLAIM
        };
        watched.play_with(&slow, 20, |n, o| {
            o.bdis[1].disk_sectors_written = Some(n * sectors);
        });
        assert_eq!(
            watched.state() == Livelock,
            sectors == 0,
            "{:?}",
            watched.verdict()
        );
    }
}

#[test]
fn a_process_on_a_bdi_without_a_disk_is_suspected_at_most_by_its_reclaim() {
    let mut watched = ganesha();
    watched.play(&Phase::HEALTHY, 5);
    watched.node.in_dirty = false;
    watched.node.congest(true);
    watched.node.now.bdis[1].disk_busy_ms = None;
    watched.node.writes = vec![(DISK, 0)];
    watched.node.spends = vec![(Cause::ReclaimThrottle, Class::Server, "", 1900)];
    watched.play(&Phase::FROZEN_RECLAIM, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    assert_eq!(watched.verdict().conditions.closing_edge.holds, None);
}

#[test]
fn pauses_of_threads_and_of_workers_are_both_the_servers() {
    let mut watched = localio();
    let little = Phase {
        events: 5,
        pause_ms: 300,
        ..WORKERS
    };
    let (workers, threads) = (0.3, 0.4);
    watched.play_with(&little, 10, |n, o| {
        let mut own = o.dirty_pauses[0].clone();
        own.class = Class::Nfsd;
        (own.events, own.pause_ns) = (5 * (n + 1), 400_000_000 * (n + 1));
        o.dirty_pauses.push(own);
    });
    let blockage = watched.verdict().conditions.blockage;
    let share = blockage.value.expect("seen");
    assert!((share - workers - threads).abs() < 1e-9, "{blockage:?}");
}

#[test]
fn workers_are_missed_only_where_localio_writes_to_an_unknown_bdi() {
    let lacks = |watched: &Watched| {
        let missing = watched.verdict().confidence.missing;
        missing.iter().any(|words| words.contains("LOCALIO"))
    };
    assert!(!lacks(&localio()), "it is known");
    let mut watched = ganesha();
    watched.play(&Phase::SERVER_GONE, 5);
    assert_eq!(watched.verdict().server_bdi, None);
    assert!(!lacks(&watched), "it is no LOCALIO");
    let local = |_: u64, o: &mut monitor_model::observation::Observation| {
        o.clients[0].writes_by_rpc = Some(0);
        o.dirty_pauses.clear();
    };
    watched.play_with(&Phase::HEALTHY, 5, local);
    assert!(lacks(&watched), "{:?}", watched.engine.loops());
}
