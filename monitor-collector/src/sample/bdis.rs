//! Backing devices: which are in use, how dirty each is, how busy its disk is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _};
use monitor_model::observation::{Bdi, Topology};

use crate::host::pseudofs;

/// BDIs that one tick reads at most; of more the least interesting are left out.
const MAX_BDIS: usize = 256;

/// A file system mounted from a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mounted {
    fstype: CompactString,
    device: CompactString,
}

/// Reads BDIs.
pub struct Bdis {
    sysfs: PathBuf,
    /// debugfs' root directory; `None`: it is unavailable.
    debugfs: Option<OwnedFd>,
    mounted: BTreeMap<CompactString, Mounted>,
    nfs_clients: BTreeSet<CompactString>,
    /// Devices that a server of this node cleans, and what the servers write to.
    served: BTreeSet<CompactString>,
    /// What NFS servers export.
    exported: BTreeSet<CompactString>,
    /// [`Topology::read_ns`] of what `mounted` and `nfs_clients` were taken
    /// from.
    read_ns: u64,
}

impl Bdis {
    /// Opens debugfs, wherever it is.
    pub fn new(sysfs: &Path) -> Self {
        let debugfs = pseudofs::debugfs(sysfs)
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "debugfs cannot be read: dirty and writeback bytes of each BDI are unknown, and the verdict takes the client's share from balance_dirty_pages alone; mount debugfs or run as root"
                );
            })
            .ok();
        Self {
            sysfs: sysfs.into(),
            debugfs,
            mounted: BTreeMap::new(),
            nfs_clients: BTreeSet::new(),
            served: BTreeSet::new(),
            exported: BTreeSet::new(),
            read_ns: 0,
        }
    }

    /// Devices that an NFS client mounted, by BDI name.
    pub fn nfs_clients(&self) -> impl Iterator<Item = &CompactString> {
        self.nfs_clients.iter()
    }

    /// Takes over what is mounted, if it was looked up again; to be called once
    /// a tick.
    pub fn refresh(&mut self, topology: &Topology) {
        if self.read_ns == topology.read_ns {
            return;
        }
        self.read_ns = topology.read_ns;
        self.nfs_clients = topology.mounts.iter().map(|m| m.bdi.clone()).collect();
        let served = topology.served.iter().map(|one| &one.bdi);
        let served = served.chain(topology.remote.iter().map(|one| &one.bdi));
        let written = topology.writes.iter().map(|one| &one.bdi);
        let stacked = topology.rests_on.iter();
        let stacked = stacked.flat_map(|one| [&one.bdi, &one.on]);
        self.served = served.chain(written).chain(stacked).cloned().collect();
        self.exported = topology.exports.iter().map(|e| e.bdi.clone()).collect();
        self.mounted.clear();
        for fs in topology.file_systems.iter().filter(|fs| !fs.bdi.is_empty()) {
            self.mounted
                .entry(fs.bdi.clone())
                .or_insert_with(|| Mounted {
                    fstype: fs.fstype.clone(),
                    device: fs.source.clone(),
                });
        }
    }

    /// Reads the BDIs in use: those of `first`, in this order, those mounted and
    /// those of `also`. By name; with how many were left out, the last ones.
    pub fn read<'a>(
        &'a self,
        first: impl Iterator<Item = &'a CompactString>,
        also: impl Iterator<Item = &'a CompactString>,
    ) -> (Vec<Bdi>, u32) {
        let names = first
            .chain(&self.served)
            .chain(&self.exported)
            .chain(&self.nfs_clients)
            .chain(self.mounted.keys())
            .chain(also)
            .filter(|name| !name.is_empty());
        let mut seen = BTreeSet::new();
        let mut read = BTreeSet::new();
        for name in names {
            if seen.insert(name) && read.len() < MAX_BDIS {
                read.insert(name);
            }
        }
        let left_out = u32::try_from(seen.len().saturating_sub(read.len())).unwrap_or(u32::MAX);
        let bdis = read.into_iter().map(|name| self.one(name.clone()));
        (bdis.collect(), left_out)
    }

    fn one(&self, name: CompactString) -> Bdi {
        let mounted = self.mounted.get(&name);
        let mut bdi = Bdi {
            fstype: mounted.map(|m| m.fstype.clone()).unwrap_or_default(),
            device: mounted.map(|m| m.device.clone()).unwrap_or_default(),
            bdi: name,
            ..Bdi::default()
        };
        if let Some(text) = self
            .debugfs
            .as_ref()
            .and_then(|root| pseudofs::read_at(root, format!("bdi/{}/stats", bdi.bdi)).ok())
        {
            parse_stats(&text, &mut bdi);
        }
        self.disk(&mut bdi);
        bdi
    }

    /// What the disk did, unless its counters are off: then they stand still, which is
    /// not the same as an idle disk.
    fn disk(&self, bdi: &mut Bdi) {
        let disk = self.sysfs.join("dev/block").join(bdi.bdi.as_str());
        let Ok(text) = fs::read_to_string(disk.join("stat")) else {
            return;
        };
        // A partition has the queue of its disk.
        let off = ["queue/iostats", "../queue/iostats"]
            .into_iter()
            .find_map(|file| {
                let setting = fs::read_to_string(disk.join(file)).ok()?;
                Some(setting.trim() == "0")
            });
        if off != Some(true) {
            parse_stat(&text, bdi);
        }
    }
}

