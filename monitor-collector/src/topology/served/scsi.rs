//! SCSI disks whose target is on this node: LIO without an initiator (`tcm_loop`), and disks of the
//! iSCSI initiator (`iscsi_tcp`), whose target is LIO or a process (tgtd).

mod iscsi;
mod lio;
#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use compact_str::{CompactString, ToCompactString as _};

use super::{Device, Kind, MAX_DEVICES, NodeFiles};

/// SCSI disks.
pub struct Scsi;

impl Kind for Scsi {
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let config = node.sysfs.join("kernel/config/target");
        let mut devices = lio::loopback(node.sysfs, &config);
        devices.extend(iscsi::devices(node.sysfs, &config));
        devices
    }
}

/// The disk of a SCSI device, by the device's directory, and its BDI.
fn disk(scsi_device: &Path) -> Option<(CompactString, CompactString)> {
    let name = names(&scsi_device.join("block")).into_iter().next()?;
    let dev = fs::read_to_string(scsi_device.join("block").join(&name).join("dev")).ok()?;
    Some((name, dev.trim_end().into()))
}

/// The names in a directory; none if it cannot be read.
fn names(dir: &Path) -> Vec<CompactString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().to_compact_string();
    entries.take(MAX_DEVICES).map(name).collect()
}

/// The first line of a file; `None`: there is none, or it is empty.
fn line(path: &Path) -> Option<CompactString> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.into())
}
