//! Facts: the guest's observations. The host judges them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An observation and its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fact {
    /// `CLOCK_MONOTONIC` in the guest, in milliseconds: the daemon's clock too.
    pub ms: u64,
    /// The observation.
    pub event: Event,
}

/// The kinds of observations.
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
        /// The number of those that the kernel exempts from local throttling.
        exempt: usize,
    },
    /// A slow writer is about to send its first bytes.
    FirstWrite {
        /// The directory written to.
        dir: String,
    },
    /// All slow writers have ended.
    Written,
    /// The kernel's counts.
    Counted(Counts),
    /// A loop that the daemon reports, when it is new or has changed.
    Loop(Loop),
    /// The daemon no longer reports the loop of this name.
    LoopGone(String),
    /// The writers have been started.
    WritersStarted,
    /// The counters, twice a second.
    Sample(Sample),
    /// A new entry of the daemon's verdict timeline.
    Verdict(Transition),
    /// The daemon serves related conditions.
    HasRelated,
    /// A related condition began or ended in the daemon's report.
    Related(Related),
    /// The metric that a watch waited for.
    Metric {
        /// The whole line of `/metrics`.
        line: String,
    },
    /// The kernel's own trace.
    Traced {
        /// The count of the event.
        count: u64,
        /// One line of the trace, the last.
        line: String,
    },
    /// A program of the daemon ended.
    Output {
        /// Its arguments, and who ran it.
        what: String,
        /// Exit code; none: it was killed.
        code: Option<i32>,
        /// What it printed.
        text: String,
    },
    /// `/api/v1/probes`, as it was served.
    Probes(serde_json::Value),
    /// Values of settings, by their files.
    Values(BTreeMap<String, String>),
    /// The same, if a change is expected.
    Changed(BTreeMap<String, String>),
    /// The node was mitigated.
    HelpedOut,
    /// An answer of the daemon.
    Served {
        /// Its path.
        path: String,
        /// Its duration, in milliseconds.
        ms: u64,
        /// The requested lines.
        text: String,
    },
    /// This node is the server now.
    TookOver,
    /// The outcome of unloading modules.
    Unloaded {
        /// Their names.
        modules: Vec<String>,
        /// The message of `modprobe -r`, if it failed.
        error: Option<String>,
    },
    /// The duration of one of the daemon's programs: `check` until its end, `run` until it was
    /// ready.
    Took {
        /// The program.
        what: String,
        /// In milliseconds.
        ms: u64,
        /// The part of it that it had a processor.
        cpu_ms: u64,
    },
    /// The kernel's BPF objects.
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
        /// Its path.
        path: String,
        /// Within three seconds.
        returned: bool,
    },
    /// The daemon's threads that were seen blocked in NFS, with their stacks.
    Blocked(Vec<String>),
    /// Whether an NFS mount is congested.
    Congestion {
        /// The kernel's own flag.
        kernel: bool,
        /// The daemon's gauge; none: there is none.
        daemon: Option<bool>,
        /// Whether the bytes under writeback exceed the mount's threshold.
        bytes: bool,
    },
    /// The daemon ended on its own.
    DaemonDied {
        /// Its exit status as text.
        status: String,
    },
    /// A step failed.
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
    /// Bytes that servers have acknowledged: completed WRITE calls of all NFS and CIFS mounts, and
    /// what NBD and SCSI devices have completed.
    pub acked: u64,
    /// Bytes that the applications of [`crate::Step::Write`] have synced.
    #[serde(default)]
    pub synced: u64,
    /// Bytes written to the disks.
    pub disk: u64,
    /// Dirty page cache.
    pub dirty: u64,
    /// Page cache under writeback.
    pub writeback: u64,
    /// Processes killed for lack of memory.
    pub oom_kills: u64,
}

/// An entry of the `timeline` of `/api/v1/verdicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// `CLOCK_MONOTONIC`, in milliseconds.
    pub monotonic_ms: u64,
    /// The loop.
    #[serde(rename = "loop")]
    pub of: String,
    /// The signature.
    pub signature: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// The reason, one sentence.
    #[serde(default)]
    pub reason: String,
}

impl Transition {
    /// Whether the state is a livelock or deadlock.
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
    /// The BDI that it concerns; empty: the node.
    #[serde(default)]
    pub bdi: String,
    /// Whether it began; otherwise it ended.
    pub began: bool,
    /// The reason, one sentence.
    #[serde(default)]
    pub reason: String,
}

/// The guest's own facts about a file system that it mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The mount point.
    pub at: String,
    /// The mounted source.
    pub source: String,
    /// `major:minor`, from its mountinfo.
    pub device: String,
    /// Names of the BDIs that appeared with it.
    pub bdis: Vec<String>,
}

impl Mounted {
    /// The name of its BDI. Only that of a CIFS mount is not the device's.
    #[must_use]
    pub fn bdi(&self) -> &str {
        let named = self.bdis.iter().find(|name| name.starts_with("cifs-"));
        named.unwrap_or(&self.device)
    }
}

/// The kernel's counts of NFS bytes since boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// By `major:minor` of an NFS mount: `serverwritebytes` of mountstats, the bytes of data that
    /// servers received. The bytes of the `WRITE:` line include the headers of the calls.
    pub clients: BTreeMap<String, u64>,
    /// The bytes that nfsd wrote, from the `io` line of `/proc/net/rpc/nfsd`. Kernels count per
    /// network namespace; this is the maximum.
    pub nfsd: u64,
}

/// The judged part of an entry of `/api/v1/loops`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loop {
    /// Its name.
    #[serde(rename = "loop")]
    pub name: String,
    /// The kind of its client, for example `nfs`; empty: the daemon does not say.
    pub client_kind: String,
    /// The client's BDI.
    pub client_bdi: String,
    /// The server's program.
    pub server: String,
    /// BDI that the server writes to.
    pub server_bdi: Option<String>,
    /// The proof.
    pub proof: String,
    /// Whether client and server share a network namespace.
    pub scope: String,
    /// Whether the server is exempt from local dirty throttling.
    pub exempt: Exempt,
    /// Whether local dirty throttling is among its risks.
    pub throttled: bool,
    /// Whether the node became its own server while it was a client.
    pub became_own_client: bool,
    /// The mount points of the NFS mount.
    pub mounts: Vec<LoopMount>,
}

/// Whether the server of a [`Loop`] is exempt from local dirty throttling. The reason is left out,
/// because it may change without a new fact.
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
