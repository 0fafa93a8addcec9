//! Tests of the signature of a livelock between two signatures.

use monitor_common::{Cause, Class};
use monitor_model::verdict::{
    LivelockState::{Livelock, None as Nothing, Recovered},
    Signature::{DirtyThrottle, ReclaimCongestion},
};

use super::node::{Phase, Watched};
use super::reclaim;

/// Both waits at once: milliseconds a second in each.
fn both(pause_ms: u64, reclaim_ms: u64) -> (Watched, Phase) {
    let mut watched = reclaim::frozen();
    watched.node.in_dirty = true;
    watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", reclaim_ms)];
    let phase = Phase {
        events: 5,
        pause_ms,
        blocked: 0,
        ..Phase::FROZEN_6_12
    };
    (watched, phase)
}

#[test]
fn the_wait_that_explains_most_gives_the_livelock_its_name() {
    for (pause_ms, reclaim_ms, signature) in [
        (1200, 700, DirtyThrottle),
        (700, 1200, ReclaimCongestion),
        (900, 900, DirtyThrottle),
    ] {
        let (mut watched, phase) = both(pause_ms, reclaim_ms);
        assert_eq!(watched.play(&phase, 10), Livelock);
        assert_eq!(
            watched.verdict().signature,
            signature,
            "{pause_ms} and {reclaim_ms}"
        );
        assert_eq!(watched.timeline.len(), 2, "{:?}", watched.timeline);
    }
}

#[test]
fn one_that_goes_over_from_the_one_to_the_other_is_confirmed_once() {
    let (mut watched, dirty) = both(1900, 0);
    for second in 0..30 {
        // Two seconds of one, two of the other.
        let reclaims = second % 4 >= 2;
        watched.node.in_dirty = !reclaims;
        watched.node.spends[0].3 = if reclaims { 1900 } else { 0 };
        let phase = if reclaims {
            Phase::FROZEN_RECLAIM
        } else {
            dirty
        };
        watched.play(&phase, 1);
    }
    let states: Vec<_> = watched.timeline.iter().map(|&(_, to)| to).collect();
    assert_eq!(
        states.iter().filter(|&&state| state == Livelock).count(),
        1,
        "{states:?}"
    );
    let verdict = watched.verdict();
    assert_eq!((verdict.state, verdict.detections()), (Livelock, 1));
    assert_eq!(verdict.tallies.len(), 1);
}

#[test]
fn the_name_stays_until_the_loop_is_calm_though_the_waits_change() {
    let (mut watched, dirty) = both(1900, 0);
    watched.play(&dirty, 10);
    assert_eq!(
        (watched.state(), watched.verdict().signature),
        (Livelock, DirtyThrottle)
    );
    watched.node.in_dirty = false;
    watched.node.spends[0].3 = 2000;
    watched.play(&Phase::FROZEN_RECLAIM, 20);
    let verdict = watched.verdict();
    assert_eq!(
        (verdict.state, verdict.signature),
        (Livelock, DirtyThrottle)
    );
    let edge = verdict.conditions.closing_edge;
    assert!(
        edge.why.starts_with("reclaim-congestion: "),
        "but says how it is: {edge:?}"
    );
    watched.node.spends[0].3 = 0;
    watched.play(&Phase::HEALTHY, 6);
    assert_eq!(watched.state(), Recovered);
    watched.node.spends[0].3 = 2000;
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    assert_eq!(
        watched.verdict().signature,
        DirtyThrottle,
        "it was never calm"
    );
    watched.node.spends[0].3 = 0;
    assert_eq!(watched.play(&Phase::HEALTHY, 25), Nothing);
    watched.node.spends[0].3 = 2000;
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, ReclaimCongestion);
    let dirty = verdict.tally(DirtyThrottle);
    let reclaim = verdict.tally(ReclaimCongestion);
    assert_eq!((dirty.detections, reclaim.detections), (2, 1));
    assert!(
        dirty.livelock_seconds > 20.0 && reclaim.livelock_seconds < 10.0,
        "{verdict:?}"
    );
    assert!(
        (verdict.livelock_seconds() - dirty.livelock_seconds - reclaim.livelock_seconds).abs()
            < 1e-9
    );
}

#[test]
fn what_was_before_the_suspicion_does_not_count() {
    let mut watched = Watched::new(4);
    watched.node.in_dirty = false;
    watched.node.congest(true);
    watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 1100)];
    // One of three threads is in reclaim for minutes while the loop works.
    let works = Phase {
        throttled: 1,
        running: 2,
        acked: 22_000_000,
        served: 22_000_000,
        ..Phase::FROZEN_RECLAIM
    };
    watched.play(&works, 120);
    assert_eq!(watched.timeline, []);
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.holds, Some(true), "{edge:?}");
    watched.node.spends.clear();
    watched.node.in_dirty = true;
    let dirty = Phase {
        blocked: 0,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&dirty, 12), Livelock);
    assert_eq!(watched.verdict().signature, DirtyThrottle);
}

#[test]
fn a_transition_carries_the_name_of_the_verdict() {
    let mut watched = reclaim::frozen();
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    let names: Vec<_> = watched
        .transitions
        .iter()
        .map(|one| one.signature)
        .collect();
    assert_eq!(names, [ReclaimCongestion, ReclaimCongestion]);
}

#[test]
fn the_whole_suspicion_counts_and_not_its_last_seconds() {
    let (mut watched, dirty) = both(1900, 600);
    watched.play(&dirty, 5);
    watched.node.spends[0].3 = 1900;
    let reclaim = Phase {
        pause_ms: 600,
        ..dirty
    };
    for _ in 0..20 {
        if watched.state() == Livelock {
            break;
        }
        watched.play(&reclaim, 1);
    }
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, DirtyThrottle);
    assert!(
        watched.first(Livelock).expect("now") <= 9,
        "{:?}",
        watched.timeline
    );
}
