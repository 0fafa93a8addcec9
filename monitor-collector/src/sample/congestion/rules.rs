//! When a backing device counts as congested. Pure.

use monitor_common::CongestedBdi;

use super::{Bdi, CongestionBy, Memory};

/// The smallest piece that the kernel writes back at once (`MIN_WRITEBACK_PAGES`,
/// fs/fs-writeback.c). A device that has been idle has a threshold of about
/// nothing; with less than this to write it is not behind.
const LEAST_BYTES: u64 = 4 << 20;

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub congested: bool,
    pub by: CongestionBy,
    pub threshold_bytes: Option<u64>,
}

/// Requests of a FUSE connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuse {
    /// Sent or queued and not answered: those in the background and a few more.
    pub waiting: u64,
    /// How many in the background make the kernel call it congested.
    pub threshold: u64,
}

/// A flag of the kernel's.
pub const fn flag(flag: &CongestedBdi, by: CongestionBy) -> Said {
    Said {
        congested: flag.since_ns != 0,
        by,
        threshold_bytes: None,
    }
}

/// The NFS client's: congested when more pages than `NFS_CONGESTION_ON_THRESH`
/// are under writeback, until they are fewer than `NFS_CONGESTION_OFF_THRESH`,
/// three quarters of that (fs/nfs/write.c). `None`: one of the numbers is not
/// known.
pub fn nfs(bdi: &Bdi, congestion_kb: Option<u64>, page_size: u64, was: bool) -> Option<Said> {
    let on = congestion_kb?.checked_mul(1024)?.checked_div(page_size)?;
    let off = on - on / 4;
    let pages = bdi.writeback_bytes? / page_size;
    Some(Said {
        congested: if was { pages >= off } else { pages > on },
        by: CongestionBy::NfsWriteback,
        threshold_bytes: Some(on * page_size),
    })
}

/// FUSE's: as many requests in the background as its `congestion_threshold`
/// (fs/fuse/file.c). Requests that someone waits for are counted in, so that it
/// may be said a little early.
pub const fn fuse(fuse: &Fuse) -> Said {
    Said {
        congested: fuse.waiting >= fuse.threshold,
        by: CongestionBy::FuseRequests,
        threshold_bytes: None,
    }
}

/// All others': dirty and writeback pages reach the device's part of the dirty
/// limit, until they are fewer than three quarters of it, and the node as a
/// whole has so many that `balance_dirty_pages` holds writers back at all:
/// more than half way from the background limit to the limit
/// (`dirty_freerun_ceiling`, mm/page-writeback.c). Of a device with a strict
/// limit, its own part alone counts, as it does there.
pub fn dirty(bdi: &Bdi, memory: &Memory, was: bool) -> Option<Said> {
    let pending = bdi.dirty_bytes?.saturating_add(bdi.writeback_bytes?);
    let on = bdi.threshold_bytes?.max(LEAST_BYTES);
    let held_back = if bdi.strict_limit == Some(true) {
        true
    } else {
        let node = memory.dirty_bytes?.saturating_add(memory.writeback_bytes?);
        let limits = memory
            .dirty_limit_bytes?
            .saturating_add(memory.background_limit_bytes?);
        node > limits / 2
    };
    let enough = if was {
        pending >= on - on / 4
    } else {
        pending >= on
    };
    Some(Said {
        congested: enough && held_back,
        by: CongestionBy::DirtyThreshold,
        threshold_bytes: Some(on),
    })
}

#[cfg(test)]
mod tests {
    use monitor_common::CongestedBdi;
    use monitor_model::observation::{Bdi, CongestionBy, Memory};

    use super::{Fuse, LEAST_BYTES, dirty, flag, fuse, nfs};

    const PAGE: u64 = 4096;
    const MIB: u64 = 1 << 20;

    fn writeback(pages: u64) -> Bdi {
        Bdi {
            writeback_bytes: Some(pages * PAGE),
            ..Bdi::default()
        }
    }

    #[test]
    fn the_nfs_client_is_congested_above_its_threshold_until_below_three_quarters_of_it() {
        // 1024 KiB are 256 pages; three quarters are 192.
        let says = |pages, was| nfs(&writeback(pages), Some(1024), PAGE, was).unwrap();
        assert!(!says(256, false).congested, "at the threshold is not above");
        assert!(says(257, false).congested);
        assert!(says(192, true).congested, "it stays so down to 192");
        assert!(!says(191, true).congested);
        assert!(!says(200, false).congested, "and does not begin there");
        assert_eq!(says(1, false).threshold_bytes, Some(MIB));
    }

