//! Connections with both ends on this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use compact_str::CompactString;
use monitor_model::observation::{
    Connection, FarEnd, NfsMount, PeerSocket, Proof, ServerProcess, Transport,
};

use super::{
    addresses::Addresses,
    mounts::not_all,
    namespaces::Namespaces,
    owners::{Owner, Owners, Process},
    sockets::{Socket, State, canonical},
    warnings::LookupWarnings,
};

/// Maximum number of lines of one socket table.
const MAX_SOCKETS: usize = 131_072;
/// Maximum number of lines of a namespace's addresses.
const MAX_ADDRESSES: usize = 65_536;
/// Maximum number of clients' ends, and of listeners.
const MAX_ENDS: usize = 4096;
/// Rounds of search for a server's end, before it counts as on another host.
const TRIES: u8 = 3;
/// Rounds until the next search for it.
const FORGET_ROUNDS: u8 = 10;

/// A client's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    net: u64,
    client: SocketAddr,
    server: SocketAddr,
    inode: u64,
}

/// The result for a client's end or a peer, and the number of searches. A search is expensive: it
/// reads the sockets of all network namespaces.
#[derive(Clone, Debug)]
struct CachedLookup<T> {
    tries: u8,
    found: Option<T>,
}

impl<T> Default for CachedLookup<T> {
    fn default() -> Self {
        Self {
            tries: 0,
            found: None,
        }
    }
}

impl<T> CachedLookup<T> {
    fn is_open(&self) -> bool {
        self.found.is_none() && self.tries < TRIES
    }
}

/// The other end of a client's connection.
#[derive(Clone, Debug)]
enum Met {
    Server(Connection),
    Other(FarEnd),
}

/// The results of one round.
#[derive(Debug, Default)]
pub struct Found {
    /// Connections to servers.
    pub connections: Vec<Connection>,
    /// Other owners of the far ends.
    pub far_ends: Vec<FarEnd>,
    /// The sockets of the server's peers.
    pub peers: Vec<PeerSocket>,
}

/// Finds connections and caches them while they last.
pub struct Connections {
    owners: Owners,
    ends: BTreeMap<End, CachedLookup<Met>>,
    peers: BTreeMap<SocketAddr, CachedLookup<PeerSocket>>,
    rounds: u8,
}

/// The inputs of one round.
pub struct Round<'a> {
    /// The processes of each namespace.
    pub spaces: &'a Namespaces,
    /// Whether the kernel's server may run, so that a socket without a process may be its own.
    pub nfsd: bool,
    /// Network namespaces in which it has exports: without an export it serves no client.
    pub exporting: BTreeSet<u64>,
    /// The facts that could not be read.
    pub warnings: &'a mut LookupWarnings,
}

