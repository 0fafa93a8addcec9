//! Reads the NFS mounts and servers of this node over all namespaces, in its own thread because it
//! takes longer than a tick.
//!
//! It reads procfs, sysfs, debugfs, and the names of the kubelet's directories. In procfs it reads only files that take no lock a stuck
//! process may hold: no `cmdline`, `environ` or `maps`. The formats are parsed here, line by line
//! and within bounds. The crate `procfs` has only two of the eight, collects whole tables, and
//! drops a table for one line that it does not understand.

#![forbid(unsafe_code)]

mod addresses;
mod backing;
mod cgroup;
mod connections;
mod containers;
mod ends;
mod exports;
mod fds;
#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz;
mod identity;
mod loop_devices;
mod mounts;
mod namespaces;
mod nearest;
mod netns_entries;
mod open_files;
mod owners;
mod pod_names;
mod reader;
mod relay;
pub(crate) mod requests;
mod round;
mod schedule;
mod served;
mod server_addresses;
mod smb;
mod sockets;
mod stacked;
mod stream;
mod tcp_info;
mod transports;
mod unix_peers;
mod volumes;
mod warnings;
mod watcher;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use compact_str::CompactString;
use monitor_model::observation::Topology;
use rustix::time::{ClockId, clock_gettime};

use self::{
    reader::{OpenDevices, Reader},
    schedule::Schedule,
};

/// The maximum wait for the first answer at start.
const FIRST: Duration = Duration::from_secs(1);

/// Where the node's file systems are mounted.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// Procfs; in a container, the host's.
    pub procfs: PathBuf,
    /// Sysfs.
    pub sysfs: PathBuf,
    /// The kubelet's directories of pods' logs.
    pub pod_logs: PathBuf,
}

impl Default for HostPaths {
    fn default() -> Self {
        Self {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            pod_logs: "/var/log/pods".into(),
        }
    }
}

/// The facts that a tick needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupRequest {
    /// Devices that the NFS client writes to, by BDI name.
    pub devices: BTreeSet<CompactString>,
    /// Those of them that sent enough for their streams to say who serves them.
    pub writing: BTreeSet<CompactString>,
    /// RPC clients that sent a call, by id.
    pub rpc_clients: BTreeSet<u32>,
    /// BDIs that tasks are paused on.
    pub bdis: BTreeSet<CompactString>,
    /// Clients' addresses, as the kernel's server saw them.
    pub peers: BTreeSet<SocketAddr>,
    /// Processes in a longer wait, by id.
    pub processes: BTreeSet<u32>,
    /// Servers of devices that hold dirty pages, of which it is unknown what they write to: they may
    /// have opened their files only now.
    pub writers: BTreeSet<u32>,
    /// Processes that waited recently. They are not urgent: they are looked up together with
    /// others.
    pub also: BTreeSet<u32>,
}

impl LookupRequest {
    /// The part of the request that a topology does not answer.
    fn unanswered(&self, topology: &Topology) -> Self {
        let mut left = self.clone();
        for mount in &topology.mounts {
            left.devices.remove(&mount.bdi);
        }
        for transport in &topology.transports {
            left.rpc_clients.remove(&transport.client);
        }
        left.bdis.retain(|bdi| !is_known(topology, bdi));
        for socket in &topology.peers {
            left.peers.remove(&socket.peer);
        }
        for place in &topology.processes {
            left.processes.remove(&place.tgid);
        }
        for edge in &topology.writes {
            left.writers.retain(|tgid| edge.server.tgid != Some(*tgid));
        }
        left
    }

    fn is_empty(&self) -> bool {
        self.devices.is_empty()
            && self.writing.is_empty()
            && self.rpc_clients.is_empty()
            && self.bdis.is_empty()
            && self.peers.is_empty()
            && self.processes.is_empty()
            && self.writers.is_empty()
    }

    fn is_within(&self, other: &Self) -> bool {
        self.devices.is_subset(&other.devices)
            && self.writing.is_subset(&other.writing)
            && self.rpc_clients.is_subset(&other.rpc_clients)
            && self.bdis.is_subset(&other.bdis)
            && self.peers.is_subset(&other.peers)
            && self.processes.is_subset(&other.processes)
            && self.writers.is_subset(&other.writers)
    }
}