    #[test]
    fn a_congestion_kb_that_is_no_whole_page_is_cut_as_the_kernel_cuts_it() {
        // 10 KiB are two pages, of which a quarter is none.
        assert!(nfs(&writeback(3), Some(10), PAGE, false).unwrap().congested);
        assert!(!nfs(&writeback(2), Some(10), PAGE, false).unwrap().congested);
        assert!(nfs(&writeback(2), Some(10), PAGE, true).unwrap().congested);
    }

    #[test]
    fn without_one_of_its_numbers_no_rule_says_anything() {
        assert_eq!(nfs(&writeback(9), None, PAGE, false), None);
        assert_eq!(nfs(&Bdi::default(), Some(1), PAGE, false), None);
        assert_eq!(nfs(&writeback(9), Some(1), 0, false), None);
        assert_eq!(nfs(&writeback(9), Some(u64::MAX), PAGE, false), None);
        assert_eq!(dirty(&Bdi::default(), &busy(), false), None);
        assert_eq!(
            dirty(&disk(9 * MIB, 8 * MIB), &Memory::default(), false),
            None
        );
    }

    fn disk(pending: u64, threshold: u64) -> Bdi {
        Bdi {
            dirty_bytes: Some(pending - pending / 4),
            writeback_bytes: Some(pending / 4),
            threshold_bytes: Some(threshold),
            ..Bdi::default()
        }
    }

    /// Writers are held back from 30 MiB on.
    fn node(dirty: u64) -> Memory {
        Memory {
            page_size: PAGE,
            dirty_bytes: Some(dirty),
            writeback_bytes: Some(MIB),
            dirty_limit_bytes: Some(40 * MIB),
            background_limit_bytes: Some(20 * MIB),
            ..Memory::default()
        }
    }

    fn busy() -> Memory {
        node(35 * MIB)
    }

    #[test]
    fn a_disk_is_congested_at_its_threshold_until_below_three_quarters_of_it() {
        let says = |pending, was| {
            let said = dirty(&disk(pending, 20 * MIB), &busy(), was).unwrap();
            assert_eq!(said.by, CongestionBy::DirtyThreshold);
            said.congested
        };
        assert!(!says(20 * MIB - 1, false));
        assert!(says(20 * MIB, false));
        assert!(says(15 * MIB, true));
        assert!(!says(15 * MIB - 1, true));
    }

    #[test]
    fn a_disk_is_not_congested_while_the_node_holds_no_writer_back() {
        let disk = disk(25 * MIB, 20 * MIB);
        assert!(!dirty(&disk, &node(29 * MIB), true).unwrap().congested);
        assert!(dirty(&disk, &node(30 * MIB), false).unwrap().congested);
    }

    #[test]
    fn a_strict_limit_holds_writers_back_whatever_the_node_has() {
        let mut disk = disk(25 * MIB, 20 * MIB);
        disk.strict_limit = Some(true);
        assert!(dirty(&disk, &Memory::default(), false).unwrap().congested);
    }

    #[test]
    fn an_idle_disk_with_a_threshold_of_nothing_and_a_few_dirty_pages_is_not_congested() {
        for pending in [0, PAGE, LEAST_BYTES - 1] {
            let said = dirty(&disk(pending, 0), &busy(), false).unwrap();
            assert!(!said.congested, "{pending}");
        }
        assert!(
            dirty(&disk(LEAST_BYTES, 0), &busy(), false)
                .unwrap()
                .congested
        );
    }

    #[test]
    fn fuse_is_congested_at_its_own_number_of_requests() {
        let says = |waiting| {
            let said = fuse(&Fuse {
                waiting,
                threshold: 9,
            });
            (said.congested, said.by)
        };
        assert_eq!(says(8), (false, CongestionBy::FuseRequests));
        assert_eq!(says(9), (true, CongestionBy::FuseRequests));
    }

    #[test]
    fn the_kernel_s_flag_is_set_while_it_has_a_time() {
        let says = |since_ns| {
            let state = CongestedBdi {
                since_ns,
                total_ns: 5,
            };
            let said = flag(&state, CongestionBy::Flag);
            (said.congested, said.by)
        };
        assert_eq!(says(0), (false, CongestionBy::Flag));
        assert_eq!(says(1), (true, CongestionBy::Flag));
    }
}
