//! NFS: the client's writes, the server and its threads.

use compact_str::CompactString;
use monitor_common::Cause;
use serde::{Deserialize, Serialize};

use crate::words::words;

use super::topology::ExemptCount;

/// The NFS client's writes on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NfsClient {
    /// The mount's device, which is its BDI's name: `0:29`.
    pub bdi: CompactString,
    /// WRITE calls started.
    pub writes_sent: u64,
    /// The part of them that became calls to a server. The client did the others itself (LOCALIO);
    /// `None`: not visible.
    pub writes_by_rpc: Option<u64>,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// WRITE calls answered without an error.
    pub writes_acked: u64,
    /// Bytes that the server acknowledged.
    pub bytes_acked: u64,
    /// WRITE calls that failed.
    pub writes_failed: u64,
    /// COMMIT calls started.
    pub commits_sent: u64,
    /// COMMIT calls answered.
    pub commits_done: u64,
    /// Last WRITE started, `CLOCK_MONOTONIC` nanoseconds; zero: never.
    pub last_sent_ns: u64,
    /// Last WRITE answered, `CLOCK_MONOTONIC` nanoseconds; zero: never.
    pub last_acked_ns: u64,
}

impl NfsClient {
    /// WRITE calls started and neither answered nor failed.
    #[must_use]
    pub const fn pending_writes(&self) -> u64 {
        let answered = self.writes_acked.saturating_add(self.writes_failed);
        self.writes_sent.saturating_sub(answered)
    }

    /// WRITE and COMMIT calls that ended, with or without an error.
    #[must_use]
    pub const fn answers(&self) -> u64 {
        let writes = self.writes_acked.saturating_add(self.writes_failed);
        writes.saturating_add(self.commits_done)
    }
}

/// The kernel's NFS server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nfsd {
    /// Bytes written to the exported file systems; `None`: the signal is not attached.
    pub bytes_written: Option<u64>,
    /// WRITE operations started.
    pub writes_started: u64,
    /// WRITE operations ended.
    pub writes_done: u64,
    /// Last WRITE operation ended, `CLOCK_MONOTONIC` nanoseconds.
    pub last_done_ns: u64,
    /// Its threads.
    pub threads: Vec<ServerThread>,
    /// The part of `bytes_written` from calls that were not seen, whose client is unknown. `None`:
    /// no call is visible.
    pub bytes_unattributed: Option<u64>,
    /// The callers of its threads. A thread that is missing has [`Caller::Unknown`]. `None`: no
    /// call is visible.
    pub serving: Option<Vec<Serving>>,
}

/// The sender of the current or last call of an nfsd thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Serving {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The sender.
    pub caller: Caller,
    /// The thread's finished waits, by cause.
    pub waited: Vec<Waited>,
}

/// The sender of a call to the kernel's NFS server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// No call was seen.
    #[default]
    Unknown,
    /// No RPC client of this node was seen to send it: it came from another host.
    Elsewhere,
    /// The [`RpcClient`](super::RpcClient) of this node with this id.
    Client(u32),
}

/// A thread's finished waits in one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The cause.
    pub cause: Cause,
    /// The BDI of the last one; empty: the cause has none.
    pub bdi: CompactString,
    /// Total nanoseconds. Announced pauses count from their start.
    pub sum_ns: u64,
}

/// A thread of an NFS server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerThread {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Its state.
    pub state: ThreadState,
    /// The start of its current WRITE operation, `CLOCK_MONOTONIC` nanoseconds.
    pub write_since_ns: Option<u64>,
    /// If `blocked`: the kernel function that it sleeps in, if it could be read.
    pub blocked_in: Option<CompactString>,
    /// If `blocked`: whether it waits for a lock while another thread of the server is throttled,
    /// most likely with that lock held.
    #[serde(default)]
    pub behind_throttled: bool,
}

/// A userspace NFS server, such as nfs-ganesha.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserServer {
    /// The process's name, one of `--loops.server-names`.
    pub name: CompactString,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Its threads that are not idle; most of a server's hundreds are. A thread in interruptible
    /// sleep counts as idle, because the reason for its wait is not visible.
    pub threads: Vec<ServerThread>,
    /// All its threads, by exemption from local dirty throttling; `None`: not read yet.
    pub exempt_threads: Option<ExemptCount>,
    /// Whether the process is stopped, by SIGSTOP or a debugger.
    pub stopped: bool,
}

/// A userspace NFS server that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerExit {
    /// The process's name.
    pub name: CompactString,
    /// Its process id in the initial pid namespace.
    pub tgid: u32,
    /// When it was first found gone, `CLOCK_MONOTONIC` nanoseconds.
    pub gone_ns: u64,
    /// Processes of its memory cgroup that the OOM killer killed within the few seconds before;
    /// `None`: unknown.
    pub cgroup_oom_kills: Option<u64>,
    /// Processes of the node that the OOM killer killed since the previous tick.
    pub node_oom_kills: Option<u64>,
}

words! {
    /// The state of a server thread. Accumulate it over a window: one sample flickers.
    ThreadState {
        /// Waits for a request.
        Idle = "idle",
        /// Works.
        Running = "running",
        /// Is in one of the [`Cause`](monitor_common::Cause)s.
        Throttled = "throttled",
        /// Sleeps uninterruptibly elsewhere: a lock, or its disk.
        Blocked = "blocked",
    }
}
