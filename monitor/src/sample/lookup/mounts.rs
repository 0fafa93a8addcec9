//! What is mounted, over all mount namespaces.

use std::{collections::BTreeMap, io, path::Path};

use compact_str::CompactString;
use monitor_model::observation::{FileSystem, NfsMount};

use super::{
    backing::Backings, gaps::Gaps, mountinfo::Line, namespaces::Namespaces, text::unescape,
    volumes::Volume,
};

/// Lines read of one mount namespace: more than the kernel's own limit,
/// `fs.mount-max`.
pub const MAX_LINES: usize = 131_072;
/// Lines read of a network namespace's volumes.
const MAX_VOLUMES: usize = 4096;
/// Devices kept of each kind.
const MAX_FILE_SYSTEMS: usize = 4096;
const MAX_NFS: usize = 256;
/// Mount points kept of an NFS mount.
const MAX_MOUNT_POINTS: usize = 4;

/// Everything mounted, by device.
#[derive(Debug, Default)]
pub struct Mounts {
    /// File systems on a device or a BDI, and tmpfs.
    pub file_systems: BTreeMap<CompactString, FileSystem>,
    /// NFS mounts.
    pub nfs: BTreeMap<CompactString, NfsMount>,
    /// Network namespaces that something keeps by a mount, and where.
    pub kept_nets: BTreeMap<u64, CompactString>,
}

impl Mounts {
    /// Reads one process of each mount namespace.
    pub fn read(spaces: &Namespaces, sysfs: &Path, gaps: &mut Gaps) -> Self {
        let mut mounts = Self::default();
        let mut backings = Backings::new(sysfs);
        for (namespace, pids) in &spaces.mounts {
            let add = |line: &str| {
                if let Some(line) = Line::parse(line) {
                    mounts.add(&line, &mut backings, gaps);
                }
            };
            let read = spaces.lines(pids, "mountinfo", MAX_LINES, add);
            not_all(read, gaps, &format_args!("mount namespace {namespace}"));
        }
        mounts
    }

    fn add(&mut self, line: &Line<'_>, backings: &mut Backings, gaps: &mut Gaps) {
        if line.fstype == "nsfs" {
            let net = line
                .root
                .strip_prefix("net:[")
                .and_then(|n| n.strip_suffix(']'));
            if let Some(net) = net.and_then(|net| net.parse().ok()) {
                self.kept_nets
                    .entry(net)
                    .or_insert_with(|| unescape(line.mount_point));
            }
            return;
        }
        if line.is_nfs() {
            self.add_nfs(line, gaps);
        }
        if self.file_systems.contains_key(line.device) {
            return;
        }
        let bdi = backings.of(line.device, line.fstype, line.source);
        if bdi.is_none() && line.fstype != "tmpfs" {
            return;
        }
        if self.file_systems.len() == MAX_FILE_SYSTEMS {
            gaps.note(&format_args!(
                "Only {MAX_FILE_SYSTEMS} file systems are looked at."
            ));
            return;
        }
        let file_system = FileSystem {
            device: line.device.into(),
            bdi: bdi.unwrap_or_default(),
            fstype: line.fstype.into(),
            source: unescape(line.source),
            mount_point: unescape(line.mount_point),
        };
        self.file_systems.insert(line.device.into(), file_system);
    }

    fn add_nfs(&mut self, line: &Line<'_>, gaps: &mut Gaps) {
        if let Some(mount) = self.nfs.get_mut(line.device) {
            let mount_point = unescape(line.mount_point);
            if mount.mount_points.len() < MAX_MOUNT_POINTS
                && !mount.mount_points.contains(&mount_point)
            {
                mount.mount_points.push(mount_point);
            }
        } else if self.has_room(gaps) {
            self.nfs.insert(line.device.into(), line.nfs_mount());
        }
    }

    fn has_room(&self, gaps: &mut Gaps) -> bool {
        let room = self.nfs.len() < MAX_NFS;
        if !room {
            gaps.note(&format_args!("Only {MAX_NFS} NFS mounts are looked at."));
        }
        room
    }

    /// Learns in which network namespace each NFS mount's client is, and the
    /// server's true port. A mount that no process sees any more is learnt of
    /// here alone.
    pub fn read_volumes(&mut self, spaces: &Namespaces, gaps: &mut Gaps) {
        for (&namespace, pids) in &spaces.nets {
            let add = |line: &str| {
                if let Some(volume) = Volume::parse(line) {
                    self.add_volume(namespace, &volume, gaps);
                }
            };
            let read = spaces.lines(pids, "net/nfsfs/volumes", MAX_VOLUMES, add);
            not_all(read, gaps, &format_args!("network namespace {namespace}"));
        }
    }

    fn add_volume(&mut self, namespace: u64, volume: &Volume<'_>, gaps: &mut Gaps) {
        if !self.nfs.contains_key(volume.device) && !self.has_room(gaps) {
            return;
        }
        let mount = self
            .nfs
            .entry(volume.device.into())
            .or_insert_with(|| NfsMount {
                bdi: volume.device.into(),
                fstype: if volume.version == "4" { "nfs4" } else { "nfs" }.into(),
                version: volume.version.into(),
                ..NfsMount::default()
            });
        mount.netns = Some(namespace);
        mount.server = volume.server.or(mount.server);
    }
}

/// Says what of a file was not read, if any. That it is not there is no gap:
/// its process ended, or its module is not loaded.
pub fn not_all(read: io::Result<Option<bool>>, gaps: &mut Gaps, of: &std::fmt::Arguments<'_>) {
    match read {
        Ok(Some(false)) => gaps.note(&format_args!("There is more in {of} than is read.")),
        Ok(_) => {}
        Err(error) => gaps.note(&format_args!("Not all of {of} can be read: {error}.")),
    }
}