impl Connections {
    /// An empty cache, with the names of NFS servers' processes.
    pub fn new(servers: &[String]) -> Self {
        Self {
            owners: Owners::new(servers),
            ends: BTreeMap::new(),
            peers: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Finds the connections, and the listeners in the clients' namespaces.
    pub fn read(
        &mut self,
        round: &mut Round<'_>,
        mounts: &mut [NfsMount],
        transports: &[Transport],
        peers: &BTreeSet<SocketAddr>,
    ) -> Found {
        self.rounds += 1;
        if self.rounds == FORGET_ROUNDS {
            self.rounds = 0;
            self.ends.retain(|_, sight| sight.found.is_some());
            self.peers.retain(|_, sight| sight.found.is_some());
            self.owners.forget_unknown();
        }
        let mut before = std::mem::take(&mut self.ends);
        for (net, servers) in targets(mounts, transports) {
            let (ends, listeners) = clients(round, net, &servers);
            for end in ends {
                let sight = before.remove(&end).unwrap_or_default();
                self.ends.insert(end, sight);
            }
            self.listeners(round, net, mounts, &listeners);
        }
        self.peers.retain(|peer, _| peers.contains(peer));
        for peer in peers.iter().take(MAX_ENDS) {
            self.peers.entry(*peer).or_default();
        }
        self.servers(round);
        self.owners.forget_unasked();
        let mut found = Found::default();
        for met in self.ends.values().filter_map(|s| s.found.clone()) {
            match met {
                Met::Server(connection) => found.connections.push(connection),
                Met::Other(far_end) => found.far_ends.push(far_end),
            }
        }
        let peers = self.peers.values().filter_map(|s| s.found.clone());
        found.peers.extend(peers);
        found
    }

    /// The userspace server processes found so far.
    pub fn server_processes(&mut self, spaces: &Namespaces) -> Vec<ServerProcess> {
        self.owners.server_processes(spaces)
    }

    /// Fills in the listener at a mount's server address, if that belongs to the client's
    /// namespace.
    fn listeners(
        &mut self,
        round: &mut Round<'_>,
        net: u64,
        mounts: &mut [NfsMount],
        listeners: &[Socket],
    ) {
        if listeners.is_empty() {
            return;
        }
        let local = addresses(round, net);
        let inodes = listeners.iter().map(|socket| socket.inode).collect();
        let owners = self.owners.find(round.spaces, net, &inodes);
        for mount in mounts.iter_mut().filter(|m| m.netns == Some(net)) {
            let server = mount.server.filter(|server| local.contains(server.ip()));
            let taker = server.and_then(|server| taker(listeners, server));
            let owner = taker.and_then(|socket| owners.get(&socket.inode));
            mount.listener = owner.and_then(|owner| server_name(owner, round.nfsd));
            mount.listener_tgid = owner.and_then(server_tgid);
        }
    }

    /// Searches for the unknown server ends.
    fn servers(&mut self, round: &mut Round<'_>) {
        let mut open = Vec::new();
        for (end, sight) in self.ends.iter_mut().filter(|(_, s)| s.is_open()) {
            sight.tries += 1;
            open.push(*end);
        }
        let mut nets = mirrors(round, &open);
        let mut translated = self.translated(round, &open, &nets);
        let mut peers: BTreeMap<_, _> = BTreeMap::new();
        for (peer, sight) in self.peers.iter_mut().filter(|(_, s)| s.is_open()) {
            sight.tries += 1;
            peers.insert(canonical(*peer), *peer);
        }
        for &net in round.spaces.nets.keys() {
            let mirrors = nets.remove(&net).unwrap_or_default();
            let peers_here = !peers.is_empty() && round.exporting.contains(&net);
            let clients = translated.remove(&net).unwrap_or_default();
            if mirrors.is_empty() && !peers_here && clients.is_empty() {
                continue;
            }
            let mut found = Vec::new();
            each_socket(round, net, |socket| {
                let is_one = mirrors.contains_key(&(socket.local, socket.remote))
                    || clients.contains_key(&socket.remote)
                    || peers_here && peers.contains_key(&socket.remote);
                if is_one && socket.state == State::Established && found.len() < MAX_ENDS {
                    found.push(socket);
                }
            });
            if found.is_empty() {
                continue;
            }
            let inodes = found.iter().map(|socket| socket.inode).collect();
            let owners = self.owners.find(round.spaces, net, &inodes);
            let local = addresses(round, net);
            for socket in found {
                let owner = owners.get(&socket.inode);
                let is_local = local.is_local(socket.remote.ip());
                if let Some(end) = mirrors.get(&(socket.local, socket.remote))
                    && let Some(owner) = owner
                {
                    self.met(*end, net, is_local, owner, round.nfsd);
                }
                if let Some(end) = clients.get(&socket.remote)
                    && let Some(owner) = owner
                    && let Some(name) = server_name(owner, round.nfsd)
                    && let Some(sight) = self.ends.get_mut(end)
                {
                    let far_end = end.far_end(name, server_tgid(owner), true);
                    sight.found = Some(Met::Other(far_end));
                }
                // The kernel's server saw this peer, so a socket of unknown owner is probably its
                // own.
                if peers_here
                    && owner.is_none_or(|owner| server_name(owner, round.nfsd).is_some())
                    && let Some(peer) = peers.remove(&socket.remote)
                    && let Some(sight) = self.peers.get_mut(&peer)
                {
                    sight.found = Some(PeerSocket {
                        peer,
                        server: socket.local,
                        netns: net,
                        peer_is_local: is_local,
                    });
                }
            }
        }
    }

    /// Records the other end of a client's connection: a server's, or a tunnel's.
    fn met(
        &mut self,
        end: End,
        net: u64,
        client_is_local: Option<bool>,
        owner: &Owner,
        nfsd: bool,
    ) {
        let Some(sight) = self.ends.get_mut(&end) else {
            return;
        };
        sight.tries = TRIES;
        let server = server_name(owner, nfsd).map(|name| {
            Met::Server(Connection {
                client: end.client,
                server: end.server,
                client_netns: end.net,
                server_netns: net,
                owner: name,
                client_is_local,
                owner_tgid: server_tgid(owner),
                proof: Proof::Socket,
                relays: Vec::new(),
            })
        });
        sight.found = server.or_else(|| match owner {
            Owner::Other(Process { name, tgid }) => {
                let far_end = end.far_end(name.clone(), Some(*tgid), false);
                Some(Met::Other(far_end))
            }
            _ => None,
        });
    }

    /// Clients whose server may be on this node under another address, by the possible network
    /// namespace. A server there sees the client's address, unless that is translated as well.
    fn translated(
        &self,
        round: &Round<'_>,
        ends: &[End],
        mirrors: &BTreeMap<u64, BTreeMap<(SocketAddr, SocketAddr), End>>,
    ) -> BTreeMap<u64, BTreeMap<SocketAddr, End>> {
        let here: BTreeSet<&End> = mirrors.values().flat_map(BTreeMap::values).collect();
        let away = ends
            .iter()
            .filter(|end| !here.contains(end) && !end.client.ip().is_loopback());
        let away: BTreeMap<_, _> = away.map(|end| (end.client, *end)).collect();
        if away.is_empty() {
            return BTreeMap::new();
        }
        let mut nets = self.owners.nets_of_servers(round.spaces);
        if round.nfsd {
            nets.extend(&round.exporting);
        }
        nets.into_iter().map(|net| (net, away.clone())).collect()
    }
}

impl End {
    fn far_end(&self, name: CompactString, tgid: Option<u32>, translated: bool) -> FarEnd {
        FarEnd {
            client: self.client,
            server: self.server,
            client_netns: self.net,
            name,
            tgid,
            translated,
        }
    }
}

/// Servers' addresses by the network namespace of their clients. A transport does not show its
/// namespace, so it counts for all of them: a trunk of a mount has the mount's port.
fn targets(mounts: &[NfsMount], transports: &[Transport]) -> BTreeMap<u64, BTreeSet<SocketAddr>> {
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
fn clients(
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
                ends.push(End {
                    net,
                    client: socket.local,
                    server: socket.remote,
                    inode: socket.inode,
                });
            }
        }
        State::Listen if ports.contains(&socket.local.port()) && listeners.len() < MAX_ENDS => {
            listeners.push(socket);
        }
        _ => {}
    });
    if full {
        round.warnings.note(&format_args!(
            "Only {MAX_ENDS} connections to NFS servers are read in network namespace {net}."
        ));
    }
    (ends, listeners)
}

