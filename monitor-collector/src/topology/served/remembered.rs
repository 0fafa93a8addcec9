//! Servers that earlier rounds found, kept as long as what they rest on is still so.
//!
//! To check that takes a few reads, to find a server those of all processes and sockets. A server
//! is forgotten with the first fact that does not hold or cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::tables::{self, Connected};
use crate::topology::fds::link;
use crate::topology::identity::Identity;
use crate::topology::namespaces::Namespaces;
use crate::topology::sockets::Socket;

/// Searches for the same devices, one in each round, before they become rarer.
const TRIES: u8 = 3;
/// Maximum number of rounds between two searches.
const MAX_PAUSE: u8 = 32;

/// What a server rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A process has a file open.
    Open(OpenFile),
    /// The kernel's socket of this network namespace is connected to that address.
    Tcp(u64, Socket),
    /// The kernel's unix socket of this network namespace is connected.
    Unix(u64, u64),
}

/// An open file of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    process: Identity,
    fd: u32,
    link: CompactString,
}

/// The servers of one kind of devices. A device is connected anew under another key.
#[derive(Debug)]
pub struct Remembered<K, V> {
    known: BTreeMap<K, (V, Vec<Fact>)>,
    /// The devices without a server, each with what may change where to search.
    open: Vec<(K, u32)>,
    tries: u8,
    pause: u8,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            open: Vec::new(),
            tries: 0,
            pause: 0,
        }
    }
}

impl Fact {
    /// The network namespace and the inode of the kernel's socket.
    const fn socket(&self) -> Option<(u64, u64)> {
        match self {
            Self::Open(_) => None,
            Self::Tcp(net, socket) => Some((*net, socket.inode)),
            Self::Unix(net, inode) => Some((*net, *inode)),
        }
    }
}

impl OpenFile {
    /// A file that a process was seen to have open; `None`: it has no more.
    pub fn read(spaces: &Namespaces, tgid: u32, fd: u32) -> Option<Self> {
        Some(Self {
            process: Identity::read(spaces, tgid)?,
            fd,
            link: link(&spaces.process(tgid), fd)?,
        })
    }

    fn holds(&self, spaces: &Namespaces) -> bool {
        self.process.holds(spaces)
            && link(&spaces.process(self.process.tgid), self.fd).as_ref() == Some(&self.link)
    }
}

impl<K: Ord + Clone, V> Remembered<K, V> {
    /// Forgets what is not one of these devices, or does not hold any more. Returns whether to
    /// search for the rest.
    pub fn check(&mut self, spaces: &Namespaces, devices: &[(K, u32)]) -> bool {
        let keys: BTreeSet<_> = devices.iter().map(|(key, _)| key).collect();
        self.known.retain(|key, _| keys.contains(key));
        let sockets = self.sockets(spaces);
        let holds = |fact: &Fact| match fact {
            Fact::Open(file) => file.holds(spaces),
            Fact::Tcp(net, socket) => sockets.get(net).is_some_and(|now| {
                let mut now = now.tcp.iter();
                now.any(|one| (one.inode, one.remote) == (socket.inode, socket.remote))
            }),
            Fact::Unix(net, inode) => sockets.get(net).is_some_and(|now| now.unix.contains(inode)),
        };
        self.known.retain(|_, (_, facts)| facts.iter().all(holds));
        let open = devices.iter().filter(|(key, _)| self.get(key).is_none());
        let open: Vec<_> = open.cloned().collect();
        if open != self.open {
            self.open = open;
            (self.tries, self.pause) = (0, 0);
        }
        self.is_due()
    }

    /// Whether to search in this round: in each one at first, then ever more seldom.
    fn is_due(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.tries = self.tries.saturating_add(1);
        if self.tries >= TRIES {
            self.pause = 1u8
                .checked_shl(u32::from(self.tries - TRIES) + 2)
                .unwrap_or(MAX_PAUSE);
            self.pause = self.pause.min(MAX_PAUSE);
        }
        true
    }

    /// The sockets that the servers rest on, as they are now, of the network namespaces that can be
    /// read.
    fn sockets(&self, spaces: &Namespaces) -> BTreeMap<u64, Connected> {
        let facts = self.known.values().flat_map(|(_, facts)| facts);
        let nets: BTreeSet<_> = facts.filter_map(Fact::socket).map(|(net, _)| net).collect();
        let inodes = self.sockets_of_kernel();
        let now = nets.into_iter().filter_map(|net| {
            let pids = spaces.nets.get(&net)?;
            let now = tables::all(spaces, pids, |inode| inodes.contains(&inode))?;
            Some((net, now))
        });
        now.collect()
    }

    /// The inodes of these sockets.
    pub fn sockets_of_kernel(&self) -> BTreeSet<u64> {
        let facts = self.known.values().flat_map(|(_, facts)| facts);
        let sockets = facts.filter_map(Fact::socket);
        sockets.map(|(_, inode)| inode).collect()
    }

    /// The server of a device.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key).map(|(server, _)| server)
    }

    /// All servers.
    pub fn servers(&self) -> impl Iterator<Item = &V> {
        self.known.values().map(|(server, _)| server)
    }

    /// Remembers a server.
    pub fn put(&mut self, key: K, server: V, facts: Vec<Fact>) {
        self.open.retain(|(open, _)| *open != key);
        self.known.insert(key, (server, facts));
    }
}
