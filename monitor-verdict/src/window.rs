//! The sliding window of all signatures: a bounded ring of reduced observations, and queries over
//! it.

pub mod confidence;
mod own;
pub mod reduce;
mod related;
mod time;
pub mod view;

use std::collections::VecDeque;

use monitor_common::Class;
use monitor_model::observation::{DirtyPauses, Observation};

use crate::thresholds::{Thresholds, nanos};
use crate::window::reduce::{Sample, Threads};

/// Maximum number of samples for any tick: 6.4 s at 100 ms.
const MAX_SAMPLES: usize = 64;
/// Ticks are never exactly on time; this much delay still counts as the same second.
pub(super) const TICK_SLACK_NS: u64 = 200_000_000;
const SECOND_NS: u64 = 1_000_000_000;

pub use own::Own;

/// The result of adding an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The next tick, so many nanoseconds after the one before.
    Next(u64),
    /// The first one, or the first after a gap or a step back in time. Older samples are dropped.
    Restarted,
    /// An observation with the same time as the previous one; it is dropped.
    Ignored,
}

/// Bytes that moved within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes.
    pub bytes: u64,
    /// Nanoseconds, never zero.
    pub ns: u64,
}

impl Moved {
    /// Bytes a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.bytes as f64 * SECOND_NS as f64 / self.ns as f64
    }
}

/// The reports of `balance_dirty_pages` over the window, as means over its ticks, in pages. Each
/// tick has the same weight. The crawl has 100 reports a second and the freeze 5, but the freeze
/// matters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PauseMeans {
    /// Pauses.
    pub events: u64,
    /// Total time of the pauses, nanoseconds.
    pub pause_ns: u64,
    /// Dirty and writeback pages of the node.
    pub dirty: f64,
    /// The hard dirty limit.
    pub limit: f64,
    /// This BDI's part of `dirty`.
    pub bdi_dirty: f64,
    /// The kernel's target for `bdi_dirty`.
    pub bdi_setpoint: f64,
    /// `dirty` over `limit` in the newest tick with a pause. At the onset the mean lags behind
    /// pages that still rise.
    pub newest_share: f64,
}

/// The states of the server threads over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadSamples {
    /// Samples of all threads together.
    pub samples: u32,
    /// Samples of busy threads.
    pub busy: u64,
    /// Samples of threads throttled, or blocked behind a throttled one.
    pub stuck: u64,
    /// Samples of busy threads that are not blocked, so that can be in a cause.
    pub unblocked: u64,
    /// Ticks with a throttled thread.
    pub throttled_ticks: u32,
    /// Maximum of threads busy at once.
    pub most_busy: u32,
    /// Maximum of threads throttled at once.
    pub most_throttled: u32,
    /// Maximum of threads in `balance_dirty_pages` at once.
    pub most_in_dirty: u32,
}

/// The sliding window.
#[derive(Clone, Debug)]
pub struct Window {
    samples: VecDeque<Sample>,
    span_ns: u64,
    max_gap_ns: u64,
}

impl Window {
    /// An empty one.
    #[must_use]
    pub fn new(thresholds: &Thresholds) -> Self {
        Self {
            samples: VecDeque::with_capacity(MAX_SAMPLES),
            span_ns: nanos(thresholds.window),
            max_gap_ns: nanos(thresholds.max_gap),
        }
    }

    /// Uses other thresholds from the next observation on.
    pub fn set_thresholds(&mut self, thresholds: &Thresholds) {
        self.span_ns = nanos(thresholds.window);
        self.max_gap_ns = nanos(thresholds.max_gap);
    }

