//! Finds the BDI under a mount.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _, format_compact};

/// Maximum number each of BDIs, disks and btrfs file systems.
const MAX_ENTRIES: usize = 4096;

/// Finds BDIs in sysfs.
pub struct Backings {
    sysfs: PathBuf,
    bdis: BTreeSet<CompactString>,
    btrfs: Option<Vec<Btrfs>>,
}

/// A btrfs file system. Its mounts have their own device number, which does not name a BDI.
struct Btrfs {
    bdi: CompactString,
    /// Names below /sys/class/block.
    disks: Vec<CompactString>,
}

impl Backings {
    /// Reads the names of all BDIs.
    pub fn new(sysfs: &Path) -> Self {
        Self {
            sysfs: sysfs.into(),
            bdis: names(&sysfs.join("class/bdi")).into_iter().collect(),
            btrfs: None,
        }
    }

    /// The names of all BDIs.
    pub fn into_bdis(self) -> BTreeSet<CompactString> {
        self.bdis
    }

    /// The BDI under a mount; `None`: it has none of its own, as tmpfs, overlayfs or procfs.
    pub fn of(&mut self, device: &str, fstype: &str, source: &str) -> Option<CompactString> {
        // Its device is a disk, but its pages go to the daemon (`fuse_bdi_init`, fs/fuse/inode.c).
        if fstype == "fuseblk" || fstype.starts_with("fuseblk.") {
            let bdi = format_compact!("{device}-fuseblk");
            return self.bdis.contains(&bdi).then_some(bdi);
        }
        if self.bdis.contains(device) {
            return Some(device.into());
        }
        if fstype == "btrfs" {
            return self.btrfs(source);
        }
        if device.starts_with("0:") {
            return None;
        }
        // A partition writes through the BDI of its disk.
        let disk = self.sysfs.join("dev/block").join(device).join("../dev");
        Some(fs::read_to_string(disk).ok()?.trim_end().into())
    }

    fn btrfs(&mut self, source: &str) -> Option<CompactString> {
        let disk = self.disk(source);
        let all = self.btrfs.get_or_insert_with(|| btrfs(&self.sysfs));
        let of_disk = all.iter().find(|fs| fs.disks.contains(&disk));
        match (of_disk, all.as_slice()) {
            (Some(fs), _) => Some(fs.bdi.clone()),
            // With a single file system the name of the source (`/dev/root`) does not matter.
            (None, [only]) => Some(only.bdi.clone()),
            (None, _) => None,
        }
    }

    /// `vda1` for `/dev/vda1`, `dm-0` for `/dev/mapper/NAME`.
    fn disk(&self, source: &str) -> CompactString {
        let name = source.strip_prefix("/dev/").unwrap_or(source);
        let Some(mapped) = name.strip_prefix("mapper/") else {
            return name.into();
        };
        let disks = self.sysfs.join("class/block");
        let is_it = |disk: &CompactString| {
            let name = disks.join(disk).join("dm/name");
            disk.starts_with("dm-")
                && fs::read_to_string(name).is_ok_and(|name| name.trim_end() == mapped)
        };
        names(&disks)
            .into_iter()
            .find(is_it)
            .unwrap_or_else(|| name.into())
    }
}

/// `/sys/fs/btrfs/UUID/bdi` is a link to the BDI (since 5.10).
fn btrfs(sysfs: &Path) -> Vec<Btrfs> {
    let all = sysfs.join("fs/btrfs");
    names(&all)
        .into_iter()
        .filter_map(|uuid| {
            let bdi = fs::read_link(all.join(&uuid).join("bdi")).ok()?;
            Some(Btrfs {
                bdi: bdi.file_name()?.to_string_lossy().to_compact_string(),
                disks: names(&all.join(&uuid).join("devices")),
            })
        })
        .collect()
}

fn names(dir: &Path) -> Vec<CompactString> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .take(MAX_ENTRIES)
        .map(|entry| entry.file_name().to_string_lossy().to_compact_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::Backings;

    fn file(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_disk_is_its_own_bdi_and_a_partition_has_its_disks() {
        let sysfs = tempfile::tempdir().unwrap();
        let root = sysfs.path();
        fs::create_dir_all(root.join("class/bdi/254:0")).unwrap();
        file(&root.join("devices/vda/dev"), "254:0\n");
        fs::create_dir_all(root.join("devices/vda/vda1")).unwrap();
        fs::create_dir_all(root.join("dev/block")).unwrap();
        symlink("../../devices/vda/vda1", root.join("dev/block/254:1")).unwrap();
        let mut backings = Backings::new(root);
        assert_eq!(backings.of("254:0", "ext4", "/dev/vda").unwrap(), "254:0");
        assert_eq!(backings.of("254:1", "ext4", "/dev/vda1").unwrap(), "254:0");
        assert_eq!(backings.of("0:40", "tmpfs", "tmpfs"), None);
        assert_eq!(backings.of("259:7", "xfs", "/dev/gone"), None);
    }

    #[test]
    fn a_disk_behind_a_daemon_has_the_daemons_bdi() {
        let sysfs = tempfile::tempdir().unwrap();
        let root = sysfs.path();
        for bdi in ["8:16", "8:16-fuseblk", "8:32"] {
            fs::create_dir_all(root.join("class/bdi").join(bdi)).unwrap();
        }
        let mut backings = Backings::new(root);
        assert_eq!(
            backings.of("8:16", "fuseblk", "/dev/sdb").unwrap(),
            "8:16-fuseblk"
        );
        assert_eq!(backings.of("8:16", "ext4", "/dev/sdb").unwrap(), "8:16");
        assert_eq!(backings.of("8:32", "fuseblk", "/dev/sdc"), None);
    }

    #[test]
    fn a_btrfs_mount_is_found_by_any_of_its_disks() {
        let sysfs = tempfile::tempdir().unwrap();
        let root = sysfs.path();
        for (uuid, bdi, disks) in [
            ("1111", "btrfs-1", ["vdb", "vdc"]),
            ("2222", "btrfs-2", ["dm-3", "vdd"]),
        ] {
            let fs_dir = root.join("fs/btrfs").join(uuid);
            for disk in disks {
                fs::create_dir_all(fs_dir.join("devices").join(disk)).unwrap();
            }
            symlink(
                format!("../../../devices/virtual/bdi/{bdi}"),
                fs_dir.join("bdi"),
            )
            .unwrap();
        }
        file(&root.join("class/block/dm-3/dm/name"), "vg-data\n");
        let mut backings = Backings::new(root);
        let mut of = |source| backings.of("0:45", "btrfs", source);
        assert_eq!(of("/dev/vdc").unwrap(), "btrfs-1");
        assert_eq!(of("/dev/mapper/vg-data").unwrap(), "btrfs-2");
        assert_eq!(of("/dev/root"), None);
        fs::remove_dir_all(root.join("fs/btrfs/2222")).unwrap();
        let only = Backings::new(root).of("0:45", "btrfs", "/dev/root");
        assert_eq!(only.unwrap(), "btrfs-1");
    }
}
