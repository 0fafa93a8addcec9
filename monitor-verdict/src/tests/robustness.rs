//! Tests of input that no kernel should send: gaps, steps back, counters that restart, too many
//! loops.

use monitor_model::{
    observation::Observation,
    verdict::LivelockState::{Deadlock, Livelock, Recovered, Suspected},
};

use super::node::{CLIENT, Node, Phase, Watched};
use crate::{Changes, Engine, MAX_LOOPS, Thresholds};

#[test]
fn a_minute_of_sigstop_confirms_nothing_by_itself() {
    let mut watched = Watched::new(8);
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 4), Suspected);
    watched.node.now.monotonic_ns += 60_000_000_000;
    assert_eq!(
        watched.play(&Phase::FROZEN_6_12, 6),
        Suspected,
        "the clocks start anew"
    );
    assert_eq!(
        watched.play(&Phase::FROZEN_6_12, 4),
        Livelock,
        "and then run as ever"
    );
}

#[test]
fn a_minute_of_sigstop_in_a_livelock_neither_ends_it_nor_makes_it_a_deadlock() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    let before = watched.engine.verdicts().remove(0).livelock_seconds();
    watched.node.now.monotonic_ns += 60_000_000_000;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
    let after = watched.engine.verdicts().remove(0).livelock_seconds();
    assert!(
        (after - before - 9.0).abs() < 0.01,
        "what was not seen is not counted: {after}"
    );
}

#[test]
fn a_starved_daemon_that_ticks_every_five_seconds_still_confirms() {
    let mut watched = Watched::new(8);
    for _ in 0..4 {
        watched.node.now.monotonic_ns += 4_000_000_000;
        watched.play(
            &Phase {
                events: 50,
                pause_ms: 10_000,
                ..Phase::FROZEN_6_12
            },
            1,
        );
    }
    assert_eq!(watched.state(), Livelock, "{:?}", watched.timeline);
}

#[test]
fn an_observation_that_comes_twice_counts_once() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    let before = watched.engine.verdicts();
    let again = watched.node.now.clone();
    assert_eq!(watched.engine.observe(&again), Changes::default());
    assert_eq!(watched.engine.verdicts(), before);
}

#[test]
fn after_a_step_back_in_time_the_clocks_run_from_there() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    watched.node.now.monotonic_ns = 5_000_000_000;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 20), Livelock);
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 15), Deadlock);
    assert_eq!(watched.play(&Phase::HEALTHY, 6), Recovered);
}

#[test]
fn counters_that_start_anew_are_no_progress_and_no_end_of_a_livelock() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 10);
    watched.play(&Phase::FROZEN_6_12, 12);
    let fresh = Node::new(8).now;
    watched.node.now.clients = fresh.clients;
    watched.node.now.nfsd = fresh.nfsd;
    watched.node.now.dirty_pauses.clear();
    watched.play(&Phase::FROZEN_6_12, 1);
    let progress = watched.engine.verdicts().remove(0).conditions.no_progress;
    assert_eq!(progress.holds, None, "{progress:?}");
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
    assert_eq!(
        watched.engine.verdicts()[0].detections(),
        1,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn a_condition_that_wavers_around_its_threshold_holds_on() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    // Beyond the thresholds for entering, within those for leaving.
    let wavering = Phase {
        dirty: 18_700,
        bdi_dirty: 6_000,
        setpoint: 10_437,
        disk_busy_ms: 600,
        held: 12_000,
        throttled: 2,
        blocked: 1,
        running: 5,
        acked: 900_000,
        served: 900_000,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&wavering, 20), Livelock);
    let mut fresh = Watched::new(8);
    fresh.play(&wavering, 30);
    assert_eq!(
        fresh.first(Livelock),
        None,
        "the same numbers alone make none"
    );
}

#[test]
fn a_loop_whose_mount_is_gone_recovers_and_is_forgotten() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    watched.node.look_up(&[]);
    let unmounted = |_: u64, o: &mut Observation| o.clients.clear();
    watched.play_with(&Phase::IDLE, 10, unmounted);
    assert_eq!(watched.state(), Recovered);
    watched.play_with(&Phase::IDLE, 2, unmounted);
    assert_eq!(watched.engine.loops(), []);
    assert_eq!(watched.state(), Recovered, "its verdict outlives it");
    watched.play_with(&Phase::IDLE, 80, unmounted);
    assert_eq!(watched.engine.verdicts(), []);
    watched.node.call(CLIENT, 12, 12);
    watched.play(&Phase::FROZEN_6_12, 12);
    assert_eq!(watched.state(), Livelock, "it may come back");
}

#[test]
fn a_server_shut_down_during_a_livelock_does_not_end_it_and_that_is_reported() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    watched.play_with(&Phase::SERVER_GONE, 10, |_, o| o.nfsd = None);
    assert_eq!(watched.state(), Livelock, "{:?}", watched.timeline);
    let reason = watched.verdict().reason;
    assert!(reason.ends_with("nfsd does not run"), "{reason}");
    watched.play_with(&Phase::IDLE, 5, |_, o| o.nfsd = None);
    assert_eq!(watched.state(), Recovered, "{:?}", watched.timeline);
}

#[test]
fn there_are_never_more_loops_than_the_bound() {
    let mut node = Node::new(8);
    let mut engine = Engine::new(Thresholds::default());
    for batch in 0..5 {
        let names: Vec<String> = (batch * 1000..(batch + 1) * 1000)
            .map(|n| format!("0:{n}"))
            .collect();
        let mounts: Vec<_> = names.iter().map(|n| (n.as_str(), Some("nfsd"))).collect();
        node.look_up(&mounts);
        engine.observe(&node.second(&Phase::HEALTHY));
        assert_eq!(engine.loops().len(), MAX_LOOPS);
        assert_eq!(engine.verdicts().len(), MAX_LOOPS);
    }
}
