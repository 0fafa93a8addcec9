//! The backing devices of the files that kernel targets write to.

use std::{collections::BTreeMap, fs, path::Path};

use compact_str::CompactString;
use monitor_model::observation::{FileSystem, ServerRef, WriteBasis, WritesTo};

use super::super::mounts::not_all;
use super::super::{nearest, stacked};
use super::{Device, NodeFiles, Place, TargetFile};
use crate::host::text::numbered;

/// Maximum number of device-mapper devices to compare names with.
const MAX_MAPPED: usize = 4096;

/// The BDI and the file system's device of each file. Of a block device the latter is empty.
pub struct Files(BTreeMap<TargetFile, (CompactString, CompactString)>);

impl Files {
    /// Finds them for the targets of all devices. A kernel target opens its file in the mount
    /// namespace of the process that configured it, which is taken for the host's.
    pub fn find(devices: &[Device], node: &mut NodeFiles<'_>) -> Self {
        let mut found = BTreeMap::new();
        let mut paths = Vec::new();
        for file in devices.iter().flat_map(files) {
            let bdi = match &file.device {
                Some(number) => stacked::bdi_of_number(node.sysfs, number),
                None if file.path.starts_with("/dev/") => of_node(node.sysfs, &file.path),
                None => {
                    paths.push(file);
                    None
                }
            };
            if let Some(bdi) = bdi {
                found.insert(file.clone(), (bdi, CompactString::default()));
            }
        }
        let host = node.spaces.mounts.first().map_or(&[][..], |(_, pids)| pids);
        let texts: Vec<_> = paths.iter().map(|file| &*file.path).collect();
        let (mounts, read) = nearest::find(node.spaces, host, &texts);
        not_all(read, node.warnings, &format_args!("the host's mounts"));
        for (file, mount) in paths.into_iter().zip(mounts) {
            let of = |mount: nearest::Nearest| {
                let mut all = node.file_systems.iter();
                all.find(|file_system| file_system.device == mount.device)
            };
            if let Some(file_system) = mount.and_then(of) {
                found.insert(file.clone(), written(file_system));
            }
        }
        Self(found)
    }

    /// What a server writes to for a client by this file; none if that is unknown.
    pub fn written(
        &self,
        file: &TargetFile,
        server: &ServerRef,
        client: &CompactString,
    ) -> Option<WritesTo> {
        let (bdi, device) = self.0.get(file)?;
        Some(WritesTo {
            server: server.clone(),
            bdi: bdi.clone(),
            device: device.clone(),
            file: file.path.clone(),
            basis: WriteBasis::Configured,
            direct: file.direct,
            client: client.clone(),
        })
    }
}

fn files(device: &Device) -> impl Iterator<Item = &TargetFile> {
    let own = match &device.server {
        Place::Target(target) => Some(target),
        Place::Process(_) | Place::Tcp(_) => None,
    };
    let targets = own.into_iter().chain(&device.target);
    targets.flat_map(|target| target.files.iter().flatten())
}

/// A file system without a BDI (tmpfs) is known by its device.
fn written(file_system: &FileSystem) -> (CompactString, CompactString) {
    let FileSystem { bdi, device, .. } = file_system;
    let bdi = if bdi.is_empty() { device } else { bdi };
    (bdi.clone(), device.clone())
}

/// The BDI of `/dev/NAME` or `/dev/mapper/NAME`. Another link in /dev is not followed.
fn of_node(sysfs: &Path, path: &str) -> Option<CompactString> {
    let name = path.strip_prefix("/dev/")?;
    let block = sysfs.join("class/block");
    let Some(mapped) = name.strip_prefix("mapper/") else {
        let is_plain = !name.contains('/') && !name.starts_with('.');
        return is_plain
            .then(|| stacked::bdi_of(&block.join(name)))
            .flatten();
    };
    let all = numbered(&sysfs.join("block"), "dm-", MAX_MAPPED);
    let is_it = |dm: &&CompactString| {
        let name = fs::read_to_string(block.join(dm).join("dm/name"));
        name.is_ok_and(|name| name.trim_end() == mapped)
    };
    stacked::bdi_of(&block.join(all.iter().find(is_it)?))
}