    /// Adds an observation and drops the oldest.
    pub fn push(&mut self, observation: &Observation) -> Pushed {
        let now = observation.monotonic_ns;
        let pushed = match self.samples.back().map(|last| now.checked_sub(last.ns)) {
            Some(Some(0)) => return Pushed::Ignored,
            Some(Some(gap)) if gap <= self.max_gap_ns => Pushed::Next(gap),
            _ => {
                self.samples.clear();
                Pushed::Restarted
            }
        };
        let oldest = now.saturating_sub(self.span_ns.saturating_add(TICK_SLACK_NS));
        let mut spare = Sample::default();
        // Keep the last one, however old: a starved daemon ticks rarely.
        while self.samples.len() >= MAX_SAMPLES
            || (self.samples.len() > 1 && self.samples.front().is_some_and(|s| s.ns < oldest))
        {
            match self.samples.pop_front() {
                Some(sample) => spare = sample,
                None => break,
            }
        }
        self.samples
            .push_back(Sample::reuse(&mut spare, observation));
        pushed
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// All samples, the oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// Time between the oldest and the newest, nanoseconds.
    #[must_use]
    pub fn covered_ns(&self) -> u64 {
        match (self.samples.front(), self.samples.back()) {
            (Some(oldest), Some(newest)) => newest.ns.saturating_sub(oldest.ns),
            _ => 0,
        }
    }

    /// Whether this time covers enough of the window: half of it.
    fn suffices(&self, ns: u64) -> bool {
        ns >= (self.span_ns / 2).max(1)
    }

    /// Ticks: each sample with the one after it.
    fn ticks(&self) -> impl DoubleEndedIterator<Item = (&Sample, &Sample)> {
        self.samples.iter().zip(self.samples.iter().skip(1))
    }

    /// The growth of a counter over the window. `None`: it is missing now, covers less than half
    /// the window, or ran backwards, as after a restart of the daemon or a module.
    #[must_use]
    pub fn moved(&self, counter: impl Fn(&Sample) -> Option<u64>) -> Option<Moved> {
        let moved = sum(self.ticks(), &counter)?;
        let there = self.newest().and_then(&counter).is_some();
        (there && self.suffices(moved.ns)).then_some(moved)
    }

    /// The same over the last second, or the last tick where that is longer.
    #[must_use]
    pub fn moved_last_second(&self, counter: impl Fn(&Sample) -> Option<u64>) -> Option<Moved> {
        let moved = sum(self.last_second()?, &counter)?;
        (moved.ns > 0 && self.newest().and_then(&counter).is_some()).then_some(moved)
    }

    /// The ticks of the last second, or the last one where that is longer.
    fn last_second(&self) -> Option<impl Iterator<Item = (&Sample, &Sample)>> {
        let newest = self.newest()?.ns;
        let oldest = newest.saturating_sub(SECOND_NS + TICK_SLACK_NS);
        let ticks = self.ticks().rev().enumerate();
        let recent = ticks.take_while(move |(n, (from, _))| *n == 0 || from.ns >= oldest);
        Some(recent.map(|(_, tick)| tick))
    }

    /// The reports of `balance_dirty_pages` to a class on a BDI; `None`: there are none.
    #[must_use]
    pub fn pauses(&self, bdi: &str, class: Class) -> Option<PauseMeans> {
        let mut means = PauseMeans::default();
        let mut ticks = 0.0;
        for (from, to) in self.ticks() {
            let Some(tick) = pauses_of_tick(from, to, bdi, class) else {
                continue;
            };
            ticks += 1.0;
            means.events = means.events.saturating_add(tick.events);
            means.pause_ns = means.pause_ns.saturating_add(tick.pause_ns);
            means.dirty += tick.dirty;
            means.limit += tick.limit;
            means.bdi_dirty += tick.bdi_dirty;
            means.bdi_setpoint += tick.bdi_setpoint;
            means.newest_share = tick.newest_share;
        }
        if ticks == 0.0 {
            return None;
        }
        means.dirty /= ticks;
        means.limit /= ticks;
        means.bdi_dirty /= ticks;
        means.bdi_setpoint /= ticks;
        Some(means)
    }

    /// Pauses of a class over the window on all BDIs that `wanted` names,
    /// nanoseconds.
    #[must_use]
    pub fn paused_ns(&self, class: Class, wanted: impl Fn(&str) -> bool) -> u64 {
        let mut total = 0u64;
        for (from, to) in self.ticks() {
            for pauses in to
                .pauses
                .iter()
                .filter(|p| p.class == class && wanted(&p.bdi))
            {
                let tick = pauses_of_tick(from, to, &pauses.bdi, class);
                total = total.saturating_add(tick.map_or(0, |tick| tick.pause_ns));
            }
        }
        total
    }

    /// Share of the time that the disk of a BDI was busy, 0 to 1; `None`: it is not a disk, or the
    /// samples cover too little.
    #[must_use]
    pub fn disk_busy(&self, bdi: &str) -> Option<f64> {
        let busy = self.moved(|sample| sample.disk_busy_ms(bdi))?;
        Some((busy.bytes as f64 * 1e6 / busy.ns as f64).min(1.0))
    }

    /// Bytes written back to a BDI from the page cache.
    #[must_use]
    pub fn written_back(&self, bdi: &str) -> Option<Moved> {
        self.moved(|sample| sample.device(bdi)?.written_bytes)
    }

    /// Bytes that the disk of a BDI wrote, for any writer.
    #[must_use]
    pub fn disk_wrote(&self, bdi: &str) -> Option<Moved> {
        self.moved(|sample| sample.device(bdi)?.disk_written_bytes)
    }

    /// Share of the samples in which a BDI was congested, among those that report it. `None`: too
    /// few do, or the newest does not.
    #[must_use]
    pub fn congested(&self, bdi: &str) -> Option<f64> {
        let of = |sample: &Sample| Some(sample.device(bdi)?.congested?.0);
        self.newest().and_then(of)?;
        let told: Vec<bool> = self.samples.iter().filter_map(of).collect();
        let congested = told.iter().filter(|&&congested| congested).count();
        let enough = told.len() * 2 >= self.samples.len() && self.suffices(self.covered_ns());
        enough.then(|| congested as f64 / told.len() as f64)
    }

    /// The states of threads; `None`: they are not visible now, or for less than half the window.
    #[must_use]
    pub fn threads(&self, of: impl Fn(&Sample) -> Option<Threads>) -> Option<ThreadSamples> {
        self.newest().and_then(&of)?;
        if !self.suffices(self.covered_ns()) {
            return None;
        }
        let all: Vec<Threads> = self.samples.iter().filter_map(of).collect();
        let mut sum = ThreadSamples::default();
        for (n, threads) in all.iter().enumerate() {
            // A thread that waits for a lock queues behind one that was throttled a moment ago or
            // soon will be. Single samples flicker.
            let beside = all
                .get(n.saturating_sub(1)..(n + 2).min(all.len()))
                .unwrap_or(&[]);
            let behind = beside.iter().any(|t| t.throttled > 0);
            let blocked = if behind {
                threads.blocked
            } else {
                threads.behind
            };
            let stuck = threads.throttled.saturating_add(blocked);
            let unblocked = threads.throttled.saturating_add(threads.running);
            sum.samples += 1;
            sum.busy = sum.busy.saturating_add(threads.busy().into());
            sum.stuck = sum.stuck.saturating_add(stuck.into());
            sum.unblocked = sum.unblocked.saturating_add(unblocked.into());
            sum.throttled_ticks += u32::from(threads.throttled > 0);
            sum.most_busy = sum.most_busy.max(threads.busy());
            sum.most_throttled = sum.most_throttled.max(threads.throttled);
            sum.most_in_dirty = sum.most_in_dirty.max(threads.in_dirty);
        }
        Some(sum)
    }
}

fn sum<'a>(
    ticks: impl Iterator<Item = (&'a Sample, &'a Sample)>,
    counter: impl Fn(&Sample) -> Option<u64>,
) -> Option<Moved> {
    let mut moved = Moved { bytes: 0, ns: 0 };
    for (from, to) in ticks {
        let (Some(before), Some(after)) = (counter(from), counter(to)) else {
            continue;
        };
        moved.bytes = moved.bytes.saturating_add(after.checked_sub(before)?);
        moved.ns = moved.ns.saturating_add(to.ns.saturating_sub(from.ns));
    }
    Some(moved)
}

