//! Backing devices that a server of this kernel cleans, other than NFS mounts: one file below
//! `served/` for each kind of client.
//!
//! A kind says which devices there are and where the server of each is to be found; who that is,
//! and what it writes to, is found here in the same way for all of them.

mod cifs;
mod files;
mod fuse;
mod nbd;
mod remembered;
mod scsi;
mod tables;
mod ublk;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use compact_str::{CompactString, format_compact};
use monitor_model::observation::{
    ClientKind, FileSystem, Proof, RemoteDevice, RestsOn, ServedDevice, ServerKind, ServerProcess,
    ServerRef, WriteBasis, WritesTo,
};

use self::files::Files;
use super::connections::PlaceServer;
use super::namespaces::Namespaces;
use super::owners;
use super::smb::SmbMount;
use super::sockets::canonical;
use super::warnings::LookupWarnings;

/// What is kept between two rounds.
#[derive(Debug, Default)]
pub struct Memory {
    nbd: nbd::Servers,
    ublk: ublk::Servers,
    fuse: fuse::Daemons,
}

/// Maximum number of devices of one kind.
const MAX_DEVICES: usize = 256;

/// A kind of client.
pub trait Kind {
    /// Its devices that have a server, each with where to look for that server. It reads procfs,
    /// sysfs and configfs, and never a path on one of the devices.
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device>;
}

/// All kinds.
const KINDS: [&dyn Kind; 5] = [
    &nbd::Nbd,
    &scsi::Scsi,
    &ublk::Ublk,
    &cifs::Cifs,
    &fuse::Fuse,
];

/// What a kind may read.
pub struct NodeFiles<'a> {
    /// `/sys`.
    pub sysfs: &'a Path,
    /// The processes, by namespace.
    pub spaces: &'a Namespaces,
    /// Everything that is mounted.
    pub file_systems: &'a [FileSystem],
    /// SMB mounts.
    pub smb: &'a [SmbMount],
    /// The servers found so far.
    pub memory: &'a mut Memory,
    /// The facts that could not be read.
    pub warnings: &'a mut LookupWarnings,
}

/// A backing device, and where its server is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its BDI.
    pub bdi: CompactString,
    /// Its kind.
    pub kind: ClientKind,
    /// Its name for people: `/dev/nbd0`.
    pub name: CompactString,
    /// Its server.
    pub server: Place,
    /// The kernel's target to take for the server if the other end of its TCP connection is the
    /// kernel's.
    pub target: Option<Target>,
}

/// A target of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: CompactString,
    /// What it writes to; `None`: it does not tell.
    pub files: Option<Vec<TargetFile>>,
}

/// Where a server is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The kernel names the process, by the id of one of its threads.
    Process(u32),
    /// At the other end of the client's TCP connection to this address, which may be in any
    /// network namespace.
    Tcp(SocketAddr),
    /// In the kernel.
    Target(Target),
}

/// A file or block device that a kernel target writes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetFile {
    /// Its path in the host's mount namespace. It is looked up in the list of mounts, never opened.
    pub path: CompactString,
    /// The number of the block device that it is, if the kernel tells it.
    pub device: Option<CompactString>,
    /// Whether the target writes past the page cache.
    pub direct: bool,
}

/// The edges that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// From devices to their servers.
    pub served: Vec<ServedDevice>,
    /// From servers to what they write to.
    pub writes: Vec<WritesTo>,
    /// From devices to those below them.
    pub rests_on: Vec<RestsOn>,
    /// The processes among the servers.
    pub processes: Vec<ServerProcess>,
}

/// The devices of all kinds.
pub fn devices(node: &mut NodeFiles<'_>) -> Vec<Device> {
    let mut devices = Vec::new();
    for kind in KINDS {
        devices.extend(kind.devices(node).into_iter().take(MAX_DEVICES));
    }
    devices
}

/// The addresses of their servers.
pub fn addresses(devices: &[Device]) -> BTreeSet<SocketAddr> {
    devices.iter().filter_map(Device::address).collect()
}

