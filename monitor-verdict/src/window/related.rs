//! The questions of the related conditions to the window.

use monitor_common::Class;
use monitor_model::observation::{DirtyPauses, Memory};

use super::{Moved, Window, node_pages};
use crate::window::reduce::related::{RelatedDevice, RelatedSample, ServerThreadCounts};

impl Window {
    /// Whether the samples cover enough of the window.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.suffices(self.covered_ns())
    }

    /// The newest sample.
    #[must_use]
    pub fn signs(&self) -> Option<&RelatedSample> {
        Some(&self.newest()?.signs)
    }

    /// The growth of a counter of a backing device.
    #[must_use]
    pub fn device_moved(
        &self,
        bdi: &str,
        counter: impl Fn(&RelatedDevice) -> Option<u64>,
    ) -> Option<Moved> {
        self.moved(|sample| counter(sample.signs.device(bdi)?))
    }

    /// Bytes that the device wrote, by its disk's counter or else by its BDI's.
    #[must_use]
    pub fn wrote(&self, bdi: &str) -> Option<Moved> {
        let sectors = self.device_moved(bdi, |device| device.sectors_written);
        let disk = sectors.map(|moved| Moved {
            bytes: moved.bytes.saturating_mul(512),
            ..moved
        });
        let pages = self.device_moved(bdi, |device| device.written_bytes);
        match (disk, pages) {
            (Some(disk), Some(pages)) if pages.bytes > disk.bytes => Some(pages),
            (disk, pages) => disk.or(pages),
        }
    }

    /// Bytes that the device read and wrote. Reads are added if known.
    #[must_use]
    pub fn transferred(&self, bdi: &str) -> Option<Moved> {
        let wrote = self.wrote(bdi)?;
        let read = self.device_moved(bdi, |device| device.sectors_read);
        let read = read.map_or(0, |moved| moved.bytes.saturating_mul(512));
        Some(Moved {
            bytes: wrote.bytes.saturating_add(read),
            ..wrote
        })
    }

    /// Reads and writes that the disk completed.
    #[must_use]
    pub fn requests(&self, bdi: &str) -> Option<Moved> {
        self.device_moved(bdi, |device| device.requests)
    }

    /// The average time of a request, queueing included, seconds. `None`: unknown, or none was
    /// completed.
    #[must_use]
    pub fn request_seconds(&self, bdi: &str) -> Option<f64> {
        let requests = self.requests(bdi).filter(|moved| moved.bytes > 0)?;
        let took = self.device_moved(bdi, |device| device.request_ms)?;
        Some(took.bytes as f64 / requests.bytes as f64 / 1000.0)
    }

    /// The average number of waiting tasks, from the pauses that the kernel counted, which is
    /// exact. Without a count it comes from the samples. A few samples may each catch a short pause
    /// by chance.
    #[must_use]
    pub fn waited(
        &self,
        bdi: &str,
        pauses: impl Fn(&RelatedDevice) -> u64,
        waiting: impl Fn(&RelatedDevice) -> u32,
    ) -> f64 {
        let slept = self.device_moved(bdi, |device| Some(pauses(device)));
        match slept {
            Some(slept) if slept.bytes > 0 => slept.bytes as f64 / slept.ns as f64,
            _ => self.mean(|signs| signs.device(bdi).map_or(0, &waiting)),
        }
    }

    /// The node's dirty and writeback bytes and their hard limit, as means over the ticks: as paused
    /// tasks were told, or else as /proc/vmstat has them. `None`: unknown.
    #[must_use]
    pub fn node_dirty(&self) -> Option<(f64, f64)> {
        let page = self.newest()?.page_size? as f64;
        let told = |(from, to)| node_pages(from, to, |_| true).or_else(|| to.dirty_pages());
        let (mut dirty, mut limit, mut ticks) = (0.0, 0.0, 0.0);
        for (pages, most) in self.ticks().filter_map(told) {
            dirty += pages;
            limit += most;
            ticks += 1.0;
        }
        (ticks > 0.0).then(|| (dirty * page / ticks, limit * page / ticks))
    }

    /// Dirty and writeback bytes of a device: of its BDI, or as its paused writers were told.
    #[must_use]
    pub fn device_pages(&self, bdi: &str) -> Option<f64> {
        let newest = self.newest()?;
        let own = newest.device(bdi).and_then(|device| device.held_bytes);
        let classes = Class::ALL.iter();
        let told = classes.filter_map(|&class| self.pauses(bdi, class));
        let told = told.map(|means| means.bdi_dirty).reduce(f64::max);
        let told = told
            .zip(newest.page_size)
            .map(|(pages, size)| pages * size as f64);
        match (own, told) {
            (Some(own), Some(told)) => Some(told.max(own as f64)),
            (own, told) => told.or(own.map(|own| own as f64)),
        }
    }

    /// Whether a pause on the device was counted in the window.
    #[must_use]
    pub fn pauses_counted(&self, bdi: &str) -> bool {
        let classes = Class::ALL.iter();
        let mut grown = classes.map(|&class| self.pauses_grew(bdi, class, |one| one.events));
        grown.any(|events| events > 0)
    }

    /// The growth of a total of the pauses of a class on a device. A counter that runs backwards does
    /// not grow.
    #[must_use]
    pub fn pauses_grew(&self, bdi: &str, class: Class, total: fn(&DirtyPauses) -> u64) -> u64 {
        let grown = self.ticks().filter_map(|(from, to)| {
            let after = to.pauses(bdi, class).map(total)?;
            let before = from.pauses(bdi, class).map_or(0, total);
            Some(after.saturating_sub(before))
        });
        grown.fold(0, u64::saturating_add)
    }

    /// Mean over the samples.
    #[must_use]
    pub fn mean(&self, number: impl Fn(&RelatedSample) -> u32) -> f64 {
        let numbers = self.samples.iter().map(|s| f64::from(number(&s.signs)));
        numbers.sum::<f64>() / self.samples.len().max(1) as f64
    }

    /// Whether it holds in every sample in which nfsd ran; `None`: it ran in none.
    #[must_use]
    pub fn crew_always(&self, is: impl Fn(&ServerThreadCounts) -> bool) -> Option<bool> {
        let crews = self.samples.iter().filter_map(|s| s.signs.nfsd.as_ref());
        crews.map(is).reduce(|all, one| all && one)
    }

    /// Whether it holds in every sample.
    #[must_use]
    pub fn always(&self, is: impl Fn(&RelatedSample) -> bool) -> bool {
        self.samples.iter().all(|sample| is(&sample.signs))
    }

    /// The smallest value of a memory counter over the window; `None`: it is missing now.
    #[must_use]
    pub fn least(&self, number: impl Fn(&Memory) -> Option<f64>) -> Option<f64> {
        number(&self.signs()?.memory)?;
        let known = self.samples.iter().filter_map(|s| number(&s.signs.memory));
        known.reduce(f64::min)
    }

    /// Time that tasks spent in reclaim, nanoseconds. A sum falls when a wait without a seen end is
    /// dropped; that counts as no time.
    #[must_use]
    pub fn reclaimed(&self) -> Option<Moved> {
        self.signs()?.reclaim_ns?;
        let mut moved = Moved { bytes: 0, ns: 0 };
        for (from, to) in self.ticks() {
            let (Some(before), Some(after)) = (from.signs.reclaim_ns, to.signs.reclaim_ns) else {
                continue;
            };
            moved.bytes = moved.bytes.saturating_add(after.saturating_sub(before));
            moved.ns = moved.ns.saturating_add(to.ns.saturating_sub(from.ns));
        }
        self.suffices(moved.ns).then_some(moved)
    }
}
