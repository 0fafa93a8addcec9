//! `hung-file-system`: nfsd's threads sleep in their own file system for ever, and nothing
//! throttles them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use monitor_model::{
    observation::{Observation, ServerThread, ThreadState},
    related::RelatedKind::HungFileSystem,
    verdict::LivelockState,
};

use super::view::{Finding, Node, RelatedView};
use crate::text::{percent, seconds};
use crate::thresholds::nanos;

/// Maximum number of threads to track, equal to that of the sampler.
const MAX_SLEEPERS: usize = 1024;

/// Since when nfsd's threads sleep, by thread id.
#[derive(Clone, Debug, Default)]
pub struct HungThreads {
    since_ns: BTreeMap<u32, u64>,
}

/// Threads that sleep in one call for long enough.
#[derive(Clone, Copy, Debug, Default)]
struct Asleep {
    /// In a WRITE.
    in_write: u32,
    /// All such threads.
    all: u32,
    /// The longest sleep.
    longest_ns: u64,
}

impl HungThreads {
    /// Adds a tick.
    pub fn tick(&mut self, node: &Node<'_>) {
        let now = node.now.monotonic_ns;
        let before = std::mem::take(&mut self.since_ns);
        let asleep = hung_threads(node.now).take(MAX_SLEEPERS);
        let since = |tid| before.get(&tid).copied().unwrap_or(now);
        self.since_ns = asleep.map(|t| (t.tid, since(t.tid))).collect();
    }

    /// Finds the file system: of several that nfsd writes to, the one already reported, or the one
    /// it wrote to last.
    pub fn judge(&self, view: &RelatedView<'_>, found: &mut Vec<Finding>) {
        let asleep = self.asleep(view);
        if asleep.all == 0 || !nobody_throttled(view) || !nothing_served(view) {
            return;
        }
        let bdis = view.server_bdis().into_iter();
        let hung = bdis.filter_map(|(bdi, last_ns)| {
            let told = view.holds(HungFileSystem, bdi);
            let finding = finding(view, bdi, asleep)?;
            Some(((!told, Reverse(last_ns), bdi), finding))
        });
        let first = hung.min_by(|(a, _), (b, _)| a.cmp(b));
        found.extend(first.map(|(_, finding)| finding));
    }

    fn asleep(&self, view: &RelatedView<'_>) -> Asleep {
        let now = view.node.now.monotonic_ns;
        let silence = nanos(view.node.thresholds.related.silence);
        let mut asleep = Asleep::default();
        for thread in hung_threads(view.node.now) {
            let age = |since: u64| now.saturating_sub(since);
            let write = thread.write_since_ns.map_or(0, age);
            let sleep = self.since_ns.get(&thread.tid).copied().map_or(0, age);
            let longest = write.max(sleep);
            asleep.in_write += u32::from(write >= silence);
            asleep.all += u32::from(longest >= silence);
            asleep.longest_ns = asleep.longest_ns.max(longest);
        }
        asleep
    }
}

fn hung_threads(now: &Observation) -> impl Iterator<Item = &ServerThread> {
    let threads = now.nfsd.iter().flat_map(|nfsd| &nfsd.threads);
    threads.filter(|t| t.state == ThreadState::Blocked && !t.behind_throttled)
}

/// Whether neither nfsd nor a loop device that it writes to is throttled.
fn nobody_throttled(view: &RelatedView<'_>) -> bool {
    let window = view.node.window;
    view.signs.sees_dirty
        && window.crew_always(|crew| crew.throttled == 0) == Some(true)
        && window.always(|signs| !signs.worker_throttled)
}

fn nothing_served(view: &RelatedView<'_>) -> bool {
    let moved = view.node.window.moved(|s| s.signs.nfsd?.bytes_written);
    moved.is_some_and(|moved| moved.bytes == 0)
}

fn finding(view: &RelatedView<'_>, bdi: &str, asleep: Asleep) -> Option<Finding> {
    let node = view.node;
    let told = node.told_by(bdi, LivelockState::is_livelock);
    // Another writer to it may hold the lock that nfsd waits for.
    if told.is_some() || view.throttled_on(bdi) > 0.0 || node.server_behind_waits(bdi) {
        return None;
    }
    let wrote = node.window.wrote(bdi)?;
    let busy = node.window.disk_busy(bdi);
    let limit = node.thresholds.related.hung_busy_share / view.ease(HungFileSystem, bdi);
    let idle = busy.is_some_and(|busy| busy < limit);
    let nothing = wrote.bytes == 0;
    // Threads asleep at every tick may be in one call or in many reads that a busy disk serves.
    let hangs = asleep.in_write > 0 && (nothing || idle) || nothing && idle;
    hangs.then(|| Finding {
        kind: HungFileSystem,
        bdi: bdi.into(),
        weight: asleep.all.into(),
        at_once: false,
        reason: format!(
            "{} nfsd threads sleep, the longest for {}, {} of them in a WRITE, and none is \
             throttled; nfsd writes nothing, {bdi} wrote {} bytes within the window and its disk \
             is {} busy",
            asleep.all,
            seconds(asleep.longest_ns),
            asleep.in_write,
            wrote.bytes,
            busy.map_or_else(|| "an unknown share".to_owned(), percent),
        ),
    })
}
