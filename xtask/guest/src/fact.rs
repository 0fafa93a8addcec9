//! Facts: what a guest saw. No judgement; that is the host's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that was seen, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fact {
    /// `CLOCK_MONOTONIC` in the guest, in milliseconds: the daemon's clock too.
    pub ms: u64,
    /// What was seen.
    pub event: Event,
}

/// What can be seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// PID 1 has begun, on this kernel.
    Booted {
        /// As `uname -r`.
        kernel: String,
    },
    /// A step of the plan begins.
    Step(String),
    /// The image holds no daemon: steps that need it are left out.
    NoDaemon,
    /// The daemon answered that it is ready.
    Ready,
    /// A file system was mounted.
    Mounted(Mounted),
    /// A userspace server listens.
    Server {
        /// The name of its process.
        name: String,
        /// Its threads.
        threads: usize,
        /// Those of them that are exempt from local throttling, by the kernel.
        exempt: usize,
    },
    /// A writer that takes its time is about to send its first bytes.
    FirstWrite {
        /// The directory written to.
        dir: String,
    },
    /// All writers that take their time have ended.
    Written,
    /// What the kernel counted.
    Counted(Counts),
    /// A loop that the daemon reports, when it is new or something about it is.
    Loop(Loop),
    /// The daemon reports the loop of this name no more.
    LoopGone(String),
    /// The writers have been started.
    WritersStarted,
    /// The counters, twice a second.
    Sample(Sample),
    /// A new entry of the daemon's verdict timeline.
    Verdict(Transition),
    /// The daemon serves conditions that are not livelock.
    HasRelated,
    /// A condition that is not a livelock began or ended, says the daemon.
    Related(Related),
    /// The metric that a watch waited for.
    Metric {
        /// The whole line of `/metrics`.
        line: String,
    },
    /// The kernel's own trace.
    Traced {
        /// How often the event came.
        count: u64,
        /// One line of the trace, the last.
        line: String,
    },
    /// A program of the daemon ended.
    Output {
        /// Its arguments, and who ran it.
        what: String,
        /// Exit code; none if it was killed.
        code: Option<i32>,
        /// What it printed.
        text: String,
    },
    /// `/api/v1/probes`, as it was served.
    Probes(serde_json::Value),
    /// Values of settings, by their files.
    Values(BTreeMap<String, String>),
    /// The same, when they should be changed.
    Changed(BTreeMap<String, String>),
    /// The node was helped out.
    HelpedOut,
    /// What the daemon served.
    Served {
        /// Under which path.
        path: String,
        /// How long it took, in milliseconds.
        ms: u64,
        /// The lines asked for.
        text: String,
    },
    /// This node is the server now.
    TookOver,
    /// What came of unloading modules.
    Unloaded {
        /// Which.
        modules: Vec<String>,
        /// The words of `modprobe -r`, if it could not.
        error: Option<String>,
    },
    /// How long a program of the daemon took: `check` until its end, `run` until
    /// it was ready.
    Took {
        /// Which.
        what: String,
        /// In milliseconds.
        ms: u64,
        /// Of these, how many it had a processor for.
        cpu_ms: u64,
    },
    /// What the kernel holds of BPF.
    BpfObjects {
        /// Programs.
        programs: usize,
        /// Maps.
        maps: usize,
        /// Links.
        links: usize,
    },
    /// Whether a `statfs` returned.
    Statfs {
        /// Of what.
        path: String,
        /// Within three seconds.
        returned: bool,
    },
    /// The daemon's threads that were seen blocked in NFS, with their stacks.
    Blocked(Vec<String>),
    /// Whether an NFS mount is congested.
    Congestion {
        /// By the kernel's own flag.
        kernel: bool,
        /// By the daemon's gauge; none where it has none.
        daemon: Option<bool>,
        /// Whether the bytes under writeback are more than the mount's
        /// threshold.
        bytes: bool,
    },
    /// The daemon ended though nobody asked it to.
    DaemonDied {
        /// How, in words.
        status: String,
    },
    /// A step could not be done.
    Failed(String),
    /// A part of a file. The host keeps it as a file, not as a fact.
    File {
        /// Its name, without directories.
        name: String,
        /// Where in the file this part begins; parts come in order.
        offset: u64,
        /// In base64.
        content: String,
    },
    /// The plan is over.
    End,
}

