//! Conditions that look like a livelock but are not one.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// A condition that looks like a livelock but is not one.
    RelatedKind {
        /// The client waits for an NFS server, and no server of this node causes that.
        NfsServerNotResponding = "nfs-server-not-responding",
        /// Writers are limited to the speed of a working device.
        DirtyThrottling = "dirty-throttling",
        /// A disk is busy all the time but moves little, and tasks wait for it.
        SlowDisk = "slow-disk",
        /// A disk is busy all the time at its maximum, and tasks wait for it.
        DiskSaturated = "disk-saturated",
        /// Tasks spend their time in reclaim.
        MemoryStarvation = "memory-starvation",
        /// nfsd's threads hang in their own file system, and nothing throttles them.
        HungFileSystem = "hung-file-system",
        /// Writers to other devices wait because this one fills the node's dirty limit and its pages
        /// do not move.
        DirtyLimitHeld = "dirty-limit-held",
        /// A client other than NFS waits for its server, and no throttled server of this node causes
        /// that.
        ServerNotResponding = "server-not-responding",
    }
}

/// A condition that holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// The kind.
    pub kind: RelatedKind,
    /// The BDI that it concerns; empty: the node.
    pub bdi: CompactString,
    /// Since when, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// The beginning or end of a condition: a line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedEvent {
    /// Time, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The kind.
    pub kind: RelatedKind,
    /// The BDI that it concerns; empty: the node.
    pub bdi: CompactString,
    /// Whether it began; otherwise it ended.
    pub began: bool,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// The counters of one kind since start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelatedTally {
    /// The kind.
    pub kind: RelatedKind,
    /// The number of beginnings, over all BDIs.
    pub beginnings: u64,
    /// Seconds in which it held, on one BDI or on several.
    pub seconds: f64,
}