/// Whether a topology says what a BDI is.
fn is_known(topology: &Topology, bdi: &str) -> bool {
    let mut systems = topology.file_systems.iter();
    let mut served = topology.served.iter();
    systems.any(|fs| fs.bdi == bdi)
        || served.any(|one| one.bdi == bdi)
        || topology.mounts.iter().any(|mount| mount.bdi == bdi)
}

/// The look-up thread. It ends when this is dropped, but the drop does not wait: a hanging read
/// must not keep the daemon from ending.
pub struct Lookup {
    latest: Arc<ArcSwap<Topology>>,
    nfs_servers: Arc<ArcSwap<Vec<String>>>,
    questions: SyncSender<LookupRequest>,
    asked: LookupRequest,
}

impl Lookup {
    /// Starts the thread and waits a moment for its first answer.
    ///
    /// # Errors
    ///
    /// No thread is available.
    pub fn start(paths: HostPaths, nfs_servers: Vec<String>) -> io::Result<Self> {
        let latest = Arc::new(ArcSwap::from_pointee(Topology::default()));
        let (questions, asked) = sync_channel(1);
        let (first, answered) = sync_channel(1);
        let answers = Arc::clone(&latest);
        let nfs_servers = Arc::new(ArcSwap::from_pointee(nfs_servers));
        let names = Arc::clone(&nfs_servers);
        thread::Builder::new()
            .name("lookup".into())
            .spawn(move || {
                let reader = Reader::new(paths, &names.load());
                look_up(reader, &names, &answers, &first, &asked);
            })?;
        let _ = answered.recv_timeout(FIRST);
        Ok(Self {
            latest,
            nfs_servers,
            questions,
            asked: LookupRequest::default(),
        })
    }

    /// Runs one round in the calling thread.
    #[must_use]
    pub fn once(paths: HostPaths, nfs_servers: &[String]) -> Topology {
        Reader::new(paths, nfs_servers).round(&LookupRequest::default())
    }

    /// Rounds in the calling thread, one for each call.
    pub fn rounds(
        paths: HostPaths,
        nfs_servers: &[String],
    ) -> impl FnMut(&LookupRequest) -> Topology + use<> {
        let mut reader = Reader::new(paths, nfs_servers);
        move |wanted| reader.round(wanted)
    }

    /// The last answer; `read_ns` is zero before the first.
    #[must_use]
    pub fn latest(&self) -> Arc<Topology> {
        self.latest.load_full()
    }

    /// Uses other names of NFS servers' processes from the next round on.
    pub fn set_nfs_servers(&self, names: Vec<String>) {
        self.nfs_servers.store(Arc::new(names));
    }

    /// Sends a request. The answer, if any, comes within a second or two.
    pub fn ask(&mut self, wanted: &LookupRequest) {
        if *wanted == self.asked {
            return;
        }
        match self.questions.try_send(wanted.clone()) {
            Ok(()) => self.asked = wanted.clone(),
            // The thread has not read the last request yet; the next tick asks again. It
            // disconnects only after a panic.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Runs rounds until the sender is dropped.
fn look_up(
    mut reader: Reader,
    names: &ArcSwap<Vec<String>>,
    answers: &ArcSwap<Topology>,
    first: &SyncSender<()>,
    asked: &Receiver<LookupRequest>,
) {
    let mut schedule = Schedule::new(Instant::now());
    let mut wanted = LookupRequest::default();
    loop {
        let begun = computed();
        reader.set_nfs_servers(&names.load());
        let topology = reader.round(&wanted);
        let mut unanswered = left(&wanted, &topology, reader.open());
        answers.store(Arc::new(topology));
        let cost = computed().saturating_sub(begun) + reader.take_computed();
        schedule.ended(Instant::now(), cost, unanswered.clone());
        let _ = first.try_send(());
        loop {
            let wait = schedule
                .due(&unanswered)
                .saturating_duration_since(Instant::now());
            match asked.recv_timeout(wait) {
                Ok(now_wanted) => {
                    wanted = now_wanted;
                    unanswered = left(&wanted, &answers.load(), reader.open());
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// The unanswered part of a request. For `open` devices, another round may find the server: for NFS
/// mounts once they write.
fn left(wanted: &LookupRequest, topology: &Topology, open: &OpenDevices) -> LookupRequest {
    let mut left = wanted.unanswered(topology);
    left.writing.retain(|bdi| open.mounts.contains(bdi));
    left.devices.extend(open.others.iter().cloned());
    left
}

/// The CPU time of this thread so far.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
