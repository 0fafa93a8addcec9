//! Waits of tasks that can take part in a cycle: server threads and kernel threads. There may be
//! thousands of program waits, so they are dropped.

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::observation::{Delay, Observation, Waiting};

/// Bounds on what one observation may bring.
const MAX_FINISHED: usize = 512;
const MAX_LASTING: usize = 1024;

/// Finished waits of one cause, class and BDI, total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The cause.
    pub cause: Cause,
    /// The class of the waiting tasks.
    pub class: Class,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// All of them together, nanoseconds.
    pub sum_ns: u64,
}

/// A wait that is unfinished at the moment of the sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lasting {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The cause.
    pub cause: Cause,
    /// The class of the waiting tasks.
    pub class: Class,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// When it began, `CLOCK_MONOTONIC` nanoseconds.
    pub since_ns: u64,
}

/// Fills in the finished waits, sorted. The kernel's reasons of one cause are added up.
pub(super) fn finished(into: &mut Vec<Finished>, observation: &Observation) {
    let kept = |delay: &&Delay| delay.class != Class::User;
    into.clear();
    into.extend(
        observation
            .delays
            .iter()
            .filter(kept)
            .take(MAX_FINISHED)
            .map(|delay| Finished {
                cause: delay.cause,
                class: delay.class,
                bdi: delay.bdi.clone(),
                sum_ns: delay.sum_ns,
            }),
    );
    into.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
    into.dedup_by(|next, first| {
        let same = next.key() == first.key();
        if same {
            first.sum_ns = first.sum_ns.saturating_add(next.sum_ns);
        }
        same
    });
}

/// Fills in the unfinished waits, sorted.
pub(super) fn lasting(into: &mut Vec<Lasting>, observation: &Observation) {
    let kept = |wait: &&Waiting| wait.class != Class::User;
    into.clear();
    into.extend(
        observation
            .waits
            .iter()
            .filter(kept)
            .take(MAX_LASTING)
            .map(|wait| Lasting {
                tid: wait.tid,
                cause: wait.cause,
                class: wait.class,
                bdi: wait.bdi.clone(),
                since_ns: wait.since_ns,
            }),
    );
    into.sort_unstable();
}

impl Finished {
    /// The identity of the total.
    pub(super) fn key(&self) -> (Cause, Class, &str) {
        (self.cause, self.class, &self.bdi)
    }
}