/// The devices whose server is at one of these addresses, which lead to no known process of this
/// node. A loopback address leads to an unknown one of it.
pub fn remote(devices: &[Device], far: &BTreeSet<SocketAddr>) -> Vec<RemoteDevice> {
    let far = |address: &SocketAddr| far.contains(address) && !address.ip().is_loopback();
    let remote = devices.iter().filter_map(|device| {
        let address = device.address().filter(far)?;
        Some(RemoteDevice {
            bdi: device.bdi.clone(),
            kind: device.kind,
            name: device.name.clone(),
            address: format_compact!("{address}"),
        })
    });
    remote.take(MAX_DEVICES).collect()
}

impl Device {
    /// The address of its server, if that is at the other end of a TCP connection.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.server {
            Place::Tcp(address) => Some(canonical(address)),
            Place::Process(_) | Place::Target(..) => None,
        }
    }
}

impl Graph {
    /// Reads all kinds, without the servers at TCP addresses.
    #[cfg(test)]
    pub fn read(node: &mut NodeFiles<'_>) -> Self {
        Self::of(devices(node), &BTreeMap::new(), node)
    }

    /// The edges of these devices. `places` are the servers at TCP addresses.
    pub fn of(
        devices: Vec<Device>,
        places: &BTreeMap<SocketAddr, PlaceServer>,
        node: &mut NodeFiles<'_>,
    ) -> Self {
        let files = Files::find(&devices, node);
        let mut graph = Self::default();
        for device in devices {
            match device
                .address()
                .map(|address| (address, places.get(&address)))
            {
                None => graph.add(device, node, &files),
                Some((address, Some(place))) => graph.at(device, address, place, &files),
                Some((_, None)) => {}
            }
        }
        graph
    }

    /// Adds a device whose server is at the other end of a TCP connection.
    fn at(&mut self, device: Device, address: SocketAddr, place: &PlaceServer, files: &Files) {
        let before = self.served.len();
        if let Some(process) = &place.process {
            self.served_by(device, process, place.proof);
        } else if let Some(target) = device.target.clone() {
            // Which target of the kernel it is, the kind knows.
            self.target(device, target, files, place.proof);
        }
        for served in self.served.iter_mut().skip(before) {
            served.address = format_compact!("{address}");
            served.client_netns = Some(place.client_netns);
            served.server_netns = Some(place.server_netns);
        }
    }

    fn served_by(&mut self, device: Device, process: &ServerProcess, proof: Proof) {
        let server = ServerRef {
            name: process.name.clone(),
            tgid: Some(process.tgid),
            kind: ServerKind::Process,
        };
        self.process(process);
        self.serve(device, server, proof);
    }

    fn add(&mut self, device: Device, node: &NodeFiles<'_>, files: &Files) {
        match device.server.clone() {
            Place::Process(tid) => {
                if let Some(process) = owners::process_of(node.spaces, tid) {
                    self.served_by(device, &process, Proof::Kernel);
                }
            }
            Place::Target(target) => {
                self.target(device, target, files, Proof::Kernel);
            }
            Place::Tcp(_) => {}
        }
    }

    /// Adds a device that a kernel target serves, and what that writes to for it.
    fn target(&mut self, device: Device, target: Target, files: &Files, proof: Proof) {
        let server = ServerRef {
            name: target.name,
            tgid: None,
            kind: ServerKind::Target,
        };
        match &target.files {
            None => self.writes.push(hidden(&server, &device.bdi)),
            Some(own) => {
                let writes = own
                    .iter()
                    .filter_map(|file| files.written(file, &server, &device.bdi));
                self.writes.extend(writes);
            }
        }
        self.serve(device, server, proof);
    }

    fn process(&mut self, process: &ServerProcess) {
        if self.processes.iter().all(|one| one.tgid != process.tgid) {
            self.processes.push(process.clone());
        }
    }

    fn serve(&mut self, device: Device, server: ServerRef, proof: Proof) {
        self.served.push(ServedDevice {
            bdi: device.bdi,
            kind: device.kind,
            name: device.name,
            server,
            proof,
            address: CompactString::default(),
            client_netns: None,
            server_netns: None,
        });
    }
}

/// That a server writes for a client, to an unknown device.
fn hidden(server: &ServerRef, client: &CompactString) -> WritesTo {
    WritesTo {
        server: server.clone(),
        bdi: CompactString::default(),
        device: CompactString::default(),
        file: CompactString::default(),
        basis: WriteBasis::Hidden,
        direct: false,
        client: client.clone(),
    }
}
