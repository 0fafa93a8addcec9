//! The inputs from one observation for one NFS device: the kernel's counters joined with the
//! look-ups.

use std::net::{IpAddr, SocketAddr};

use compact_str::CompactString;
use monitor_common::Class;
use monitor_model::{
    loops::Proof,
    observation::{
        Connection, FileSystem, NfsClient, NfsMount, Observation, OpenCalls, RpcClient, ServerExit,
        State, ThreadState, Topology,
    },
};

use super::calls::Fresh;

/// The signal that matches transaction ids, named as in
/// [`monitor_model::observation::SignalStatus`].
const RPC_XID: &str = "rpc_xid";

/// One observation from the perspective of one NFS device.
#[derive(Clone, Debug)]
pub(super) struct DeviceInputs<'a> {
    pub(super) bdi: &'a str,
    pub(super) observation: &'a Observation,
    pub(super) mount: Option<&'a NfsMount>,
    pub(super) client: Option<&'a NfsClient>,
    pub(super) connection: Option<&'a Connection>,
    /// The activity of the device's RPC clients since the previous observation.
    pub(super) rpc: Vec<&'a Fresh<'a>>,
    /// Whether nfsd had a free thread, so that calls to it were taken at once and seen. Otherwise a
    /// call that was not seen proves nothing.
    pub(super) free: bool,
}

/// The server, according to look-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) proof: Proof,
    pub(super) server: CompactString,
    /// The server's process, if it is one.
    pub(super) tgid: Option<u32>,
}

impl<'a> DeviceInputs<'a> {
    pub(super) fn of(
        bdi: &'a str,
        observation: &'a Observation,
        fresh: &'a [Fresh<'a>],
        free: bool,
    ) -> Self {
        let topology: &Topology = &observation.topology;
        let mount = topology.mounts.iter().find(|mount| mount.bdi == bdi);
        Self {
            bdi,
            observation,
            mount,
            client: observation.clients.iter().find(|client| client.bdi == bdi),
            connection: mount.and_then(|mount| connection(topology, mount)),
            rpc: rpc_clients(bdi, mount, topology, fresh, |fresh| fresh.client),
            free,
        }
    }

    /// The server, according to look-ups.
    pub(super) fn claim(&self) -> Option<Claim> {
        if let Some(connection) = self.connection {
            return Some(Claim {
                proof: connection.proof,
                server: connection.owner.clone(),
                tgid: connection.owner_tgid,
            });
        }
        let listener = self.mount?.listener.clone()?;
        Some(Claim {
            proof: Proof::Address,
            server: listener,
            tgid: self.mount?.listener_tgid,
        })
    }

    /// The number of the client's unanswered calls. If a truncated list has an old call, none
    /// counts as answered.
    pub(super) fn unanswered(&self) -> u64 {
        /// A server that answers at all takes less time.
        const LONG_NS: u64 = 2_000_000_000;
        let now = self.observation.monotonic_ns;
        let mut opens = self
            .rpc
            .iter()
            .filter_map(|fresh| fresh.client.open.as_ref());
        let waits = |open: &OpenCalls| open.more && now.saturating_sub(open.since_ns) > LONG_NS;
        if opens.clone().any(waits) {
            return u64::MAX;
        }
        let open = opens
            .by_ref()
            .fold(0u64, |sum, open| sum.saturating_add(open.count.into()));
        let pending = self.client.map_or(0, |client| {
            let commits = client.commits_sent.saturating_sub(client.commits_done);
            client.pending_writes().saturating_add(commits)
        });
        open.max(pending)
    }

    /// The end of a server's process, if it was recent.
    pub(super) fn exit_of(&self, server: &str, tgid: Option<u32>) -> Option<&'a ServerExit> {
        let mut exits = self.observation.server_exits.iter().rev();
        exits.find(|exit| exit.name == server && tgid.is_none_or(|tgid| tgid == exit.tgid))
    }

    /// Whether the client was active after this time.
    pub(super) fn active_since(&self, ns: u64) -> bool {
        let wrote = |c: &NfsClient| c.last_sent_ns.max(c.last_acked_ns) > ns;
        self.client.is_some_and(wrote)
            || self.rpc.iter().any(|fresh| fresh.client.last_call_ns > ns)
    }

    /// The server's end of the connection, from the server's socket or else from the client's own
    /// view.
    pub(super) fn server_end(&self) -> ServerEnd {
        let mut clients = self.rpc.clone();
        clients.sort_by_key(|fresh| std::cmp::Reverse(fresh.client.last_served_ns));
        let mut peers = clients.iter().filter_map(|fresh| fresh.client.peer);
        let socket = |peer| {
            let mut sockets = self.observation.topology.peers.iter();
            sockets.find(|socket| same(socket.peer, peer))
        };
        if let Some(socket) = peers.find_map(socket) {
            return ServerEnd {
                netns: Some(socket.netns),
                client_is_local: local(socket.peer_is_local, socket.peer, socket.server),
            };
        }
        if let Some(connection) = self.connection {
            return ServerEnd {
                netns: Some(connection.server_netns),
                client_is_local: local(
                    connection.client_is_local,
                    connection.client,
                    connection.server,
                ),
            };
        }
        // A listener at an address of the client's own namespace is in that namespace.
        let listens = self.mount.filter(|mount| mount.listener.is_some());
        ServerEnd {
            netns: listens.and_then(|mount| mount.netns),
            client_is_local: None,
        }
    }

    /// The BDI exported from a namespace, if there is exactly one.
    pub(super) fn exported_from(&self, netns: u64) -> Option<CompactString> {
        let exports = self.observation.topology.exports.iter();
        let mut bdis = exports.filter(|e| e.netns == netns).map(|e| &e.bdi);
        let first = bdis.next().filter(|bdi| !bdi.is_empty())?;
        bdis.all(|bdi| bdi == first).then(|| first.clone())
    }

    /// The BDI on which userspace servers were paused, if there is exactly one.
    pub(super) fn userspace_paused_on(&self) -> Option<CompactString> {
        let pauses = self.observation.dirty_pauses.iter();
        let mut bdis = pauses
            .filter(|p| p.class == Class::Server && p.events > 0)
            .map(|p| &p.bdi);
        let first = bdis.next()?;
        bdis.all(|bdi| bdi == first).then(|| first.clone())
    }
}

