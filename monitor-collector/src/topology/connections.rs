//! Connections with both ends on this node.

mod by_address;
mod by_stream;
mod found;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use compact_str::CompactString;
use monitor_model::observation::{FarEnd, NfsMount, PeerSocket, ServerProcess, Transport};

use super::{
    ends::{End, MAX_ENDS, clients, taker, targets},
    namespaces::Namespaces,
    owners::{Owner, Owners, Process},
    relay::{MAX_HOPS, Other, ProcessSockets},
    round::{Round, addresses},
    sockets::Socket,
    watcher::Watcher,
};

pub use self::found::{Found, PlaceServer};

/// Rounds of search for a server's end, before it counts as on another host.
const TRIES: u8 = 3;
/// Rounds until the next search for it.
const FORGET_ROUNDS: u8 = 10;
/// Maximum number of processes at other ends that are not servers by name.
const MAX_PROCESSES: usize = 64;

/// The result for a client's end or a peer, and the number of searches. A search is expensive: it
/// reads the sockets of all network namespaces.
#[derive(Clone, Debug)]
struct CachedLookup<T> {
    /// Searches by addresses.
    tries: u8,
    /// Searches by what the stream carries.
    watched: u8,
    found: Option<T>,
}

impl<T> Default for CachedLookup<T> {
    fn default() -> Self {
        Self {
            tries: 0,
            watched: 0,
            found: None,
        }
    }
}

impl<T> CachedLookup<T> {
    fn is_open(&self) -> bool {
        self.found.is_none() && self.tries < TRIES
    }
}

impl CachedLookup<Met> {
    /// Whether the stream's other end is worth a search.
    fn is_unproven(&self) -> bool {
        !matches!(self.found, Some(Met::End(_))) && self.watched < TRIES
    }
}

/// The other end of a client's connection.
#[derive(Clone, Debug)]
enum Met {
    End(Other),
    /// By the client's address, and without proof.
    Likely(FarEnd),
}

/// The clients' namespaces of such an address.
#[derive(Clone, Debug, Default)]
struct Place {
    nets: BTreeSet<u64>,
    tries: u8,
}

/// Finds connections and caches them while they last.
pub struct Connections {
    owners: Owners,
    ends: BTreeMap<End, CachedLookup<Met>>,
    peers: BTreeMap<SocketAddr, CachedLookup<PeerSocket>>,
    places: BTreeMap<SocketAddr, Place>,
    processes: BTreeMap<(u64, u32), Option<ProcessSockets>>,
    watcher: Watcher,
    /// The network namespaces in which a process with a server's name was seen last.
    server_nets: BTreeSet<u64>,
    rounds: u8,
}

impl Connections {
    /// An empty cache, with the names of NFS servers' processes.
    pub fn new(servers: &[String]) -> Self {
        Self {
            owners: Owners::new(servers),
            ends: BTreeMap::new(),
            peers: BTreeMap::new(),
            places: BTreeMap::new(),
            processes: BTreeMap::new(),
            watcher: Watcher::default(),
            server_nets: BTreeSet::new(),
            rounds: 0,
        }
    }

    /// Uses these names of NFS servers' processes.
    pub fn set_servers(&mut self, names: &[String]) {
        self.owners.set_servers(names);
    }

