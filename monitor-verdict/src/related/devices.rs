//! `dirty-throttling`, `slow-disk` and `disk-saturated`: tasks wait for a device that works.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use compact_str::CompactString;
use monitor_model::related::RelatedKind::{self, DirtyThrottling, DiskSaturated, SlowDisk};

use super::limit_held::LimitHeld;
use super::view::{Finding, Node, RelatedView, suspect};
use crate::text::{percent, rate};
use crate::thresholds::nanos;
use crate::window::reduce::related::{RelatedDevice, RelatedSample};
use crate::window::{Moved, Window};

/// Finds the three conditions on every device. Writers that are held by another device do not wait
/// for their own, and the pages of a holder do not move.
pub(super) fn judge(
    view: &RelatedView<'_>,
    shown: &Shown,
    limit: &LimitHeld,
    found: &mut Vec<Finding>,
) {
    let servers = Servers::of(view);
    for device in &view.signs.devices {
        let paused = device.paused_ns.max(device.server_paused_ns) > 0;
        let waiting = device.waiting.max(device.server_waiting) > 0;
        let blocked = servers.blocked_on(device);
        // Skip devices without waiting tasks: most of them.
        if paused || waiting || blocked > 0.0 {
            if !limit.involves(&device.bdi) {
                found.extend(dirty_throttling(view, device));
            }
            if !limit.holds_back(&device.bdi) {
                found.extend(busy_disk(view, shown, device, blocked));
            }
        }
    }
}

/// Finds writers that are limited to the speed of their device.
fn dirty_throttling(view: &RelatedView<'_>, device: &RelatedDevice) -> Option<Finding> {
    let (window, bdi) = (view.node.window, &device.bdi);
    if !view.signs.sees_dirty || view.node.told_by(bdi, suspect).is_some() {
        return None;
    }
    let tasks = window.waited(bdi, |d| d.paused_ns, |d| d.waiting);
    let share = view.node.thresholds.related.pause_share;
    if tasks < share * view.ease(DirtyThrottling, bdi) {
        return None;
    }
    let acked = window.device_moved(bdi, |d| d.acked_bytes);
    let (moved, how) = match acked {
        Some(acked) => (acked, "whose server takes"),
        None => (window.wrote(bdi)?, "which writes"),
    };
    (moved.bytes > 0).then(|| Finding {
        kind: DirtyThrottling,
        bdi: bdi.clone(),
        weight: tasks,
        at_once: false,
        reason: format!(
            "{tasks:.1} tasks on average are paused in balance_dirty_pages on {bdi}, {how} {}",
            rate(moved.rate())
        ),
    })
}

/// Finds a busy disk that tasks wait for. It is slow, or at its maximum.
fn busy_disk(
    view: &RelatedView<'_>,
    shown: &Shown,
    device: &RelatedDevice,
    blocked: f64,
) -> Option<Finding> {
    let (window, bdi) = (view.node.window, &device.bdi);
    if view.node.is_client(bdi) {
        return None;
    }
    let thresholds = &view.node.thresholds.related;
    // A busy disk may change between the two conditions.
    let ease = view.ease(SlowDisk, bdi).min(view.ease(DiskSaturated, bdi));
    let throttled = if view.signs.sees_dirty {
        view.throttled_on(bdi)
    } else {
        0.0
    };
    if throttled + blocked < thresholds.disk_wait_share * ease {
        return None;
    }
    let busy = window.disk_busy(bdi)?;
    let wrote = window.wrote(bdi);
    // A busy disk without results hangs; it is not slow. A disk with reads only has no waiting
    // writers.
    let writers = throttled > 0.0 || a_write_lasts(view);
    if busy < thresholds.disk_busy_share * ease || writers && wrote.is_some_and(|w| w.bytes == 0) {
        return None;
    }
    let pace = Pace::of(window, bdi);
    let kind = pace.kind(view, shown.of(bdi), bdi)?;
    Some(Finding {
        kind,
        bdi: bdi.clone(),
        weight: throttled + blocked,
        at_once: false,
        reason: format!(
            "the disk of {bdi} is {} busy and {} while on average {throttled:.1} tasks are paused \
             in balance_dirty_pages on it and {blocked:.1} nfsd threads sleep",
            percent(busy),
            pace.words(shown.of(bdi)),
        ),
    })
}

/// The work of a disk per second of its busy time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pace {
    bytes: Option<f64>,
    requests: Option<f64>,
    /// The time of one request, queueing included, seconds.
    latency: Option<f64>,
}

