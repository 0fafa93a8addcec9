//! The inputs that a verdict lacks, and what that costs.

use monitor_model::verdict::Confidence;

/// An input that is missing, or replaced by a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingInput {
    /// Pauses and waits of `balance_dirty_pages` are not visible. Most of a verdict rests on them.
    DirtyUnseen,
    /// The return from `balance_dirty_pages` is not visible: numbers are right, but some are late.
    DirtyExitUnseen,
    /// The client's WRITEs are not visible: half of the progress.
    ClientUnseen,
    /// nfsd's writes are not visible: the other half of the progress.
    ServedUnseen,
    /// The server is a process. The client sees its answers, so little is lost.
    ServedUnwatched,
    /// None of its threads is known, nor how many could run.
    ThreadsUnlisted,
    /// The waits of two kinds of servers share one counter.
    ServersMixed,
    /// The workers of LOCALIO cannot be distinguished from others.
    WorkersUnknown,
    /// The client's pages come from the pauses of its writers, which lag.
    PagesByPauses,
    /// The client's pages are not known.
    PagesUnknown,
    /// The disk's busy time is not known, but the bytes written are.
    DiskByWrites,
    /// The disk's activity is not known: only dirty pages indicate a slow disk.
    DiskUnknown,
    /// Congestion is derived once a tick by the kernel's own rule.
    CongestionByRule,
    /// Congestion is not known: the client's pages stand in.
    CongestionUnknown,
    /// Reclaim is not visible at all, or its sleeps are not.
    ReclaimUnseen,
    /// Waits for COMMIT are not visible.
    CommitUnseen,
    /// Retries of `svc_alloc_arg` are not visible.
    AllocUnseen,
    /// The senders of some or all of nfsd's calls are not visible.
    CallsUnseen,
    /// A kernel-side map was full: waits are missing.
    MapFull,
    /// Only the address shows that the node serves the mount.
    AddressOnly,
}

impl MissingInput {
    /// Its cost in confidence. An input on which a condition rests alone costs 0.3 and more, one
    /// with a good substitute 0.1 or less.
    const fn share(self) -> f64 {
        match self {
            Self::DirtyUnseen => 0.5,
            Self::ClientUnseen | Self::ServedUnseen | Self::PagesUnknown => 0.3,
            Self::ThreadsUnlisted
            | Self::DiskUnknown
            | Self::CongestionUnknown
            | Self::ReclaimUnseen
            | Self::AddressOnly => 0.2,
            Self::ServedUnwatched
            | Self::ServersMixed
            | Self::WorkersUnknown
            | Self::PagesByPauses
            | Self::CommitUnseen
            | Self::AllocUnseen
            | Self::CallsUnseen
            | Self::MapFull => 0.1,
            Self::DirtyExitUnseen | Self::DiskByWrites | Self::CongestionByRule => 0.05,
        }
    }

    /// The missing input and its substitute.
    const fn words(self) -> &'static str {
        match self {
            Self::DirtyUnseen => {
                "signal balance_dirty_pages is missing: which tasks wait in it, and for whose pages, is unknown"
            }
            Self::DirtyExitUnseen => {
                "the return from balance_dirty_pages is not visible: a wait is assumed to end with its last pause"
            }
            Self::ClientUnseen => {
                "signal nfs_client_writes is missing: bytes acknowledged to the client are unknown"
            }
            Self::ServedUnseen => {
                "signal nfsd_writes is missing: bytes that nfsd wrote are unknown"
            }
            Self::CallsUnseen => {
                "which client's calls nfsd's threads work on is unknown: their writes and waits count for every loop of nfsd"
            }
            Self::ServedUnwatched => {
                "writes of a userspace server are not visible: progress is what was acknowledged to the client"
            }
            Self::ThreadsUnlisted => {
                "the server's threads could not be read: blockage comes from its waits alone"
            }
            Self::ServersMixed => {
                "several userspace servers run: pauses and finished waits are those of all of them"
            }
            Self::WorkersUnknown => {
                "the mount writes by LOCALIO and its server's BDI is unknown: its workers cannot be told from others"
            }
            Self::PagesByPauses => {
                "debugfs is not readable: the client's pages are those that balance_dirty_pages reports to its writers"
            }
            Self::PagesUnknown => {
                "debugfs is not readable and no task writes to the client: the pages that it holds are unknown"
            }
            Self::DiskByWrites => {
                "the server's device reports no busy time: bytes written to it are used instead"
            }
            Self::DiskUnknown => {
                "whether the server's disk works is unknown: its dirty pages alone tell a livelock from a slow disk"
            }
            Self::CongestionByRule => {
                "the client's congestion is derived from its pages under writeback, once a tick"
            }
            Self::CongestionUnknown => {
                "whether the client is congested is unknown: that it holds pages is used instead"
            }
            Self::ReclaimUnseen => {
                "signal direct_reclaim, or what shows the sleeps in reclaim, is missing: reclaim is visible in part or not at all"
            }
            Self::CommitUnseen => {
                "signal nfs_commit is missing: waits for the server's COMMIT are not visible"
            }
            Self::AllocUnseen => {
                "signal svc_alloc_arg is missing: nfsd threads without pages for a request are not visible"
            }
            Self::MapFull => "a map in the kernel was full: some waits were not counted",
            Self::AddressOnly => {
                "the loop is known by its server's address alone, not by its connection or calls"
            }
        }
    }
}

/// Sums up. Order and repetitions do not matter.
pub fn confidence(mut gaps: Vec<MissingInput>) -> Confidence {
    gaps.sort_unstable();
    gaps.dedup();
    let lost: f64 = gaps.iter().map(|gap| gap.share()).sum();
    // The shares are hundredths, but their binary sums are not.
    let share = ((1.0 - lost) * 100.0).round() / 100.0;
    Confidence {
        share: share.max(0.0),
        missing: gaps.iter().map(|gap| gap.words().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{MissingInput, confidence};

    #[test]
    fn each_gap_counts_once_and_the_sum_stops_at_zero() {
        let all = confidence(vec![
            MissingInput::DiskUnknown,
            MissingInput::MapFull,
            MissingInput::DiskUnknown,
        ]);
        assert!((all.share - 0.7).abs() < 1e-12, "{all:?}");
        assert_eq!(all.missing.len(), 2);
        assert!(all.missing[0].contains("disk"), "{all:?}");
        let none = confidence(vec![
            MissingInput::DirtyUnseen,
            MissingInput::ClientUnseen,
            MissingInput::ServedUnseen,
            MissingInput::PagesUnknown,
        ]);
        assert!(none.share.abs() < f64::EPSILON, "{none:?}");
    }

    #[test]
    fn nothing_missing_is_full_confidence() {
        assert_eq!(
            confidence(Vec::new()),
            monitor_model::verdict::Confidence::default()
        );
    }
}
