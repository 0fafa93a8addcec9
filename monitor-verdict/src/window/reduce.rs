//! Reduces an observation to the inputs of the signatures: some kilobytes instead of the whole
//! node. All lists are sorted, because the order of an observation carries no meaning.

mod own;
mod threads;
mod waits;

pub mod related;

use std::mem;

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::observation::{
    self, Bdi, ClientKind, CongestionBy, NfsClient, Observation, Progress, RestsOn, SignalStatus,
    State, Waiting,
};

pub use own::NfsdThread;
pub use threads::Threads;
pub use waits::{Finished, Lasting};

/// The signals that the verdict needs, by their names in [`observation::SignalStatus`]. If one is
/// unavailable, its inputs are unknown. A signal that is not listed counts as available.
pub mod signal {
    /// Pauses and lasting waits of `balance_dirty_pages`.
    pub const BALANCE_DIRTY_PAGES: &str = "balance_dirty_pages";
    /// WRITE calls of the NFS client.
    pub const NFS_CLIENT: &str = "nfs_client_writes";
    /// Tasks that reclaim memory themselves.
    pub const DIRECT_RECLAIM: &str = "direct_reclaim";
    /// Sleeps in reclaim: a kernel has the first two, or the third.
    pub const RECLAIM_SLEEPS: [&str; 3] =
        ["congestion_wait", "wait_iff_congested", "reclaim_throttle"];
    /// Waits for the NFS server's COMMIT.
    pub const NFS_COMMIT: &str = "nfs_commit";
    /// nfsd threads that wait for pages for a request.
    pub const SVC_ALLOC_ARG: &str = "svc_alloc_arg";
    /// The senders of the calls that nfsd handles.
    pub const RPC_XID: &str = "rpc_xid";
}

/// Bounds on one observation. Excess entries are dropped, in the observation's order.
const MAX_CLIENTS: usize = 256;
const MAX_PAUSES: usize = 512;
const MAX_DEVICES: usize = 512;
const MAX_LOOP_DEVICES: usize = 64;
const MAX_USER_SERVERS: usize = 64;
const MAX_STACKED: usize = 512;
/// /sys/dev/block/*/stat counts in sectors of 512 bytes on every disk.
const SECTOR: u64 = 512;

/// One observation, reduced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// Size of a page; `None`: the observation lacks it.
    pub page_size: Option<u64>,
    /// The node's dirty limit, as /proc/vmstat has it.
    pub dirty_limit_bytes: Option<u64>,
    /// The node's dirty and writeback bytes, as /proc/vmstat has them.
    pub dirty_bytes: Option<u64>,
    /// The kernel's NFS server, where it runs.
    pub server: Option<Server>,
    /// Its threads, by thread id; `None`: the senders of their calls or their throttling are not
    /// visible.
    pub nfsd_threads: Option<Vec<NfsdThread>>,
    /// Total bytes that it wrote for the RPC clients of this node, by client id.
    pub nfsd_wrote: Vec<(u32, u64)>,
    /// Servers in userspace whose threads are known.
    pub user_servers: Vec<UserThreads>,
    /// Threads of userspace servers, known by their waits alone; `None`: throttling is not visible.
    pub user_waits: Option<Threads>,
    /// Workers of kernel targets, known by their waits alone; `None`: throttling is not visible.
    pub target_waits: Option<Threads>,
    /// Devices that a server cleans: those of NFS clients, and others that are served on this node.
    pub clients: Vec<Client>,
    /// Reports of `balance_dirty_pages`. Empty is the same as no pauses.
    pub pauses: Vec<observation::DirtyPauses>,
    /// Backing devices.
    pub devices: Vec<DeviceTick>,
    /// Loop devices (losetup).
    pub loop_devices: Vec<LoopDevice>,
    /// Devices that rest on others, loop devices among them.
    pub stacked: Vec<RestsOn>,
    /// Finished waits.
    pub finished: Vec<Finished>,
    /// Waits that last.
    pub lasting: Vec<Lasting>,
    /// Total keys that found a map full.
    pub map_full: u64,
    /// The state of the signals.
    pub signals: Signals,
    /// The inputs of the related conditions.
    pub signs: related::RelatedSample,
}