/// The possible other ends, by namespace and in the form of their sockets. Only a local server
/// address qualifies.
fn mirrors(
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
fn taker(listeners: &[Socket], server: SocketAddr) -> Option<&Socket> {
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

/// `None`: not an NFS server.
fn server_name(owner: &Owner, nfsd: bool) -> Option<CompactString> {
    match owner {
        Owner::Kernel => nfsd.then(|| "nfsd".into()),
        Owner::Server(process) => Some(process.name.clone()),
        Owner::Other(_) => None,
    }
}

const fn server_tgid(owner: &Owner) -> Option<u32> {
    match owner {
        Owner::Server(process) => Some(process.tgid),
        Owner::Kernel | Owner::Other(_) => None,
    }
}

fn addresses(round: &mut Round<'_>, net: u64) -> Addresses {
    let mut addresses = Addresses::default();
    let pids = round.spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
    let v4 = round
        .spaces
        .lines(pids, "net/fib_trie", MAX_ADDRESSES, |line| {
            addresses.fib_trie(line);
        });
    not_all(
        v4,
        round.warnings,
        &format_args!("the routes of network namespace {net}"),
    );
    let v6 = round
        .spaces
        .lines(pids, "net/if_inet6", MAX_ADDRESSES, |line| {
            addresses.if_inet6(line);
        });
    not_all(
        v6,
        round.warnings,
        &format_args!("the addresses of network namespace {net}"),
    );
    addresses
}

fn each_socket(round: &mut Round<'_>, net: u64, mut each: impl FnMut(Socket)) {
    let pids = round.spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
    for file in ["net/tcp", "net/tcp6"] {
        let read = round.spaces.lines(pids, file, MAX_SOCKETS, |line| {
            if let Some(socket) = Socket::parse(line) {
                each(socket);
            }
        });
        not_all(
            read,
            round.warnings,
            &format_args!("the sockets of network namespace {net}"),
        );
    }
}
