//! The data read in one tick: the boundary between the collector and the verdict.
//!
//! `record` writes observations, `replay` reads them back, and the verdict has no other input. A
//! value that could not be read is `None` or absent, never an invented zero. Counters are totals
//! since the daemon started. The difference of two observations is what happened between them.

mod container;
mod nfs;
mod served;
mod topology;

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use serde::{Deserialize, Serialize};

use crate::words::words;

pub use self::container::{Container, NetNamespace, ProcessPlace, is_pod_uid, pod_uid_of_volume};
pub use self::nfs::{
    Caller, NfsClient, Nfsd, ServerExit, ServerThread, Serving, ThreadState, UserServer, Waited,
};
pub use self::served::{
    ClientKind, Progress, Proof, RemoteDevice, RestsOn, ServedDevice, ServerKind, ServerRef,
    WriteBasis, WritesTo,
};
pub use self::topology::{
    Backing, Connection, ExemptCount, Export, FarEnd, FileSystem, LoopDevice, NfsMount, OpenCalls,
    PeerSocket, RpcClient, ServerAddress, ServerProcess, Topology, Transport,
};

/// The node at one tick.
///
/// Recordings outlive versions. A field that is added later is `None` or empty in an old recording.
/// A field without a default of its own needs `serde(default)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// `CLOCK_MONOTONIC`, nanoseconds: the clock of all times here.
    pub monotonic_ns: u64,
    /// Wall clock, milliseconds since 1970, for people.
    pub unix_ms: u64,
    /// The node's dirty pages against its limit.
    pub memory: Memory,
    /// Histograms of waits, by (cause, class, reason, BDI).
    pub delays: Vec<Delay>,
    /// Unfinished waits.
    pub waits: Vec<Waiting>,
    /// The reports of `balance_dirty_pages`, by (BDI, class of the dirtier).
    pub dirty_pauses: Vec<DirtyPauses>,
    /// The NFS client, by device. A device is listed once it is mounted or has written.
    pub clients: Vec<NfsClient>,
    /// The kernel's NFS server; `None`: it does not run.
    pub nfsd: Option<Nfsd>,
    /// Running userspace NFS servers.
    #[serde(default)]
    pub user_servers: Vec<UserServer>,
    /// Userspace NFS servers that ended recently.
    #[serde(default)]
    pub server_exits: Vec<ServerExit>,
    /// Backing devices in use.
    pub bdis: Vec<Bdi>,
    /// Backing devices in use that `bdis` leaves out, because there are too many.
    #[serde(default)]
    pub bdis_left_out: u32,
    /// The kernel's RPC clients that sent a call recently.
    pub rpc_clients: Vec<RpcClient>,
    /// The NFS mounts and servers of this node, from the last look-up.
    pub topology: Arc<Topology>,
    /// Release of the running kernel, `uname -r`.
    pub kernel: CompactString,
    /// How each signal is attached.
    pub signals: Vec<SignalStatus>,
    /// Totals of lost data.
    pub lost: Lost,
    /// Retries of `svc_alloc_arg`, all nfsd threads together; `None`: the kernel does not report
    /// them.
    pub svc_alloc_arg_retries: Option<u64>,
    /// Kernel stacks of the servers' threads and of tasks that wait with them; empty unless a loop
    /// is suspected.
    #[serde(default)]
    pub stacks: Vec<Stack>,
}

impl Observation {
    /// A sentence if backing devices are left out.
    #[must_use]
    pub fn bdis_gap(&self) -> Option<CompactString> {
        let (read, left_out) = (self.bdis.len(), self.bdis_left_out);
        (left_out > 0).then(|| {
            format_compact!(
                "Only {read} of {} backing devices are read: those of loops first, then those whose \
                 writers were paused last, then those that are exported.",
                read.saturating_add(left_out as usize)
            )
        })
    }
}

/// The kernel stack of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The task's name.
    pub comm: CompactString,
    /// Functions, innermost first, without offsets: `balance_dirty_pages`.
    pub frames: Vec<CompactString>,
}

