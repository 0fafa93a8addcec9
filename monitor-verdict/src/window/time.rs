//! Time spent in waits over the window, including unfinished waits.

use monitor_common::{Cause, Class};

use super::Window;
use crate::window::reduce::{Finished, Lasting, Sample};

impl Window {
    /// Time that tasks of a class spent in a cause on the BDIs that `wanted` names, nanoseconds.
    /// The name is empty if the cause has no BDI. One task counts for at most the window. Causes
    /// nest: do not add them up. Not for `balance_dirty_pages`, whose waits are many pauses each:
    /// see [`Window::paused_ns`].
    #[must_use]
    pub fn time_in(&self, cause: Cause, class: Class, wanted: impl Fn(&str) -> bool) -> u64 {
        let of = |tick| time_of_class(tick, cause, class, &wanted);
        self.ticks().map(of).fold(0, u64::saturating_add)
    }

    /// The same in reclaim and compaction.
    #[must_use]
    pub fn reclaim_ns(&self, class: Class) -> u64 {
        Self::reclaim_of(|cause| self.time_in(cause, class, |_| true))
    }

    /// Time in reclaim and compaction, whatever happens inside, for tasks with a given time in a
    /// cause. The sleeps mostly lie within the work.
    #[must_use]
    pub fn reclaim_of(time_in: impl Fn(Cause) -> u64) -> u64 {
        let sum = |causes: &[Cause]| {
            let of = |&cause| time_in(cause);
            causes.iter().map(of).fold(0, u64::saturating_add)
        };
        let sleeps = sum(&[
            Cause::CongestionWait,
            Cause::WaitIffCongested,
            Cause::ReclaimThrottle,
        ]);
        let work = sum(&[
            Cause::DirectReclaim,
            Cause::MemcgReclaim,
            Cause::ThrottleDirectReclaim,
            Cause::Compaction,
        ]);
        sleeps.max(work)
    }
}

pub(super) fn time_of_class(
    (from, to): (&Sample, &Sample),
    cause: Cause,
    class: Class,
    wanted: &impl Fn(&str) -> bool,
) -> u64 {
    // A counter that ran backwards counts as no change; a new one starts at zero.
    let moved = |one: &Finished| {
        let before = from.finished_ns(cause, class, &one.bdi).unwrap_or(0);
        one.sum_ns.saturating_sub(before)
    };
    let finished = to.finished.iter();
    let finished =
        finished.filter(|one| (one.cause, one.class) == (cause, class) && wanted(&one.bdi));
    let finished = finished.map(moved).fold(0, u64::saturating_add);
    let own = |one: &Lasting| one.class == class && wanted(&one.bdi);
    time_of_tick((from, to), cause, finished, own)
}

/// Time in a cause: the time counted as finished in this tick, and the `own` waits that still last.
pub(super) fn time_of_tick(
    (from, to): (&Sample, &Sample),
    cause: Cause,
    finished: u64,
    own: impl Fn(&Lasting) -> bool,
) -> u64 {
    let lasts = |sample: &'_ Sample, one: &Lasting| sample.lasting.binary_search(one).is_ok();
    let own = |one: &&Lasting| one.cause == cause && own(one);
    let in_tick = |one: &Lasting| to.ns.saturating_sub(one.since_ns.max(from.ns));
    let lasting = to.lasting.iter().filter(own);
    let lasting = lasting.map(in_tick).fold(0, u64::saturating_add);
    if cause == Cause::SvcAllocArg {
        // A series of retries counts both as single retries and as one long wait.
        return finished.max(lasting);
    }
    // A wait that ended in this tick began earlier; its earlier part is counted already.
    let ended = from.lasting.iter().filter(own);
    let ended = ended.filter(|one| !lasts(to, one));
    let before = ended.map(|one| from.ns.saturating_sub(one.since_ns));
    let before = before.fold(0, u64::saturating_add);
    finished.saturating_sub(before).saturating_add(lasting)
}
