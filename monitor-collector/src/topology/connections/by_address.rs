//! The search by addresses: the other end has the same two, or sees the client's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use monitor_model::observation::{PeerSocket, Proof};

use super::{Connections, Met, server_name, server_tgid};
use crate::topology::{
    ends::{End, MAX_ENDS, mirrors},
    relay::Other,
    round::{Round, addresses, each_socket},
    sockets::{State, canonical},
};

impl Connections {
    /// Searches for the unknown server ends by their addresses, each once in a round.
    pub(super) fn servers(&mut self, round: &mut Round<'_>, asked: &mut BTreeSet<End>) {
        let mut open = Vec::new();
        for (end, sight) in self.ends.iter_mut().filter(|(_, s)| s.is_open()) {
            if asked.insert(*end) {
                sight.tries += 1;
                open.push(*end);
            }
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
                    && let Some(sight) = self.ends.get_mut(end)
                    && let Some(owner) = owner
                {
                    sight.found = Some(Met::End(Other {
                        net,
                        local: socket.local,
                        client_is_local: is_local,
                        owner: owner.clone(),
                        proof: Proof::Socket,
                    }));
                }
                if let Some(end) = clients.get(&socket.remote)
                    && let Some(owner) = owner
                    && let Some(name) = server_name(owner, round.nfsd)
                    && let Some(sight) = self.ends.get_mut(end)
                    && sight.found.is_none()
                {
                    let far_end = end.far_end(name, server_tgid(owner), true);
                    sight.found = Some(Met::Likely(far_end));
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

    /// Clients whose server may be on this node under another address, by the possible network
    /// namespace. A server there sees the client's address, unless that is translated as well.
    fn translated(
        &mut self,
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
        self.server_nets.clone_from(&nets);
        if round.nfsd {
            nets.extend(&round.exporting);
        }
        nets.into_iter().map(|net| (net, away.clone())).collect()
    }
}
