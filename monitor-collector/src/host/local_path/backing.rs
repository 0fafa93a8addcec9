//! The files that a block device is stored on, from sysfs alone.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Maximum number of devices for one file system.
const MAX_DEVICES: usize = 64;

/// The files of the device with this number (`major:minor`). For a file system without its own
/// device (btrfs, ZFS), those of the device in `source`.
pub(super) fn files(sysfs: &Path, number: &str, source: &str) -> Vec<PathBuf> {
    let mut ahead = Vec::new();
    let by_number = sysfs.join("dev/block").join(number);
    if number.starts_with("0:") {
        ahead.extend(named(sysfs, source));
    } else {
        ahead.push(by_number);
    }
    let mut files = Vec::new();
    let mut seen = Vec::new();
    while let Some(device) = ahead.pop() {
        // The link leads from one sysfs path to the device below /sys/devices.
        #[allow(clippy::disallowed_methods, reason = "a link of sysfs")]
        let Ok(device) = fs::canonicalize(&device) else {
            continue;
        };
        if seen.len() >= MAX_DEVICES || seen.contains(&device) {
            continue;
        }
        if device.join("partition").exists() {
            ahead.extend(device.parent().map(Path::to_path_buf));
        }
        if let Ok(file) = fs::read(device.join("loop/backing_file")) {
            let file = file.trim_ascii_end();
            let file = file.strip_suffix(b" (deleted)").unwrap_or(file);
            files.push(PathBuf::from(OsStr::from_bytes(file)));
        }
        if let Ok(slaves) = fs::read_dir(device.join("slaves")) {
            ahead.extend(slaves.flatten().map(|slave| slave.path()));
        }
        seen.push(device);
    }
    files
}

/// `/dev/loop0`, `/dev/mapper/NAME`.
fn named(sysfs: &Path, source: &str) -> Option<PathBuf> {
    let name = source.strip_prefix("/dev/")?;
    let class = sysfs.join("class/block");
    if let Some(mapped) = name.strip_prefix("mapper/") {
        let devices = fs::read_dir(&class).ok()?.flatten();
        let mut devices = devices.map(|device| device.path());
        return devices.find(|device| {
            let is = fs::read_to_string(device.join("dm/name"));
            is.is_ok_and(|is| is.trim_end() == mapped)
        });
    }
    (!name.contains('/')).then(|| class.join(name))
}
