//! Livelocks are not related conditions, and those are not livelocks.

use std::time::Duration;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{DirtyPauses, Observation, ThreadState},
    related::{
        RelatedEvent,
        RelatedKind::{self, DirtyLimitHeld, HungFileSystem, MemoryStarvation, SlowDisk},
    },
    testing,
    verdict::LivelockState,
};

use super::scene::{MB, bdi, disk_works, spend};
use crate::tests::node::{CLIENT, DISK, Node, Phase, wait};
use crate::{Engine, Thresholds};

struct Played {
    node: Node,
    engine: Engine,
    events: Vec<RelatedEvent>,
    worst: LivelockState,
}

impl Played {
    fn new() -> Self {
        let mut node = Node::new(8);
        node.now.bdis[1].disk_sectors_written = Some(0);
        node.now.bdis[1].written_bytes = Some(0);
        Self {
            node,
            engine: Engine::new(Thresholds::default()),
            events: Vec::new(),
            worst: LivelockState::None,
        }
    }

    fn play(&mut self, phase: &Phase, seconds: u64, change: impl Fn(&mut Observation)) {
        for _ in 0..seconds {
            self.node.second(phase);
            change(&mut self.node.now);
            self.events
                .extend(self.engine.observe(&self.node.now).related);
            let states = self.engine.verdicts().into_iter().map(|v| v.state);
            let states = states.filter(|state| *state != LivelockState::Recovered);
            self.worst = states.fold(self.worst, LivelockState::max);
        }
    }

    fn kinds(&self) -> Vec<(RelatedKind, bool)> {
        self.events.iter().map(|e| (e.kind, e.began)).collect()
    }
}

/// Every thread sleeps in its file system, and none is throttled.
const BLOCKED: Phase = Phase {
    throttled: 0,
    blocked: 8,
    running: 0,
    events: 0,
    pause_ms: 0,
    ..Phase::FROZEN_6_12
};

/// Every thread is in a WRITE that began now.
fn in_a_write(node: &Node) -> impl Fn(&mut Observation) + use<> {
    let since = node.now.monotonic_ns;
    move |now| {
        let threads = now.nfsd.iter_mut().flat_map(|nfsd| &mut nfsd.threads);
        threads.for_each(|thread| thread.write_since_ns = Some(since));
    }
}

#[test]
fn a_livelock_is_nothing_but_a_livelock() {
    for phase in [Phase::CRAWL, Phase::FROZEN_6_12, Phase::FROZEN_5_10] {
        let mut played = Played::new();
        played.play(&Phase::HEALTHY, 3, |_| {});
        played.play(&phase, 60, |_| {});
        assert!(played.worst.is_livelock());
        assert_eq!(played.kinds(), [], "{phase:?}");
    }
}

/// A user's task that is paused on a device all the time.
fn writer(now: &mut Observation, bdi: &str, phase: &Phase) {
    now.waits.push(wait(900, Class::User, bdi));
    let same = |p: &&mut DirtyPauses| p.class == Class::User && p.bdi == bdi;
    if now.dirty_pauses.iter_mut().find(same).is_none() {
        let first = testing::pauses(bdi, Class::User);
        now.dirty_pauses.push(first);
    }
    let pauses = now.dirty_pauses.iter_mut().find(same).expect("pushed");
    pauses.events += 5;
    pauses.pause_ns += 1_000_000_000;
    pauses.dirty_pages += 5 * phase.dirty;
    pauses.limit_pages += 5 * phase.limit;
}

#[test]
fn a_livelocked_loop_holds_other_writers_and_the_reason_names_it() {
    for (phase, at) in [
        (Phase::FROZEN_6_12, "254:16"),
        (Phase::FROZEN_5_10, "254:16"),
        (Phase::FROZEN_6_12, DISK),
    ] {
        let mut played = Played::new();
        played.node.now.bdis.push(bdi("254:16", Some(0)));
        played.node.now.bdis[0].written_bytes = Some(0);
        played.play(&Phase::HEALTHY, 3, |_| {});
        played.play(&phase, 40, |now| writer(now, at, &phase));
        assert!(played.worst.is_livelock());
        assert_eq!(played.kinds(), [(DirtyLimitHeld, true)], "{phase:?}");
        let event = &played.events[0];
        assert_eq!(event.bdi, CLIENT);
        let named = "it belongs to loop 0:29-nfsd, which is in livelock";
        assert!(event.reason.contains(named), "{}", event.reason);
        assert!(event.reason.contains(": task[900];"), "{}", event.reason);
    }
}

