//! Who is at the other end of the kernel's NBD sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use compact_str::CompactString;

use super::Place;
use super::held::{Held, Holders, holders};
use super::setter::Threads;
use crate::topology::identity::Identity;
use crate::topology::namespaces::{Namespaces, number_of};
use crate::topology::owners;
use crate::topology::served::remembered::{Fact, OpenFile};
use crate::topology::served::tables::{self, Connected};
use crate::topology::sockets::{Socket, canonical};
use crate::topology::volumes::Volume;

/// Why there is no answer, a part of a sentence.
pub type Unknown = &'static str;

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

/// Reads the peers of unix sockets: [`crate::topology::unix_peers::read`].
pub type ReadPeers = fn(u64, PathBuf, BTreeSet<u64>) -> io::Result<BTreeMap<u64, u64>>;

/// A server, and what that rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub place: Place,
    /// What keeps it there.
    pub facts: Vec<Fact>,
}

/// Finds servers.
pub struct Search<'a> {
    spaces: &'a Namespaces,
    sysfs: &'a Path,
    /// The devices that are set up.
    connected: &'a [CompactString],
    /// The kernel's sockets of devices whose server is known.
    known: BTreeSet<u64>,
    read_peers: ReadPeers,
    threads: Option<Threads>,
    /// Where the sockets that no process holds lead to.
    orphans: Option<Result<Found, Unknown>>,
}

/// The other ends of a process's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The process itself has both ends of one.
    pub own: bool,
    /// Addresses of others.
    pub tcp: BTreeSet<SocketAddr>,
    /// Other processes at the other end of unix sockets, each with its ends and their file
    /// descriptors.
    pub unix: BTreeMap<u32, BTreeMap<u64, u32>>,
}

impl<'a> Search<'a> {
    /// Reads nothing yet.
    pub const fn new(
        spaces: &'a Namespaces,
        sysfs: &'a Path,
        connected: &'a [CompactString],
        known: BTreeSet<u64>,
        read_peers: ReadPeers,
    ) -> Self {
        Self {
            spaces,
            sysfs,
            connected,
            known,
            read_peers,
            threads: None,
            orphans: None,
        }
    }

    /// The server of an NBD device that this thread set up, as sysfs shows it.
    pub fn server(&mut self, device: &str, tid: u32) -> Result<Found, Unknown> {
        let Some(process) = owners::process_of(self.spaces, tid) else {
            return self.of_orphans();
        };
        let process = Identity::read(self.spaces, process.tgid).ok_or(UNREAD)?;
        let threads = || Threads::read(self.spaces, self.connected);
        let threads = self.threads.get_or_insert_with(threads);
        let is_setter = threads.is_setter(device, &process);
        if is_setter == Some(false) {
            return self.of_orphans();
        }
        let dir = self.spaces.process(process.tgid);
        let held = Held::read(&dir, device).map_err(|_| UNREAD)?;
        match held.device {
            Some(fd) => self.of_process(process.tgid, &held, fd),
            None => self.without(process.tgid, is_setter.is_some(), &held),
        }
    }

    /// The process waits in the device, so the kernel's socket is one of its own.
    fn of_process(&self, tgid: u32, held: &Held, device: u32) -> Result<Found, Unknown> {
        let wanted = |inode| held.sockets.contains_key(&inode);
        let own = tables::all(self.spaces, &[tgid], wanted).ok_or(UNREAD)?;
        let ends = self.ends(tgid, held, &own)?;
        let place = choose(tgid, &ends)?;
        self.no_relay(&place, &ends)?;
        let tcp = own.tcp.iter().map(|socket| socket.inode);
        let sockets = tcp.chain(own.unix.iter().copied());
        let fds = sockets.filter_map(|inode| held.sockets.get(&inode).copied());
        let files = fds.chain([device]).map(|fd| (tgid, fd));
        let files = files.chain(served(&place, &ends));
        let facts = self.open(files)?;
        Ok(Found { place, facts })
    }

