//! Who serves at the other end of a connection: a server, or a process that relays the bytes to one
//! over a connection of its own (stunnel, socat).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use compact_str::CompactString;
use monitor_model::observation::{Proof, ServerKind, ServerRef};

use super::{
    ends::{End, taker},
    owners::{Owner, Process, sockets_of},
    round::{Round, each_socket_now},
    sockets::State,
};

/// Relays in a row.
pub const MAX_HOPS: usize = 3;
/// The port of NFS servers.
const NFS: u16 = 2049;
/// Maximum number of connections that one process made, and of those over which it may relay.
const MAX_CONNECTED: usize = 1024;
const MAX_ONWARD: usize = 64;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its network namespace.
    pub net: u64,
    /// Its own address.
    pub local: SocketAddr,
    /// Whether the client's address, as it sees that, is local to its namespace.
    pub client_is_local: Option<bool>,
    /// Its owner.
    pub owner: Owner,
    /// How it was found.
    pub proof: Proof,
}

/// The TCP sockets of a process that is not a server by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSockets {
    /// The ports on which it listens.
    pub listens: BTreeSet<u16>,
    /// The connections that it made.
    pub connected: Vec<End>,
}

impl ProcessSockets {
    /// Reads them. What has one of the `served` ports was accepted, even if nobody listens any more.
    /// `None`: they are not all visible.
    pub fn read(
        round: &mut Round<'_>,
        net: u64,
        tgid: u32,
        served: &BTreeSet<u16>,
    ) -> Option<Self> {
        let inodes = sockets_of(round.spaces, tgid)?;
        let (mut listeners, mut own) = (Vec::new(), Self::default());
        // Not those that were kept: a process whose sockets are newer would lack connections.
        each_socket_now(round, net, |socket| match socket.state {
            State::Listen => {
                if inodes.contains(&socket.inode) {
                    own.listens.insert(socket.local.port());
                }
                listeners.push(socket);
            }
            State::Established if inodes.contains(&socket.inode) => {
                own.connected.push(End::of(net, &socket));
            }
            State::Established => {}
        });
        own.connected.retain(|end| {
            !served.contains(&end.client.port()) && taker(&listeners, end.client).is_none()
        });
        (own.connected.len() <= MAX_CONNECTED).then_some(own)
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NFS: the kernel's server is nfsd, and others have names. A process that may relay is no
    /// server.
    Nfs,
    /// Another one, whose servers keep other connections: a directory, a storage cluster.
    Other,
}

/// Everything known about the ends of this node's connections.
pub struct Known<'a> {
    /// The other ends that were found.
    pub ends: BTreeMap<End, &'a Other>,
    /// The processes at other ends, by namespace and process id.
    pub processes: &'a BTreeMap<(u64, u32), Option<ProcessSockets>>,
    /// Whether the kernel's server may run.
    pub nfsd: bool,
}

/// Who is at the other end of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// A server.
    Server(Served<'a>),
    /// A process that may relay to another host.
    MayRelay(&'a Process),
    /// Nobody who serves.
    Unknown,
}

/// A server, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served<'a> {
    /// Its end of the last connection.
    pub end: &'a Other,
    /// Its name; empty: it is the kernel, and not nfsd.
    pub name: CompactString,
    /// Its process; `None`: it is the kernel.
    pub tgid: Option<u32>,
    /// The weakest of the proofs on the way.
    pub proof: Proof,
    /// The processes on the way.
    pub relays: Vec<&'a Process>,
}

impl Served<'_> {
    fn is(&self, other: &Self) -> bool {
        (self.end.net, &self.name, self.tgid) == (other.end.net, &other.name, other.tgid)
    }

    /// The relays, as the model has them.
    pub fn relays(&self) -> Vec<ServerRef> {
        let relay = |process: &&Process| ServerRef {
            name: process.name.clone(),
            tgid: Some(process.tgid),
            kind: ServerKind::Process,
        };
        self.relays.iter().map(relay).collect()
    }
}

impl<'a> Known<'a> {
    /// Who is at the other end of this connection.
    pub fn role(&self, end: &End, protocol: Protocol) -> Role<'a> {
        self.after(end, protocol, MAX_HOPS)
    }

    fn after(&self, end: &End, protocol: Protocol, hops: usize) -> Role<'a> {
        let Some(other) = self.ends.get(end).copied() else {
            return Role::Unknown;
        };
        let server = |name: CompactString, tgid| {
            Role::Server(Served {
                end: other,
                name,
                tgid,
                proof: other.proof,
                relays: Vec::new(),
            })
        };
        match (&other.owner, protocol) {
            (Owner::Kernel, Protocol::Nfs) if !self.nfsd => Role::Unknown,
            (Owner::Kernel, Protocol::Nfs) => server("nfsd".into(), None),
            (Owner::Kernel, Protocol::Other) => server(CompactString::default(), None),
            (Owner::Server(process), _) => server(process.name.clone(), Some(process.tgid)),
            (Owner::Other(process), _) => {
                let sockets = self.processes.get(&(other.net, process.tgid));
                let Some(sockets) = sockets.and_then(Option::as_ref) else {
                    return Role::MayRelay(process);
                };
                let as_server = || server(process.name.clone(), Some(process.tgid));
                let onward = self.onward(end, other, sockets, protocol);
                match (protocol, onward.is_empty()) {
                    (Protocol::Other, true) => as_server(),
                    // It answers calls without anybody whom it could ask. A relay whose server is gone
                    // has no connection either, so the bytes must have been seen to move.
                    (Protocol::Nfs, true)
                        if other.proof == Proof::Stream
                            && sockets.connected.is_empty()
                            && sockets.listens.contains(&other.local.port()) =>
                    {
                        as_server()
                    }
                    (Protocol::Nfs, true) => Role::MayRelay(process),
                    (_, false) => self.relayed(process, other, &onward, protocol, hops),
                }
            }
        }
    }

    /// The connections of a process over which it may pass on what comes over this one.
    fn onward<'s>(
        &self,
        end: &End,
        other: &Other,
        sockets: &'s ProcessSockets,
        protocol: Protocol,
    ) -> Vec<&'s End> {
        let ports = [end.server.port(), other.local.port()];
        let is_nfs = protocol == Protocol::Nfs;
        let leads = |next: &&End| {
            let port = next.server.port();
            let is_server = || {
                let owner = self.ends.get(next).map(|other| &other.owner);
                owner.is_some_and(|owner| match owner {
                    Owner::Kernel => self.nfsd,
                    Owner::Server(_) => true,
                    Owner::Other(_) => false,
                })
            };
            ports.contains(&port) || is_nfs && (port == NFS || is_server())
        };
        sockets.connected.iter().filter(leads).collect()
    }

    /// The server behind a relay, if all its connections lead to that one.
    fn relayed(
        &self,
        process: &'a Process,
        other: &Other,
        onward: &[&End],
        protocol: Protocol,
        hops: usize,
    ) -> Role<'a> {
        let mut to: Option<Served<'a>> = None;
        if onward.len() > MAX_ONWARD {
            return Role::MayRelay(process);
        }
        for next in onward {
            let Some(left) = hops.checked_sub(1) else {
                return Role::MayRelay(process);
            };
            let Role::Server(served) = self.after(next, protocol, left) else {
                return Role::MayRelay(process);
            };
            if to.as_ref().is_some_and(|one| !one.is(&served)) {
                return Role::MayRelay(process);
            }
            to = Some(served);
        }
        to.map_or(Role::MayRelay(process), |mut served| {
            served.proof = served.proof.min(other.proof);
            served.relays.insert(0, process);
            Role::Server(served)
        })
    }
}
