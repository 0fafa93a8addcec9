//! What a round has found.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use monitor_model::observation::{Connection, FarEnd, PeerSocket, Proof, ServerProcess};

use super::{CachedLookup, Connections, Met};
use crate::topology::{
    ends::End,
    owners::Owner,
    relay::{Known, Protocol, Role, Served},
    round::Round,
};

/// A server at an address that is not an NFS mount's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceServer {
    /// The process; `None`: it is the kernel.
    pub process: Option<ServerProcess>,
    /// How it was found.
    pub proof: Proof,
    /// The client's network namespace.
    pub client_netns: u64,
    /// The server's network namespace.
    pub server_netns: u64,
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
    /// The servers at other addresses, if each has exactly one.
    pub places: BTreeMap<SocketAddr, PlaceServer>,
    /// The other addresses to which each connection has its far end at no known process of this node.
    pub far_places: BTreeSet<SocketAddr>,
    /// The servers' processes that have no server's name.
    pub processes: Vec<ServerProcess>,
    /// NFS servers, by the client's namespace and their addresses there, and others for whom a search
    /// may still bring more.
    pub open_mounts: BTreeSet<(u64, SocketAddr)>,
    /// Other addresses of that kind.
    pub open_places: BTreeSet<SocketAddr>,
}

impl Connections {
    /// Sums up what is known of the clients' own ends.
    pub(super) fn found(
        &self,
        round: &Round<'_>,
        own: &BTreeSet<End>,
        targets: &BTreeMap<u64, BTreeSet<SocketAddr>>,
    ) -> Found {
        let mut found = Found::default();
        let peers = self.peers.values().filter_map(|s| s.found.clone());
        found.peers.extend(peers);
        let met = |(end, sight): (&End, _)| match sight {
            &CachedLookup {
                found: Some(Met::End(ref other)),
                ..
            } => Some((*end, other)),
            _ => None,
        };
        let known = Known {
            ends: self.ends.iter().filter_map(met).collect(),
            processes: &self.processes,
            nfsd: round.nfsd,
        };
        let mut places: BTreeMap<SocketAddr, Option<PlaceServer>> = BTreeMap::new();
        let mut near = BTreeSet::new();
        for end in own {
            let Some(sight) = self.ends.get(end) else {
                continue;
            };
            let of_mount = targets
                .get(&end.net)
                .is_some_and(|all| all.contains(&end.server));
            if of_mount {
                found.mount(end, &known, sight);
                if sight.is_unproven() {
                    found.open_mounts.insert((end.net, end.server));
                }
            }
            if self.places.contains_key(&end.server) {
                // What is only likely is on this node, too.
                if sight.found.is_some() {
                    near.insert(end.server);
                } else {
                    found.far_places.insert(end.server);
                }
                let server = match known.role(end, Protocol::Other) {
                    Role::Server(served) => Some(place_server(end, &served)),
                    Role::MayRelay(_) | Role::Unknown => None,
                };
                let one = places.entry(end.server).or_insert_with(|| server.clone());
                // Two servers, or one that is unknown.
                let same = |a: &PlaceServer, b: &PlaceServer| {
                    a.process == b.process && a.server_netns == b.server_netns
                };
                if !one
                    .as_ref()
                    .zip(server.as_ref())
                    .is_some_and(|(a, b)| same(a, b))
                {
                    *one = None;
                }
                if sight.is_unproven() {
                    found.open_places.insert(end.server);
                }
            }
        }
        found.far_places.retain(|address| !near.contains(address));
        let places = places.into_iter();
        found.places = places.filter_map(|(at, one)| Some((at, one?))).collect();
        found
    }
}

impl Found {
    /// Adds the connection of an NFS mount.
    fn mount(&mut self, end: &End, known: &Known<'_>, sight: &CachedLookup<Met>) {
        if let Some(Met::Likely(far_end)) = &sight.found {
            self.far_ends.push(far_end.clone());
            return;
        }
        match known.role(end, Protocol::Nfs) {
            Role::Server(served) => {
                if let (Some(tgid), Owner::Other(_)) = (served.tgid, &served.end.owner) {
                    self.processes.push(ServerProcess {
                        tgid,
                        name: served.name.clone(),
                        netns: Some(served.end.net),
                    });
                }
                self.connections.push(Connection {
                    client: end.client,
                    server: end.server,
                    client_netns: end.net,
                    server_netns: served.end.net,
                    client_is_local: served.end.client_is_local,
                    owner_tgid: served.tgid,
                    proof: served.proof,
                    relays: served.relays(),
                    owner: served.name,
                });
            }
            Role::MayRelay(process) => {
                let far_end = end.far_end(process.name.clone(), Some(process.tgid), false);
                self.far_ends.push(far_end);
            }
            Role::Unknown => {}
        }
    }
}

fn place_server(end: &End, served: &Served<'_>) -> PlaceServer {
    PlaceServer {
        process: served.tgid.map(|tgid| ServerProcess {
            tgid,
            name: served.name.clone(),
            netns: Some(served.end.net),
        }),
        proof: served.proof,
        client_netns: end.net,
        server_netns: served.end.net,
    }
}
