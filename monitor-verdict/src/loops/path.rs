//! The path of a loop's pages: from the client over its server to the device that this writes to,
//! from there over the next server of this node that cleans that device, and so on to a local one.

use std::collections::BTreeSet;

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::{
    loops::{Loop, PathNode},
    observation::{
        Observation, Proof, ServedDevice, ServerKind, ServerRef, Topology, Waiting, WriteBasis,
    },
};

/// Maximum number of servers of a path.
const MAX_SERVERS: usize = 4;
/// Maximum number of devices below one.
const MAX_BELOW: usize = 32;

/// The device that a server writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) bdi: CompactString,
    /// The file system's device; empty: unknown.
    pub(super) device: CompactString,
    /// Whether it writes past the page cache.
    pub(super) direct: bool,
}

/// What a server writes to for a client: where it waits now, or else what its open files or its configuration
/// name.
pub(super) fn written_by(
    server: &ServerRef,
    client: &str,
    observation: &Observation,
) -> Option<Written> {
    let edges = observation.topology.writes.iter();
    let for_it = |for_client: &str| for_client.is_empty() || for_client == client;
    // The server has the client's device open, too (qemu-nbd): it is not what it writes for it.
    let mut edges = edges.filter(|edge| {
        let elsewhere = !edge.bdi.is_empty() && edge.bdi != client;
        edge.server == *server && elsewhere && for_it(&edge.client)
    });
    let first = edges.clone().find(|edge| !edge.direct);
    let first = first.or_else(|| edges.next());
    let known = first.map(|edge| Written {
        bdi: edge.bdi.clone(),
        device: edge.device.clone(),
        direct: edge.direct,
    });
    match waits_on(server, observation) {
        Some(bdi) if known.as_ref().is_none_or(|known| known.bdi != bdi) => Some(Written {
            bdi,
            ..Written::default()
        }),
        _ => known,
    }
}

/// Whether a server writes for a client to a device that nothing tells.
pub(super) fn writes_hidden(server: &ServerRef, client: &str, topology: &Topology) -> bool {
    let mut edges = topology.writes.iter();
    edges.any(|edge| {
        edge.basis == WriteBasis::Hidden && edge.server == *server && edge.client == client
    })
}

/// The BDI on which most of a server's threads are in `balance_dirty_pages`.
fn waits_on(server: &ServerRef, observation: &Observation) -> Option<CompactString> {
    let is_own = |wait: &Waiting| match server.kind {
        ServerKind::Process => wait.class == Class::Server && Some(wait.tgid) == server.tgid,
        ServerKind::Target => wait.class == Class::Target,
        ServerKind::Nfsd | ServerKind::LoopDevice => false,
    };
    // A target's workers have nothing in common but their class, so only that of the single target
    // is known by them, and only if nothing else tells.
    if server.kind == ServerKind::Target {
        let topology = &observation.topology;
        let mut targets = topology.writes.iter();
        let alone = targets.all(|edge| {
            edge.server.kind != ServerKind::Target
                || edge.server == *server && edge.basis == WriteBasis::Hidden
        });
        if !alone {
            return None;
        }
    }
    let own = |wait: &&Waiting| {
        wait.cause == Cause::BalanceDirtyPages && is_own(wait) && !wait.bdi.is_empty()
    };
    let waits: Vec<&CompactString> = observation
        .waits
        .iter()
        .filter(own)
        .map(|wait| &wait.bdi)
        .collect();
    let count = |bdi: &CompactString| waits.iter().filter(|one| **one == bdi).count();
    let most = waits.iter().max_by_key(|bdi| (count(bdi), **bdi))?;
    Some((*most).clone())
}

