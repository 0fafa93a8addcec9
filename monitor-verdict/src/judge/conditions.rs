//! The three conditions that all signatures share: demand, no progress,
//! blockage. The fourth, the closing edge, is in `signatures`.
//!
//! Each is true, false or unknown. Unknown is never made a number.

use monitor_model::verdict::Condition;

use crate::text::{bytes, percent, rate, seconds};
use crate::window::ThreadSamples;
use crate::window::view::{View, all_of};

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

/// The client has pages to write. It or a loop device on it holds some, writers wait on its BDI, or
/// WRITE calls are unanswered.
#[must_use]
pub fn demand(view: &View<'_>) -> Condition {
    let name = view.client;
    let Some(client) = view.newest().and_then(|sample| sample.client(name)) else {
        return condition(
            Some(false),
            None,
            format!("{name} is no longer the device of a client"),
        );
    };
    let held_bytes = view.held_bytes();
    let floor = view.thresholds.demand_floor_bytes as f64 / view.slack(&view.before.demand);
    let held = held_bytes.map(|bytes| bytes as f64 >= floor);
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
        "{name} holds {} dirty or in writeback, writers waiting on it: {}, {} unanswered: {}",
        held_bytes.map_or_else(|| "unknown bytes".to_owned(), |held| bytes(held as f64)),
        number(client.waiting_writers.map(u64::from)),
        view.kind.requests(),
        number(client.pending_writes),
    );
    condition(holds, held_bytes.map(|held| held as f64), why)
}

/// The client gets almost no acknowledgements and the server writes almost nothing. Both count: a
/// client may wait its turn while nfsd serves others. Writes of a userspace server are not visible.
#[must_use]
pub fn no_progress(view: &View<'_>) -> Condition {
    let limit = view.stall_rate;
    let acked = view.acked().map(|moved| moved.rate());
    let served = view.served().map(|moved| moved.rate());
    let under = |rate: Option<f64>| rate.map(|rate| rate < limit);
    let number = |r: Option<f64>| r.map_or_else(|| "unknown".to_owned(), rate);
    let (holds, written) = if view.by_nfsd() {
        let holds = all_of(&[under(acked), under(served)]);
        (holds, format!("written by nfsd: {}", number(served)))
    } else {
        let written = format!("writes of {} are not visible", view.server);
        (under(acked), written)
    };
    let why = format!(
        "acknowledged: {}, {written}, no progress under {}, for {}",
        number(acked),
        rate(limit),
        seconds(view.stalled_ns),
    );
    condition(holds, acked, why)
}

/// The server's busy threads are throttled, or queue behind one that is.
#[must_use]
pub fn blockage(view: &View<'_>) -> Condition {
    let stopped = |sample: &crate::window::reduce::Sample| sample.server.is_none();
    if view.by_nfsd() && view.newest().is_none_or(stopped) {
        return condition(Some(false), None, "nfsd does not run".to_owned());
    }
    let Some(threads) = view.threads() else {
        let why = format!("waits of {} are not visible", view.server);
        return condition(None, None, why);
    };
    let share = blocked_share(view, &threads);
    let limit = view.thresholds.blockage_share / view.slack(&view.before.blockage);
    let why = format!(
        "{} of the busy {} threads' time is spent throttled or behind a throttled one \
         (most at once: {} busy, {} throttled)",
        percent(share),
        view.server,
        threads.most_busy,
        threads.most_throttled,
    );
    condition(Some(share >= limit), Some(share), why)
}

fn blocked_share(view: &View<'_>, threads: &ThreadSamples) -> f64 {
    let time = view.throttled_ns();
    let enough = view.share_of_thread(time) >= view.thresholds.blockage_evidence_share;
    let sampled = if threads.throttled_ticks >= 2 || enough {
        threads.stuck as f64 / threads.busy.max(1) as f64
    } else {
        0.0
    };
    // The kernel counts every wait. A one-thread server may be idle in every sample and still be
    // paused nine tenths of the time.
    let busy = threads.busy as f64 / f64::from(threads.samples.max(1));
    let timed = view.share_of_thread(time) / busy.max(1.0);
    sampled.max(timed).min(1.0)
}