/// Type and device of the file system on a BDI; empty: unknown.
pub(super) fn file_system(
    observation: &Observation,
    bdi: &str,
    device: &str,
) -> (CompactString, CompactString) {
    let all = &observation.topology.file_systems;
    let known = |fs: &&FileSystem| !fs.fstype.is_empty();
    let by_device = all.iter().filter(known).find(|fs| fs.device == device);
    let on_bdi = || all.iter().filter(known).find(|fs| fs.bdi == bdi);
    if let Some(fs) = by_device.or_else(on_bdi) {
        return (fs.fstype.clone(), fs.source.clone());
    }
    let bdi = observation.bdis.iter().find(|b| b.bdi == bdi);
    bdi.map(|b| (b.fstype.clone(), b.device.clone()))
        .unwrap_or_default()
}

/// The server's end of a mount's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerEnd {
    pub(super) netns: Option<u64>,
    /// Whether the client's address is local to that namespace. nfsd checks this for a new
    /// connection before it exempts itself from throttling.
    pub(super) client_is_local: Option<bool>,
}

/// Whether transaction ids are matched.
pub(super) fn sees_xids(observation: &Observation) -> bool {
    let mut signals = observation.signals.iter();
    signals.any(|s| s.signal == RPC_XID && s.state != State::Unavailable)
}

/// Whether nfsd would take a new call at once. With stuck threads a call may wait for over a second
/// and then counts as not served here. That proves nothing about the server's location.
pub(super) fn takes_calls(observation: &Observation) -> bool {
    let Some(nfsd) = &observation.nfsd else {
        return true;
    };
    let idle = |state| matches!(state, ThreadState::Idle | ThreadState::Running);
    let stuck = observation.waits.iter().any(|w| w.class == Class::Nfsd)
        || nfsd.threads.iter().any(|t| !idle(t.state));
    let spare = nfsd.threads.iter().any(|t| t.state == ThreadState::Idle);
    !stuck && (spare || nfsd.threads.is_empty())
}

/// The RPC clients of the device: those that the kernel reported, or else those that send to the
/// mount's server, unless they may belong to another mount.
pub(crate) fn rpc_clients<'a, T>(
    bdi: &str,
    mount: Option<&NfsMount>,
    topology: &Topology,
    all: &'a [T],
    client: impl Fn(&T) -> &RpcClient,
) -> Vec<&'a T> {
    let learned: Vec<_> = all.iter().filter(|one| client(one).bdi == bdi).collect();
    let server = mount.and_then(|mount| Some((mount.server?, mount.netns)));
    let (Some((server, netns)), true) = (server, learned.is_empty()) else {
        return learned;
    };
    let elsewhere = |other: &NfsMount| {
        other.bdi != bdi
            && other.server.is_some_and(|address| same(address, server))
            && (other.netns.is_none() || other.netns != netns)
    };
    if topology.mounts.iter().any(elsewhere) {
        return learned;
    }
    let sends_there = |one: &&T| {
        let client = client(one);
        let mut transports = topology.transports.iter();
        client.bdi.is_empty() && transports.any(|t| t.client == client.id && same(t.server, server))
    };
    all.iter().filter(sends_there).collect()
}

fn connection<'a>(topology: &'a Topology, mount: &NfsMount) -> Option<&'a Connection> {
    let (server, netns) = (mount.server?, mount.netns?);
    let here = |c: &&Connection| c.client_netns == netns && same(c.server, server);
    topology.connections.iter().find(here)
}

/// Falls back to whether the server's own address is local to it.
fn local(told: Option<bool>, client: SocketAddr, server: SocketAddr) -> Option<bool> {
    told.or((ip(client) == ip(server)).then_some(true))
}

/// Dual-stack sockets show IPv4 addresses mapped into IPv6.
fn ip(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// Whether two addresses are the same.
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && ip(a) == ip(b)
}
