//! One round: every look-up, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::Duration,
};

use compact_str::CompactString;
use monitor_model::observation::{NfsMount, ServerProcess, Topology, Transport};

use super::{
    HostPaths, LookupRequest,
    connections::{Connections, Found},
    containers::{self, Containers},
    exports::Exports,
    loop_devices,
    mounts::Mounts,
    namespaces::Namespaces,
    netns_entries::NetnsEntries,
    open_files::{OpenFiles, Places},
    pod_names::PodNames,
    round::{Round, Tables},
    served::{self, Device, Graph, Memory, NodeFiles},
    server_addresses,
    smb::{SmbBdis, SmbMount, Totals, is_smb},
    stacked, transports,
    warnings::LookupWarnings,
};
use crate::host::{clock::monotonic_ns, pseudofs, smb_stats::SmbStats};

/// The BDIs of devices whose servers another round may find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenDevices {
    /// Those of NFS mounts.
    pub mounts: BTreeSet<CompactString>,
    /// Others.
    pub others: BTreeSet<CompactString>,
}

impl OpenDevices {
    fn of(mounts: &[NfsMount], devices: &[Device], found: &Found) -> Self {
        let is_open = |mount: &&NfsMount| {
            let end = mount.netns.zip(mount.server);
            end.is_some_and(|end| found.open_mounts.contains(&end))
        };
        let others = devices.iter().filter(|device| {
            let address = device.address();
            address.is_some_and(|at| found.open_places.contains(&at))
        });
        Self {
            mounts: mounts
                .iter()
                .filter(is_open)
                .map(|one| one.bdi.clone())
                .collect(),
            others: others.map(|device| device.bdi.clone()).collect(),
        }
    }
}

/// Runs rounds and caches what is expensive to find.
pub struct Reader {
    procfs: PathBuf,
    sysfs: PathBuf,
    debugfs: io::Result<OwnedFd>,
    connections: Connections,
    exports: Exports,
    smb: SmbBdis,
    served: Memory,
    open_files: OpenFiles,
    pod_names: PodNames,
    open: OpenDevices,
    computed: Duration,
}

impl Reader {
    /// Opens debugfs, wherever it is mounted.
    pub fn new(paths: HostPaths, nfs_servers: &[String]) -> Self {
        let HostPaths {
            procfs,
            sysfs,
            pod_logs,
        } = paths;
        Self {
            debugfs: pseudofs::debugfs(&sysfs),
            connections: Connections::new(nfs_servers),
            exports: Exports::default(),
            smb: SmbBdis::default(),
            served: Memory::default(),
            open_files: OpenFiles::default(),
            pod_names: PodNames::new(procfs.clone(), pod_logs),
            open: OpenDevices::default(),
            computed: Duration::ZERO,
            procfs,
            sysfs,
        }
    }

    /// Uses these names of NFS servers' processes.
    pub fn set_nfs_servers(&mut self, names: &[String]) {
        self.connections.set_servers(names);
    }

    /// Runs a round. Without NFS mounts and servers, that is a walk over the processes and one read
    /// of the mounts of each namespace.
    pub fn round(&mut self, wanted: &LookupRequest) -> Topology {
        let mut warnings = LookupWarnings::default();
        let read_ns = monotonic_ns();
        let mut spaces = Namespaces::walk(&self.procfs, &mut warnings).unwrap_or_else(|error| {
            warnings.note(&format_args!(
                "{} cannot be read: {error}.",
                self.procfs.display()
            ));
            Namespaces::default()
        });
        let mut mounts = Mounts::read(&spaces, &self.sysfs, &mut warnings);
        // The threads that enter a namespace for the round do not count as its residents.
        let first = |(&net, pids): (&u64, &Vec<u32>)| Some((net, *pids.first()?));
        let residents: BTreeMap<_, _> = spaces.nets.iter().filter_map(first).collect();
        // They leave the namespaces at the end of the round.
        let _keepers = NetnsEntries::enter(&mut spaces, &mounts.kept_nets);
        let nfsd = self.nfsd();
        let exports = if nfsd {
            self.exports.read(&spaces, &mounts, &mut warnings)
        } else {
            Vec::new()
        };
        if !mounts.nfs.is_empty() || !wanted.devices.is_empty() {
            mounts.read_volumes(&spaces, &mut warnings);
        }
        let transports = if mounts.nfs.is_empty() && wanted.rpc_clients.is_empty() {
            Vec::new()
        } else {
            self.transports(wanted, &mut warnings)
        };
        if !mounts.nfs.is_empty() || !exports.is_empty() || !wanted.peers.is_empty() {
            unseen(&spaces, &mounts, &mut warnings);
        }
        let loop_devices = loop_devices::read(&spaces, &self.sysfs, &mounts, &mut warnings);
        let mut smb = mounts.smb;
        self.find_smb_bdis(&mut smb, &mounts.bdis);
        let mut file_systems: Vec<_> = mounts.file_systems.into_values().collect();
        file_systems.extend(smb.iter().filter_map(SmbMount::file_system));
        let mut node = NodeFiles {
            sysfs: &self.sysfs,
            spaces: &spaces,
            file_systems: &file_systems,
            smb: &smb,
            memory: &mut self.served,
            warnings: &mut warnings,
        };
        let devices = served::devices(&mut node);
        let mut nfs: Vec<_> = mounts.nfs.into_values().collect();
        let mut round = Round {
            spaces: &spaces,
            nfsd,
            exporting: exports.iter().map(|export| export.netns).collect(),
            tables: Tables::default(),
            warnings: node.warnings,
        };
        let found = self.connections.read(
            &mut round,
            &mut nfs,
            &transports,
            &wanted.peers,
            &served::addresses(&devices),
        );
        self.open = OpenDevices::of(&nfs, &devices, &found);
        self.computed += self.connections.take_computed();
        let server_addresses = server_addresses::read(&mut round, self.connections.server_nets());
        let remote = served::remote(&devices, &found.far_places);
        let mut graph = Graph::of(devices, &found.places, &mut node);
        graph.rests_on = stacked::read(&self.sysfs, &loop_devices, &mut warnings);
        let others = std::mem::take(&mut graph.processes);
        let others = others.into_iter().chain(found.processes);
        let server_processes = self.server_processes(&spaces, others);
        let places = Places {
            sysfs: &self.sysfs,
            spaces: &spaces,
            file_systems: &file_systems,
        };
        let open = &mut self.open_files;
        graph
            .writes
            .extend(open.read(&server_processes, &places, &mut warnings));
        let mut topology = Topology {
            read_ns,
            mounts: nfs,
            file_systems,
            transports,
            connections: found.connections,
            far_ends: found.far_ends,
            peers: found.peers,
            exports,
            loop_devices,
            server_processes,
            server_addresses,
            served: graph.served,
            remote,
            writes: graph.writes,
            rests_on: graph.rests_on,
            incomplete: warnings.into_sentences(),
            ..Topology::default()
        };
        self.find_containers(&mut topology, &spaces, &residents, wanted);
        topology
    }