/// Documentation/block/stat.rst, after the BDI's own numbers are read.
fn parse_stat(text: &str, bdi: &mut Bdi) {
    let fields: Vec<u64> = text
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [
        reads,
        _,
        sectors_read,
        read_ms,
        writes,
        _,
        sectors_written,
        write_ms,
        in_flight,
        busy_ms,
        ..,
    ] = fields[..]
    else {
        return;
    };
    // Pages were written, and the disk knows nothing of it: it does not count at all.
    let counts = reads > 0 || writes > 0 || bdi.written_bytes.is_none_or(|bytes| bytes == 0);
    // One request alone is a millisecond. md before 5.14 counts requests and no time.
    let times = busy_ms > 0 || reads.saturating_add(writes) == 0;
    bdi.disk_sectors_written = Some(sectors_written).filter(|_| counts);
    bdi.disk_busy_ms = Some(busy_ms).filter(|_| counts && times);
    bdi.disk_in_flight = Some(in_flight).filter(|_| counts);
    bdi.disk_sectors_read = Some(sectors_read).filter(|_| counts);
    bdi.disk_requests = reads.checked_add(writes).filter(|_| counts);
    bdi.disk_request_ms = read_ms.checked_add(write_ms).filter(|_| counts && times);
}

/// `bdi_debug_stats_show`, mm/backing-dev.c.
pub(super) fn parse_stats(text: &str, bdi: &mut Bdi) {
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let slot = match name.trim() {
            "BdiWriteback" => &mut bdi.writeback_bytes,
            "BdiReclaimable" => &mut bdi.dirty_bytes,
            "BdiDirtyThresh" => &mut bdi.threshold_bytes,
            "BdiWritten" => &mut bdi.written_bytes,
            _ => continue,
        };
        *slot = rest
            .split_whitespace()
            .next()
            .and_then(|kb| kb.parse::<u64>().ok())
            .and_then(|kb| kb.checked_mul(1024));
    }
}

