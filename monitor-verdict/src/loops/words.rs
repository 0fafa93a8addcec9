//! What is said when a loop comes and goes: one sentence each.

use compact_str::CompactString;

use super::{Loop, Proof, Scope};

/// The client's device with what is mounted there.
fn client(one: &Loop) -> CompactString {
    let bdi = &one.client_bdi;
    let named = one.mounts.first().map(|mount| {
        let (source, point) = (&mount.source, &mount.mount_point);
        compact_str::format_compact!("{bdi} ({source} at {point})")
    });
    named.unwrap_or_else(|| bdi.clone())
}

const fn server_is(one: &Loop) -> &'static str {
    match one.scope {
        Scope::SameNetns => " in the same network namespace",
        Scope::CrossNetns => " in another network namespace",
        Scope::Unknown => "",
    }
}

const fn known_by(proof: Proof) -> &'static str {
    match proof {
        Proof::Xid => "its calls are seen to be served here",
        Proof::Socket => "both ends of its connection are on this node",
        Proof::Address => "the server listens at the address that is mounted",
    }
}

pub(super) fn appeared(one: &Loop) -> String {
    let (client, server, place) = (client(one), &one.server, server_is(one));
    let known = known_by(one.proof);
    let danger = one.danger.first().map_or("", String::as_str);
    if one.became_own_client {
        format!(
            "this node has become its own NFS client: {client} was served by another host and is \
             served by this node's {server}{place} now ({known}): {danger}"
        )
    } else {
        format!("{client} is served by this node's own {server}{place} ({known}): {danger}")
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

pub(super) fn ended(one: &Loop, why: &str) -> String {
    format!(
        "{} is no loop with {} any more: {why}",
        client(one),
        one.server
    )
}
