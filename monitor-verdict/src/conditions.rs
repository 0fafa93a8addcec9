//! The three conditions that all signatures share: demand, no progress,
//! blockage. The fourth, the closing edge, is each signature's own.
//!
//! Each is true, false or unknown. Unknown is never made a number.

use compact_str::CompactString;
use monitor_common::Class;

use super::loops::NFSD;
use super::text::{bytes, percent, rate, seconds};
use super::thresholds::Thresholds;
use super::types::{Condition, Conditions};
use super::window::{Moved, Window};

/// What the conditions of one loop look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The node over the window.
    pub window: &'a Window,
    /// The client's device.
    pub client: &'a str,
    /// Who serves.
    pub server: &'a str,
    /// The numbers to compare with.
    pub thresholds: &'a Thresholds,
    /// Bytes a second under which nothing moves, hysteresis included.
    pub stall_rate: f64,
    /// Since the last second with progress, nanoseconds.
    pub stalled_ns: u64,
    /// The client devices of all loops.
    pub loops: &'a [CompactString],
    /// The conditions one tick ago: what held, holds on a little longer.
    pub before: &'a Conditions,
}

impl View<'_> {
    /// The factor by which a threshold is looser now.
    #[must_use]
    pub fn slack(&self, before: &Condition) -> f64 {
        if before.holds == Some(true) {
            self.thresholds.hysteresis
        } else {
            1.0
        }
    }

    /// Whether a device is the client of a loop.
    #[must_use]
    pub fn is_loop(&self, bdi: &str) -> bool {
        self.loops.iter().any(|name| name == bdi)
    }

    /// Whether the server is the kernel's: only its threads are watched.
    #[must_use]
    pub fn by_nfsd(&self) -> bool {
        self.server == NFSD
    }

    /// Bytes acknowledged to the client over the window.
    #[must_use]
    pub fn acked(&self) -> Option<Moved> {
        self.window
            .moved(|sample| sample.client(self.client)?.bytes_acked)
    }

    /// Bytes that the server wrote over the window; not known of any but nfsd.
    #[must_use]
    pub fn served(&self) -> Option<Moved> {
        let nfsd = self.by_nfsd();
        self.window
            .moved(|sample| sample.server.filter(|_| nfsd)?.bytes_written)
    }
}

/// All of these, where some may be unknown: one false is false.
#[must_use]
pub fn all_of(parts: &[Option<bool>]) -> Option<bool> {
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    parts
        .iter()
        .copied()
        .collect::<Option<Vec<bool>>>()
        .map(|_| true)
}

/// A condition; its number is rounded so that JSON gives it back exactly
/// (up to 10^12, beyond the bytes of any node).
#[must_use]
pub fn condition(holds: Option<bool>, value: Option<f64>, why: String) -> Condition {
    let rounded = |v: f64| (v * 1000.0).round() / 1000.0;
    Condition {
        holds,
        value: value.map(rounded).filter(|v| v.is_finite()),
        why,
    }
}

/// The client has pages to write: it holds some, or writers wait on its BDI,
/// or WRITE calls are unanswered.
#[must_use]
pub fn demand(view: &View<'_>) -> Condition {
    let name = view.client;
    let Some(client) = view.window.newest().and_then(|sample| sample.client(name)) else {
        return condition(
            Some(false),
            None,
            format!("{name} is no NFS mount any more"),
        );
    };
    let floor = view.thresholds.demand_floor_bytes as f64 / view.slack(&view.before.demand);
    let held = client.held_bytes.map(|bytes| bytes as f64 >= floor);
    let writers = client.waiting_writers.map(|writers| writers > 0);
    let pending = client.pending_writes.map(|calls| calls > 0);
    let parts = [held, writers, pending];
    let holds = if parts.contains(&Some(true)) {
        Some(true)
    } else if parts.contains(&None) {
        None
    } else {
        Some(false)
    };
    let number = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let why = format!(
        "{name} holds {} dirty or in writeback, writers waiting on it: {}, WRITE calls \
         unanswered: {}",
        client
            .held_bytes
            .map_or_else(|| "unknown bytes".to_owned(), |held| bytes(held as f64)),
        number(client.waiting_writers.map(u64::from)),
        number(client.pending_writes),
    );
    condition(holds, client.held_bytes.map(|held| held as f64), why)
}

/// Next to nothing is acknowledged to the client, and next to nothing written
/// by the server: a client may wait its turn while nfsd serves others.
#[must_use]
pub fn no_progress(view: &View<'_>) -> Condition {
    let limit = view.stall_rate;
    let acked = view.acked().map(|moved| moved.rate());
    let served = view.served().map(|moved| moved.rate());
    let under = |rate: Option<f64>| rate.map(|rate| rate < limit);
    let number = |r: Option<f64>| r.map_or_else(|| "unknown".to_owned(), rate);
    let why = format!(
        "acknowledged: {}, written by {}: {}, no progress under {}, for {}",
        number(acked),
        view.server,
        number(served),
        rate(limit),
        seconds(view.stalled_ns),
    );
    condition(all_of(&[under(acked), under(served)]), acked, why)
}

/// The server's busy threads are throttled, or queue behind one that is.
#[must_use]
pub fn blockage(view: &View<'_>) -> Condition {
    let window = view.window;
    if !view.by_nfsd() {
        let why = format!("the threads of {} are not watched", view.server);
        return condition(None, None, why);
    }
    if window.newest().is_none_or(|sample| sample.server.is_none()) {
        return condition(Some(false), None, "no nfsd runs".to_owned());
    }
    let Some(threads) = window.threads() else {
        return condition(None, None, "what nfsd waits for is not seen".to_owned());
    };
    let covered = window.covered_ns() as f64;
    let paused = window.paused_ns(Class::Nfsd, |_| true) as f64;
    let enough = paused >= covered * view.thresholds.blockage_evidence_share;
    let sampled = if threads.busy > 0 && (threads.throttled_ticks >= 2 || enough) {
        threads.stuck as f64 / threads.busy as f64
    } else {
        0.0
    };
    // The pauses that the kernel counted miss no flicker: a one-thread server
    // may be idle in every sample and paused nine tenths of the time.
    let busy = threads.busy as f64 / f64::from(threads.samples.max(1));
    let timed = paused / (covered.max(1.0) * busy.max(1.0));
    let share = sampled.max(timed).min(1.0);
    let limit = view.thresholds.blockage_share / view.slack(&view.before.blockage);
    let why = format!(
        "{} of the busy nfsd threads' time is spent throttled or behind a throttled one \
         (most at once: {} busy, {} throttled)",
        percent(share),
        threads.most_busy,
        threads.most_throttled,
    );
    condition(Some(share >= limit), Some(share), why)
}
