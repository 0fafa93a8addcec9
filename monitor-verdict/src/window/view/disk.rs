//! Whether the server's disk works for the loop.

use crate::text::{percent, rate};
use crate::window::Moved;
use crate::window::confidence::MissingInput;
use crate::window::view::View;

/// What a server's disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disk {
    /// Share of the time that it is busy, 0 to 1.
    pub busy: Option<f64>,
    /// Bytes a second that are written to it.
    pub writes: Option<f64>,
    /// Whether it works for the server.
    pub works: Option<bool>,
    /// Whether it is busy all the same.
    pub for_others: bool,
    /// Whether it counts as one that works for the pages that wait for it.
    pub has_pages: bool,
}

impl Disk {
    /// The disk of a BDI, with thresholds so much looser.
    ///
    /// Reads keep a disk busy, too. So a busy disk to which nothing is written
    /// back works for others, if the server has next to nothing to write: a
    /// slow disk writes without a break, and one that hangs has pages waiting.
    #[must_use]
    pub fn of(view: &View<'_>, bdi: &str, slack: f64) -> Self {
        let thresholds = view.thresholds;
        let busy = view.window.disk_busy(bdi);
        let writes = writes(view, bdi);
        let limit = (thresholds.disk_busy_share * slack).min(0.9);
        let floor = thresholds.signatures.disk_write_floor_bytes_per_second;
        let moves = |least: u64| writes.map(|rate| rate >= least as f64);
        let works = match busy {
            Some(busy) if busy < limit => Some(false),
            // What is not known to be idle for the server is taken to work.
            Some(_) => {
                let idle = moves(floor) == Some(false);
                Some(!(idle && view.clean_beside_client(bdi, slack) == Some(true)))
            }
            // The crawl before a freeze writes a little, and is none. What is
            // not seen to be written for a process may be all the same.
            None => {
                let works = moves(thresholds.stall_floor_bytes_per_second);
                works.filter(|&works| works || view.by_nfsd())
            }
        };
        Self {
            busy,
            writes,
            works,
            for_others: works == Some(false) && busy.is_some_and(|busy| busy >= limit),
            has_pages: false,
        }
    }

    /// What was not known of it.
    #[must_use]
    pub const fn gap(&self) -> Option<MissingInput> {
        match (self.busy, self.works) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(MissingInput::DiskByWrites),
            (None, None) => Some(MissingInput::DiskUnknown),
        }
    }

    /// As `disk 0 % busy`.
    #[must_use]
    pub fn words(&self) -> String {
        if self.has_pages {
            return "disk has pages of its own to write".to_owned();
        }
        match (self.busy, self.writes) {
            (Some(busy), Some(writes)) if self.for_others => {
                let (busy, writes) = (percent(busy), rate(writes));
                format!("disk {busy} busy for others, {writes} written to it")
            }
            (Some(busy), _) => format!("disk {} busy", percent(busy)),
            (None, Some(writes)) => format!("{} written to it", rate(writes)),
            (None, None) => "disk an unknown share busy".to_owned(),
        }
    }
}

/// Bytes a second. Of the page cache where that is known: not what others write
/// past it. But `bdi_debug_stats_show` of older kernels leaves out what tasks in
/// a memory cgroup write, where a process may be and nfsd never is: of a process
/// the disk's own number goes before.
fn writes(view: &View<'_>, bdi: &str) -> Option<f64> {
    let rate = |moved: Option<Moved>| moved.map(|moved| moved.rate());
    let pages = rate(view.window.written_back(bdi));
    let disk = || rate(view.window.disk_wrote(bdi));
    if view.by_nfsd() {
        pages.or_else(disk)
    } else {
        disk().or(pages)
    }
}
