//! The risk of a loop on this node, and the recommendations.

use monitor_model::{
    loops::{Exempt, Loop, PathNode},
    observation::{Bdi, ClientKind, Observation, ServerKind},
};

use crate::mitigation::{PREVENT_RATIO, is_held};
use crate::text::bytes;

/// The reasons for the risk on this node, a sentence each, the worst first.
pub(crate) fn risk(one: &Loop, observation: &Observation) -> Vec<String> {
    let mut all = Vec::new();
    // What writes past the page cache is not throttled.
    let throttled = !one.exempt.is_exempt() && !one.direct;
    let held = bdi(one, observation).filter(|bdi| throttled && is_held(bdi));
    if let Some(held) = held {
        all.push(format!(
            "less risk: {} is held at {} % of the dirty limit by strict_limit and max_ratio",
            held.bdi,
            held.max_ratio.unwrap_or(0)
        ));
    }
    all.extend(chain(one, observation));
    if throttled {
        all.push(throttling(one));
    }
    if throttled && held.is_none() {
        all.push(room(one, observation));
    }
    all.extend(reclaim(one, observation));
    if one.localio {
        all.push(
            "the client writes by LOCALIO: nfslocaliod workers write in target of the server's \
             threads and belong to the loop"
                .to_owned(),
        );
    }
    all
}

/// The recommendations, a sentence each. The caller checks first that there is a risk.
pub(crate) fn recommendations(one: &Loop, observation: &Observation) -> Vec<String> {
    if one.risk.is_empty() {
        return Vec::new();
    }
    let bdi = bdi(one, observation);
    if one.exempt.is_exempt() || one.direct || bdi.is_some_and(is_held) {
        return vec![apart(one)];
    }
    let name = &one.client_bdi;
    let mut all: Vec<_> = exempt(one).into_iter().chain([apart(one)]).collect();
    let has_strict_limit = bdi.map_or_else(
        // Since 6.2 (mm/backing-dev.c).
        || version(&observation.kernel).is_some_and(|version| version >= (6, 2)),
        |bdi| bdi.strict_limit.is_some(),
    );
    // Only measured for NFS: limits of the client's device did not free the other kinds.
    let is_nfs = one.client_kind == ClientKind::Nfs;
    if is_nfs && has_strict_limit {
        all.push(format!(
            "or hold the client's BDI before the load (both: neither alone prevents it): echo 1 > \
             /sys/class/bdi/{name}/strict_limit; echo {PREVENT_RATIO} > \
             /sys/class/bdi/{name}/max_ratio"
        ));
    } else if is_nfs {
        let words =
            "this kernel has no strict_limit, and max_ratio alone does not prevent a livelock";
        all.push(words.to_owned());
    }
    // The mitigations come from the one place that decides them.
    all.push(format!(
        "once it is stalled: throttle-monitor explain dirty-throttle --bdi {name}"
    ));
    all
}

/// Measured on 6.12: the load that freezes nfs-ganesha without the exemption runs at 50 MB/s with
/// it.
fn exempt(one: &Loop) -> Option<String> {
    let last = PathNode::last_server(&one.path);
    let is_process = last.map_or(!one.is_nfsd(), |(kind, _)| kind == ServerKind::Process);
    let server = last.map_or(&one.server, |(_, name)| name);
    let capability = if one.client_kind == ClientKind::Nfs && *server == one.server {
        "give its container CAP_SYS_RESOURCE (nfs-ganesha asks for the exemption from version 6 \
         on), or "
    } else {
        ""
    };
    (is_process && one.exempt.state != Exempt::Unknown).then(|| {
        format!(
            "exempt {server} from local dirty throttling: {capability}start it by \
             throttle-monitor io-flusher -- COMMAND"
        )
    })
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

/// Whether the server writes to an NFS mount in turn.
pub(crate) fn exports_nfs(one: &Loop, observation: &Observation) -> bool {
    let Some(server_bdi) = &one.server_bdi else {
        return false;
    };
    let mut mounts = observation.topology.mounts.iter().map(|mount| &mount.bdi);
    let mut clients = observation.clients.iter().map(|client| &client.bdi);
    mounts.any(|bdi| bdi == server_bdi) || clients.any(|bdi| bdi == server_bdi)
}

/// Reports that the server writes to an NFS mount in turn.
fn chain(one: &Loop, observation: &Observation) -> Option<String> {
    let server_bdi = one.server_bdi.as_ref()?;
    exports_nfs(one, observation).then(|| {
        format!(
            "{} exports {server_bdi}, which is an NFS mount itself (re-export): a chain, in which \
             it also waits for that mount's server",
            one.server
        )
    })
}

/// What the server waits for, unless the kernel exempts it from throttling (`mm/page-writeback.c`).
fn throttling(one: &Loop) -> String {
    let (server, why) = (&one.server, one.exempt.why());
    let from = "from local dirty throttling";
    let waits = "waits for pages that only it can clean";
    match one.exempt.state {
        Exempt::Unknown => format!(
            "whether {server} is exempt {from} is unknown ({why}): without the exemption, it {waits}"
        ),
        Exempt::Partly => {
            format!(
                "{server} is only partly exempt {from} ({why}): without the exemption, it {waits}"
            )
        }
        Exempt::Yes | Exempt::No => format!("{server} is not exempt {from} ({why}): it {waits}"),
    }
}

/// How much of the dirty limit the client may fill.
fn room(one: &Loop, observation: &Observation) -> String {
    let name = &one.client_bdi;
    let limit = limit_bytes(observation).map_or_else(
        || "the node's whole dirty limit".to_owned(),
        |limit| format!("the node's whole dirty limit of {}", bytes(limit as f64)),
    );
    let bdi = bdi(one, observation);
    match bdi.and_then(|bdi| bdi.max_ratio) {
        Some(ratio) if ratio < 100 && bdi.is_some_and(|bdi| bdi.strict_limit == Some(true)) => {
            format!(
                "{name} may fill {ratio} % of {limit}: up to {PREVENT_RATIO} % never stalled a loop"
            )
        }
        Some(ratio) if ratio < 100 => {
            format!(
                "{name} may fill {limit}: max_ratio ({ratio} %) without strict_limit does not hold it"
            )
        }
        _ => format!("{name} may fill {limit} alone"),
    }
}

/// The hard limit that the kernel reported last, or else the one of /proc/vmstat.
fn limit_bytes(observation: &Observation) -> Option<u64> {
    let pauses = observation.dirty_pauses.iter().filter(|p| p.events > 0);
    let last = pauses.max_by_key(|p| p.last_ns).map(|p| p.last_limit_pages);
    last.filter(|&pages| pages > 0 && observation.memory.page_size > 0)
        .map(|pages| pages.saturating_mul(observation.memory.page_size))
        .or(observation.memory.dirty_limit_bytes)
}

/// Before 5.16 the server may also sleep in `wait_iff_congested`. Its replacement,
/// `reclaim_throttle`, exempts kernel threads.
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

/// Whether this kernel is known to be older than `release`.
pub(crate) fn is_before(observation: &Observation, release: (u32, u32)) -> bool {
    version(&observation.kernel).is_some_and(|version| version < release)
}

/// Major and minor of `uname -r`.
pub(crate) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
