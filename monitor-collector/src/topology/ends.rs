//! The ends of connections in the socket tables of all network namespaces, by their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use compact_str::CompactString;
use monitor_model::observation::{FarEnd, NfsMount, Transport};

use super::{
    round::{Round, addresses, each_socket},
    sockets::{Socket, State},
    stream::Stream,
};

/// Maximum number of clients' ends, and of listeners.
pub const MAX_ENDS: usize = 4096;
/// Maximum number of sockets without a counterpart to compare, over all namespaces.
const MAX_STREAMS: usize = 16_384;

/// A client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Its network namespace.
    pub net: u64,
    /// Its own address.
    pub client: SocketAddr,
    /// The server's address, as it sees it.
    pub server: SocketAddr,
    /// The inode of its socket.
    pub inode: u64,
}

impl End {
    /// A process at the other end.
    pub fn far_end(&self, name: CompactString, tgid: Option<u32>, translated: bool) -> FarEnd {
        FarEnd {
            client: self.client,
            server: self.server,
            client_netns: self.net,
            name,
            tgid,
            translated,
        }
    }

    /// Its socket.
    pub const fn stream(&self) -> Stream {
        Stream {
            net: self.net,
            local: self.client,
            remote: self.server,
            inode: self.inode,
        }
    }

    /// The end of a connection that a socket has made.
    pub const fn of(net: u64, socket: &Socket) -> Self {
        Self {
            net,
            client: socket.local,
            server: socket.remote,
            inode: socket.inode,
        }
    }
}

/// Servers' addresses by the network namespace of their clients. A transport does not show its
/// namespace, so it counts for all of them: a trunk of a mount has the mount's port.
pub fn targets(
    mounts: &[NfsMount],
    transports: &[Transport],
) -> BTreeMap<u64, BTreeSet<SocketAddr>> {
    let mut targets: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for mount in mounts {
        if let (Some(net), Some(server)) = (mount.netns, mount.server) {
            targets.entry(net).or_default().insert(server);
        }
    }
    for servers in targets.values_mut() {
        let ports: BTreeSet<_> = servers.iter().map(SocketAddr::port).collect();
        let trunks = transports.iter().map(|transport| transport.server);
        servers.extend(trunks.filter(|server| ports.contains(&server.port())));
    }
    targets
}

/// Clients' ends towards these servers, and the listeners on their ports.
pub fn clients(
    round: &mut Round<'_>,
    net: u64,
    servers: &BTreeSet<SocketAddr>,
) -> (Vec<End>, Vec<Socket>) {
    let ports: BTreeSet<_> = servers.iter().map(SocketAddr::port).collect();
    let (mut ends, mut listeners) = (Vec::new(), Vec::new());
    let mut full = false;
    each_socket(round, net, |socket| match socket.state {
        State::Established if servers.contains(&socket.remote) => {
            full |= ends.len() == MAX_ENDS;
            if !full {
                ends.push(End::of(net, &socket));
            }
        }
        State::Listen if ports.contains(&socket.local.port()) && listeners.len() < MAX_ENDS => {
            listeners.push(socket);
        }
        _ => {}
    });
    if full {
        round.warnings.note(&format_args!(
            "Only {MAX_ENDS} connections to servers are read in network namespace {net}."
        ));
    }
    (ends, listeners)
}

/// The possible other ends, by namespace and in the form of their sockets. Only a local server
/// address qualifies.
pub fn mirrors(
    round: &mut Round<'_>,
    ends: &[End],
) -> BTreeMap<u64, BTreeMap<(SocketAddr, SocketAddr), End>> {
    let mut nets: BTreeMap<u64, BTreeMap<_, _>> = BTreeMap::new();
    if ends.is_empty() {
        return nets;
    }
    for &net in round.spaces.nets.keys() {
        let local = addresses(round, net);
        for end in ends {
            let reaches = end.net == net || !end.server.ip().is_loopback();
            if reaches && local.contains(end.server.ip()) {
                let mirrors = nets.entry(net).or_default();
                mirrors.insert((end.server, end.client), *end);
            }
        }
    }
    nets
}

/// The listener for an address: on the address itself, else on any of its family, else on any.
pub fn taker(listeners: &[Socket], server: SocketAddr) -> Option<&Socket> {
    let rank = |socket: &Socket| match socket.local.ip() {
        ip if ip == server.ip() => Some(0),
        ip if !ip.is_unspecified() => None,
        IpAddr::V4(_) => server.is_ipv4().then_some(1),
        IpAddr::V6(_) => Some(2),
    };
    listeners
        .iter()
        .filter(|socket| socket.local.port() == server.port())
        .filter_map(|socket| Some((rank(socket)?, socket)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, socket)| socket)
}

/// The sockets of this node whose other end has other addresses, or is on another host.
#[derive(Debug, Default)]
pub struct Unpaired {
    /// Those that a listener accepted, from an address of this node.
    pub accepted: Vec<Stream>,
    /// Those that connected.
    pub connected: Vec<Stream>,
}

/// Reads the sockets of all namespaces. `None`: there are too many to compare.
pub fn unpaired(round: &mut Round<'_>) -> Option<Unpaired> {
    // With whether a listener accepted it.
    let mut all: Vec<(Stream, bool)> = Vec::new();
    let mut nodes = Vec::new();
    let nets: Vec<_> = round.spaces.nets.keys().copied().collect();
    for net in nets {
        let mut listeners = Vec::new();
        let begin = all.len();
        let mut full = false;
        each_socket(round, net, |socket| {
            full |= all.len() == MAX_STREAMS || listeners.len() == MAX_ENDS;
            match socket.state {
                _ if full => {}
                State::Listen => listeners.push(socket),
                State::Established => all.push((End::of(net, &socket).stream(), false)),
            }
        });
        if full {
            round.warnings.note(&format_args!(
                "This node has over {MAX_STREAMS} connections: a server behind a translated address is not found."
            ));
            return None;
        }
        for (stream, accepted) in all.iter_mut().skip(begin) {
            *accepted = taker(&listeners, stream.local).is_some();
        }
        nodes.push(addresses(round, net));
    }
    all.sort_unstable_by_key(|(stream, _)| (stream.local, stream.remote));
    let mut unpaired = Unpaired::default();
    for (stream, accepted) in &all {
        // Zero: it is not accepted yet, or already closed.
        if stream.inode == 0 || is_paired(&all, stream) {
            continue;
        }
        if !accepted {
            unpaired.connected.push(*stream);
        } else if nodes.iter().any(|node| node.contains(stream.remote.ip())) {
            unpaired.accepted.push(*stream);
        }
    }
    Some(unpaired)
}

/// Whether the other end has the same addresses.
fn is_paired(all: &[(Stream, bool)], stream: &Stream) -> bool {
    let key = (stream.remote, stream.local);
    let at = all.partition_point(|(other, _)| (other.local, other.remote) < key);
    let mut same = all.iter().skip(at);
    let is_reached = |other: &Stream| other.net == stream.net || !stream.remote.ip().is_loopback();
    same.by_ref()
        .take_while(|(other, _)| (other.local, other.remote) == key)
        .any(|(other, _)| is_reached(other))
}