/// The node's dirty pages, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Size of a page.
    pub page_size: u64,
    /// `nr_dirty` of /proc/vmstat.
    pub dirty_bytes: Option<u64>,
    /// `nr_writeback` of /proc/vmstat.
    pub writeback_bytes: Option<u64>,
    /// `nr_dirty_threshold` of /proc/vmstat. Lags the hard limit by up to 2x
    /// when memory is tight: prefer the `limit` of [`DirtyPauses`].
    pub dirty_limit_bytes: Option<u64>,
    /// `nr_dirty_background_threshold` of /proc/vmstat: the start of writeback.
    pub background_limit_bytes: Option<u64>,
    /// `MemTotal` of /proc/meminfo.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// `MemAvailable` of /proc/meminfo.
    #[serde(default)]
    pub available_bytes: Option<u64>,
    /// `oom_kill` of /proc/vmstat: processes killed since boot.
    #[serde(default)]
    pub oom_kills: Option<u64>,
}

/// A histogram of waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// The cause.
    pub cause: Cause,
    /// The class of the tasks.
    pub class: Class,
    /// For `reclaim_throttle`, the kernel's reason.
    pub reason: ThrottleReason,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// Total of all waits, nanoseconds.
    pub sum_ns: u64,
    /// Waits per bucket, not cumulative. The last one is beyond all bounds, which the daemon's
    /// configuration sets.
    pub buckets: [u64; HIST_BUCKETS],
}

impl Delay {
    /// Waits counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        // A recording may contain any number.
        let add = |sum: u64, count: &u64| sum.saturating_add(*count);
        self.buckets.iter().fold(0, add)
    }
}

/// An unfinished wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// The task's name.
    pub comm: CompactString,
    /// The cause.
    pub cause: Cause,
    /// The class of the task.
    pub class: Class,
    /// For `reclaim_throttle`, the kernel's reason.
    pub reason: ThrottleReason,
    /// BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// When it began, `CLOCK_MONOTONIC` nanoseconds.
    pub since_ns: u64,
}

/// The reports of `balance_dirty_pages` to the dirtiers of one class on one BDI, as totals over its
/// pauses. A mean over a window is the difference of two sums divided by the difference of
/// `events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyPauses {
    /// The BDI that was written to.
    pub bdi: CompactString,
    /// The class of the writing tasks.
    pub class: Class,
    /// Pauses.
    pub events: u64,
    /// The pauses that describe the node. Others concern the part of the BDI that belongs to a
    /// memory cgroup, which may be held to that cgroup's own limit. Absent: all pauses, in older
    /// recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_events: Option<u64>,
    /// Total of the pauses, nanoseconds.
    pub pause_ns: u64,
    /// Sum of dirty and writeback pages of the whole node, over `node_events`.
    pub dirty_pages: u64,
    /// Sum of the hard dirty limit, pages, over `node_events`.
    pub limit_pages: u64,
    /// Sum of this BDI's dirty and writeback pages.
    pub bdi_dirty_pages: u64,
    /// Sum of the kernel's target for this BDI's part, pages.
    pub bdi_setpoint_pages: u64,
    /// Sum of the rate that the kernel allowed the task, KiB a second.
    pub task_ratelimit: u64,
    /// The last event, `CLOCK_MONOTONIC` nanoseconds.
    pub last_ns: u64,
    /// Whole node's dirty and writeback pages at the last of `node_events`.
    pub last_dirty_pages: u64,
    /// The hard limit at the last of `node_events`, pages.
    pub last_limit_pages: u64,
}

impl DirtyPauses {
    /// The pauses that describe the node.
    #[must_use]
    pub fn node_events(&self) -> u64 {
        self.node_events.unwrap_or(self.events)
    }
}