/// The state of the signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// [`signal::BALANCE_DIRTY_PAGES`].
    pub dirty: Option<State>,
    /// [`signal::NFS_CLIENT`].
    pub client: Option<State>,
    /// [`signal::DIRECT_RECLAIM`].
    pub reclaim: Option<State>,
    /// The best of [`signal::RECLAIM_SLEEPS`].
    pub sleeps: Option<State>,
    /// [`signal::NFS_COMMIT`].
    pub commit: Option<State>,
    /// [`signal::SVC_ALLOC_ARG`].
    pub alloc: Option<State>,
    /// [`signal::RPC_XID`].
    pub calls: Option<State>,
}

/// The kernel's NFS server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Total bytes written to the exported file systems.
    pub bytes_written: Option<u64>,
    /// The part of them that belongs to no known RPC client; `None`: all of them.
    pub bytes_unattributed: Option<u64>,
    /// Its threads by state; `None`: throttling is not visible.
    pub threads: Option<Threads>,
}

/// A server in userspace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserThreads {
    /// The process's name.
    pub name: CompactString,
    /// The process.
    pub tgid: u32,
    /// Its threads by state.
    pub threads: Threads,
}

/// A device that a server cleans, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The device, which is its BDI's name.
    pub bdi: CompactString,
    /// Its kind.
    pub kind: ClientKind,
    /// Total bytes that the server acknowledged; `None`: they are not visible.
    pub bytes_acked: Option<u64>,
    /// Requests sent, neither answered nor failed.
    pub pending_writes: Option<u64>,
    /// Requests answered or failed, total.
    pub answered_writes: Option<u64>,
    /// Writers in `balance_dirty_pages` on it or on what rests on it; `None`: they are not visible.
    pub waiting_writers: Option<u32>,
    /// Dirty and writeback bytes.
    pub held_bytes: Option<u64>,
}

/// A backing device at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTick {
    /// Its BDI's name.
    pub bdi: CompactString,
    /// Milliseconds that the disk was busy since boot.
    pub busy_ms: Option<u64>,
    /// Bytes that the disk wrote since boot.
    pub disk_written_bytes: Option<u64>,
    /// Total bytes written back from the page cache. Direct I/O is not included.
    pub written_bytes: Option<u64>,
    /// Dirty and writeback bytes.
    pub held_bytes: Option<u64>,
    /// Whether it is congested, and the source of that.
    pub congested: Option<(bool, CongestionBy)>,
}

/// A loop device (`/dev/loop0`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoopDevice {
    /// Its BDI's name.
    pub bdi: CompactString,
    /// The BDI of the file system that its file lies on.
    pub on: CompactString,
}

impl Sample {
    /// Becomes the reduction of `observation` and keeps its buffers.
    pub fn refill(&mut self, observation: &Observation) {
        self.signals = Signals::of(&observation.signals);
        let sees_dirty = Signals::has(self.signals.dirty);
        self.ns = observation.monotonic_ns;
        self.page_size = Some(observation.memory.page_size).filter(|&size| size > 0);
        self.dirty_limit_bytes = observation.memory.dirty_limit_bytes;
        let memory = &observation.memory;
        let dirty = memory.dirty_bytes.zip(memory.writeback_bytes);
        self.dirty_bytes = dirty.map(|(dirty, writeback)| dirty.saturating_add(writeback));
        self.map_full = observation.lost.map_full;
        self.server = observation.nfsd.as_ref().map(|nfsd| Server {
            bytes_written: nfsd.bytes_written,
            bytes_unattributed: nfsd.bytes_unattributed,
            threads: sees_dirty.then(|| Threads::of_nfsd(&nfsd.threads, &observation.waits)),
        });
        let nfsd = observation.nfsd.as_ref().filter(|_| sees_dirty);
        self.nfsd_threads = nfsd.and_then(|nfsd| own::threads(nfsd, &observation.waits));
        own::wrote(&mut self.nfsd_wrote, observation);
        self.user_waits =
            sees_dirty.then(|| Threads::by_waits(&observation.waits, Class::Server, |_| true));
        self.target_waits =
            sees_dirty.then(|| Threads::by_waits(&observation.waits, Class::Target, |_| true));
        self.user_servers.clear();
        if sees_dirty {
            let all = threads::user_servers(observation).take(MAX_USER_SERVERS);
            self.user_servers
                .extend(all.map(|(server, threads)| UserThreads {
                    name: server.name.clone(),
                    tgid: server.tgid,
                    threads,
                }));
        }
        self.devices(observation);
        self.clients(observation);
        self.pauses.clear();
        self.pauses
            .extend(observation.dirty_pauses.iter().take(MAX_PAUSES).cloned());
        self.pauses
            .sort_unstable_by(|a, b| (&a.bdi, a.class).cmp(&(&b.bdi, b.class)));
        waits::finished(&mut self.finished, observation);
        waits::lasting(&mut self.lasting, observation);
        self.signs.refill(observation);
    }

