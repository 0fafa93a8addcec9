//! Properties that hold for any input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use monitor_model::{
    observation::Observation,
    verdict::{
        LivelockState::{self, Deadlock, Livelock, None as Nothing, Recovered, Suspected},
        Transition, Verdict,
    },
};
use proptest::prelude::*;

use super::garbage::garbage;
use super::node::{Node, Phase, Watched};
use super::steps::{Played, Step, run, step, stretched};
use crate::{Engine, LoopThresholds, SignatureThresholds, Thresholds};

const SECOND: u64 = 1_000_000_000;

fn play(steps: &[Step]) -> Played {
    run(steps, Thresholds::default(), |_| {})
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

/// A restart of the daemon, a module or a device.
fn reset(node: &mut Node, what: u8) {
    let now = &mut node.now;
    match what {
        0 => now.clients[0] = Node::new(8).now.clients.remove(0),
        1 => now.dirty_pauses.clear(),
        2 => now.delays.clear(),
        3 => now
            .nfsd
            .iter_mut()
            .for_each(|nfsd| nfsd.bytes_written = Some(0)),
        4 => now.bdis[1].disk_busy_ms = Some(0),
        _ => now.bdis[1].written_bytes = Some(0),
    }
}

/// Shuffles every list.
fn shuffle(observation: &mut Observation, random: &mut u64) {
    fn one<T>(list: &mut [T], random: &mut u64) {
        for n in (1..list.len()).rev() {
            *random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let other = usize::try_from(*random >> 33).expect("31 bits") % (n + 1);
            list.swap(n, other);
        }
    }
    one(&mut observation.clients, random);
    one(&mut observation.bdis, random);
    one(&mut observation.waits, random);
    one(&mut observation.delays, random);
    one(&mut observation.dirty_pauses, random);
    one(&mut observation.user_servers, random);
    one(&mut observation.rpc_clients, random);
    one(&mut observation.signals, random);
    if let Some(nfsd) = &mut observation.nfsd {
        one(&mut nfsd.threads, random);
    }
    let topology = Arc::make_mut(&mut observation.topology);
    one(&mut topology.mounts, random);
    one(&mut topology.loop_devices, random);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_comes_the_states_follow_the_machine_and_the_books_agree(
        steps in prop::collection::vec((step(), 1usize..12), 1..24)
    ) {
        let played = play(&stretched(steps));
        let mut states: BTreeMap<String, (LivelockState, u64)> = BTreeMap::new();
        for (_, one) in &played.transitions {
            let entry = states.entry(one.loop_id.to_string()).or_default();
            prop_assert_eq!(entry.0, one.from);
            prop_assert!(is_an_edge_of_the_machine(one.from, one.to), "{:?}", one);
            prop_assert!(!one.reason.is_empty());
            entry.0 = one.to;
            entry.1 += u64::from(one.to == Livelock);
        }
        for verdict in played.verdicts.last().into_iter().flatten() {
            let (state, detections) = states.get(verdict.loop_id.as_str()).copied().unwrap_or_default();
            prop_assert_eq!(verdict.state, state);
            // A loop that was dropped and came back counts from zero.
            prop_assert!(verdict.detections() <= detections);
            prop_assert_eq!(verdict.detections() > 0, verdict.livelock_seconds() > 0.0 || state.is_livelock());
            prop_assert!((0.0..=1.0).contains(&verdict.confidence.share));
            prop_assert_eq!(verdict.confidence.missing.is_empty(), verdict.confidence.share > 0.99);
        }
    }

    #[test]
    fn a_livelock_had_all_four_conditions_at_every_tick_of_its_confirmation(
        steps in prop::collection::vec((step(), 1usize..12), 1..24)
    ) {
        let played = play(&stretched(steps));
        let confirmed = played.transitions.iter().filter(|(_, one)| one.to == Livelock);
        for (tick, one) in confirmed {
            let at = played.times_ns[*tick];
            let mut covered = 0;
            for before in (0..=*tick).rev() {
                if covered >= 5 * SECOND - SECOND / 5 {
                    break;
                }
                let verdict = played.verdicts[before].iter().find(|v| v.loop_id == one.loop_id);
                let verdict = verdict.expect("it was judged then");
                prop_assert_eq!(verdict.conditions.count(), 4, "{} ticks before", tick - before);
                let time = played.times_ns[before];
                prop_assert!(time <= at, "no clock ran back in it");
                covered = at - time;
                if before > 0 && covered < 4 * SECOND {
                    let gap = time.checked_sub(played.times_ns[before - 1]);
                    prop_assert!(gap.is_some_and(|gap| gap <= 10 * SECOND), "no gap in it: {:?}", gap);
                }
            }
            prop_assert!(covered >= 5 * SECOND - SECOND / 5, "{} ns", covered);
        }
    }

    #[test]
    fn the_order_of_what_was_observed_means_nothing(
        steps in prop::collection::vec((step(), 1usize..12), 1..16),
        seed in any::<u64>(),
    ) {
        let steps = stretched(steps);
        let mut random = seed;
        let shuffled = run(&steps, Thresholds::default(), |observation| shuffle(observation, &mut random));
        prop_assert_eq!(play(&steps), shuffled);
    }

    #[test]
    fn what_comes_twice_counts_once(steps in prop::collection::vec((step(), 1usize..12), 1..16)) {
        let steps = stretched(steps);
        let mut node = super::steps::node();
        let mut engine = Engine::new(Thresholds::default());
        let mut transitions = Vec::new();
        for (tick, step) in steps.iter().enumerate() {
            let mut observation = node.second(&step.phase);
            super::steps::disturb(&mut observation, step);
            for _ in 0..2 {
                let changes = engine.observe(&observation);
                transitions.extend(changes.transitions.into_iter().map(|one| (tick, one)));
            }
        }
        prop_assert_eq!(transitions, play(&steps).transitions);
    }

    #[test]
    fn a_livelock_is_found_whatever_was_before(
        steps in prop::collection::vec((step(), 1usize..6), 1..12)
    ) {
        let mut steps = stretched(steps);
        // Billions of calls that nfsd did not take refute the loop for a long time.
        for step in steps.iter_mut().filter(|step| (20..=24).contains(&step.trouble)) {
            step.trouble = u8::MAX;
        }
        let quiet = |phase| Step { phase, trouble: u8::MAX, number: 0 };
        // By then a clock that was far ahead is back, and the loop is known.
        steps.extend(std::iter::repeat_n(quiet(Phase::HEALTHY), 40));
        steps.extend(std::iter::repeat_n(quiet(Phase::FROZEN_6_12), 12));
        let played = play(&steps);
        let last = played.verdicts.last().expect("some");
        let first = last.iter().find(|verdict| verdict.loop_id == "0:29-nfsd").expect("known");
        prop_assert_eq!(first.state, Livelock, "{:?}", first);
    }

    #[test]
    fn counters_that_start_anew_make_no_livelock_and_end_none(
        resets in prop::collection::vec((0u64..60, 0u8..6), 1..12),
        frozen in any::<bool>(),
    ) {
        let phase = if frozen { Phase::FROZEN_6_12 } else { Phase::HEALTHY };
        let mut watched = Watched::new(8);
        watched.play(&phase, 12);
        for second in 0..60 {
            for (_, what) in resets.iter().filter(|(at, _)| *at == second) {
                reset(&mut watched.node, *what);
            }
            watched.play(&phase, 1);
        }
        let livelocks = watched.timeline.iter().filter(|(_, to)| *to == Livelock).count();
        prop_assert_eq!(livelocks, usize::from(frozen), "{:?}", watched.timeline);
        prop_assert_eq!(watched.state().is_livelock(), frozen);
    }

    #[test]
    fn garbage_makes_no_panic_and_no_endless_books(seeds in prop::collection::vec(any::<u64>(), 1..40)) {
        let mut engine = Engine::new(Thresholds::default());
        for seed in seeds {
            engine.observe(&garbage(seed));
            for verdict in engine.verdicts() {
                prop_assert!(verdict.tallies.len() <= 5);
                prop_assert!((0.0..=1.0).contains(&verdict.confidence.share));
                prop_assert!(verdict.conditions.all().iter().all(|(_, c)| c.value.is_none_or(f64::is_finite)));
            }
        }
    }

    #[test]
    fn the_same_observations_give_the_same_verdicts(steps in prop::collection::vec(step(), 1..40)) {
        prop_assert_eq!(play(&steps), play(&steps));
    }

    #[test]
    fn what_is_said_survives_json(mut steps in prop::collection::vec(step(), 1..40)) {
        // serde_json without `float_roundtrip` is exact up to 15 digits.
        for step in &mut steps {
            step.number >>= 24;
        }
        let Played { transitions, verdicts, .. } = play(&steps);
        let text = serde_json::to_string(&(&transitions, &verdicts)).expect("serializes");
        let back: (Vec<(usize, Transition)>, Vec<Vec<Verdict>>) = serde_json::from_str(&text).expect("parses");
        prop_assert_eq!(back, (transitions, verdicts));
    }

    #[test]
    fn unchecked_thresholds_make_no_panic(
        steps in prop::collection::vec(step(), 1..20),
        number in any::<f64>(),
        bytes in any::<u64>(),
        millis in any::<u64>(),
    ) {
        let time = Duration::from_millis(millis);
        let thresholds = Thresholds {
            window: time, confirm: time, max_gap: time, best_half_life: time,
            stall_share: number, blockage_share: number, hysteresis: number,
            stall_floor_bytes_per_second: bytes,
            loops: LoopThresholds {
                half_life: time, patience: time, served_min_calls: bytes, refute_min_calls: bytes,
                served_share: number, refute_share: number,
                ..LoopThresholds::default()
            },
            signatures: SignatureThresholds {
                disk_write_floor_bytes_per_second: bytes,
                reclaim_share: number, congested_share: number, client_full_share: number,
                commit_share: number, starvation_share: number, loop_device_share: number,
            },
            ..Thresholds::default()
        };
        let played = run(&steps, thresholds, |_| {});
        prop_assert_eq!(played.verdicts.len(), steps.len());
    }
}