/// A backing device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bdi {
    /// The kernel's name for it, mostly `major:minor`.
    pub bdi: CompactString,
    /// Type of the file system mounted from it.
    pub fstype: CompactString,
    /// Device or export mounted from it.
    pub device: CompactString,
    /// Dirty, bytes.
    pub dirty_bytes: Option<u64>,
    /// Under writeback, bytes.
    pub writeback_bytes: Option<u64>,
    /// Its share of the dirty limit, bytes.
    pub threshold_bytes: Option<u64>,
    /// Bytes written since the device exists.
    pub written_bytes: Option<u64>,
    /// Milliseconds that the disk was busy since boot (`io_ticks`); `None`: not a block device.
    pub disk_busy_ms: Option<u64>,
    /// Sectors of 512 bytes that the disk wrote since boot.
    pub disk_sectors_written: Option<u64>,
    /// Reads and writes that the disk has begun and not completed; `None`: not a block device.
    #[serde(default)]
    pub disk_in_flight: Option<u64>,
    /// Bytes that the server acknowledged, by the client's own count (CIFS); `None`: it has none.
    #[serde(default)]
    pub acked_bytes: Option<u64>,
    /// Sectors of 512 bytes that the disk read since boot.
    pub disk_sectors_read: Option<u64>,
    /// Reads and writes that the disk completed since boot, merged ones as one.
    pub disk_requests: Option<u64>,
    /// Total milliseconds of these requests, queueing included.
    pub disk_request_ms: Option<u64>,
    /// Its congestion; `None`: unknown.
    pub congestion: Option<Congestion>,
    /// `max_ratio` of /sys/class/bdi: its largest share of the dirty limit,
    /// percent.
    pub max_ratio: Option<u32>,
    /// `strict_limit` of /sys/class/bdi; `None`: the kernel lacks it.
    pub strict_limit: Option<bool>,
}

/// Whether a backing device is congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Congestion {
    /// Whether it is congested now.
    pub congested: bool,
    /// The source of that.
    pub by: CongestionBy,
    /// Start of the congestion, `CLOCK_MONOTONIC` nanoseconds, as far as observed.
    pub since_ns: Option<u64>,
    /// Total congested time since the daemon watches it, nanoseconds.
    pub total_ns: u64,
    /// The threshold in bytes, if the rule has one.
    pub threshold_bytes: Option<u64>,
}

words! {
    /// The source of a device's congestion state.
    CongestionBy {
        /// The kernel's flag, changed by `set_bdi_congested` and `clear_bdi_congested` (up to
        /// 5.17).
        Flag = "flag",
        /// The NFS client's flag `write_congested`, read at its calls (from 5.18 on).
        WriteCongested = "write-congested",
        /// The NFS client's own rule: pages under writeback against
        /// `nfs_congestion_kb`.
        NfsWriteback = "nfs-writeback",
        /// FUSE's own rule: requests in the background against the connection's
        /// `congestion_threshold`.
        FuseRequests = "fuse-requests",
        /// Dirty and writeback bytes against the BDI's share of the dirty limit. Derived, because
        /// the kernel no longer has a flag.
        DirtyThreshold = "dirty-threshold",
    }
}

words! {
    /// The state of a signal; the best is the smallest.
    State {
        /// Attached by the best strategy, without losses.
        Attached = "attached",
        /// Attached by a weaker strategy, with losses.
        Degraded = "degraded",
        /// Not attached.
        Unavailable = "unavailable",
    }
}

/// The state of one signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalStatus {
    /// The signal's name.
    pub signal: CompactString,
    /// The strategy in use, or `none`.
    pub strategy: CompactString,
    /// Its state.
    pub state: State,
}

/// Totals of lost data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    /// Records dropped by a full ring buffer.
    pub ringbuf: u64,
    /// Keys dropped by a full map.
    pub map_full: u64,
    /// Waits dropped by the daemon because their end was never seen.
    pub evicted: u64,
    /// Observations that did not fit into a recording.
    pub recording: u64,
}

/// A task's totals for one cause. For display only, not an input of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDelay {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// The task's name.
    pub comm: CompactString,
    /// The class of the task.
    pub class: Class,
    /// The cause.
    pub cause: Cause,
    /// The last wait's BDI.
    pub bdi: CompactString,
    /// Finished waits.
    pub waits: u64,
    /// Total of finished waits, nanoseconds.
    pub delay_ns: u64,
    /// The part of it within the last tick.
    pub recent_delay_ns: u64,
}

/// A finished wait over the threshold. For display only, not an input of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StalledTask {
    /// The wait as it was before it ended.
    #[serde(flatten)]
    pub wait: Waiting,
    /// Its duration, nanoseconds.
    pub delay_ns: u64,
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};

    use super::Delay;

    #[test]
    fn the_waits_of_a_cause_are_those_of_all_its_buckets() {
        let mut buckets = [0; HIST_BUCKETS];
        (buckets[0], buckets[HIST_BUCKETS - 1]) = (2, 3);
        let delay = Delay {
            cause: Cause::DirectReclaim,
            class: Class::User,
            reason: ThrottleReason::None,
            bdi: "".into(),
            sum_ns: 7,
            buckets,
        };
        assert_eq!(delay.count(), 5);
    }
}