/// Counters since boot.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Bytes of completed WRITE calls of all NFS mounts, from mountstats.
    pub acked: u64,
    /// Bytes that applications of [`crate::Step::Write`] know to be safe.
    #[serde(default)]
    pub synced: u64,
    /// Bytes written to the disks.
    pub disk: u64,
    /// Dirty page cache.
    pub dirty: u64,
    /// Page cache under writeback.
    pub writeback: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
}

/// An entry of the `timeline` of `/api/v1/verdicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// `CLOCK_MONOTONIC`, in milliseconds.
    pub monotonic_ms: u64,
    /// Which loop.
    #[serde(rename = "loop")]
    pub of: String,
    /// Which signature.
    pub signature: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Why, in one sentence.
    #[serde(default)]
    pub reason: String,
}

impl Transition {
    /// Whether it says that the loop stands: livelock or deadlock.
    #[must_use]
    pub fn confirms(&self) -> bool {
        matches!(self.to.as_str(), "livelock" | "deadlock")
    }
}

/// An entry of the `related_events` of `/api/v1/verdicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// `CLOCK_MONOTONIC`, in milliseconds.
    pub monotonic_ms: u64,
    /// For example `slow-disk`.
    pub kind: String,
    /// The BDI that it is about; empty where it is about the node.
    #[serde(default)]
    pub bdi: String,
    /// Whether it began; else it ended.
    pub began: bool,
    /// Why, in one sentence.
    #[serde(default)]
    pub reason: String,
}

/// What the guest itself knows of a file system that it mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The mount point.
    pub at: String,
    /// What was mounted.
    pub source: String,
    /// `major:minor`, from its mountinfo.
    pub device: String,
    /// Names of the BDIs that came up with it.
    pub bdis: Vec<String>,
}

/// What the kernel counted of the bytes of NFS since boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// By `major:minor` of an NFS mount: `serverwritebytes` of mountstats, the
    /// bytes of data that servers took. The bytes of the `WRITE:` line would
    /// not do: the headers of the calls are among them.
    pub clients: BTreeMap<String, u64>,
    /// What nfsd wrote, from the `io` line of `/proc/net/rpc/nfsd`. Kernels count
    /// for each network namespace: this is the greatest count of any.
    pub nfsd: u64,
}

/// An entry of `/api/v1/loops`: what of it is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loop {
    /// Its name.
    #[serde(rename = "loop")]
    pub name: String,
    /// BDI of the NFS mount.
    pub client_bdi: String,
    /// The server's program.
    pub server: String,
    /// BDI that the server writes to.
    pub server_bdi: Option<String>,
    /// How the daemon knows.
    pub proof: String,
    /// Whether client and server share a network namespace.
    pub scope: String,
    /// Whether the server is exempt from local dirty throttling.
    pub exempt: Exempt,
    /// Whether local dirty throttling is among its dangers.
    pub throttled: bool,
    /// Whether the node became its own server while it was a client.
    pub became_own_client: bool,
    /// Where the NFS mount is seen.
    pub mounts: Vec<LoopMount>,
}

/// Whether the server of a [`Loop`] is exempt from local dirty throttling. Why is
/// left out: a reason may change without a new fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exempt {
    /// `yes`, `no`, `partly` or `unknown`.
    pub state: String,
    /// `observed`, `predicted`, or nothing.
    pub basis: Option<String>,
}

/// A mount of a [`Loop`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopMount {
    /// In its own mount namespace.
    pub mount_point: String,
    /// As in mountinfo.
    pub source: String,
}