    fn devices(&mut self, observation: &Observation) {
        self.devices.clear();
        let devices = observation.bdis.iter().take(MAX_DEVICES);
        self.devices.extend(devices.map(DeviceTick::of));
        self.devices.sort_unstable_by(|a, b| a.bdi.cmp(&b.bdi));
        self.loop_devices.clear();
        let loops = observation.topology.loop_devices.iter();
        self.loop_devices
            .extend(loops.take(MAX_LOOP_DEVICES).map(|device| LoopDevice {
                bdi: device.bdi.clone(),
                on: file_system_of(device, observation),
            }));
        self.loop_devices.sort_unstable();
        self.stacked.clear();
        let devices = self.loop_devices.iter().map(|device| RestsOn {
            bdi: device.bdi.clone(),
            on: device.on.clone(),
        });
        self.stacked
            .extend(devices.filter(|edge| !edge.on.is_empty()));
        let edges = observation.topology.rests_on.iter().take(MAX_STACKED);
        self.stacked.extend(edges.cloned());
        self.stacked.sort_unstable();
        self.stacked.dedup();
    }

    /// Fills in the clients, which need the devices.
    fn clients(&mut self, observation: &Observation) {
        let sees_client = Signals::has(self.signals.client);
        let sees_dirty = Signals::has(self.signals.dirty);
        let mut clients = mem::take(&mut self.clients);
        clients.clear();
        let all = observation.clients.iter().take(MAX_CLIENTS);
        clients.extend(all.map(|from| Client {
            held_bytes: self.device(&from.bdi).and_then(|d| d.held_bytes),
            waiting_writers: sees_dirty.then(|| self.writers(&from.bdi, &observation.waits)),
            ..nfs_client(from, sees_client)
        }));
        for served in observation.topology.served.iter().take(MAX_CLIENTS) {
            let known = clients.iter().any(|client| client.bdi == served.bdi);
            if let Some(bdi) = observation.bdis.iter().find(|bdi| bdi.bdi == served.bdi)
                && !known
            {
                clients.push(Client {
                    held_bytes: self.device(&bdi.bdi).and_then(|d| d.held_bytes),
                    waiting_writers: sees_dirty.then(|| self.writers(&bdi.bdi, &observation.waits)),
                    ..served_client(served.kind, bdi)
                });
            }
        }
        clients.sort_unstable_by(|a, b| a.bdi.cmp(&b.bdi));
        self.clients = clients;
    }

    /// Writers in `balance_dirty_pages` on a device or on what rests on it.
    fn writers(&self, bdi: &str, waits: &[Waiting]) -> u32 {
        let here = waits.iter().filter(|wait| {
            wait.cause == Cause::BalanceDirtyPages
                && wait.class != Class::Nfsd
                && (wait.bdi == bdi || self.rests_on(&wait.bdi, bdi))
        });
        u32::try_from(here.count()).unwrap_or(u32::MAX)
    }

    /// The reduction of `observation`, in the buffers of an older one.
    pub(super) fn reuse(old: &mut Self, observation: &Observation) -> Self {
        let mut sample = mem::take(old);
        sample.refill(observation);
        sample
    }

    /// The node's dirty pages and their limit, as /proc/vmstat has them.
    #[must_use]
    pub fn dirty_pages(&self) -> Option<(f64, f64)> {
        let page = self.page_size? as f64;
        let (dirty, limit) = self.dirty_bytes.zip(self.dirty_limit_bytes)?;
        Some((dirty as f64 / page, limit as f64 / page))
    }

    /// The client device of this name.
    #[must_use]
    pub fn client(&self, bdi: &str) -> Option<&Client> {
        let at = self.clients.binary_search_by(|c| c.bdi.as_str().cmp(bdi));
        at.ok().and_then(|at| self.clients.get(at))
    }

    /// The backing device of this name.
    #[must_use]
    pub fn device(&self, bdi: &str) -> Option<&DeviceTick> {
        let at = self.devices.binary_search_by(|d| d.bdi.as_str().cmp(bdi));
        at.ok().and_then(|at| self.devices.get(at))
    }

    /// Milliseconds that the disk of this BDI was busy.
    #[must_use]
    pub fn disk_busy_ms(&self, bdi: &str) -> Option<u64> {
        self.device(bdi)?.busy_ms
    }

