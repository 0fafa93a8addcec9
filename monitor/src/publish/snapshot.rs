//! What one tick publishes and everybody serves.

mod events;
mod known_waits;
mod publisher;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use monitor_collector::kernel::cost::ProgramCost;
use monitor_model::{
    api::{ConfigStatus, DaemonInfo},
    guard::GuardEvent,
    loops::{Loop, LoopEvent},
    observation::{Observation, StalledTask, TaskDelay},
    related::{Related, RelatedEvent, RelatedTally},
    remote::RemoteMount,
    verdict::{Transition, Verdict},
};
use tokio::sync::watch;

use super::history::History;
use super::process::ProcessStats;
use crate::evidence::{Document, Results};
use crate::guard::GuardNow;

pub use events::{Event, MAX_EVENTS};
pub use known_waits::KnownWaits;
pub use monitor_model::api::{Happened, ProbeReport, SignalReport};
pub use publisher::{Publisher, Tick};

/// Transitions kept, the newest ones.
pub const MAX_TIMELINE: usize = 1000;
/// What the guard decided and did, the newest kept.
pub const MAX_GUARD: usize = 256;
/// Finished stalls kept, the newest ones.
pub const MAX_STALLS: usize = 256;

/// Everything that is served between one tick and the next.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the tick saw; its times are the time of the tick. Empty, with
    /// `monotonic_ns` zero, before the first.
    pub observation: Observation,
    /// What is to be said of each (loop, signature).
    pub verdicts: Vec<Verdict>,
    /// The loops.
    pub loops: Vec<Loop>,
    /// Loops that came and went, oldest first, at most [`MAX_TIMELINE`].
    pub loop_events: Arc<VecDeque<LoopEvent>>,
    /// Changes of state, oldest first, at most [`MAX_TIMELINE`].
    pub timeline: Arc<VecDeque<Transition>>,
    /// Related conditions that hold, in the order of kinds and BDIs.
    pub related: Vec<Related>,
    /// Related conditions that began and ended, oldest first, at most
    /// [`MAX_TIMELINE`].
    pub related_events: Arc<VecDeque<RelatedEvent>>,
    /// NFS mounts of servers elsewhere: this node's edges of loops across nodes.
    pub remote: Vec<RemoteMount>,
    /// What was counted of each kind of them; empty before the first tick.
    pub related_tallies: Vec<RelatedTally>,
    /// Documents that prove verdicts, oldest first, at most
    /// [`MAX_DOCUMENTS`](crate::evidence::MAX_DOCUMENTS).
    pub evidence: Arc<VecDeque<Arc<Document>>>,
    /// What became of them on their way to `--evidence.dir`; `None` without it.
    pub evidence_results: Option<Results>,
    /// All three in the order in which they happened, for those who listen, at most
    /// [`MAX_EVENTS`].
    pub events: Arc<VecDeque<Event>>,
    /// What is to be said of the guard; `None` before the first tick.
    pub guard: Option<GuardNow>,
    /// What it decided and did, oldest first, at most [`MAX_GUARD`].
    pub guard_events: Arc<VecDeque<GuardEvent>>,
    /// Totals by task.
    pub tasks: Vec<TaskDelay>,
    /// Finished waits over the threshold, oldest first, at most [`MAX_STALLS`].
    pub stalls: Arc<VecDeque<StalledTask>>,
    /// How each signal is attached, and why so.
    pub probes: Arc<ProbeReport>,
    /// The configuration; `None` in a replay.
    pub config: Option<Arc<ConfigStatus>>,
    /// How long the ticks took.
    pub tick_duration: TickDurations,
    /// (cause, class) pairs that ever waited: their series stay.
    pub known_waits: KnownWaits,
    /// What the eBPF programs cost; empty where the kernel does not count.
    pub costs: Vec<ProgramCost>,
    /// What the daemon itself uses, as of the tick.
    pub process: Option<ProcessStats>,
    /// What does not change while the daemon runs.
    pub daemon: Arc<Daemon>,
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// What people are told of it.
    pub info: DaemonInfo,
    /// The id of the node's boot; empty: unknown.
    pub boot_id: String,
    /// Upper bounds of the histograms of waits, seconds, ascending, at
    /// most one less than an observation has buckets; the one after the last
    /// bound is beyond all of them.
    pub bounds: Vec<f64>,
}

impl Daemon {
    /// Time between two ticks.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(self.info.interval_seconds).unwrap_or_default()
    }
}

/// Upper bounds of [`TickDurations`], seconds.
pub const TICK_BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// How long the ticks took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TickDurations {
    /// Ticks per bucket of [`TICK_BOUNDS`], not cumulative; the last is beyond
    /// all bounds.
    pub buckets: [u64; TICK_BOUNDS.len() + 1],
    /// All together, seconds.
    pub sum: f64,
}

impl TickDurations {
    /// Counts one tick.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = TICK_BOUNDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket] += 1;
        self.sum += seconds;
    }
}

