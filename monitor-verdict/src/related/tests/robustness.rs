//! Tests with gaps, bounds, other orders and arbitrary input.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{Export, Observation, ThreadState},
    related::{RelatedEvent, RelatedKind},
};
use proptest::prelude::*;

use super::scene::{
    CLIENT, DISK, MB, SECOND, Scene, answered, bdi, disk_works, pause, spend, threads, unanswered,
    writer_paused,
};
use crate::related::watch::MAX_SUBJECTS;
use crate::tests::node::wait;
use crate::{RelatedThresholds, Thresholds};

#[test]
fn a_minute_of_sigstop_neither_begins_nor_ends_anything() {
    let mut scene = Scene::new();
    scene.play(9, unanswered);
    scene.now.monotonic_ns += 60 * SECOND;
    scene.play(10, unanswered);
    assert_eq!(scene.events, [], "what was not watched does not count");
    scene.play(2, unanswered);
    assert_eq!(scene.events.len(), 1);
    scene.now.monotonic_ns += 60 * SECOND;
    scene.play(20, unanswered);
    assert_eq!(scene.events.len(), 1, "{:?}", scene.events);
    let tally = scene.engine.related_tallies()[0];
    assert_eq!(tally.kind, RelatedKind::NfsServerNotResponding);
    assert_eq!(tally.beginnings, 1);
    assert!((19.0..21.0).contains(&tally.seconds), "{tally:?}");
}

#[test]
fn a_condition_from_before_a_gap_ends_only_after_enough_samples() {
    let mut thresholds = Thresholds::default();
    thresholds.related.end = std::time::Duration::from_secs(1);
    let mut scene = Scene::with(thresholds);
    let slow = |now: &mut Observation| {
        writer_paused(now);
        disk_works(now, 1000, 5 * MB);
    };
    scene.play(15, slow);
    let told = scene.events.len();
    scene.now.monotonic_ns += 60 * SECOND;
    scene.play(15, slow);
    assert_eq!(scene.events.len(), told, "{:?}", scene.events);
}

#[test]
fn after_a_step_back_in_time_the_clocks_run_from_there() {
    let mut scene = Scene::new();
    let slow = |now: &mut Observation| {
        writer_paused(now);
        disk_works(now, 1000, 5 * MB);
    };
    scene.play(20, slow);
    assert_eq!(scene.events.len(), 2);
    scene.now.monotonic_ns = 5 * SECOND;
    scene.play(20, slow);
    assert_eq!(scene.events.len(), 2, "{:?}", scene.events);
    assert!(
        scene
            .engine
            .related()
            .iter()
            .all(|one| one.since_ms <= 6000)
    );
    scene.play(20, |_| {});
    assert_eq!(scene.events.len(), 4);
}

#[test]
fn an_observation_that_comes_twice_counts_once() {
    let mut scene = Scene::new();
    scene.play(20, unanswered);
    let before = (
        scene.engine.related().to_vec(),
        scene.engine.related_tallies(),
    );
    scene.observe();
    let after = (
        scene.engine.related().to_vec(),
        scene.engine.related_tallies(),
    );
    assert_eq!(before, after);
}

#[test]
fn seconds_are_counted_once_for_many_devices() {
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi("8:0", Some(0)));
    scene.play(27, |now| {
        for name in [DISK, "8:0"] {
            pause(now, Class::User, name, 900);
        }
        now.bdis[1].written_bytes = Some(now.monotonic_ns);
        now.bdis[2].written_bytes = Some(now.monotonic_ns);
    });
    let tally = scene.engine.related_tallies()[1];
    assert_eq!(
        (tally.beginnings, tally.seconds),
        (2, 19.0),
        "{:?}",
        scene.events
    );
}

#[test]
fn of_too_many_devices_the_worst_are_reported() {
    let mut scene = Scene::new();
    let many = MAX_SUBJECTS + 5;
    for n in 0..many {
        scene.now.bdis.push(bdi(&format!("8:{n}"), Some(0)));
    }
    let mut all_paused = |now: &mut Observation| {
        for n in 0..many {
            pause(now, Class::User, &format!("8:{n}"), 600 + n as u64);
        }
        let written = now.monotonic_ns;
        now.bdis
            .iter_mut()
            .for_each(|b| b.written_bytes = Some(written));
    };
    scene.play(20, &mut all_paused);
    let holds = scene.holds();
    assert_eq!(holds.len(), MAX_SUBJECTS);
    let mildest = ["8:0", "8:1", "8:2", "8:3", "8:4"];
    assert!(
        holds
            .iter()
            .all(|(_, bdi)| !mildest.contains(&bdi.as_str()))
    );
    scene.play(60, &mut all_paused);
    assert_eq!(scene.events.len(), MAX_SUBJECTS, "and they stay");
}

