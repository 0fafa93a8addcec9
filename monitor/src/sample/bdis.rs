//! Backing devices: which are in use, how dirty each is, how busy its disk is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _};

use super::{Bdi, Topology};
use crate::pseudofs;

/// BDIs that one tick reads at most; a node with more keeps the busiest names
/// first in the alphabet and no other.
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
    /// debugfs' root directory; `None`: it cannot be had.
    debugfs: Option<OwnedFd>,
    mounted: BTreeMap<CompactString, Mounted>,
    nfs_clients: BTreeSet<CompactString>,
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
                    "debugfs cannot be read: dirty and writeback bytes of each BDI are not known, and the verdict \
                     takes the client's share from balance_dirty_pages alone; mount debugfs or run as root"
                );
            })
            .ok();
        Self {
            sysfs: sysfs.into(),
            debugfs,
            mounted: BTreeMap::new(),
            nfs_clients: BTreeSet::new(),
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

    /// Reads the BDIs in use: those mounted and those of `also`.
    pub fn read(&self, also: impl Iterator<Item = CompactString>) -> Vec<Bdi> {
        let names: BTreeSet<_> = self
            .mounted
            .keys()
            .cloned()
            .chain(also)
            .filter(|name| !name.is_empty())
            .collect();
        names
            .into_iter()
            .take(MAX_BDIS)
            .map(|name| self.one(name))
            .collect()
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
        if let Ok(text) = fs::read_to_string(
            self.sysfs
                .join("dev/block")
                .join(bdi.bdi.as_str())
                .join("stat"),
        ) {
            // Documentation/block/stat.rst: 7 is sectors written, 10 is
            // io_ticks in milliseconds, counted from one.
            let mut fields = text.split_whitespace().map(|field| field.parse().ok());
            bdi.disk_sectors_written = fields.nth(6).flatten();
            bdi.disk_busy_ms = fields.nth(2).flatten();
        }
        bdi
    }
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
    use super::{device_name, parse_stats};
    use crate::sample::Bdi;

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
    fn a_device_number_is_named_as_the_kernel_names_the_bdi() {
        assert_eq!(device_name(29), "0:29");
        assert_eq!(device_name(254 << 20 | 16), "254:16");
    }
}