/// `major:minor` of the kernel's `dev_t`, `include/linux/kdev_t.h`.
pub fn device_name(dev: u32) -> CompactString {
    format_args!("{}:{}", dev >> 20, dev & 0xf_ffff).to_compact_string()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use compact_str::{CompactString, format_compact};
    use monitor_model::observation::{Bdi, Export, FileSystem, Topology};

    use super::{Bdis, MAX_BDIS, device_name, parse_stat, parse_stats};

    /// A node that mounts so many file systems without a disk, and one with one.
    fn mounts(sysfs: &Path, many: usize) -> Bdis {
        fs::create_dir_all(sysfs.join("dev/block/254:0")).unwrap();
        let stat = "9 1 72 30 100 5 8000 450 3 700 480\n";
        fs::write(sysfs.join("dev/block/254:0/stat"), stat).unwrap();
        let mounted = |bdi: CompactString| FileSystem {
            device: bdi.clone(),
            bdi,
            ..FileSystem::default()
        };
        let anonymous = (0..many).map(|n| mounted(format_compact!("0:{}", 100 + n)));
        let mut bdis = Bdis::new(sysfs);
        bdis.refresh(&Topology {
            read_ns: 1,
            file_systems: anonymous.chain([mounted("254:0".into())]).collect(),
            ..Topology::default()
        });
        bdis
    }

    #[test]
    fn of_three_hundred_mounts_the_loops_and_then_the_paused_ones_are_read() {
        let sysfs = tempfile::tempdir().unwrap();
        let bdis = mounts(sysfs.path(), 300);
        let first = ["254:0", "0:399", "254:0"].map(CompactString::from);
        let also = ["9:1", ""].map(CompactString::from);
        let (read, left_out) = bdis.read(first.iter(), also.iter());
        assert_eq!(read.len(), MAX_BDIS);
        assert_eq!(left_out, 302 - 256);
        let disk = read.iter().find(|bdi| bdi.bdi == "254:0").unwrap();
        assert_eq!(disk.disk_busy_ms, Some(700));
        assert!(read.iter().any(|bdi| bdi.bdi == "0:399"));
        assert!(read.is_sorted_by_key(|bdi| bdi.bdi.clone()));
    }

    #[test]
    fn what_is_exported_is_read_before_what_is_only_mounted() {
        let sysfs = tempfile::tempdir().unwrap();
        let mut bdis = mounts(sysfs.path(), 300);
        let read = |bdis: &Bdis| {
            let (read, left_out) = bdis.read([].iter(), [].iter());
            assert_eq!(left_out, 301 - 256);
            read.iter().any(|bdi| bdi.bdi == "254:0")
        };
        assert!(!read(&bdis), "by name it is the last");
        bdis.read_ns = 0;
        let export = Export {
            netns: 1,
            path: "/srv".into(),
            bdi: "254:0".into(),
        };
        let file_systems = (0..301).map(|n| FileSystem {
            bdi: format_compact!("0:{n}"),
            ..FileSystem::default()
        });
        bdis.refresh(&Topology {
            read_ns: 2,
            exports: vec![export],
            file_systems: file_systems.take(300).collect(),
            ..Topology::default()
        });
        assert!(read(&bdis));
    }

    #[test]
    fn where_there_are_few_none_is_left_out() {
        let sysfs = tempfile::tempdir().unwrap();
        let (read, left_out) = mounts(sysfs.path(), 3).read([].iter(), [].iter());
        assert_eq!((read.len(), left_out), (4, 0));
    }

    /// A made-up /sys with one device; of a partition, `dir` is below its disk.
    fn disk(sysfs: &Path, name: &str, dir: &str, stat: &str) {
        let dir = sysfs.join("devices").join(dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("stat"), stat).unwrap();
        fs::create_dir_all(sysfs.join("dev/block")).unwrap();
        symlink(dir, sysfs.join("dev/block").join(name)).unwrap();
    }

    fn iostats(sysfs: &Path, dir: &str, setting: &str) {
        let queue = sysfs.join("devices").join(dir).join("queue");
        fs::create_dir_all(&queue).unwrap();
        fs::write(queue.join("iostats"), format!("{setting}\n")).unwrap();
    }

    fn read(sysfs: &Path, name: &str) -> (Option<u64>, Option<u64>) {
        let also = [CompactString::from(name)];
        let (bdis, _) = Bdis::new(sysfs).read([].iter(), also.iter());
        let bdi = &bdis[0];
        (bdi.disk_busy_ms, bdi.disk_sectors_written)
    }

    #[test]
    fn a_disk_whose_counters_are_off_is_unknown_and_not_idle() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = root.path();
        let works = "  21 0 900 4   5 0 72  3 0 11 7 0 0 0 0\n";
        disk(sysfs, "8:0", "sda", works);
        disk(sysfs, "8:1", "sda/sda1", works);
        assert_eq!(read(sysfs, "8:0"), (Some(11), Some(72)), "no such file");
        for (setting, seen) in [("1", (Some(11), Some(72))), ("0", (None, None))] {
            iostats(sysfs, "sda", setting);
            assert_eq!(read(sysfs, "8:0"), seen);
            assert_eq!(
                read(sysfs, "8:1"),
                seen,
                "a partition's queue is the disk's"
            );
        }
        assert_eq!(read(sysfs, "8:2"), (None, None), "no disk");
    }

    #[test]
    fn a_device_that_counts_requests_and_no_time_is_busy_for_an_unknown_time() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = root.path();
        disk(sysfs, "9:0", "md0", "21 0 900 0 5 0 72 0 0 0 0 0 0 0 0\n");
        assert_eq!(read(sysfs, "9:0"), (None, Some(72)));
        // One that nobody used yet is idle.
        disk(sysfs, "9:1", "md1", "0 0 0 0 0 0 0 0 0 0 0\n");
        assert_eq!(read(sysfs, "9:1"), (Some(0), Some(0)));
    }

    #[test]
    fn a_device_that_was_written_to_and_counts_nothing_is_unknown() {
        let mut bdi = Bdi {
            written_bytes: Some(4096),
            ..Bdi::default()
        };
        parse_stat("0 0 0 0 0 0 0 0 0 0 0", &mut bdi);
        assert_eq!((bdi.disk_busy_ms, bdi.disk_sectors_written), (None, None));
        parse_stat("1 2 3", &mut bdi);
        assert_eq!(bdi.disk_busy_ms, None);
    }

    #[test]
    fn the_stats_of_a_bdi_are_read_in_bytes() {
        let mut bdi = Bdi::default();
        let text = "BdiWriteback:               44 kB\nBdiReclaimable:          40300 kB\nBdiDirtyThresh:           \
                    40420 kB\nDirtyThresh:             40420 kB\nBdiWritten:             123 kB\n";
        parse_stats(text, &mut bdi);
        assert_eq!(bdi.writeback_bytes, Some(44 * 1024));
        assert_eq!(bdi.dirty_bytes, Some(40_300 * 1024));
        assert_eq!(bdi.threshold_bytes, Some(40_420 * 1024));
        assert_eq!(bdi.written_bytes, Some(123 * 1024));
    }

    #[test]
    fn what_a_disk_moved_and_how_long_that_took_is_read_of_its_stat() {
        let mut bdi = Bdi::default();
        parse_stat(
            "  9 1 72 30 100 5 8000 450 3 700 480 0 0 0 0 2 1\n",
            &mut bdi,
        );
        assert_eq!(bdi.disk_requests, Some(109));
        assert_eq!(bdi.disk_request_ms, Some(480));
        assert_eq!(bdi.disk_sectors_read, Some(72));
        assert_eq!(bdi.disk_sectors_written, Some(8000));
        assert_eq!(bdi.disk_busy_ms, Some(700));
    }

    #[test]
    fn a_device_number_is_named_as_the_kernel_names_the_bdi() {
        assert_eq!(device_name(29), "0:29");
        assert_eq!(device_name(254 << 20 | 16), "254:16");
    }
}