#[test]
fn what_is_not_over_yet_takes_its_room() {
    let mut scene = Scene::new();
    let (first, many) = (10, 10 + MAX_SUBJECTS);
    let name = |n: usize| format!("8:{n}");
    scene.now.bdis = (0..many).map(|n| bdi(&name(n), Some(0))).collect();
    let mut play = |seconds, paused: std::ops::Range<usize>| {
        for _ in 0..seconds {
            scene.play(1, |now| {
                for n in paused.clone() {
                    pause(now, Class::User, &name(n), 3000);
                }
                for disk in &mut now.bdis {
                    disk.written_bytes = disk.written_bytes.map(|bytes| bytes + MB);
                }
            });
            assert!(scene.holds().len() <= MAX_SUBJECTS);
        }
        let holds = scene.holds();
        (holds.len(), holds.iter().any(|(_, bdi)| *bdi == name(0)))
    };
    assert_eq!(play(10, 0..first), (first, true));
    assert_eq!(play(6, first..many), (MAX_SUBJECTS, true));
    assert_eq!(play(10, first..many), (MAX_SUBJECTS, false));
}

#[test]
fn of_too_many_slow_disks_those_with_the_most_waiting_tasks_are_reported() {
    let mut scene = Scene::new();
    let many = MAX_SUBJECTS + 5;
    let name = |n| format!("8:{n}");
    scene.now.bdis = (0..many).map(|n| bdi(&name(n), Some(0))).collect();
    // Three threads sleep, possibly for one of these.
    let topology = Arc::make_mut(&mut scene.now.topology);
    let export = topology.exports[0].clone();
    let of = |n| Export {
        bdi: name(n).into(),
        ..export.clone()
    };
    topology.exports = (0..5).map(of).collect();
    scene.play(20, |now| {
        threads(now, 3, ThreadState::Blocked, None);
        for n in 0..many {
            pause(now, Class::User, &name(n), 600 + (many - n) as u64);
        }
        for disk in &mut now.bdis {
            disk.disk_busy_ms = disk.disk_busy_ms.map(|ms| ms + 1000);
            disk.written_bytes = disk.written_bytes.map(|bytes| bytes + MB);
        }
    });
    let holds = scene.holds().into_iter();
    let slow = holds.filter(|(kind, _)| *kind == RelatedKind::SlowDisk);
    let told: Vec<String> = slow.map(|(_, bdi)| bdi).collect();
    assert_eq!(told.len(), MAX_SUBJECTS);
    for n in 0..many {
        assert_eq!(told.contains(&name(n)), n < MAX_SUBJECTS, "{n}");
    }
}

#[test]
fn more_clients_than_are_watched_do_no_harm() {
    let mut scene = Scene::new();
    let one = scene.now.clients[0].clone();
    for n in 0..2000 {
        let mut more = one.clone();
        more.bdi = format!("1:{n}").into();
        (more.writes_sent, more.last_sent_ns) = (1, 5);
        scene.now.clients.push(more);
    }
    scene.play(20, |_| {});
    assert_eq!(scene.holds().len(), MAX_SUBJECTS);
}

/// One second with several mild troubles at once.
#[derive(Clone, Copy, Debug)]
struct Step {
    troubles: u16,
    break_what: u8,
    number: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (any::<u16>(), any::<u8>(), any::<u64>()).prop_map(|(troubles, break_what, number)| Step {
        troubles,
        break_what,
        number,
    })
}

fn happen(now: &mut Observation, step: Step) {
    let has = |bit: u32| step.troubles & 1 << bit != 0;
    let since = 1_001 * SECOND;
    if has(0) {
        unanswered(now);
    } else {
        answered(now, MB);
    }
    if has(1) {
        writer_paused(now);
    }
    if has(2) {
        disk_works(now, 1000, if has(3) { 5 * MB } else { 0 });
    }
    let state = if has(4) {
        ThreadState::Throttled
    } else {
        ThreadState::Blocked
    };
    threads(
        now,
        usize::from(has(5)) * 4,
        state,
        Some(since).filter(|_| has(6)),
    );
    if has(7) {
        spend(now, Cause::DirectReclaim, Class::User, 2000);
        now.memory.available_bytes = Some(MB);
    }
    if has(8) {
        pause(now, Class::Nfsd, DISK, 500);
    }
    if has(9) {
        now.memory.oom_kills = now.memory.oom_kills.map(|kills| kills.wrapping_add(1));
    }
}