impl Snapshot {
    /// What there is before the first tick.
    #[must_use]
    pub fn before_the_first_tick(daemon: Daemon) -> Self {
        Self {
            daemon: Arc::new(daemon),
            ..Self::default()
        }
    }

    /// Whether a tick was ever done.
    #[must_use]
    pub const fn ticked(&self) -> bool {
        self.observation.monotonic_ns != 0
    }

    /// Milliseconds since 1970 at a time of `CLOCK_MONOTONIC`, by what both
    /// clocks showed at the tick.
    #[must_use]
    pub fn unix_ms(&self, monotonic_ns: u64) -> u64 {
        let tick = &self.observation;
        if monotonic_ns <= tick.monotonic_ns {
            tick.unix_ms
                .saturating_sub((tick.monotonic_ns - monotonic_ns) / 1_000_000)
        } else {
            tick.unix_ms
                .saturating_add((monotonic_ns - tick.monotonic_ns) / 1_000_000)
        }
    }
}

/// What somebody is served: bytes, or why there are none.
pub type Rendered = Result<Bytes, String>;

/// A snapshot with what is served of it, which is made at most once.
#[derive(Debug)]
pub struct Published {
    snapshot: Snapshot,
    metrics: OnceLock<Rendered>,
    node: OnceLock<Rendered>,
}

impl Published {
    const fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            metrics: OnceLock::new(),
            node: OnceLock::new(),
        }
    }

    /// The text for Prometheus: rendered by the first who asks, shared by all
    /// who ask before the next tick.
    ///
    /// # Errors
    ///
    /// What the encoder refused, in words.
    pub fn metrics(&self, render: impl Fn(&Snapshot) -> Rendered) -> Rendered {
        self.metrics.get_or_init(|| render(&self.snapshot)).clone()
    }

    /// The node at a glance as of the tick, JSON: made by the first who asks, for
    /// those who are told of every tick.
    ///
    /// # Errors
    ///
    /// What serde refused, in words.
    pub fn node_json(&self, render: impl Fn(&Snapshot) -> Rendered) -> Rendered {
        self.node.get_or_init(|| render(&self.snapshot)).clone()
    }
}

impl Deref for Published {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// Where the tick thread leaves a snapshot and the others find it. Neither
/// waits for the other.
#[derive(Debug)]
pub struct Shared {
    current: ArcSwap<Published>,
    published: watch::Sender<()>,
    history: History,
}

impl Shared {
    /// Starts with this one.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(Published::new(snapshot)),
            published: watch::Sender::new(()),
            history: History::default(),
        }
    }

    /// Replaces it.
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(Published::new(snapshot)));
        self.published.send_replace(());
    }

    /// Tells of every snapshot that is published from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// The conditions of the last minutes.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The newest one.
    #[must_use]
    pub fn load(&self) -> Arc<Published> {
        self.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Daemon, Shared, Snapshot, TICK_BOUNDS, TickDurations};

    #[test]
    fn a_tick_as_long_as_a_bound_counts_below_it_and_an_endless_one_beyond_all() {
        let mut durations = TickDurations::default();
        durations.observe(Duration::from_millis(1));
        durations.observe(Duration::from_mins(1));
        assert_eq!(durations.buckets[1], 1, "le is inclusive");
        assert_eq!(durations.buckets[TICK_BOUNDS.len()], 1);
        assert!((durations.sum - 60.001).abs() < 1e-9);
    }

    #[test]
    fn a_monotonic_time_becomes_wall_time_on_both_sides_of_the_tick() {
        let mut snapshot = Snapshot::before_the_first_tick(Daemon::default());
        snapshot.observation.monotonic_ns = 10_000_000_000;
        snapshot.observation.unix_ms = 1_700_000_000_000;
        assert_eq!(snapshot.unix_ms(7_500_000_000), 1_699_999_997_500);
        assert_eq!(snapshot.unix_ms(11_000_000_000), 1_700_000_001_000);
    }

    #[test]
    fn a_reader_keeps_its_snapshot_while_a_newer_one_is_published() {
        let shared = Shared::new(Snapshot::before_the_first_tick(Daemon::default()));
        let held = shared.load();
        let mut newer = Snapshot::before_the_first_tick(Daemon::default());
        newer.observation.monotonic_ns = 5;
        shared.publish(newer);
        assert!(!held.ticked());
        assert!(shared.load().ticked());
    }

    #[test]
    fn one_snapshot_is_rendered_once_for_all_who_ask() {
        let shared = Shared::new(Snapshot::before_the_first_tick(Daemon::default()));
        let rendered = || {
            let render = |snapshot: &Snapshot| Ok(format!("{:?}", snapshot.daemon).into());
            shared.load().metrics(render).unwrap()
        };
        let (first, second) = (rendered(), rendered());
        assert!(!first.is_empty());
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
