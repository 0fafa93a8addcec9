//! Who is at the other end of the kernel's NBD sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use super::Place;
use super::held::{Held, holders};
use super::tables::{self, Connected};
use crate::topology::namespaces::{Namespaces, number_of};
use crate::topology::owners;
use crate::topology::sockets::{Socket, canonical};
use crate::topology::unix_peers;
use crate::topology::volumes::Volume;

/// Why there is no answer, a part of a sentence.
type Unknown = &'static str;

const MANY: Unknown = "more than one connection may be its own";
const NONE: Unknown = "no connection of this node looks like its own";
const UNREAD: Unknown = "not all processes and sockets can be read";
const NO_PEERS: Unknown = "the kernel does not show the peers of unix sockets (it takes the module unix_diag and CAP_SYS_ADMIN)";
const RELAY: Unknown = "the other end of its connection has connections of its own";
/// The port of SMB, whose client's sockets no process holds.
const SMB: u16 = 445;
/// Maximum number of iSCSI connections.
const MAX_ISCSI: usize = 1024;
/// Maximum number of lines of NFS volumes of a network namespace.
const MAX_VOLUMES: usize = 4096;

/// Reads the peers of unix sockets: [`unix_peers::read`].
pub type ReadPeers = fn(u64, PathBuf, BTreeSet<u64>) -> io::Result<BTreeMap<u64, u64>>;

/// Finds servers.
pub struct Search<'a> {
    spaces: &'a Namespaces,
    sysfs: &'a Path,
    read_peers: ReadPeers,
    /// Where the sockets that no process holds lead to.
    orphans: Option<Result<Place, Unknown>>,
}

/// The other ends of a process's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The process itself has both ends of one.
    pub own: bool,
    /// Addresses of others.
    pub tcp: BTreeSet<SocketAddr>,
    /// Other processes at the other end of unix sockets, each with its end.
    pub unix: BTreeMap<u32, BTreeSet<u64>>,
}

impl<'a> Search<'a> {
    /// Reads nothing yet.
    pub const fn new(spaces: &'a Namespaces, sysfs: &'a Path) -> Self {
        Self {
            spaces,
            sysfs,
            read_peers: unix_peers::read,
            orphans: None,
        }
    }

    #[cfg(test)]
    pub fn with_peers(self, read_peers: ReadPeers) -> Self {
        Self { read_peers, ..self }
    }

    /// The server of an NBD device that this thread set up.
    pub fn server(&mut self, device: &str, tid: u32) -> Result<Place, Unknown> {
        let Some(process) = owners::process_of(self.spaces, tid) else {
            return self.of_orphans();
        };
        let dir = self.spaces.process(process.tgid);
        let held = Held::read(&dir, device).map_err(|_| UNREAD)?;
        if held.device {
            return self.of_process(process.tgid, &held);
        }
        // It may be another process with the same id, or it serves the device itself.
        self.orphans_of(process.tgid, &held)
    }

    /// The process waits in the device, so the kernel's socket is one of its own.
    fn of_process(&self, tgid: u32, held: &Held) -> Result<Place, Unknown> {
        let own = tables::all(self.spaces, &[tgid], |inode| held.sockets.contains(&inode));
        let ends = self.ends(tgid, held, &own.ok_or(UNREAD)?)?;
        let place = choose(tgid, &ends)?;
        self.no_relay(place, &ends)
    }

    /// The other ends of these sockets of a process.
    fn ends(&self, tgid: u32, held: &Held, sockets: &Connected) -> Result<Ends, Unknown> {
        let mut ends = of_tcp(&sockets.tcp);
        if sockets.unix.is_empty() {
            return Ok(ends);
        }
        let peers = self.peers(tgid, &sockets.unix)?;
        let inodes = peers.values().copied().collect();
        let holders = holders(self.spaces, &inodes).ok_or(UNREAD)?;
        for peer in inodes {
            let holders = holders.get(&peer).map_or(Vec::new(), Vec::from_iter);
            match holders.as_slice() {
                [holder] if **holder == tgid && held.sockets.contains(&peer) => ends.own = true,
                [holder] => {
                    ends.unix.entry(**holder).or_default().insert(peer);
                }
                // The kernel has the other end too, or several processes inherited it.
                _ => return Err(MANY),
            }
        }
        Ok(ends)
    }

    /// The peers of unix sockets in a process's network namespace.
    fn peers(&self, tgid: u32, inodes: &BTreeSet<u64>) -> Result<BTreeMap<u64, u64>, Unknown> {
        let process = self.spaces.process(tgid);
        let net = number_of(&process, "net").ok_or(UNREAD)?;
        let peers = (self.read_peers)(net, process.join("ns/net"), inodes.clone());
        peers.map_err(|error| {
            tracing::debug!(%error, net, "the peers of unix sockets cannot be read");
            NO_PEERS
        })
    }

    /// A process at the other end that is itself connected elsewhere may only pass on what it reads.
    fn no_relay(&self, place: Place, ends: &Ends) -> Result<Place, Unknown> {
        let Place::Process(tgid) = place else {
            return Ok(place);
        };
        let Some(served) = ends.unix.get(&tgid) else {
            return Ok(place);
        };
        let held = Held::read(&self.spaces.process(tgid), "").map_err(|_| UNREAD)?;
        let others = |inode: u64| held.sockets.contains(&inode) && !served.contains(&inode);
        let others = tables::outgoing(self.spaces, &[tgid], others).ok_or(UNREAD)?;
        let ends = self.ends(tgid, &held, &others);
        let is_last = ends.is_ok_and(|ends| ends.tcp.is_empty() && ends.unix.is_empty());
        is_last.then_some(place).ok_or(RELAY)
    }

