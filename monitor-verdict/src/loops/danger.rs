//! Why a loop is dangerous on this node, and what to do about it.

use super::{Loop, Scope};
use crate::guard::PREVENT_RATIO;
use crate::observation::{Bdi, Observation};
use crate::text::bytes;

/// Why it is dangerous here, a sentence each, the worst first.
/// `same_address`: whether both ends of the connection have one address, where
/// that was seen.
pub(super) fn danger(
    one: &Loop,
    observation: &Observation,
    same_address: Option<bool>,
) -> Vec<String> {
    let mut all = Vec::new();
    let held = bdi(one, observation).filter(|bdi| is_held(bdi));
    if let Some(held) = held {
        all.push(format!(
            "less dangerous: {} is held at {} % of the dirty limit by strict_limit and max_ratio",
            held.bdi,
            held.max_ratio.unwrap_or(0)
        ));
    }
    all.extend(chain(one, observation));
    all.push(throttling(one, observation, same_address));
    if held.is_none() {
        all.push(room(one, observation));
    }
    all.extend(reclaim(one, observation));
    if one.localio {
        all.push(
            "the client writes by LOCALIO: nfslocaliod workers write in place of the server's \
             threads and belong to the loop"
                .to_owned(),
        );
    }
    all
}

/// What to do about it, a sentence each.
pub(super) fn advice(one: &Loop, observation: &Observation) -> Vec<String> {
    let bdi = bdi(one, observation);
    if bdi.is_some_and(is_held) {
        return vec![apart(one)];
    }
    let name = &one.client_bdi;
    let mut all = vec![apart(one)];
    let has_strict_limit = bdi.map_or_else(
        // Since 6.2 (mm/backing-dev.c).
        || version(&observation.kernel).is_some_and(|version| version >= (6, 2)),
        |bdi| bdi.strict_limit.is_some(),
    );
    if has_strict_limit {
        all.push(format!(
            "or hold the client's BDI before the load (both: neither alone prevents it): echo 1 > \
             /sys/class/bdi/{name}/strict_limit; echo {PREVENT_RATIO} > /sys/class/bdi/{name}/max_ratio"
        ));
        all.push(format!(
            "once it is stuck: echo 1 > /sys/class/bdi/{name}/strict_limit; echo 1 > \
             /sys/class/bdi/{name}/max_ratio; then raise vm.dirty_bytes"
        ));
    } else {
        // Measured on 5.10: max_ratio, then dirty_bytes may stop again for 34 s.
        let words = "this kernel has no strict_limit, and max_ratio alone does not prevent it; once it is \
                     stuck: kill -STOP the writers, then raise vm.dirty_bytes: it drains within half a \
                     minute (throttle-monitor explain dirty-throttle)";
        all.push(words.to_owned());
    }
    all
}

fn apart(one: &Loop) -> String {
    format!(
        "run {} and the pods or programs that mount it on different nodes (in Kubernetes: \
         podAntiAffinity)",
        one.server
    )
}

fn bdi<'a>(one: &Loop, observation: &'a Observation) -> Option<&'a Bdi> {
    let mut bdis = observation.bdis.iter();
    bdis.find(|bdi| bdi.bdi == one.client_bdi)
}

/// Measured on 6.12 and 7.2: both together prevent it, at full speed; neither
/// does alone.
fn is_held(bdi: &Bdi) -> bool {
    bdi.strict_limit == Some(true) && bdi.max_ratio.is_some_and(|ratio| ratio < 100)
}

/// The server writes to an NFS mount in turn.
fn chain(one: &Loop, observation: &Observation) -> Option<String> {
    let server_bdi = one.server_bdi.as_ref()?;
    let mounts = observation.topology.mounts.iter().map(|mount| &mount.bdi);
    let mut clients = observation.clients.iter().map(|client| &client.bdi);
    let is_nfs =
        mounts.into_iter().any(|bdi| bdi == server_bdi) || clients.any(|bdi| bdi == server_bdi);
    is_nfs.then(|| {
        format!(
            "{} exports {server_bdi}, which is an NFS mount itself (re-export): a chain, in which \
             it also waits for that mount's server",
            one.server
        )
    })
}

