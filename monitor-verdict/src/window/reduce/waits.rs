//! Waits of those who can take part in a cycle: the servers' threads and the
//! kernel's own. Those of programs are not kept, of which there may be
//! thousands.

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::observation::{Delay, Observation, Waiting};

/// Bounds on what one observation may bring.
const MAX_FINISHED: usize = 512;
const MAX_LASTING: usize = 1024;

/// Finished waits of one cause, class and BDI, total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why.
    pub cause: Cause,
    /// Who.
    pub class: Class,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// All of them together, nanoseconds.
    pub sum_ns: u64,
}

/// A wait that lasts at the moment of the sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lasting {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Why.
    pub cause: Cause,
    /// Who.
    pub class: Class,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// When it began, `CLOCK_MONOTONIC` nanoseconds.
    pub since_ns: u64,
}

/// Fills in the finished waits, sorted, the kernel's reasons of one cause added
/// up.
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

/// Fills in the waits that last, sorted.
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
    /// What it is a total of.
    pub(super) fn key(&self) -> (Cause, Class, &str) {
        (self.cause, self.class, &self.bdi)
    }
}
