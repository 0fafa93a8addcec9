//! Signature `loop-device`: a loop device (`/dev/loop0`) is a part of the cycle. Either its file
//! lies on the client, so that its pages become the client's, which only the server can clean. Or
//! the server itself writes to such a device.
//!
//! The server waits as in `dirty-throttle` or `reclaim-congestion`. This signature is more
//! specific, so it takes precedence.

use monitor_common::Class;
use monitor_model::verdict::Signature;

use crate::text::percent;
use crate::window::reduce::{LoopDevice, Sample};
use crate::window::view::{View, all_of};

use super::Edge;
use super::dirty_throttle::{Throttle, share, who};

const SIGNATURE: Signature = Signature::LoopDevice;

/// Whether a loop device is part of what the other edges found.
#[must_use]
pub fn edge(view: &View<'_>, dirty: &Edge, reclaim: &Edge) -> Edge {
    let Some(device) = heaviest(view) else {
        return Edge::open(SIGNATURE, "no loop device is on the client");
    };
    let slack = view.edge_slack(SIGNATURE);
    let least = view.thresholds.signatures.loop_device_share / slack;
    let worker = worker_ns(view, device);
    let waits = view.share_of_thread(worker).min(1.0);
    let held = held_share(view, &device.bdi);
    let takes_part = if waits >= least {
        Some(true)
    } else {
        held.map(|share| share >= least)
    };
    let under = under_server(view, slack);
    let server = [dirty.holds, reclaim.holds];
    let throttled = if under.is_some() || server.contains(&Some(true)) {
        Some(true)
    } else if server.contains(&None) {
        None
    } else {
        Some(false)
    };
    let holds = all_of(&[takes_part, throttled]);
    let closed = [reclaim, dirty];
    let closed = closed.into_iter().filter(|edge| edge.holds == Some(true));
    let rests_on = closed.max_by_key(|edge| edge.weight_ns).unwrap_or(dirty);
    let part = format!(
        "loop device {} is on {} and holds {} of the pages of the two, its worker waits for {} \
         of the time",
        device.bdi,
        device.on,
        share(held),
        percent(waits),
    );
    let server = under.unwrap_or_else(|| rests_on.words.clone());
    Edge {
        signature: SIGNATURE,
        holds,
        value: held,
        words: if holds == Some(true) {
            format!("{server}; {part}")
        } else {
            String::new()
        },
        why: if throttled == Some(true) {
            part.into()
        } else {
            format!("{part}; the server: {}", rests_on.why).into()
        },
        weight_ns: rests_on.weight_ns.saturating_add(worker).saturating_add(1),
        server_bdi: rests_on.server_bdi.clone(),
        gaps: rests_on.gaps.clone(),
    }
}

/// The loop device on the client that holds most.
fn heaviest<'a>(view: &'a View<'_>) -> Option<&'a LoopDevice> {
    let newest = view.newest()?;
    let held = |one: &LoopDevice| held_by(newest, &one.bdi);
    let devices = newest.loop_devices_on(view.client);
    devices.reduce(|most, one| if held(one) > held(most) { one } else { most })
}

/// What it and the devices on it hold: with dm-crypt on it, all pages are that one's. Loop devices
/// on it count for themselves.
fn held_by(sample: &Sample, device: &str) -> Option<u64> {
    let own = sample.device(device)?.held_bytes?;
    let is_loop = |bdi: &str| sample.loop_devices.iter().any(|one| one.bdi == bdi);
    let others = sample.resting_on(device).filter(|bdi| !is_loop(bdi));
    let held = others.filter_map(|bdi| sample.device(bdi)?.held_bytes);
    Some(held.fold(own, u64::saturating_add))
}

/// Its share of the pages of it and the client.
fn held_share(view: &View<'_>, device: &str) -> Option<f64> {
    let held = held_by(view.newest()?, device)?;
    let all = view.held_bytes()?;
    (all > 0).then(|| held as f64 / all as f64)
}

/// Waits of its worker: the kernel thread `loop0`, or a workqueue worker (since 5.14). The client's
/// pages throttle no other kind of worker.
fn worker_ns(view: &View<'_>, device: &LoopDevice) -> u64 {
    let file = |bdi: &str| bdi == device.on;
    let workers = view.window.paused_ns(Class::Kworker, file);
    let thread = view.window.paused_ns(Class::LoopDevice, file);
    let reclaims = view.window.reclaim_ns(Class::LoopDevice);
    workers.saturating_add(thread).saturating_add(reclaims)
}

/// Whether the server is throttled on a loop device whose pages only the client can clean. The
/// device is not clean, and has a request in it while it is stuck. Returns the waiters.
fn under_server(view: &View<'_>, slack: f64) -> Option<String> {
    let newest = view.newest()?;
    let throttle = Throttle::find(view)?;
    if !newest.rests_on(throttle.server_bdi, view.client) {
        return None;
    }
    let (pages, _) = view.window.pages_of(newest.client(view.client)?);
    let theirs = (pages? / throttle.pauses.dirty.max(1.0)).min(1.0);
    let floor = view.thresholds.stall_floor_bytes_per_second as f64;
    let still = throttle.disk.writes? < floor * slack;
    let closed = throttle.over_limit(view, slack)?
        && theirs >= view.thresholds.clients_share / slack
        && still;
    closed.then(|| {
        format!(
            "{} wait in balance_dirty_pages on {}, whose file is on {}; both hold {} of the \
             dirty pages",
            who(view),
            throttle.server_bdi,
            view.client,
            percent(theirs),
        )
    })
}
