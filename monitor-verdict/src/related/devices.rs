//! `dirty-throttling` and `slow-disk`: tasks wait for a device that works.

use super::RelatedKind::{DirtyThrottling, SlowDisk};
use super::view::{Finding, View, suspect};
use crate::reduce::related::{Device, Signs};
use crate::text::{percent, rate};

/// Finds both, of every device.
pub(super) fn judge(view: &View<'_>, found: &mut Vec<Finding>) {
    let servers = Servers::of(view);
    for device in &view.signs.devices {
        let paused = device.paused_ns.max(device.server_paused_ns) > 0;
        let waiting = device.waiting.max(device.server_waiting) > 0;
        let blocked = servers.blocked_on(device);
        // Most devices of a node have nobody who waits, and are not asked.
        if paused || waiting || blocked > 0.0 {
            found.extend(dirty_throttling(view, device));
            found.extend(slow_disk(view, device, blocked));
        }
    }
}

/// Writers are held to the speed of a device that takes what they write.
fn dirty_throttling(view: &View<'_>, device: &Device) -> Option<Finding> {
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

/// A disk has no time left, and tasks wait for it.
fn slow_disk(view: &View<'_>, device: &Device, blocked: f64) -> Option<Finding> {
    let (window, bdi) = (view.node.window, &device.bdi);
    let thresholds = &view.node.thresholds.related;
    let ease = view.ease(SlowDisk, bdi);
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
    // Busy, and nothing comes of it: that disk is not slow, it hangs. One that
    // only reads has no writers that wait.
    let writers = throttled > 0.0 || a_write_lasts(view);
    if busy < thresholds.disk_busy_share * ease || writers && wrote.is_some_and(|w| w.bytes == 0) {
        return None;
    }
    let speed = wrote.map_or_else(|| "unknown bytes".to_owned(), |w| rate(w.rate()));
    Some(Finding {
        kind: SlowDisk,
        bdi: bdi.clone(),
        weight: throttled + blocked,
        at_once: false,
        reason: format!(
            "the disk of {bdi} is {} busy and writes {speed} while on average {throttled:.1} \
             tasks are paused in balance_dirty_pages on it and {blocked:.1} nfsd threads sleep",
            percent(busy),
        ),
    })
}

/// Whether nfsd is in a WRITE for all of the window.
fn a_write_lasts(view: &View<'_>) -> bool {
    let (now, window) = (view.node.now, view.node.window.covered_ns());
    let mut threads = now.nfsd.iter().flat_map(|nfsd| &nfsd.threads);
    threads.any(|thread| {
        let since = thread.write_since_ns;
        since.is_some_and(|since| now.monotonic_ns.saturating_sub(since) >= window)
    })
}

/// The BDIs that nfsd writes to, while its threads sleep.
struct Servers<'a> {
    blocked: f64,
    bdis: Vec<&'a str>,
}

impl<'a> Servers<'a> {
    fn of(view: &'a View<'_>) -> Self {
        let crew = |signs: &Signs| signs.nfsd.map_or(0, |nfsd| nfsd.blocked);
        let blocked = view.node.window.mean(crew);
        let bdis = if blocked > 0.0 {
            view.server_bdis().into_keys().collect()
        } else {
            Vec::new()
        };
        Self { blocked, bdis }
    }

    /// How many nfsd threads, on average, sleep where this device may be what
    /// they sleep for.
    fn blocked_on(&self, device: &Device) -> f64 {
        if self.bdis.binary_search(&device.bdi.as_str()).is_ok() {
            self.blocked
        } else {
            0.0
        }
    }
}