impl Pace {
    fn of(window: &Window, bdi: &str) -> Self {
        let busy = window.disk_busy(bdi).filter(|busy| *busy > 0.0);
        let per_busy = |moved: Option<Moved>| Some(moved?.rate() / busy?);
        Self {
            bytes: per_busy(window.transferred(bdi)),
            requests: per_busy(window.requests(bdi)),
            latency: window.request_seconds(bdi),
        }
    }

    /// `None`: many quick, small requests. They keep a disk busy but do not show its maximum: its
    /// queue may be short.
    fn kind(self, view: &RelatedView<'_>, shown: Pace, bdi: &str) -> Option<RelatedKind> {
        let thresholds = &view.node.thresholds.related;
        let ease = view.ease(SlowDisk, bdi);
        let floor = thresholds.disk_slow_bytes_per_second as f64 / ease;
        let little = self.bytes.is_none_or(|bytes| bytes < floor);
        let share = thresholds.disk_slow_share / ease;
        let less = |now: Option<f64>, best: Option<f64>| matches!((now, best), (Some(now), Some(best)) if now < best * share);
        let fell = less(self.bytes, shown.bytes) && less(self.requests, shown.requests);
        // An unknown latency supports neither.
        let least = thresholds.disk_slow_request.as_secs_f64() * ease;
        let quick = self.latency.is_some_and(|latency| latency < least);
        match (little || fell, quick) {
            (true, false) => Some(SlowDisk),
            (true, true) if little => None,
            _ => Some(DiskSaturated),
        }
    }

    fn words(self, shown: Pace) -> String {
        let Some(bytes) = self.bytes else {
            return "moves unknown bytes".to_owned();
        };
        let mut words = format!("moves {} in its busy time", rate(bytes));
        if let Some(latency) = self.latency {
            let _ = write!(words, ", {:.1} ms a request", latency * 1000.0);
        }
        if let Some(best) = shown.bytes.filter(|best| *best > bytes * 1.5) {
            let _ = write!(words, " (it has shown {})", rate(best));
        }
        words
    }
}

/// The best work of each disk while it was busy all the time, decayed. A disk with idle time shows
/// nothing: its cache takes a burst.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    best: BTreeMap<CompactString, Pace>,
}

impl Shown {
    /// Adds a tick; `dt_ns` is the time since the previous one.
    pub(super) fn tick(&mut self, node: &Node<'_>, dt_ns: u64) {
        let thresholds = &node.thresholds.related;
        let half_lives = dt_ns as f64 / nanos(thresholds.disk_shown_half_life).max(1) as f64;
        let kept = (-half_lives).exp2();
        let Some(signs) = node.window.signs() else {
            return;
        };
        self.best.retain(|bdi, best| {
            best.bytes = best.bytes.map(|bytes| bytes * kept);
            best.requests = best.requests.map(|requests| requests * kept);
            signs.device(bdi).is_some()
        });
        for device in &signs.devices {
            let busy = node.window.disk_busy(&device.bdi);
            if busy.is_some_and(|busy| busy >= thresholds.disk_busy_share) {
                let now = Pace::of(node.window, &device.bdi);
                let best = self.best.entry(device.bdi.clone()).or_default();
                best.bytes = larger(best.bytes, now.bytes);
                best.requests = larger(best.requests, now.requests);
            }
        }
    }

    fn of(&self, bdi: &str) -> Pace {
        self.best.get(bdi).copied().unwrap_or_default()
    }
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Whether nfsd is in a WRITE during the whole window.
fn a_write_lasts(view: &RelatedView<'_>) -> bool {
    let (now, window) = (view.node.now, view.node.window.covered_ns());
    let mut threads = now.nfsd.iter().flat_map(|nfsd| &nfsd.threads);
    threads.any(|thread| {
        let since = thread.write_since_ns;
        since.is_some_and(|since| now.monotonic_ns.saturating_sub(since) >= window)
    })
}

/// The BDIs that nfsd writes to while its threads sleep.
struct Servers<'a> {
    blocked: f64,
    bdis: Vec<&'a str>,
}

impl<'a> Servers<'a> {
    fn of(view: &'a RelatedView<'_>) -> Self {
        let crew = |signs: &RelatedSample| signs.nfsd.map_or(0, |nfsd| nfsd.blocked);
        let blocked = view.node.window.mean(crew);
        let bdis = if blocked > 0.0 {
            view.server_bdis().into_keys().collect()
        } else {
            Vec::new()
        };
        Self { blocked, bdis }
    }

    /// The average number of nfsd threads that may sleep for this device.
    fn blocked_on(&self, device: &RelatedDevice) -> f64 {
        if self.bdis.binary_search(&device.bdi.as_str()).is_ok() {
            self.blocked
        } else {
            0.0
        }
    }
}