/// Whether the kernel lets the server go on where others must wait
/// (`mm/page-writeback.c`, `nfsd_vfs_write` in `fs/nfsd/vfs.c`).
fn throttling(one: &Loop, observation: &Observation, same_address: Option<bool>) -> String {
    let server = &one.server;
    if !one.is_nfsd() {
        return format!(
            "{server} is a userspace server: the kernel throttles it like any writer, without any \
             exemption, for pages that only it can clean"
        );
    }
    let old = version(&observation.kernel).is_some_and(|version| version < (5, 8));
    let flag = if old {
        "PF_LESS_THROTTLE"
    } else {
        "PF_LOCAL_THROTTLE"
    };
    let same_address = same_address.or(match one.scope {
        Scope::SameNetns => Some(true),
        Scope::CrossNetns => Some(false),
        Scope::Unknown => None,
    });
    let applies = "nfsd's exemption from dirty throttling";
    let only = "applies only where both ends of the connection have the same address";
    match same_address {
        Some(false) => format!(
            "{applies} ({flag}) {only}, and here they do not: nfsd is made to wait for pages that \
             only it can clean"
        ),
        Some(true) if old => format!(
            "{applies} ({flag}) reaches a quarter above the limit only: beyond, nfsd is made to \
             wait for pages that only it can clean"
        ),
        Some(true) => format!(
            "{applies} ({flag}) reaches only as far as the share of the BDI that it writes to: \
             beyond, nfsd is made to wait for pages that only it can clean"
        ),
        None => format!(
            "{applies} ({flag}) {only}, which is not known here: without it, nfsd is made to wait \
             for pages that only it can clean"
        ),
    }
}

/// How much the client may fill.
fn room(one: &Loop, observation: &Observation) -> String {
    let name = &one.client_bdi;
    let limit = limit_bytes(observation).map_or_else(
        || "the node's whole dirty limit".to_owned(),
        |limit| format!("the node's whole dirty limit of {}", bytes(limit as f64)),
    );
    match bdi(one, observation).and_then(|bdi| bdi.max_ratio) {
        Some(ratio) if ratio < 100 => {
            format!(
                "{name} may fill {limit}: max_ratio ({ratio} %) without strict_limit does not hold it"
            )
        }
        _ => format!("{name} may fill {limit} alone"),
    }
}

/// The hard limit that the kernel named last, else the one of /proc/vmstat.
fn limit_bytes(observation: &Observation) -> Option<u64> {
    let pauses = observation.dirty_pauses.iter().filter(|p| p.events > 0);
    let last = pauses.max_by_key(|p| p.last_ns).map(|p| p.last_limit_pages);
    last.filter(|&pages| pages > 0 && observation.memory.page_size > 0)
        .map(|pages| pages.saturating_mul(observation.memory.page_size))
        .or(observation.memory.dirty_limit_bytes)
}

/// Where the server may sleep besides: `wait_iff_congested` was replaced by
/// `reclaim_throttle` in 5.16, which lets kernel threads go.
fn reclaim(one: &Loop, observation: &Observation) -> Option<String> {
    let (major, minor) = version(&observation.kernel)?;
    let server = &one.server;
    if (major, minor) < (5, 16) {
        return Some(format!(
            "on {major}.{minor} {server} may also sleep in wait_iff_congested, 100 ms at a time, \
             when it reclaims memory while {} is congested",
            one.client_bdi
        ));
    }
    let userspace = !one.is_nfsd();
    userspace.then(|| {
        format!(
            "on {major}.{minor} {server} may also sleep in reclaim_throttle when memory is short"
        )
    })
}

/// Major and minor of `uname -r`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