    /// These files of processes as facts.
    fn open(&self, mut files: impl Iterator<Item = (u32, u32)>) -> Result<Vec<Fact>, Unknown> {
        let open = files.try_fold(Vec::new(), |mut facts, (tgid, fd)| {
            facts.push(Fact::Open(OpenFile::read(self.spaces, tgid, fd)?));
            Some(facts)
        });
        open.ok_or(UNREAD)
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
                [(holder, _)] if **holder == tgid && held.sockets.contains_key(&peer) => {
                    ends.own = true;
                }
                [(holder, fd)] => {
                    ends.unix.entry(**holder).or_default().insert(peer, **fd);
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
    fn no_relay(&self, place: &Place, ends: &Ends) -> Result<(), Unknown> {
        let Place::Process(tgid) = *place else {
            return Ok(());
        };
        let Some(served) = ends.unix.get(&tgid) else {
            return Ok(());
        };
        let held = Held::read(&self.spaces.process(tgid), "").map_err(|_| UNREAD)?;
        let others = |inode: u64| held.sockets.contains_key(&inode) && !served.contains_key(&inode);
        let others = tables::outgoing(self.spaces, &[tgid], others).ok_or(UNREAD)?;
        let ends = self.ends(tgid, &held, &others);
        let is_last = ends.is_ok_and(|ends| ends.tcp.is_empty() && ends.unix.is_empty());
        is_last.then_some(()).ok_or(RELAY)
    }

    /// The process is alive and does not wait in the device.
    ///
    /// If it set the device up and has the other end of a socket that no process holds, it serves the
    /// device. If not, a connection that it made may be the device's.
    fn without(&mut self, tgid: u32, is_setter: bool, held: &Held) -> Result<Found, Unknown> {
        let wanted = |inode| held.sockets.contains_key(&inode);
        let sockets = tables::all(self.spaces, &[tgid], wanted).ok_or(UNREAD)?;
        let of_kernel = self.kernel_ends(tgid, &sockets.unix)?;
        if is_setter && !of_kernel.is_empty() {
            return self.by_setter(tgid, held, &of_kernel);
        }
        let mut made = tables::outgoing(self.spaces, &[tgid], wanted).ok_or(UNREAD)?;
        made.unix.retain(|inode| !of_kernel.contains_key(inode));
        if made != Connected::default() {
            return Err(MANY);
        }
        self.of_orphans()
    }

    /// Those of a process's unix sockets of which no process holds the other end, each with that.
    fn kernel_ends(
        &self,
        tgid: u32,
        sockets: &BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, u64>, Unknown> {
        if sockets.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut peers = self.peers(tgid, sockets)?;
        peers.retain(|_, peer| *peer != 0);
        let holders = holders(self.spaces, &peers.values().copied().collect()).ok_or(UNREAD)?;
        peers.retain(|_, peer| !holders.contains_key(peer));
        Ok(peers)
    }

    /// The process that set the device up serves it, by these ends of the kernel's sockets.
    fn by_setter(
        &self,
        tgid: u32,
        held: &Held,
        of_kernel: &BTreeMap<u64, u64>,
    ) -> Result<Found, Unknown> {
        let fds = of_kernel.keys().filter_map(|own| held.sockets.get(own));
        let mut facts = self.open(fds.map(|fd| (tgid, *fd)))?;
        let net = number_of(&self.spaces.process(tgid), "net").ok_or(UNREAD)?;
        let ends: BTreeSet<_> = of_kernel.values().copied().collect();
        // The other end may be in another network namespace.
        let here = tables::all(self.spaces, &[tgid], |inode| ends.contains(&inode));
        let here = here.ok_or(UNREAD)?.unix.into_iter();
        facts.extend(here.map(|inode| Fact::Unix(net, inode)));
        Ok(Found {
            place: Place::Process(tgid),
            facts,
        })
    }

    /// All sockets that no process holds, by what they lead to.
    fn of_orphans(&mut self) -> Result<Found, Unknown> {
        if let Some(known) = &self.orphans {
            return known.clone();
        }
        let found = self.orphans();
        self.orphans = Some(found.clone());
        found
    }

    fn orphans(&self) -> Result<Found, Unknown> {
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
        for (&net, here) in &mut sockets {
            *here = self.orphans_among(net, std::mem::take(here), &holders)?;
        }
        let found = self.lead(&sockets);
        if found != Err(MANY) || self.known.is_empty() {
            return found;
        }
        // Those of devices that were there before are not a new one's.
        for here in sockets.values_mut() {
            here.tcp
                .retain(|socket| !self.known.contains(&socket.inode));
            here.unix.retain(|inode| !self.known.contains(inode));
        }
        self.lead(&sockets)
    }

    /// The only server that these sockets of the kernel lead to.
    fn lead(&self, sockets: &BTreeMap<u64, Connected>) -> Result<Found, Unknown> {
        let (mut ends, mut facts) = (Ends::default(), Vec::new());
        for (&net, here) in sockets {
            facts.extend(here.tcp.iter().map(|socket| Fact::Tcp(net, *socket)));
            facts.extend(here.unix.iter().map(|inode| Fact::Unix(net, *inode)));
            ends.tcp.extend(here.tcp.iter().map(|socket| socket.remote));
            if let Some(&pid) = self.spaces.nets.get(&net).and_then(|pids| pids.first())
                && !here.unix.is_empty()
            {
                let of_kernel = Connected {
                    tcp: Vec::new(),
                    unix: here.unix.clone(),
                };
                let of_kernel = self.ends(pid, &Held::default(), &of_kernel)?;
                ends.unix.extend(of_kernel.unix);
            }
        }
        let place = choose(0, &ends)?;
        self.no_relay(&place, &ends)?;
        facts.extend(self.open(served(&place, &ends))?);
        Ok(Found { place, facts })
    }

    /// The sockets of a network namespace that no process holds. One that is gone by now was closed
    /// before its process was read.
    pub fn orphans_among(
        &self,
        net: u64,
        mut here: Connected,
        holders: &BTreeMap<u64, Holders>,
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

/// The ends of the kernel's unix sockets that the process has which serves the device.
fn served(place: &Place, ends: &Ends) -> impl Iterator<Item = (u32, u32)> {
    let served = match place {
        Place::Process(tgid) => ends.unix.get_key_value(tgid),
        Place::Tcp(_) | Place::Target(_) => None,
    };
    let ends = served
        .into_iter()
        .flat_map(|(tgid, ends)| ends.values().map(|fd| (*tgid, *fd)));
    ends.collect::<Vec<_>>().into_iter()
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
