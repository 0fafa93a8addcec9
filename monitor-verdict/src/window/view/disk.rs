//! Whether the server's disk works for the loop.

use crate::text::{percent, rate};
use crate::window::Moved;
use crate::window::confidence::MissingInput;
use crate::window::view::View;

/// The activity of a server's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disk {
    /// Share of the time that it is busy, 0 to 1.
    pub busy: Option<f64>,
    /// Bytes a second that are written to it.
    pub writes: Option<f64>,
    /// Whether it works for the server.
    pub works: Option<bool>,
    /// Whether it is busy for others.
    pub for_others: bool,
    /// Whether the pages waiting for it make it count as working.
    pub has_pages: bool,
}

impl Disk {
    /// The disk of a BDI, with thresholds looser by `slack`.
    ///
    /// Reads keep a disk busy, too. A busy disk without writeback works for others if the server
    /// has almost nothing to write: a slow disk writes without a break, and one that hangs has
    /// pages waiting.
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
            // Unless it is known to be idle for the server, it counts as working.
            Some(_) => {
                let idle = moves(floor) == Some(false);
                Some(!(idle && view.clean_beside_client(bdi, slack) == Some(true)))
            }
            // The small writes of the crawl before a freeze do not count. Writes of a process may
            // be invisible.
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

    /// The inputs that it lacks.
    #[must_use]
    pub const fn gap(&self) -> Option<MissingInput> {
        match (self.busy, self.works) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(MissingInput::DiskByWrites),
            (None, None) => Some(MissingInput::DiskUnknown),
        }
    }

    /// Text such as `disk 0 % busy`.
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

/// Bytes a second. Writeback of the page cache is preferred: it excludes the direct writes of
/// others. For a process the disk's own number is preferred: `bdi_debug_stats_show` of older
/// kernels omits writes of tasks in a memory cgroup, where a process may be and nfsd never is.
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
