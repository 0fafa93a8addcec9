//! The sentences for loops that begin and end.

use compact_str::{CompactString, format_compact};
use monitor_model::{
    loops::{Loop, Proof, Scope},
    observation::{Container, ServerExit},
};

use crate::text::seconds;

/// Maximum number of containers to name; the others are counted.
const MAX_NAMED: usize = 3;

/// The client's device, its mount point and its container.
fn client(one: &Loop) -> CompactString {
    let bdi = &one.client_bdi;
    let mut parts = Vec::new();
    if !one.client_name.is_empty() {
        parts.push(one.client_name.to_string());
    }
    if let Some(mount) = one.mounts.first() {
        parts.push(format!("{} at {}", mount.source, mount.mount_point));
    }
    let containers = &one.client_containers;
    parts.extend(containers.iter().take(MAX_NAMED).map(Container::words));
    if let Some(more @ 1..) = containers.len().checked_sub(MAX_NAMED) {
        parts.push(format!("and {more} more"));
    }
    if parts.is_empty() {
        return bdi.clone();
    }
    format_compact!("{bdi} ({})", parts.join(", "))
}

fn server_is(one: &Loop) -> String {
    let container = one.server_container.as_ref().map(Container::words);
    let of = container.map_or_else(String::new, |name| format!(", that of {name}"));
    match one.scope {
        Scope::SameNetns => format!(" in the same network namespace{of}"),
        Scope::CrossNetns => format!(" in another network namespace{of}"),
        Scope::None | Scope::Unknown => String::new(),
    }
}

const fn known_by(proof: Proof) -> &'static str {
    match proof {
        Proof::Xid => "its calls are served here, as observed",
        Proof::Kernel => "the kernel names the server",
        Proof::Stream => "both ends of its connection carry the same bytes",
        Proof::Socket => "both ends of its connection are on this node",
        Proof::Address => "the server listens at the address that is mounted",
    }
}

pub(super) fn appeared(one: &Loop) -> String {
    let (client, server, place) = (client(one), &one.server, server_is(one));
    let known = known_by(one.proof);
    let risk = one.risk.first().cloned();
    let risk = risk.unwrap_or_else(|| {
        let why = one.exempt.why();
        format!("{server} is exempt from local dirty throttling ({why})")
    });
    if one.became_own_client {
        format!(
            "this node has become its own NFS client: {client} was served by another host and is \
             served by this node's {server}{place} now ({known}): {risk}"
        )
    } else {
        format!("{client} is served by this node's own {server}{place} ({known}): {risk}")
    }
}

pub(super) fn proven(one: &Loop, before: Proof) -> String {
    let (client, server, place) = (client(one), &one.server, server_is(one));
    let (known, before) = (known_by(one.proof), known_by(before));
    if one.became_own_client {
        format!(
            "this node has become its own NFS client: {client} was served by another host, and now \
             {known}"
        )
    } else {
        format!(
            "{client} is served by this node's own {server}{place}: {known}; before, it was only \
             known that {before}"
        )
    }
}

/// `ganesha.nfsd[204]`.
pub(crate) fn process(name: &str, tgid: Option<u32>) -> CompactString {
    tgid.map_or_else(|| name.into(), |tgid| format_compact!("{name}[{tgid}]"))
}

/// `ganesha.nfsd[204], is gone for 3.0 s`, and what the OOM killer did.
pub(crate) fn exit(exit: &ServerExit, now_ns: u64) -> String {
    let who = process(&exit.name, Some(exit.tgid));
    let ago = seconds(now_ns.saturating_sub(exit.gone_ns));
    let processes = |n| if n == 1 { "process" } else { "processes" };
    let by = match (exit.cgroup_oom_kills, exit.node_oom_kills) {
        (Some(n @ 1..), _) => format!(
            "; the OOM killer of its memory cgroup killed {n} {} there at that moment",
            processes(n)
        ),
        // The node's count includes the cgroups' kills.
        (Some(0), _) | (None, Some(0) | None) => String::new(),
        (None, Some(n)) => {
            format!(
                "; the OOM killer killed {n} {} of this node at that moment",
                processes(n)
            )
        }
    };
    format!("{who}, is gone for {ago}{by}")
}

pub(super) fn ended(one: &Loop, why: &str) -> String {
    format!(
        "{} is no longer a loop with {}: {why}",
        client(one),
        one.server
    )
}
