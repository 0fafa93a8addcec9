//! What a loop device took over from its file when it was set up (`drivers/block/loop.c`).

use std::{fs, path::Path};

use crate::host::text::is_device;
use crate::topology::nearest::Nearest;

/// Types of file systems that have no block device (`s_bdev`), so that a loop device on their files
/// does not count as rotational.
const WITHOUT_DISK: [&str; 9] = [
    "nfs", "nfs4", "cifs", "smb3", "fuse", "tmpfs", "ramfs", "rootfs", "9p",
];
/// Types of file systems with blocks of at most [`MAX_BLOCK`].
const SMALL_BLOCKS: [&str; 9] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs", "rootfs",
];
const MAX_BLOCK: u64 = 65_536;
/// NFS shows the length of its writes for a block, rounded down to a power of two.
const PAGE: u64 = 4096;

/// The traits; `None`: not shown, or it tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// That of the disk below the file system (`loop_update_rotational`; since 6.11
    /// `loop_update_limits`).
    rotational: Option<bool>,
    /// The file system's block (`loop_config_discard`), if the file can be punched.
    block: Option<u64>,
}

impl Traits {
    /// Reads the queue of a loop device.
    pub fn read(dir: &Path) -> Self {
        let queue = dir.join("queue");
        let number = |name| -> Option<u64> {
            let text = fs::read_to_string(queue.join(name)).ok()?;
            text.trim().parse().ok()
        };
        let discards = number("discard_max_bytes").is_some_and(|bytes| bytes > 0);
        let block = number("discard_granularity").filter(|bytes| discards && *bytes > 0);
        Self {
            rotational: number("rotational").map(|flag| flag != 0),
            block,
        }
    }

    /// Whether nothing speaks against a mount.
    pub fn fits(self, mount: &Nearest, sysfs: &Path) -> bool {
        let is_one = |types: &[&str]| types.contains(&&*mount.fstype);
        let rotational = if is_one(&WITHOUT_DISK) {
            Some(false)
        } else {
            rotational(sysfs, &mount.device)
        };
        if let (Some(own), Some(disk)) = (self.rotational, rotational)
            && own != disk
        {
            return false;
        }
        self.block.is_none_or(|block| {
            let nfs = is_one(&["nfs", "nfs4"]) && mount.wsize.is_some_and(|size| size >= 2 * PAGE);
            (block <= MAX_BLOCK || !is_one(&SMALL_BLOCKS)) && (block > PAGE || !nfs)
        })
    }
}

/// That of a disk, or of a partition's disk.
fn rotational(sysfs: &Path, device: &str) -> Option<bool> {
    if !is_device(device) || device.starts_with("0:") {
        return None;
    }
    let dir = sysfs.join("dev/block").join(device);
    let read = |file: &str| fs::read_to_string(dir.join(file)).ok();
    let text = read("queue/rotational").or_else(|| read("../queue/rotational"))?;
    match text.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}