#[test]
fn a_slow_disk_under_loopback_is_a_slow_disk_and_no_livelock() {
    let mut played = Played::new();
    for _ in 0..6 {
        played.play(&Phase::SLOW_DISK, 9, |now| disk_works(now, 0, 5 * MB));
        played.play(&Phase::SLOW_DISK_MOVES, 1, |now| disk_works(now, 0, 5 * MB));
    }
    assert_eq!(played.worst, LivelockState::None);
    assert_eq!(played.kinds(), [(SlowDisk, true)]);
    assert_eq!(played.events[0].bdi, DISK);
}

#[test]
fn a_link_cut_is_a_server_out_of_reach_and_no_livelock() {
    let mut played = Played::new();
    played.play(&Phase::HEALTHY, 5, |_| {});
    played.play(&Phase::SERVER_GONE, 29, |_| {});
    assert_eq!(played.worst, LivelockState::None);
    let kind = RelatedKind::NfsServerNotResponding;
    assert_eq!(played.kinds(), [(kind, true)]);
    played.play(&Phase::HEALTHY, 15, |_| {});
    assert_eq!(played.kinds()[1], (kind, false));
}

#[test]
fn a_frozen_file_system_under_a_loop_is_hung_and_no_livelock() {
    let mut played = Played::new();
    played.play(&Phase::HEALTHY, 5, |_| {});
    played.play(&BLOCKED, 40, in_a_write(&played.node));
    assert!(!played.worst.is_livelock());
    assert_eq!(played.kinds(), [(HungFileSystem, true)]);
}

#[test]
fn a_verdict_takes_over_earlier_related_conditions() {
    let mut played = Played::new();
    // With these thresholds only the verdict ends it.
    let mut patient = Thresholds::default();
    patient.related.end = Duration::from_hours(1);
    played.engine = Engine::new(patient);
    played.play(&BLOCKED, 20, in_a_write(&played.node));
    assert_eq!(played.kinds(), [(HungFileSystem, true)]);
    played.play(&Phase::FROZEN_6_12, 20, |_| {});
    let both = [(HungFileSystem, true), (HungFileSystem, false)];
    assert_eq!(played.kinds(), both);
    let reason = &played.events[1].reason;
    let taken = "it is part of loop 0:29-nfsd, which is in livelock";
    assert!(reason.ends_with(taken), "{reason}");
}

#[test]
fn starvation_and_a_livelock_may_hold_beside_each_other() {
    let mut played = Played::new();
    played.play(&Phase::FROZEN_6_12, 20, |now| {
        now.memory.total_bytes = Some(1000 * MB);
        now.memory.available_bytes = Some(20 * MB);
        spend(now, Cause::DirectReclaim, Class::User, 3000);
    });
    assert!(played.worst.is_livelock());
    assert_eq!(played.kinds(), [(MemoryStarvation, true)]);
}

#[test]
fn a_healthy_loop_is_at_most_dirty_throttling() {
    let mut played = Played::new();
    played.play(&Phase::HEALTHY, 60, |now| disk_works(now, 0, 30 * MB));
    assert_eq!(played.kinds(), [(RelatedKind::DirtyThrottling, true)]);
    let mut idle = Played::new();
    idle.play(&Phase::IDLE, 60, |now| {
        let threads = now.nfsd.iter_mut().flat_map(|nfsd| &mut nfsd.threads);
        threads.for_each(|thread| thread.state = ThreadState::Idle);
    });
    assert_eq!(idle.kinds(), []);
}
