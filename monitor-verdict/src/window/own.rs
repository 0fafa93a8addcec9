//! What nfsd does for one loop. If nfsd serves several clients from several network namespaces, the
//! service to one of them does not describe another.
//!
//! A thread of nfsd belongs to one namespace's server for its whole life and handles one call at a
//! time. The RPC client of the call identifies both. What stays unknown counts for every loop,
//! unless something contradicts it.

use monitor_common::{Cause, Class};
use monitor_model::observation::Caller;

use super::time::{time_of_class, time_of_tick};
use super::{Moved, Window, pauses_of_tick};
use crate::window::reduce::{Lasting, NfsdThread, Sample, Threads};

/// The calls of nfsd that belong to a loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// The RPC clients of its mount.
    pub clients: &'a [u32],
    /// The RPC clients of all loops' mounts, sorted.
    pub of_loops: &'a [u32],
    /// Whether there are other loops.
    pub has_others: bool,
    /// Whether its sockets prove it, and not one of its calls was seen at the server: those that were
    /// sent before the programs watched are not. Then a call of nobody known may be its own.
    pub unmatched: bool,
}

impl Own<'_> {
    /// Whether a call is the loop's, or may be.
    #[must_use]
    pub fn has(&self, caller: Caller) -> bool {
        match caller {
            Caller::Unknown => true,
            Caller::Elsewhere => self.unmatched,
            Caller::Client(id) if self.clients.is_empty() => {
                self.of_loops.binary_search(&id).is_err()
            }
            Caller::Client(id) => self.clients.contains(&id),
        }
    }

    /// The states of the loop's threads.
    #[must_use]
    pub fn threads(&self, all: &[NfsdThread]) -> Threads {
        let own = all.iter().filter(|thread| self.has(thread.caller));
        own.map(|thread| thread.does)
            .fold(Threads::default(), Threads::and)
    }

    /// Whether threads work for an unknown client while there are other loops.
    #[must_use]
    pub fn is_mixed(&self, sample: &Sample) -> bool {
        let untold = |thread: &NfsdThread| {
            let known = match thread.caller {
                Caller::Unknown => false,
                Caller::Elsewhere => !self.unmatched,
                Caller::Client(_) => !self.clients.is_empty(),
            };
            !known && thread.does.busy() > 0
        };
        let mut all = sample.nfsd_threads.iter().flatten();
        self.has_others && all.any(untold)
    }
}

impl Window {
    /// Bytes that nfsd wrote for a loop over the window, and bytes written for unknown clients.
    #[must_use]
    pub fn served(&self, own: Own<'_>) -> Option<Moved> {
        let moved = sum(self.ticks(), own)?;
        let there = self.newest().and_then(node_wide).is_some();
        (there && self.suffices(moved.ns)).then_some(moved)
    }

    /// The same over the last second, or the last tick where that is longer.
    #[must_use]
    pub fn served_last_second(&self, own: Own<'_>) -> Option<Moved> {
        let moved = sum(self.last_second()?, own)?;
        (moved.ns > 0 && self.newest().and_then(node_wide).is_some()).then_some(moved)
    }

    /// Pauses of a loop's nfsd threads on all BDIs that `wanted` names, nanoseconds. All pauses of
    /// a thread in one tick count for one BDI.
    #[must_use]
    pub fn nfsd_paused_ns(&self, own: Own<'_>, wanted: impl Fn(&str) -> bool) -> u64 {
        let mut total = 0u64;
        for (from, to) in self.ticks() {
            let paused = finished(from, to, own, Cause::BalanceDirtyPages, &wanted);
            let paused = paused.unwrap_or_else(|| {
                let all = to.pauses.iter();
                let all = all.filter(|p| p.class == Class::Nfsd && wanted(&p.bdi));
                let tick = |bdi: &str| pauses_of_tick(from, to, bdi, Class::Nfsd);
                all.filter_map(|p| tick(&p.bdi))
                    .fold(0, |sum, tick| sum.saturating_add(tick.pause_ns))
            });
            total = total.saturating_add(paused);
        }
        total
    }