/// Mostly leaves the observation alone, else sets one field from `number`.
fn disturb(now: &mut Observation, step: Step) {
    let number = step.number;
    match step.break_what {
        0 => now.monotonic_ns = number,
        1 => now.monotonic_ns = now.monotonic_ns.wrapping_add(number >> 30),
        2 => now.clients.iter_mut().for_each(|c| c.writes_sent = number),
        3 => now.clients.iter_mut().for_each(|c| c.writes_acked = number),
        4 => now.nfsd = None,
        5 => now.clients.clear(),
        6 => now.bdis.clear(),
        7 => now
            .bdis
            .iter_mut()
            .for_each(|b| b.dirty_bytes = Some(number)),
        8 => now
            .bdis
            .iter_mut()
            .for_each(|b| b.disk_busy_ms = Some(number)),
        9 => now
            .bdis
            .iter_mut()
            .for_each(|b| b.written_bytes = Some(number)),
        10 => now.bdis.iter_mut().for_each(|b| {
            b.disk_sectors_written = Some(number);
            b.disk_sectors_read = Some(number);
            b.disk_requests = Some(number);
            b.disk_request_ms = Some(number);
        }),
        11 => now
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.pause_ns = number),
        12 => now.delays.iter_mut().for_each(|d| d.sum_ns = number),
        13 => now.waits.iter_mut().for_each(|w| w.since_ns = number),
        14 => now.memory.total_bytes = Some(number),
        15 => now.memory.available_bytes = Some(number),
        16 => now.memory.oom_kills = Some(number),
        17 => {
            for thread in now.nfsd.iter_mut().flat_map(|nfsd| &mut nfsd.threads) {
                thread.write_since_ns = Some(number);
            }
        }
        18 => now.waits.push(wait(0, Class::Kworker, CLIENT)),
        19 => Arc::make_mut(&mut now.topology).exports.push(Export {
            netns: number,
            path: "".into(),
            bdi: "".into(),
        }),
        20 => now.bdis.push(bdi(DISK, Some(number))),
        _ => {}
    }
}

fn run(steps: &[(Step, u8)], thresholds: Thresholds, backwards: bool) -> Vec<RelatedEvent> {
    let mut scene = Scene::with(thresholds);
    for &(step, seconds) in steps {
        for n in 0..seconds {
            scene.play(1, |now| {
                now.clients.sort_by(|a, b| a.bdi.cmp(&b.bdi));
                now.bdis.sort_by(|a, b| a.bdi.cmp(&b.bdi));
                if now.clients.is_empty() || now.bdis.len() < 2 {
                    return;
                }
                happen(now, step);
                if n == 0 {
                    disturb(now, step);
                }
                if backwards {
                    now.clients.reverse();
                    now.bdis.reverse();
                    now.waits.reverse();
                    now.delays.reverse();
                    now.dirty_pauses.reverse();
                }
            });
            let related = scene.engine.related();
            assert!(related.is_sorted_by_key(|one| (one.kind, one.bdi.clone())));
            assert!(related.iter().all(|one| !one.reason.is_empty()));
        }
    }
    scene.events
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_comes_each_condition_begins_and_ends_in_turns(
        steps in prop::collection::vec((step(), 1..20u8), 1..16)
    ) {
        let events = run(&steps, Thresholds::default(), false);
        let mut held = std::collections::BTreeSet::new();
        for event in &events {
            let subject = (event.kind, event.bdi.clone());
            let was = if event.began { !held.insert(subject) } else { held.remove(&subject) };
            prop_assert_eq!(was, !event.began, "{:?}", event);
            prop_assert!(!event.reason.is_empty());
        }
    }

    #[test]
    fn the_order_of_bdis_is_irrelevant(steps in prop::collection::vec((step(), 1..20u8), 1..16)) {
        // Two BDIs of one name are ambiguous.
        prop_assume!(steps.iter().all(|(step, _)| step.break_what != 20));
        let (forth, back) = (
            run(&steps, Thresholds::default(), false),
            run(&steps, Thresholds::default(), true),
        );
        prop_assert_eq!(forth, back);
    }

    #[test]
    fn unchecked_thresholds_make_no_panic(
        steps in prop::collection::vec((step(), 1..8u8), 1..12),
        number in any::<f64>(),
        millis in any::<u64>(),
    ) {
        let time = std::time::Duration::from_millis(millis);
        let related = RelatedThresholds {
            begin: time, end: time, silence: time, answers_apart: time,
            pause_share: number, disk_busy_share: number, disk_wait_share: number,
            disk_slow_bytes_per_second: millis, disk_slow_request: time, disk_slow_share: number,
            disk_shown_half_life: time, reclaim_share: number, available_share: number, oom_reclaim_share: number,
            hung_busy_share: number, holder_limit_share: number, limit_full_share: number,
            held_clean_share: number, ease: number,
        };
        run(&steps, Thresholds { related, ..Thresholds::default() }, false);
    }
}
