//! What no kernel should send and some day will: gaps, steps back, counters
//! that start anew, anything at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use monitor_common::{Cause, Class};
use proptest::prelude::*;

use super::node::{CLIENT, DISK, Node, Phase, Watched, wait};
use crate::LivelockState::{self, Deadlock, Livelock, None as Nothing, Recovered, Suspected};
use crate::observation::{Observation, SignalStatus, State};
use crate::{Changes, Engine, LoopThresholds, MAX_LOOPS, Thresholds, Transition, Verdict, signal};

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
    // Past every threshold for entering, within those for leaving.
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
fn a_server_that_is_shut_down_ends_the_livelock() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    watched.play_with(&Phase::SERVER_GONE, 10, |_, o| o.nfsd = None);
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

/// One second of anything: a phase with arbitrary numbers, and a trouble.
#[derive(Clone, Debug)]
struct Step {
    phase: Phase,
    trouble: u8,
    number: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let known = [
        Phase::IDLE,
        Phase::HEALTHY,
        Phase::CRAWL,
        Phase::FROZEN_6_12,
        Phase::FROZEN_6_12,
        Phase::FROZEN_5_10,
        Phase::SLOW_DISK,
        Phase::SERVER_GONE,
    ];
    (
        prop::sample::select(known.to_vec()),
        any::<u8>(),
        any::<u64>(),
    )
        .prop_map(|(phase, trouble, number)| Step {
            phase,
            trouble,
            number,
        })
}

/// Mostly nothing; else what `number` makes of one field.
fn disturb(observation: &mut Observation, step: &Step) {
    let number = step.number;
    match step.trouble {
        0 => observation.monotonic_ns = number,
        1 => observation.monotonic_ns = observation.monotonic_ns.wrapping_add(number >> 30),
        2 => observation.clients[0].bytes_acked = number,
        3 => observation
            .nfsd
            .iter_mut()
            .for_each(|n| n.bytes_written = Some(number)),
        4 => observation
            .nfsd
            .iter_mut()
            .for_each(|n| n.bytes_written = None),
        5 => observation.nfsd = None,
        6 => observation.clients.clear(),
        7 => observation.bdis.clear(),
        8 => observation.bdis[0].dirty_bytes = Some(number),
        9 => observation.bdis[1].disk_busy_ms = Some(number),
        10 => observation.memory.page_size = number,
        11 => observation.dirty_pauses.clear(),
        12 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.events = number),
        13 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.limit_pages = number),
        14 => observation.waits.push(wait(0, Class::Nfsd, CLIENT)),
        15 => observation
            .waits
            .iter_mut()
            .for_each(|w| w.cause = Cause::DirectReclaim),
        16 => observation.clients[0].writes_failed = number,
        17 => observation.clients[0].bdi = DISK.into(),
        18 => observation.signals.push(SignalStatus {
            signal: signal::NFS_CLIENT.into(),
            strategy: "none".into(),
            state: State::Unavailable,
        }),
        19 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.pause_ns = number),
        20 => observation.rpc_clients.clear(),
        21 => observation.rpc_clients[0].calls = number,
        22 => observation.rpc_clients[0].served_here = number,
        23 => observation.rpc_clients[0].bdi = DISK.into(),
        24 => {
            let topology = Arc::make_mut(&mut observation.topology);
            topology.read_ns = number;
        }
        _ => {}
    }
}

fn run(steps: &[Step], thresholds: Thresholds) -> (Vec<Transition>, Vec<Vec<Verdict>>) {
    let mut node = Node::new(8);
    let mut engine = Engine::new(thresholds);
    let (mut transitions, mut verdicts) = (Vec::new(), Vec::new());
    for step in steps {
        let mut observation = node.second(&step.phase);
        disturb(&mut observation, step);
        transitions.extend(engine.observe(&observation).transitions);
        verdicts.push(engine.verdicts());
    }
    (transitions, verdicts)
}

fn is_an_edge_of_the_machine(from: LivelockState, to: LivelockState) -> bool {
    matches!(
        (from, to),
        (Nothing | Recovered, Suspected)
            | (Suspected | Recovered, Nothing)
            | (Suspected, Livelock)
            | (Livelock, Deadlock)
            | (Livelock | Deadlock, Recovered)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn whatever_comes_the_states_follow_the_machine_and_the_books_agree(
        steps in prop::collection::vec((step(), 1usize..12), 1..24)
    ) {
        let steps: Vec<Step> = steps.into_iter().flat_map(|(step, n)| {
            let quiet = Step { trouble: u8::MAX, ..step.clone() };
            std::iter::once(step).chain(std::iter::repeat_n(quiet, n))
        }).collect();
        let (transitions, verdicts) = run(&steps, Thresholds::default());
        let mut states: BTreeMap<String, (LivelockState, u64)> = BTreeMap::new();
        for one in &transitions {
            let entry = states.entry(one.loop_id.to_string()).or_default();
            prop_assert_eq!(entry.0, one.from);
            prop_assert!(is_an_edge_of_the_machine(one.from, one.to), "{:?}", one);
            prop_assert!(!one.reason.is_empty());
            entry.0 = one.to;
            entry.1 += u64::from(one.to == Livelock);
        }
        for verdict in verdicts.last().into_iter().flatten() {
            let (state, detections) = states.get(verdict.loop_id.as_str()).copied().unwrap_or_default();
            prop_assert_eq!(verdict.state, state);
            // A loop that was forgotten and came back counts from zero.
            prop_assert!(verdict.detections() <= detections);
            prop_assert_eq!(verdict.detections() > 0, verdict.livelock_seconds() > 0.0 || state.is_livelock());
        }
    }

    #[test]
    fn the_same_observations_give_the_same_verdicts(steps in prop::collection::vec(step(), 1..40)) {
        prop_assert_eq!(run(&steps, Thresholds::default()), run(&steps, Thresholds::default()));
    }

    #[test]
    fn what_is_said_survives_json(mut steps in prop::collection::vec(step(), 1..40)) {
        // serde_json without `float_roundtrip` is exact up to 15 digits.
        for step in &mut steps {
            step.number >>= 24;
        }
        let (transitions, verdicts) = run(&steps, Thresholds::default());
        let text = serde_json::to_string(&(&transitions, &verdicts)).expect("serializes");
        let back: (Vec<Transition>, Vec<Vec<Verdict>>) = serde_json::from_str(&text).expect("parses");
        prop_assert_eq!(back, (transitions, verdicts));
    }

    #[test]
    fn unchecked_thresholds_make_no_panic(
        steps in prop::collection::vec(step(), 1..20),
        number in any::<f64>(),
        bytes in any::<u64>(),
        millis in any::<u64>(),
    ) {
        let time = std::time::Duration::from_millis(millis);
        let thresholds = Thresholds {
            window: time, confirm: time, max_gap: time, best_half_life: time,
            stall_share: number, blockage_share: number, hysteresis: number,
            stall_floor_bytes_per_second: bytes,
            loops: LoopThresholds {
                half_life: time, patience: time, served_min_calls: bytes, refute_min_calls: bytes,
                served_share: number, refute_share: number,
                ..LoopThresholds::default()
            },
            ..Thresholds::default()
        };
        let (_, verdicts) = run(&steps, thresholds);
        prop_assert_eq!(verdicts.len(), steps.len());
    }
}
