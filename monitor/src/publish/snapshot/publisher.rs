//! The tick thread's side: keeps what outlives a tick, publishes a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use monitor_model::{
    api::ConfigStatus,
    guard::GuardEvent,
    loops::{Loop, LoopEvent},
    observation::{Observation, StalledTask, TaskDelay},
    related::{Related, RelatedEvent, RelatedTally},
    remote::RemoteMount,
    verdict::{Transition, Verdict},
};

use monitor_collector::kernel::cost::ProgramCost;

use super::{
    Daemon, Happened, MAX_EVENTS, MAX_GUARD, MAX_STALLS, MAX_TIMELINE, ProbeReport, Shared,
    Snapshot, events,
};
use crate::evidence;
use crate::evidence::{Document, Results};
use crate::guard::GuardNow;
use crate::publish::process::ProcessStats;

/// What one tick brings.
#[derive(Debug, Default)]
pub struct Tick {
    /// What it saw.
    pub observation: Observation,
    /// What is to be said of each (loop, signature) now.
    pub verdicts: Vec<Verdict>,
    /// The loops.
    pub loops: Vec<Loop>,
    /// Loops that came and went in this tick, oldest first.
    pub loop_events: Vec<LoopEvent>,
    /// Related conditions that hold.
    pub related: Vec<Related>,
    /// Related conditions that began and ended in this tick.
    pub related_events: Vec<RelatedEvent>,
    /// NFS mounts of servers elsewhere.
    pub remote: Vec<RemoteMount>,
    /// What was counted of each kind of them.
    pub related_tallies: Vec<RelatedTally>,
    /// What changed in this tick, oldest first.
    pub transitions: Vec<Transition>,
    /// Documents that prove what changed, oldest first.
    pub evidence: Vec<Arc<Document>>,
    /// What became of documents so far; `None` without `--evidence.dir`.
    pub evidence_results: Option<Results>,
    /// Totals by task.
    pub tasks: Vec<TaskDelay>,
    /// Waits over the threshold that ended since the last tick, oldest first.
    pub stalls: Vec<StalledTask>,
    /// What is to be said of the guard.
    pub guard: GuardNow,
    /// What it decided and did, oldest first.
    pub guard_events: Vec<GuardEvent>,
    /// What the eBPF programs cost.
    pub costs: Vec<ProgramCost>,
    /// What the daemon itself uses.
    pub process: Option<ProcessStats>,
    /// How long the tick took.
    pub took: Duration,
}

/// Owned by the tick thread.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    // What outlives a tick; the rest of it is empty.
    kept: Snapshot,
}

impl Publisher {
    /// Publishes that nothing is known yet.
    #[must_use]
    pub fn new(daemon: Daemon) -> Self {
        let kept = Snapshot::before_the_first_tick(daemon);
        Self {
            shared: Arc::new(Shared::new(kept.clone())),
            kept,
        }
    }

    /// Where the snapshots are found: for [`crate::http::serve`].
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Publishes how the signals are attached; the rest stays as it was.
    pub fn probes(&mut self, probes: ProbeReport) {
        self.kept.probes = Arc::new(probes);
        let current = self.shared.load();
        self.shared.publish(Snapshot {
            probes: Arc::clone(&self.kept.probes),
            ..Snapshot::clone(&current)
        });
    }

    /// Sets the state of the configuration; it is published with the next tick, or at once if
    /// there was none yet.
    pub fn config(&mut self, config: Arc<ConfigStatus>) {
        self.kept.config = Some(config);
        let current = self.shared.load();
        if !current.ticked() {
            self.shared.publish(Snapshot {
                config: self.kept.config.clone(),
                ..Snapshot::clone(&current)
            });
        }
    }

    /// Publishes a tick. One that failed is not published: its absence is what
    /// readiness and `throttle_monitor_tick_last_success_timestamp_seconds` show.
    pub fn tick(&mut self, tick: Tick) {
        let kept = &mut self.kept;
        kept.known_waits.learn(&tick.observation);
        kept.tick_duration.observe(tick.took);
        let last = kept.events.back().map_or(0, |event| event.id);
        let unix_ms = tick.observation.unix_ms;
        let loops = tick.loop_events.iter().cloned().map(Happened::Loop);
        let related = tick.related_events.iter().cloned();
        let transitions = tick.transitions.iter().cloned();
        let guard = tick.guard_events.iter().cloned().map(Happened::Guard);
        let happened = loops
            .chain(related.map(Happened::Related))
            .chain(transitions.map(Happened::Verdict))
            .chain(guard);
        let new = events::number(last, unix_ms, happened);
        keep_newest(&mut kept.events, new, MAX_EVENTS);
        keep_newest(&mut kept.loop_events, tick.loop_events, MAX_TIMELINE);
        keep_newest(&mut kept.related_events, tick.related_events, MAX_TIMELINE);
        keep_newest(&mut kept.guard_events, tick.guard_events, MAX_GUARD);
        keep_newest(&mut kept.timeline, tick.transitions, MAX_TIMELINE);
        keep_newest(&mut kept.stalls, tick.stalls, MAX_STALLS);
        evidence::keep_newest(&mut kept.evidence, tick.evidence);
        self.shared.history().push(&tick.verdicts, unix_ms);
        self.shared.publish(Snapshot {
            observation: tick.observation,
            verdicts: tick.verdicts,
            loops: tick.loops,
            related: tick.related,
            related_tallies: tick.related_tallies,
            remote: tick.remote,
            tasks: tick.tasks,
            guard: Some(tick.guard),
            costs: tick.costs,
            process: tick.process,
            evidence_results: tick.evidence_results,
            ..kept.clone()
        });
    }
}

