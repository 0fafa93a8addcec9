//! The memory counters for easing.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
};

use super::Settings;

/// The counters for easing, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirtyMemory {
    /// Dirty and under writeback.
    pub(super) dirty: u64,
    /// The kernel's current dirty limit.
    pub(super) limit: u64,
    /// The approximate base of the kernel's percentages (`global_dirtyable_memory`).
    pub(super) dirtyable: u64,
}

/// `/proc/vmstat`, kept open.
#[derive(Debug)]
pub(super) struct Vmstat {
    file: fs::File,
    text: String,
    page: u64,
}

impl Vmstat {
    pub(super) fn open(settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            file: fs::File::open(settings.procfs.join("vmstat"))?,
            text: String::with_capacity(16 * 1024),
            page: rustix::param::page_size() as u64,
        })
    }

    pub(super) fn read(&mut self) -> io::Result<DirtyMemory> {
        self.file.rewind()?;
        self.text.clear();
        self.file.read_to_string(&mut self.text)?;
        parse(&self.text, self.page).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

fn parse(text: &str, page: u64) -> Option<DirtyMemory> {
    let pages = |names: &[&str]| {
        let mut sum: Option<u64> = None;
        for line in text.lines() {
            let (name, number) = line.split_once(' ')?;
            if names.contains(&name) {
                sum = Some(sum.unwrap_or(0).saturating_add(number.trim().parse().ok()?));
            }
        }
        Some(sum?.saturating_mul(page))
    };
    Some(DirtyMemory {
        dirty: pages(&["nr_dirty", "nr_writeback"])?,
        limit: pages(&["nr_dirty_threshold"])?,
        dirtyable: pages(&["nr_free_pages", "nr_active_file", "nr_inactive_file"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::{DirtyMemory, parse};

    #[test]
    fn what_is_dirty_and_what_can_be_are_sums_of_vmstat() {
        let text = "nr_free_pages 100\nnr_zone_active_file 7\nnr_active_file 20\nnr_inactive_file 30\n\
                    nr_dirty 3\nnr_writeback 4\nnr_writeback_temp 9\nnr_dirty_threshold 50\n";
        let memory = DirtyMemory {
            dirty: 7 * 4096,
            limit: 50 * 4096,
            dirtyable: 150 * 4096,
        };
        assert_eq!(parse(text, 4096), Some(memory));
        assert_eq!(parse("nr_dirty x\n", 4096), None);
        assert_eq!(parse("", 4096), None);
    }
}