    /// Time that a loop's nfsd threads spent in a cause: see [`Window::time_in`].
    #[must_use]
    pub fn nfsd_time_in(&self, own: Own<'_>, cause: Cause, wanted: impl Fn(&str) -> bool) -> u64 {
        let of = |(from, to): (&Sample, &Sample)| {
            let finished = finished(from, to, own, cause, &wanted);
            let lasts = |one: &Lasting| {
                let all = to.nfsd_threads.as_deref().unwrap_or_default();
                let at = all.binary_search_by_key(&one.tid, |thread| thread.tid);
                let thread = at.ok().and_then(|at| all.get(at));
                thread.is_none_or(|thread| own.has(thread.caller))
                    && one.class == Class::Nfsd
                    && wanted(&one.bdi)
            };
            match finished {
                Some(finished) => time_of_tick((from, to), cause, finished, lasts),
                None => time_of_class((from, to), cause, Class::Nfsd, &wanted),
            }
        };
        self.ticks().map(of).fold(0, u64::saturating_add)
    }
}

fn node_wide(sample: &Sample) -> Option<u64> {
    sample.server?.bytes_written
}

fn sum<'a>(ticks: impl Iterator<Item = (&'a Sample, &'a Sample)>, own: Own<'_>) -> Option<Moved> {
    let mut moved = Moved { bytes: 0, ns: 0 };
    for (from, to) in ticks {
        if node_wide(from).is_none() || node_wide(to).is_none() {
            continue;
        }
        let bytes = served_in_tick(from, to, own)?;
        moved.bytes = moved.bytes.saturating_add(bytes);
        moved.ns = moved.ns.saturating_add(to.ns.saturating_sub(from.ns));
    }
    Some(moved)
}

/// `None`: a counter ran backwards.
fn served_in_tick(from: &Sample, to: &Sample, own: Own<'_>) -> Option<u64> {
    let all = node_wide(to)?.checked_sub(node_wide(from)?)?;
    let untold = |sample: &Sample| sample.server?.bytes_unattributed;
    let (Some(before), Some(after)) = (untold(from), untold(to)) else {
        // The writes are not attributed to clients.
        return Some(all);
    };
    let mut bytes = after.checked_sub(before)?;
    for &(client, after) in &to.nfsd_wrote {
        if own.has(Caller::Client(client)) {
            // Counters that are new, or that the kernel side dropped, begin at zero.
            let at = from.nfsd_wrote.binary_search_by_key(&client, |(id, _)| *id);
            let before = at.ok().and_then(|at| from.nfsd_wrote.get(at));
            let before = before.map_or(0, |&(_, bytes)| bytes);
            let moved = after.checked_sub(before).unwrap_or(after);
            bytes = bytes.saturating_add(moved);
        }
    }
    Some(bytes)
}

/// The growth of the finished waits of a loop's threads; `None`: the owners are not visible.
fn finished(
    from: &Sample,
    to: &Sample,
    own: Own<'_>,
    cause: Cause,
    wanted: &impl Fn(&str) -> bool,
) -> Option<u64> {
    let (before, after) = (from.nfsd_threads.as_ref()?, to.nfsd_threads.as_ref()?);
    let mut total = 0u64;
    for thread in after.iter().filter(|thread| own.has(thread.caller)) {
        let at = before.binary_search_by_key(&thread.tid, |one| one.tid);
        let before = at.ok().and_then(|at| before.get(at));
        let before = before.map_or(0, |one| one.waited_ns(cause));
        let named = thread
            .waited
            .iter()
            .any(|(of, bdi, _)| *of == cause && wanted(bdi));
        if named {
            // A counter that ran backwards counts as no change.
            let moved = thread.waited_ns(cause).saturating_sub(before);
            total = total.saturating_add(moved);
        }
    }
    Some(total)
}
