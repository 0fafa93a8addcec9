//! The search by what the streams carry, for ends that were not found by addresses.

use std::collections::BTreeSet;

use monitor_model::observation::Proof;

use super::{Connections, Met};
use crate::topology::{
    ends::{MAX_ENDS, unpaired},
    relay::Other,
    round::{Round, addresses},
    stream::{Sockets, Stream, Watched},
};

impl Connections {
    /// Searches for the ends that were not found by addresses, by what their streams carry. A client
    /// that moved little costs a question about its own socket.
    pub(super) fn streams(&mut self, round: &mut Round<'_>) {
        let open = self.ends.iter().filter(|(_, sight)| sight.is_unproven());
        let clients: Vec<_> = open.map(|(end, _)| end.stream()).take(MAX_ENDS).collect();
        let Some(clients) = self.watch(
            round,
            Sockets {
                clients,
                ..Sockets::default()
            },
        ) else {
            return;
        };
        let clients = clients.busy;
        if clients.is_empty() {
            return;
        }
        let Some(unpaired) = unpaired(round) else {
            return;
        };
        let is_rival = |stream: &Stream| !clients.contains(stream);
        let rivals = unpaired.connected.into_iter().filter(is_rival).collect();
        let sockets = Sockets {
            clients: clients.clone(),
            servers: unpaired.accepted,
            rivals,
        };
        let pairs = if sockets.servers.is_empty() {
            Vec::new()
        } else {
            let Some(watched) = self.watch(round, sockets) else {
                return;
            };
            watched.pairs
        };
        for (client, server) in pairs {
            let inodes = BTreeSet::from([server.inode]);
            let mut owners = self.owners.find(round.spaces, server.net, &inodes);
            let Some(owner) = owners.remove(&server.inode) else {
                continue;
            };
            let is_local = addresses(round, server.net).is_local(server.remote.ip());
            let mut ends = self.ends.iter_mut();
            if let Some((_, sight)) = ends.find(|(end, _)| end.stream() == client) {
                sight.found = Some(Met::End(Other {
                    net: server.net,
                    local: server.local,
                    client_is_local: is_local,
                    owner,
                    proof: Proof::Stream,
                }));
            }
        }
        for (end, sight) in &mut self.ends {
            if clients.contains(&end.stream()) {
                sight.watched += 1;
            }
        }
    }

    fn watch(&mut self, round: &mut Round<'_>, sockets: Sockets) -> Option<Watched> {
        if sockets.clients.is_empty() {
            return None;
        }
        self.watcher.watch(round.spaces, sockets, round.warnings)
    }
}