    /// Finds the connections, and the listeners in the clients' namespaces. `places` are the
    /// addresses of servers other than NFS mounts'.
    pub fn read(
        &mut self,
        round: &mut Round<'_>,
        mounts: &mut [NfsMount],
        transports: &[Transport],
        peers: &BTreeSet<SocketAddr>,
        places: &BTreeSet<SocketAddr>,
    ) -> Found {
        self.forget();
        let mut before = std::mem::take(&mut self.ends);
        let targets = targets(mounts, transports);
        let mut nets = targets.clone();
        self.place_targets(round, places, &mut nets);
        for (net, servers) in nets {
            let (ends, listeners) = clients(round, net, &servers);
            for end in ends {
                if let Some(place) = self.places.get_mut(&end.server) {
                    place.nets.insert(net);
                }
                let sight = before.remove(&end).unwrap_or_default();
                self.ends.insert(end, sight);
            }
            if targets.contains_key(&net) {
                self.listeners(round, net, mounts, &listeners);
            }
        }
        self.peers.retain(|peer, _| peers.contains(peer));
        for peer in peers.iter().take(MAX_ENDS) {
            self.peers.entry(*peer).or_default();
        }
        let own: BTreeSet<_> = self.ends.keys().copied().collect();
        let mut asked = BTreeSet::new();
        self.processes.clear();
        for _ in 0..=MAX_HOPS {
            self.servers(round, &mut asked);
            self.streams(round);
            if !self.hops(round, &mut before) {
                break;
            }
        }
        self.owners.forget_unasked();
        self.found(round, &own, &targets)
    }

    /// The userspace server processes found so far.
    pub fn server_processes(&mut self, spaces: &Namespaces) -> Vec<ServerProcess> {
        self.owners.server_processes(spaces)
    }

    /// The network namespaces in which a process with a server's name lives, as far as the search for
    /// the clients' other ends met one.
    pub const fn server_nets(&self) -> &BTreeSet<u64> {
        &self.server_nets
    }

    /// The CPU time of other threads since the last call.
    pub fn take_computed(&mut self) -> std::time::Duration {
        self.watcher.take_computed()
    }

    fn forget(&mut self) {
        self.rounds += 1;
        if self.rounds == FORGET_ROUNDS {
            self.rounds = 0;
            let is_end = |sight: &CachedLookup<Met>| matches!(sight.found, Some(Met::End(_)));
            self.ends.retain(|_, sight| is_end(sight));
            self.peers.retain(|_, sight| sight.found.is_some());
            self.places.retain(|_, place| !place.nets.is_empty());
            self.owners.forget_unknown();
        }
    }

    /// Adds the addresses of other servers: to the namespaces in which they have clients, or to all
    /// while none is known.
    fn place_targets(
        &mut self,
        round: &Round<'_>,
        places: &BTreeSet<SocketAddr>,
        nets: &mut BTreeMap<u64, BTreeSet<SocketAddr>>,
    ) {
        self.places.retain(|address, _| places.contains(address));
        for address in places.iter().take(MAX_ENDS) {
            let place = self.places.entry(*address).or_default();
            if place.nets.is_empty() && place.tries < TRIES {
                place.tries += 1;
                for net in round.spaces.nets.keys() {
                    nets.entry(*net).or_default().insert(*address);
                }
            }
            for net in &place.nets {
                nets.entry(*net).or_default().insert(*address);
            }
        }
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

    /// Reads the sockets of the processes at other ends that are no servers by name, and adds the
    /// connections that they made. Returns whether there are new ones.
    fn hops(
        &mut self,
        round: &mut Round<'_>,
        before: &mut BTreeMap<End, CachedLookup<Met>>,
    ) -> bool {
        let mut processes: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        for sight in self.ends.values_mut() {
            let Some(Met::End(other)) = &sight.found else {
                continue;
            };
            if let Owner::Other(Process { tgid, .. }) = &other.owner {
                if other.owner.holds(round.spaces) {
                    let ports = processes.entry((other.net, *tgid)).or_default();
                    ports.insert(other.local.port());
                } else {
                    // It executes another program, or has ended.
                    *sight = CachedLookup::default();
                }
            }
        }
        let mut is_new = false;
        for (key, served) in processes {
            if self.processes.contains_key(&key) || self.processes.len() == MAX_PROCESSES {
                continue;
            }
            let sockets = ProcessSockets::read(round, key.0, key.1, &served);
            for end in sockets.iter().flat_map(|sockets| &sockets.connected) {
                if self.ends.len() < MAX_ENDS && !self.ends.contains_key(end) {
                    is_new = true;
                    let sight = before.remove(end).unwrap_or_default();
                    self.ends.insert(*end, sight);
                }
            }
            self.processes.insert(key, sockets);
        }
        is_new
    }
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