/// A device and all that it rests on.
pub(super) fn with_those_below<'a>(bdi: &'a str, topology: &'a Topology) -> BTreeSet<&'a str> {
    let stacked = topology.rests_on.iter().map(|edge| (&edge.bdi, &edge.on));
    let loops = topology.loop_devices.iter().map(|one| (&one.bdi, &one.on));
    let edges: Vec<(&str, &str)> = stacked
        .chain(loops)
        .map(|(bdi, on)| (bdi.as_str(), on.as_str()))
        .filter(|(_, on)| !on.is_empty())
        .collect();
    let mut all = BTreeSet::from([bdi]);
    let mut new = vec![bdi];
    while let Some(at) = new.pop() {
        for (_, on) in edges.iter().filter(|(bdi, _)| *bdi == at) {
            if all.len() < MAX_BELOW && all.insert(on) {
                new.push(on);
            }
        }
    }
    all
}

/// The server that cleans a device or one below it.
fn served<'a>(bdi: &str, topology: &'a Topology) -> Option<&'a ServedDevice> {
    if topology.served.is_empty() {
        return None;
    }
    let below = with_those_below(bdi, topology);
    let mut all = topology.served.iter();
    all.find(|one| below.contains(one.bdi.as_str()))
}

/// Fills in the path of a loop whose client and first server are known, and what its last server
/// writes to. Returns that server's device of a file system; empty: unknown.
///
/// A file that was closed for a moment does not shorten the path.
pub(super) fn fill_in(
    one: &mut Loop,
    relays: &[ServerRef],
    first: Option<Written>,
    observation: &Observation,
) -> CompactString {
    let topology = &observation.topology;
    let mut path = Vec::with_capacity(one.path.len().max(3));
    path.push(PathNode::Device {
        kind: one.client_kind.as_str().into(),
        name: match one.mounts.first() {
            Some(mount) if one.client_name.is_empty() => mount.source.clone(),
            _ => one.client_name.clone(),
        },
        bdi: one.client_bdi.clone(),
    });
    let server = ServerRef {
        name: one.server.clone(),
        tgid: one.server_tgid,
        kind: one.server_kind,
    };
    let relays = relays.iter().take(MAX_SERVERS);
    path.extend(relays.map(|relay| node(relay.clone(), one.proof)));
    path.push(node(server.clone(), one.proof));
    let mut seen = vec![server];
    let mut at = first;
    let mut last = Written::default();
    while let Some(written) = at.take() {
        let next = served(&written.bdi, topology);
        path.push(device(&written, next, topology));
        last = written;
        let Some(next) = next.filter(|next| {
            next.bdi != one.client_bdi && !seen.contains(&next.server) && seen.len() < MAX_SERVERS
        }) else {
            break;
        };
        path.push(node(next.server.clone(), next.proof));
        at = written_by(&next.server, &next.bdi, observation);
        seen.push(next.server.clone());
    }
    let is_cut = path.len() < one.path.len() && one.path.starts_with(&path);
    if !is_cut {
        one.direct = last.direct;
        one.server_bdi = Some(last.bdi).filter(|bdi| !bdi.is_empty());
        one.path = path;
    }
    last.device
}

fn node(server: ServerRef, proof: Proof) -> PathNode {
    PathNode::Server {
        kind: server.kind,
        name: server.name,
        tgid: server.tgid,
        proof,
    }
}

fn device(written: &Written, next: Option<&ServedDevice>, topology: &Topology) -> PathNode {
    let systems = topology.file_systems.iter();
    let mut here = systems.filter(|fs| fs.bdi == written.bdi && !fs.fstype.is_empty());
    let exact = here.clone().find(|fs| fs.device == written.device);
    let system = exact.or_else(|| here.next());
    let (kind, name) = match (next, system) {
        (Some(next), _) if next.bdi == written.bdi => {
            (next.kind.as_str().into(), next.name.clone())
        }
        (_, Some(system)) => (system.fstype.clone(), system.source.clone()),
        _ => Default::default(),
    };
    PathNode::Device {
        kind,
        name,
        bdi: written.bdi.clone(),
    }
}
