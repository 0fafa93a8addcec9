//! What looks like a livelock and is not one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// What looks like a livelock and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelatedKind {
    /// The client waits for an NFS server, and no server of this node is what
    /// keeps it waiting.
    NfsServerNotResponding,
    /// Writers are held to the speed of a device that works.
    DirtyThrottling,
    /// A disk is busy all the time, moves little by it, and tasks wait for it.
    SlowDisk,
    /// A disk is busy all the time and does what it can, and tasks wait for it.
    DiskSaturated,
    /// Tasks spend their time in reclaim.
    MemoryStarvation,
    /// nfsd's threads hang in their own file system, and nothing throttles them.
    HungFileSystem,
}

impl RelatedKind {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::NfsServerNotResponding,
        Self::DirtyThrottling,
        Self::SlowDisk,
        Self::DiskSaturated,
        Self::MemoryStarvation,
        Self::HungFileSystem,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NfsServerNotResponding => "nfs-server-not-responding",
            Self::DirtyThrottling => "dirty-throttling",
            Self::SlowDisk => "slow-disk",
            Self::DiskSaturated => "disk-saturated",
            Self::MemoryStarvation => "memory-starvation",
            Self::HungFileSystem => "hung-file-system",
        }
    }
}

/// A condition that holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Which one.
    pub kind: RelatedKind,
    /// The BDI that it is about; empty where it is about the node.
    pub bdi: CompactString,
    /// Since when, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// A condition began or ended: a line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedEvent {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Which one.
    pub kind: RelatedKind,
    /// The BDI that it is about; empty where it is about the node.
    pub bdi: CompactString,
    /// Whether it began; else it ended.
    pub began: bool,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// What was counted of one kind since start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelatedTally {
    /// Which one.
    pub kind: RelatedKind,
    /// How often it began, of all BDIs together.
    pub beginnings: u64,
    /// Seconds in which it held, of one BDI or of many.
    pub seconds: f64,
}