    /// The reports of `balance_dirty_pages` to this class on this BDI.
    #[must_use]
    pub fn pauses(&self, bdi: &str, class: Class) -> Option<&observation::DirtyPauses> {
        let at = self
            .pauses
            .binary_search_by(|p| (p.bdi.as_str(), p.class).cmp(&(bdi, class)));
        at.ok().and_then(|at| self.pauses.get(at))
    }

    /// Total nanoseconds of finished waits of this cause, class and BDI.
    #[must_use]
    pub fn finished_ns(&self, cause: Cause, class: Class, bdi: &str) -> Option<u64> {
        let at = self
            .finished
            .binary_search_by(|f| f.key().cmp(&(cause, class, bdi)));
        at.ok().and_then(|at| Some(self.finished.get(at)?.sum_ns))
    }
}

impl Signals {
    fn of(all: &[SignalStatus]) -> Self {
        let state = |name: &str| all.iter().find(|s| s.signal == name).map(|s| s.state);
        let sleeps = signal::RECLAIM_SLEEPS.iter().filter_map(|name| state(name));
        Self {
            dirty: state(signal::BALANCE_DIRTY_PAGES),
            client: state(signal::NFS_CLIENT),
            reclaim: state(signal::DIRECT_RECLAIM),
            sleeps: sleeps.min(),
            commit: state(signal::NFS_COMMIT),
            alloc: state(signal::SVC_ALLOC_ARG),
            calls: state(signal::RPC_XID),
        }
    }

    /// Whether a signal in this state delivers data.
    #[must_use]
    pub fn has(state: Option<State>) -> bool {
        state != Some(State::Unavailable)
    }
}

impl DeviceTick {
    fn of(bdi: &Bdi) -> Self {
        let held = match (bdi.dirty_bytes, bdi.writeback_bytes) {
            (None, None) => None,
            (dirty, writeback) => Some(dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0))),
        };
        Self {
            bdi: bdi.bdi.clone(),
            busy_ms: bdi.disk_busy_ms,
            disk_written_bytes: bdi.disk_sectors_written.map(|n| n.saturating_mul(SECTOR)),
            written_bytes: bdi.written_bytes,
            held_bytes: held,
            congested: bdi.congestion.map(|c| (c.congested, c.by)),
        }
    }
}

/// The BDI that a loop device's file lies on. Of several that are possible, it is the only one on
/// which workers of loop devices were paused, if they are not those of another device there.
fn file_system_of(device: &observation::LoopDevice, observation: &Observation) -> CompactString {
    let paused = |bdi: &&CompactString| {
        let mut pauses = observation.dirty_pauses.iter();
        let mut others = observation.topology.loop_devices.iter();
        pauses.any(|one| one.class == Class::LoopDevice && one.events > 0 && one.bdi == **bdi)
            && !others.any(|other| other.maybe_on.is_empty() && other.on == **bdi)
    };
    let mut maybe = device.maybe_on.iter().filter(paused);
    match (maybe.next(), maybe.next()) {
        (Some(only), None) => only.clone(),
        _ => device.on.clone(),
    }
}

/// Short and failed WRITEs distort the byte count; the calls are exact.
fn nfs_client(from: &NfsClient, sees_client: bool) -> Client {
    Client {
        bdi: from.bdi.clone(),
        kind: ClientKind::Nfs,
        bytes_acked: sees_client.then_some(from.bytes_acked),
        pending_writes: sees_client.then(|| from.pending_writes()),
        answered_writes: sees_client.then(|| from.writes_acked.saturating_add(from.writes_failed)),
        waiting_writers: None,
        held_bytes: None,
    }
}

/// A client of another kind than NFS, by its own counters.
fn served_client(kind: ClientKind, bdi: &Bdi) -> Client {
    let (acked, pending, answered) = match kind.progress() {
        Progress::Disk => (
            bdi.disk_sectors_written.map(|n| n.saturating_mul(SECTOR)),
            bdi.disk_in_flight,
            bdi.disk_requests,
        ),
        // Its requests are not visible; pages under writeback are.
        Progress::Written | Progress::NfsCalls => {
            let acked = bdi.acked_bytes.or(bdi.written_bytes);
            let pending = bdi.writeback_bytes.map(|bytes| u64::from(bytes > 0));
            (acked, pending, acked)
        }
    };
    Client {
        bdi: bdi.bdi.clone(),
        kind,
        bytes_acked: acked,
        pending_writes: pending,
        answered_writes: answered,
        waiting_writers: None,
        held_bytes: None,
    }
}
