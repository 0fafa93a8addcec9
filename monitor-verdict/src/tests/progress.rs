//! Tests of demand, progress and the times in a verdict.

use monitor_common::Class;
use monitor_model::verdict::LivelockState::{Livelock, None as Calm, Recovered};

use super::node::{CLIENT, Node, Phase, Watched, wait};
use crate::loops::MAX_LOOPS;

const MB: u64 = 1_000_000;

const BUSY: Phase = Phase {
    acked: 200 * MB,
    served: 200 * MB,
    ..Phase::HEALTHY
};

/// The rate in the verdict below which the loop counts as stalled.
fn under(watched: &Watched) -> String {
    let why = watched.verdict().conditions.no_progress.why;
    let (_, rest) = why.split_once("no progress under ").expect("said");
    rest.split(',').next().expect("one").to_owned()
}

#[test]
fn no_progress_is_a_share_of_the_best_second_and_half_as_much_more_once_it_held() {
    let mut watched = Watched::new(8);
    watched.play(&BUSY, 5);
    assert_eq!(under(&watched), "1.9 MiB/s");
    watched.play(&Phase::IDLE, 5);
    assert_eq!(under(&watched), "2.8 MiB/s");
}

#[test]
fn the_best_second_fades_by_half_in_ten_minutes() {
    let mut watched = Watched::new(8);
    watched.play(&BUSY, 5);
    watched.play(&Phase::IDLE, 600);
    assert_eq!(under(&watched), "1.4 MiB/s");
    watched.play(&Phase::IDLE, 3600);
    assert_eq!(under(&watched), "1.1 MiB/s", "the floor, half as much more");
}

#[test]
fn what_moves_just_as_much_as_the_floor_is_progress() {
    let floor = 768 << 10;
    for (moved, holds) in [(floor - 1, Some(true)), (floor, Some(false))] {
        let mut watched = Watched::new(8);
        let phase = Phase {
            acked: moved,
            served: moved,
            ..Phase::HEALTHY
        };
        watched.play(&phase, 5);
        let no_progress = watched.verdict().conditions.no_progress;
        assert_eq!(no_progress.holds, holds, "{}", no_progress.why);
    }
}

#[test]
fn either_side_of_nfsd_is_progress() {
    for (acked, served, holds) in [
        (0, BUSY.served, Some(false)),
        (BUSY.acked, 0, Some(false)),
        (0, 0, Some(true)),
    ] {
        let mut watched = Watched::new(8);
        let phase = Phase {
            acked,
            served,
            ..Phase::HEALTHY
        };
        watched.play(&phase, 5);
        let no_progress = watched.verdict().conditions.no_progress;
        assert_eq!(no_progress.holds, holds, "{}", no_progress.why);
    }
}

#[test]
fn what_nfsd_writes_while_nothing_is_acknowledged_ends_a_livelock() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 12);
    assert_eq!(watched.state(), Livelock);
    let served = Phase {
        served: BUSY.served,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&served, 10), Recovered);
}

#[test]
fn writers_that_wait_or_calls_without_an_answer_are_demand_even_without_pages() {
    let mut watched = Watched::new(8);
    let demand = |watched: &Watched| watched.verdict().conditions.demand.holds;
    watched.play(&Phase::IDLE, 5);
    assert_eq!(demand(&watched), Some(false));
    watched.node.lasting = vec![wait(500, Class::User, CLIENT)];
    watched.play(&Phase::IDLE, 1);
    assert_eq!(demand(&watched), Some(true));
    watched.node.lasting.clear();
    watched.play(&Phase::IDLE, 1);
    assert_eq!(demand(&watched), Some(false));
    watched.play_with(&Phase::IDLE, 1, |_, o| {
        o.clients[0].writes_sent += 1;
    });
    assert_eq!(demand(&watched), Some(true));
}

#[test]
fn a_verdict_is_counted_in_the_second_that_confirms_it_and_dated_to_it() {
    let mut watched = Watched::new(8);
    let confirmed = (0..30).any(|_| watched.play(&Phase::FROZEN_6_12, 1) == Livelock);
    assert!(confirmed);
    let verdict = watched.verdict();
    assert_eq!(verdict.detections(), 1);
    assert!(verdict.tallies[0].livelock_seconds < 0.001);
    let transition = watched.transitions.last().expect("one");
    assert_eq!(verdict.since_ms, transition.monotonic_ms);
    assert_eq!(verdict.since_ms, watched.node.now.monotonic_ns / 1_000_000);
}

#[test]
fn the_end_of_a_livelock_says_how_long_it_was() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 30);
    let confirmed = watched.first(Livelock).expect("confirmed");
    watched.play(&Phase::HEALTHY, 5);
    let recovered = watched.first(Recovered).expect("recovered");
    let reason = watched.transitions.last().expect("one").reason.clone();
    let words = format!("over after {}.0 s of livelock: ", recovered - confirmed);
    assert!(reason.starts_with(&words), "{words} {reason}");
}

#[test]
fn the_verdicts_of_loops_that_ended_leave_room_for_no_more_than_the_most() {
    let mut watched = Watched::new(8);
    let mount = |watched: &mut Watched, from: usize| {
        for n in from..from + MAX_LOOPS {
            watched.node.mount(&format!("1:{n}"));
            // Their client ids are the old ones, so their calls add up.
            watched.node.call(&format!("1:{n}"), 12, 12);
        }
        assert_eq!(watched.play(&Phase::IDLE, 20), Calm);
    };
    mount(&mut watched, 0);
    assert_eq!(watched.engine.verdicts().len(), MAX_LOOPS);
    let Node { now, .. } = &mut watched.node;
    now.clients.truncate(1);
    now.rpc_clients.retain(|rpc| rpc.bdi == CLIENT);
    now.bdis.truncate(2);
    mount(&mut watched, 1000);
    assert!(watched.engine.loops().len() > 1, "there are new ones");
    assert_eq!(watched.engine.verdicts().len(), MAX_LOOPS);
}