    /// Fills in the containers of clients, servers and processes that wait.
    fn find_containers(
        &mut self,
        topology: &mut Topology,
        spaces: &Namespaces,
        residents: &BTreeMap<u64, u32>,
        wanted: &LookupRequest,
    ) {
        let mut containers = Containers::default();
        topology.net_namespaces = containers.of_namespaces(spaces, residents, &nets(topology));
        let mut tgids = &wanted.processes | &wanted.also;
        tgids.extend(topology.server_processes.iter().map(|server| server.tgid));
        topology.processes = containers.of_processes(spaces, &tgids);
        topology.volume_pods = containers::of_volumes(topology);
        self.pod_names.fill(&mut containers::all(topology));
    }

    /// The processes of NFS servers, and others, each once.
    fn server_processes(
        &mut self,
        spaces: &Namespaces,
        others: impl Iterator<Item = ServerProcess>,
    ) -> Vec<ServerProcess> {
        let mut all = self.connections.server_processes(spaces);
        for process in others {
            if all.iter().all(|one| one.tgid != process.tgid) {
                all.push(process);
            }
        }
        all
    }

    fn transports(&self, wanted: &LookupRequest, warnings: &mut LookupWarnings) -> Vec<Transport> {
        match &self.debugfs {
            Ok(root) => transports::read(root, &wanted.rpc_clients, warnings),
            Err(error) => {
                warnings.note(&format_args!(
                    "Where RPC clients send their calls is unknown: debugfs cannot be read: {error}."
                ));
                Vec::new()
            }
        }
    }

    /// The devices whose servers another round may find.
    pub const fn open(&self) -> &OpenDevices {
        &self.open
    }

    /// The CPU time of other threads since the last call.
    pub fn take_computed(&mut self) -> Duration {
        std::mem::take(&mut self.computed)
    }

    /// Fills in the BDIs of SMB mounts.
    fn find_smb_bdis(&mut self, mounts: &mut [SmbMount], bdis: &BTreeSet<CompactString>) {
        let (procfs, debugfs) = (&self.procfs, self.debugfs.as_ref().ok());
        self.smb.find(mounts, bdis, |mounts| {
            let stats = SmbStats::read(procfs).unwrap_or_default();
            let written = |bdi: &CompactString| {
                let text = pseudofs::read_at(debugfs?, format!("bdi/{bdi}/stats")).ok()?;
                Some((bdi.clone(), written_bytes(&text)?))
            };
            let bdis = bdis.iter().filter(|bdi| is_smb(bdi));
            Totals::new(mounts, &stats, bdis.filter_map(written))
        });
    }

    /// Whether the kernel has a server, as a module or built in. /proc/fs/nfsd proves nothing:
    /// every kernel with server support has it.
    fn nfsd(&self) -> bool {
        let filesystems = fs::read_to_string(self.procfs.join("filesystems")).unwrap_or_default();
        filesystems.lines().any(|line| line.ends_with("\tnfsd"))
            || self.sysfs.join("module/nfsd").exists()
    }
}

/// `BdiWritten` (`bdi_debug_stats_show`, mm/backing-dev.c).
fn written_bytes(stats: &str) -> Option<u64> {
    let mut lines = stats.lines();
    let value = lines.find_map(|line| line.strip_prefix("BdiWritten:"))?;
    let kb: u64 = value.split_whitespace().next()?.parse().ok()?;
    kb.checked_mul(1024)
}

/// The network namespaces of clients and servers.
fn nets(topology: &Topology) -> BTreeSet<u64> {
    let connections = topology.connections.iter();
    let ends = connections.flat_map(|c| [c.client_netns, c.server_netns]);
    let clients = topology.mounts.iter().filter_map(|mount| mount.netns);
    let servers = topology.exports.iter().map(|export| export.netns);
    let peers = topology.peers.iter().map(|peer| peer.netns);
    ends.chain(clients).chain(servers).chain(peers).collect()
}

/// Warns about network namespaces without a process: they have no /proc/PID/net.
fn unseen(spaces: &Namespaces, mounts: &Mounts, warnings: &mut LookupWarnings) {
    for (net, mount_point) in &mounts.kept_nets {
        if !spaces.nets.contains_key(net) {
            warnings.note(&format_args!(
                "No process lives in network namespace {net} ({mount_point}): its sockets and exports are not visible."
            ));
        }
    }
}
