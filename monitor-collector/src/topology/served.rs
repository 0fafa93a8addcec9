//! Backing devices that a server of this kernel cleans, other than NFS mounts: one file below
//! `served/` for each kind of client.
//!
//! A kind says which devices there are and where the server of each is to be found; who that is,
//! and what it writes to, is found here in the same way for all of them.

mod nbd;

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use compact_str::CompactString;
use monitor_model::observation::{
    ClientKind, FileSystem, Proof, RestsOn, ServedDevice, ServerKind, ServerProcess, ServerRef,
    WritesTo,
};

use super::namespaces::Namespaces;
use super::owners;
use super::warnings::LookupWarnings;

/// Maximum number of devices of one kind.
const MAX_DEVICES: usize = 256;

/// A kind of client.
pub trait Kind {
    /// Its devices that have a server, each with where to look for that server. It reads procfs,
    /// sysfs and configfs, and never a path on one of the devices.
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device>;
}

/// All kinds.
const KINDS: [&dyn Kind; 1] = [&nbd::Nbd];

/// What a kind may read.
pub struct NodeFiles<'a> {
    /// `/proc`.
    pub procfs: &'a Path,
    /// `/sys`.
    pub sysfs: &'a Path,
    /// The processes, by namespace.
    pub spaces: &'a Namespaces,
    /// Everything that is mounted.
    pub file_systems: &'a [FileSystem],
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
}

/// Where a server is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The kernel names the process, by the id of one of its threads.
    Process(u32),
    /// At the other end of the client's TCP connection to this address, which may be in any
    /// network namespace.
    Tcp(SocketAddr),
    /// In the kernel, under this name. Each writes to what its configuration names.
    Target(CompactString, Vec<TargetFile>),
}

/// A file or block device that a kernel target writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFile {
    /// Its path in the host's mount namespace. It is looked up in the list of mounts, never opened.
    pub path: CompactString,
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

impl Graph {
    /// Reads all kinds.
    pub fn read(node: &mut NodeFiles<'_>) -> Self {
        let mut graph = Self::default();
        for kind in KINDS {
            for device in kind.devices(node).into_iter().take(MAX_DEVICES) {
                graph.add(device, node);
            }
        }
        graph
    }

    fn add(&mut self, device: Device, node: &NodeFiles<'_>) {
        match &device.server {
            Place::Process(tid) => {
                let Some(process) = owners::process_of(node.spaces, *tid) else {
                    return;
                };
                let server = ServerRef {
                    name: process.name.clone(),
                    tgid: Some(process.tgid),
                    kind: ServerKind::Process,
                };
                self.process(&process);
                self.serve(device, server, Proof::Kernel);
            }
            Place::Target(name, _) => {
                let server = ServerRef {
                    name: name.clone(),
                    tgid: None,
                    kind: ServerKind::Target,
                };
                self.serve(device, server, Proof::Kernel);
            }
            Place::Tcp(_) => {}
        }
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

    /// The BDIs of served devices.
    pub fn bdis(&self) -> BTreeSet<&CompactString> {
        self.served.iter().map(|served| &served.bdi).collect()
    }
}