    /// The process is alive and does not wait in the device. If it has the other end of a socket
    /// that no process holds, it serves the device. A connection that it made may be the device's.
    fn orphans_of(&mut self, tgid: u32, held: &Held) -> Result<Place, Unknown> {
        let wanted = |inode| held.sockets.contains(&inode);
        let sockets = tables::all(self.spaces, &[tgid], wanted).ok_or(UNREAD)?;
        if !sockets.unix.is_empty() {
            let peers = self.peers(tgid, &sockets.unix)?;
            let inodes: BTreeSet<_> = peers
                .values()
                .copied()
                .filter(|inode| *inode != 0)
                .collect();
            let holders = holders(self.spaces, &inodes).ok_or(UNREAD)?;
            if inodes.iter().any(|inode| !holders.contains_key(inode)) {
                return Ok(Place::Process(tgid));
            }
        }
        let made = tables::outgoing(self.spaces, &[tgid], wanted).ok_or(UNREAD)?;
        if made != Connected::default() {
            return Err(MANY);
        }
        self.of_orphans()
    }

    /// All sockets that no process holds, by what they lead to.
    fn of_orphans(&mut self) -> Result<Place, Unknown> {
        if let Some(known) = &self.orphans {
            return known.clone();
        }
        let found = self.orphans();
        self.orphans = Some(found.clone());
        found
    }

    fn orphans(&self) -> Result<Place, Unknown> {
        let mut sockets = BTreeMap::new();
        for (&net, pids) in &self.spaces.nets {
            let mut here = tables::outgoing(self.spaces, pids, |_| true).ok_or(UNREAD)?;
            let known = self.explained(pids);
            here.tcp.retain(|socket| !known(socket.remote));
            sockets.insert(net, here);
        }
        let inodes = sockets.values().flat_map(|here| {
            let tcp = here.tcp.iter().map(|socket| socket.inode);
            tcp.chain(here.unix.iter().copied())
        });
        let holders = holders(self.spaces, &inodes.collect()).ok_or(UNREAD)?;
        let mut ends = Ends::default();
        for (net, here) in sockets {
            let here = self.orphans_among(net, here, &holders)?;
            ends.tcp.extend(here.tcp.iter().map(|socket| socket.remote));
            if let Some(&pid) = self.spaces.nets.get(&net).and_then(|pids| pids.first())
                && !here.unix.is_empty()
            {
                let of_kernel = Connected {
                    tcp: Vec::new(),
                    unix: here.unix,
                };
                ends.unix
                    .extend(self.ends(pid, &Held::default(), &of_kernel)?.unix);
            }
        }
        let place = choose(0, &ends)?;
        self.no_relay(place, &ends)
    }

    /// The sockets of a network namespace that no process holds. One that is gone by now was closed
    /// before its process was read.
    pub fn orphans_among(
        &self,
        net: u64,
        mut here: Connected,
        holders: &BTreeMap<u64, BTreeSet<u32>>,
    ) -> Result<Connected, Unknown> {
        here.tcp
            .retain(|socket| !holders.contains_key(&socket.inode));
        here.unix.retain(|inode| !holders.contains_key(inode));
        if here == Connected::default() {
            return Ok(here);
        }
        let tcp: BTreeSet<_> = here.tcp.iter().map(|socket| socket.inode).collect();
        let pids = self.spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
        let wanted = |inode| tcp.contains(&inode) || here.unix.contains(&inode);
        tables::all(self.spaces, pids, wanted).ok_or(UNREAD)
    }

    /// Whether a server's address is that of another client of the kernel: NFS, SMB or iSCSI.
    fn explained(&self, pids: &[u32]) -> impl Fn(SocketAddr) -> bool + use<> {
        let mut known = BTreeSet::new();
        // No file: there are no such mounts.
        let _ = self
            .spaces
            .lines(pids, "net/nfsfs/volumes", MAX_VOLUMES, |line| {
                known.extend(Volume::parse(line).and_then(|volume| volume.server));
            });
        let class = self.sysfs.join("class/iscsi_connection");
        let connections = fs::read_dir(class).into_iter().flatten().flatten();
        for connection in connections.take(MAX_ISCSI) {
            let read = |name| fs::read_to_string(connection.path().join(name)).ok();
            let address = || -> Option<SocketAddr> {
                let ip: IpAddr = read("address")?.trim().parse().ok()?;
                Some(SocketAddr::new(ip, read("port")?.trim().parse().ok()?))
            };
            known.extend(address().map(canonical));
        }
        move |address| known.contains(&address) || address.port() == SMB
    }
}

/// The other ends of TCP sockets. A connection of which both ends are among them is the process's
/// own.
fn of_tcp(sockets: &[Socket]) -> Ends {
    let ends: BTreeSet<_> = sockets.iter().map(|one| (one.local, one.remote)).collect();
    let is_own = |one: &&Socket| ends.contains(&(one.remote, one.local));
    Ends {
        own: sockets.iter().any(|one| is_own(&one)),
        tcp: sockets
            .iter()
            .filter(|one| !is_own(one))
            .map(|one| one.remote)
            .collect(),
        unix: BTreeMap::new(),
    }
}

/// The only possible server of a device whose socket is one of those with these other ends.
pub fn choose(tgid: u32, ends: &Ends) -> Result<Place, Unknown> {
    let (mut tcp, mut unix) = (ends.tcp.iter(), ends.unix.keys());
    match (ends.own, tcp.next(), unix.next()) {
        (false, None, None) => Err(NONE),
        (true, None, None) => Ok(Place::Process(tgid)),
        (false, Some(address), None) if tcp.next().is_none() => Ok(Place::Tcp(*address)),
        (false, None, Some(server)) if unix.next().is_none() => Ok(Place::Process(*server)),
        _ => Err(MANY),
    }
}