/// Adds to what snapshots share. The copy that this takes is made only when
/// there is something to add.
fn keep_newest<T: Clone>(kept: &mut Arc<VecDeque<T>>, new: Vec<T>, most: usize) {
    if new.is_empty() {
        return;
    }
    let surplus = new.len().saturating_sub(most);
    let room = most - (new.len() - surplus);
    let old = kept.len().saturating_sub(room);
    *kept = Arc::new(
        kept.iter()
            .skip(old)
            .cloned()
            .chain(new.into_iter().skip(surplus))
            .collect(),
    );
}

#[cfg(test)]
mod tests {
    use monitor_model::observation::Observation;

    use super::{MAX_EVENTS, MAX_STALLS, MAX_TIMELINE, Publisher, Tick};
    use crate::publish::snapshot::{Daemon, Happened, ProbeReport};
    use crate::publish::testing;

    #[test]
    fn the_timeline_and_the_stalls_keep_the_newest_and_no_more() {
        let mut publisher = Publisher::new(Daemon::default());
        for start in (0..3000).step_by(7) {
            let times = start..(start + 7).min(3000);
            publisher.tick(Tick {
                transitions: times.clone().map(testing::transition_at).collect(),
                related_events: times
                    .clone()
                    .map(|_| testing::related_event(true))
                    .collect(),
                stalls: times.map(testing::stall_since).collect(),
                ..Tick::default()
            });
        }
        let now = publisher.shared().load();
        assert!(
            now.timeline
                .iter()
                .map(|t| t.monotonic_ms)
                .eq(3000 - MAX_TIMELINE as u64..3000)
        );
        assert!(
            now.stalls
                .iter()
                .map(|s| s.wait.since_ns)
                .eq(3000 - MAX_STALLS as u64..3000)
        );
        assert_eq!(now.related_events.len(), MAX_TIMELINE);
    }

    #[test]
    fn one_tick_with_more_transitions_than_are_kept_leaves_its_newest() {
        let mut publisher = Publisher::new(Daemon::default());
        let last = MAX_TIMELINE as u64 + 50;
        publisher.tick(Tick {
            transitions: (0..last).map(testing::transition_at).collect(),
            ..Tick::default()
        });
        assert!(
            publisher
                .shared()
                .load()
                .timeline
                .iter()
                .map(|t| t.monotonic_ms)
                .eq(50..last)
        );
    }

    #[test]
    fn events_have_ascending_numbers_over_ticks_and_restarts_and_are_bounded() {
        let mut publisher = Publisher::new(Daemon::default());
        let tick = |unix_ms, count| Tick {
            observation: Observation {
                unix_ms,
                ..Observation::default()
            },
            loop_events: vec![testing::loop_event()],
            related_events: vec![testing::related_event(true)],
            transitions: (1..count).map(testing::transition_at).collect(),
            ..Tick::default()
        };
        publisher.tick(tick(7, 3));
        // The clock stands still, then steps back.
        publisher.tick(tick(7, 1));
        publisher.tick(tick(2, 1));
        let now = publisher.shared().load();
        let ids: Vec<_> = now.events.iter().map(|event| event.id).collect();
        assert_eq!(ids, [7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007]);
        assert_eq!(now.events[0].what, Happened::Loop(testing::loop_event()));
        assert_eq!(
            now.events[1].what,
            Happened::Related(testing::related_event(true))
        );
        assert_eq!(
            now.events[2].what,
            Happened::Verdict(testing::transition_at(1))
        );
        publisher.tick(tick(9, 5000));
        assert_eq!(publisher.shared().load().events.len(), MAX_EVENTS);
    }

    #[test]
    fn a_reader_of_an_old_snapshot_does_not_see_a_new_transition() {
        let mut publisher = Publisher::new(Daemon::default());
        let before = publisher.shared().load();
        publisher.tick(Tick {
            transitions: vec![testing::transition_at(1)],
            ..Tick::default()
        });
        assert!(before.timeline.is_empty());
        assert_eq!(publisher.shared().load().timeline.len(), 1);
    }

    #[test]
    fn new_probes_do_not_wipe_out_the_last_tick_and_stay_after_the_next() {
        let mut publisher = Publisher::new(Daemon::default());
        publisher.tick(Tick {
            observation: testing::observation(),
            ..Tick::default()
        });
        publisher.probes(ProbeReport {
            kernel: "6.12".to_owned(),
            ..ProbeReport::default()
        });
        assert_eq!(
            publisher.shared().load().observation,
            testing::observation()
        );
        publisher.tick(Tick::default());
        assert_eq!(publisher.shared().load().probes.kernel, "6.12");
    }
}
