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
    /// WRITE calls begun.
    pub writes_sent: u64,
    /// Those of them that became calls to a server. The others were done by
    /// the client itself (LOCALIO); `None` where that is not seen.
    pub writes_by_rpc: Option<u64>,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// WRITE calls answered without an error.
    pub writes_acked: u64,
    /// Bytes that the server took.
    pub bytes_acked: u64,
    /// WRITE calls that failed.
    pub writes_failed: u64,
    /// COMMIT calls begun.
    pub commits_sent: u64,
    /// COMMIT calls answered.
    pub commits_done: u64,
    /// Last WRITE begun, `CLOCK_MONOTONIC` nanoseconds, zero for never.
    pub last_sent_ns: u64,
    /// Last WRITE answered, `CLOCK_MONOTONIC` nanoseconds, zero for never.
    pub last_acked_ns: u64,
}

impl NfsClient {
    /// WRITE calls begun and neither answered nor failed.
    #[must_use]
    pub const fn pending_writes(&self) -> u64 {
        let answered = self.writes_acked.saturating_add(self.writes_failed);
        self.writes_sent.saturating_sub(answered)
    }

    /// WRITE and COMMIT calls that ended, well or with an error.
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
    /// Bytes written to the exported file systems; `None` where the signal is
    /// not attached.
    pub bytes_written: Option<u64>,
    /// WRITE operations begun.
    pub writes_started: u64,
    /// WRITE operations ended.
    pub writes_done: u64,
    /// Last WRITE operation ended, `CLOCK_MONOTONIC` nanoseconds.
    pub last_done_ns: u64,
    /// Its threads.
    pub threads: Vec<ServerThread>,
    /// Of `bytes_written`, those written in calls of which nothing was seen:
    /// whose they are is not known. `None`: no call is seen.
    pub bytes_unattributed: Option<u64>,
    /// Whose calls its threads work on; a thread that is not listed is of
    /// [`Caller::Unknown`]. `None`: no call is seen.
    pub serving: Option<Vec<Serving>>,
}

/// Whose call a thread of nfsd works on, or did last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Serving {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Who sent it.
    pub caller: Caller,
    /// The thread's finished waits, by cause.
    pub waited: Vec<Waited>,
}

/// Who sent a call to the kernel's NFS server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// No call was seen.
    #[default]
    Unknown,
    /// No RPC client of this node was seen to send it: another host.
    Elsewhere,
    /// The [`RpcClient`](super::RpcClient) of this node with this id.
    Client(u32),
}

/// A thread's finished waits in one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Why.
    pub cause: Cause,
    /// The last one's BDI, empty where the cause has none.
    pub bdi: CompactString,
    /// All of them together, nanoseconds; announced pauses as they begin.
    pub sum_ns: u64,
}

/// A thread of an NFS server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerThread {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// What it does.
    pub state: ThreadState,
    /// Since when it is in the WRITE operation that it is in,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub write_since_ns: Option<u64>,
    /// In `blocked`: the kernel function that it sleeps in, where it could be
    /// read.
    pub blocked_in: Option<CompactString>,
    /// In `blocked`: whether it waits for a lock while another thread of the
    /// server is throttled, most likely with that lock held.
    #[serde(default)]
    pub behind_throttled: bool,
}

/// An NFS server in userspace, such as nfs-ganesha.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserServer {
    /// The process's name, one of `--loops.server-names`.
    pub name: CompactString,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Its threads that are not idle; most of a server's hundreds are. A thread
    /// that sleeps interruptibly counts as idle: what it waits for cannot be
    /// told from outside.
    pub threads: Vec<ServerThread>,
    /// Its threads, idle ones too, by whether they are exempt from local dirty
    /// throttling; `None`: none was looked at yet.
    pub exempt_threads: Option<ExemptCount>,
    /// Whether the process is stopped: SIGSTOP, or a debugger.
    pub stopped: bool,
}

/// An NFS server in userspace that was there and is not any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerExit {
    /// The process's name.
    pub name: CompactString,
    /// Its process id in the initial pid namespace.
    pub tgid: u32,
    /// When it was first found gone, `CLOCK_MONOTONIC` nanoseconds.
    pub gone_ns: u64,
    /// Processes of its memory cgroup that the OOM killer took within the few
    /// seconds before; `None`: unknown.
    pub cgroup_oom_kills: Option<u64>,
    /// Processes of the node that the OOM killer took since the tick before.
    pub node_oom_kills: Option<u64>,
}

words! {
    /// What a server thread does. Accumulate it over a window: one sample
    /// flickers.
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