/// Means over the pauses of one tick; `None`: no pause, or a counter ran backwards. New counters
/// start at zero.
fn pauses_of_tick(from: &Sample, to: &Sample, bdi: &str, class: Class) -> Option<PauseMeans> {
    let after = to.pauses(bdi, class)?;
    let before = from.pauses(bdi, class);
    let events = after.events.checked_sub(before.map_or(0, |p| p.events))?;
    if events == 0 {
        return None;
    }
    let mean = |after: u64, before: Option<u64>| {
        Some(after.checked_sub(before.unwrap_or(0))? as f64 / events as f64)
    };
    // The node's numbers are the same in every class's reports.
    let own = node_pages(from, to, |one| one.bdi == bdi && one.class == class);
    let node = own.or_else(|| node_pages(from, to, |_| true));
    let (dirty, limit) = node.or_else(|| to.dirty_pages()).unwrap_or_default();
    Some(PauseMeans {
        events,
        pause_ns: after
            .pause_ns
            .checked_sub(before.map_or(0, |p| p.pause_ns))?,
        dirty,
        limit,
        newest_share: dirty / limit.max(1.0),
        bdi_dirty: mean(after.bdi_dirty_pages, before.map(|p| p.bdi_dirty_pages))?,
        bdi_setpoint: mean(
            after.bdi_setpoint_pages,
            before.map(|p| p.bdi_setpoint_pages),
        )?,
    })
}

/// The node's dirty pages and their limit, the mean of the reports of `balance_dirty_pages` in one
/// tick to those that `wanted` names. `None`: no report covers the node.
fn node_pages(
    from: &Sample,
    to: &Sample,
    wanted: impl Fn(&DirtyPauses) -> bool,
) -> Option<(f64, f64)> {
    let (mut events, mut dirty, mut limit) = (0, 0, 0);
    for after in to.pauses.iter().filter(|one| wanted(one)) {
        let before = from.pauses(&after.bdi, after.class);
        let moved =
            |number: fn(&DirtyPauses) -> u64| number(after).checked_sub(before.map_or(0, number));
        let told = (
            moved(DirtyPauses::node_events),
            moved(|one| one.dirty_pages),
            moved(|one| one.limit_pages),
        );
        if let (Some(n), Some(pages), Some(most)) = told {
            events = n.saturating_add(events);
            dirty = pages.saturating_add(dirty);
            limit = most.saturating_add(limit);
        }
    }
    let mean = |sum: u64| sum as f64 / events as f64;
    (events > 0).then(|| (mean(dirty), mean(limit)))
}
