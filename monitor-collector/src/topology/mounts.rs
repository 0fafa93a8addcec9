//! The mounts of all mount namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use compact_str::CompactString;
use monitor_model::observation::{FileSystem, NfsMount};

use super::backing::Backings;
use super::namespaces::Namespaces;
use super::smb::SmbMount;
use super::sockets::canonical;
use super::volumes::Volume;
use super::warnings::LookupWarnings;
use crate::host::mountinfo::Line;
use crate::host::text::unescape;

/// The default port of NFS.
const NFS_PORT: u16 = 2049;
/// Maximum number of lines of one mount namespace: more than the kernel's own limit,
/// `fs.mount-max`.
pub const MAX_LINES: usize = 131_072;
/// Maximum number of lines of a network namespace's volumes.
const MAX_VOLUMES: usize = 4096;
/// Maximum number of devices of each kind.
const MAX_FILE_SYSTEMS: usize = 4096;
const MAX_NFS: usize = 256;
const MAX_SMB: usize = 256;
/// Maximum number of mount points of an NFS mount.
const MAX_MOUNT_POINTS: usize = 4;

/// Everything mounted, by device.
#[derive(Debug, Default)]
pub struct Mounts {
    /// File systems on a device or a BDI, and tmpfs.
    pub file_systems: BTreeMap<CompactString, FileSystem>,
    /// NFS mounts.
    pub nfs: BTreeMap<CompactString, NfsMount>,
    /// SMB mounts, without their BDIs.
    pub smb: Vec<SmbMount>,
    /// The names of all BDIs.
    pub bdis: BTreeSet<CompactString>,
    /// Network namespaces kept alive by a mount, and the mount's path.
    pub kept_nets: BTreeMap<u64, CompactString>,
}

impl Mounts {
    /// Reads one process of each mount namespace.
    pub fn read(spaces: &Namespaces, sysfs: &Path, warnings: &mut LookupWarnings) -> Self {
        let mut mounts = Self::default();
        let mut backings = Backings::new(sysfs);
        for (namespace, pids) in &spaces.mounts {
            let add = |line: &str| {
                if let Some(line) = Line::parse(line) {
                    mounts.add(&line, &mut backings, warnings);
                }
            };
            let read = spaces.lines(pids, "mountinfo", MAX_LINES, add);
            not_all(read, warnings, &format_args!("mount namespace {namespace}"));
        }
        mounts.bdis = backings.into_bdis();
        mounts
    }

    fn add(&mut self, line: &Line<'_>, backings: &mut Backings, warnings: &mut LookupWarnings) {
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
            self.add_nfs(line, warnings);
        }
        if let Some(mount) = SmbMount::of(line) {
            let known = self.smb.iter().any(|one| one.device == mount.device);
            if !known && self.smb.len() < MAX_SMB {
                self.smb.push(mount);
            } else if !known {
                warnings.note(&format_args!("Only {MAX_SMB} SMB mounts are read."));
            }
            return;
        }
        if self.file_systems.contains_key(line.device) {
            return;
        }
        let bdi = backings.of(line.device, line.fstype, line.source);
        if bdi.is_none() && line.fstype != "tmpfs" {
            return;
        }
        if self.file_systems.len() == MAX_FILE_SYSTEMS {
            warnings.note(&format_args!(
                "Only {MAX_FILE_SYSTEMS} file systems are read."
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

    fn add_nfs(&mut self, line: &Line<'_>, warnings: &mut LookupWarnings) {
        if let Some(mount) = self.nfs.get_mut(line.device) {
            let mount_point = unescape(line.mount_point);
            if mount.mount_points.len() < MAX_MOUNT_POINTS
                && !mount.mount_points.contains(&mount_point)
            {
                mount.mount_points.push(mount_point);
            }
        } else if self.has_room(warnings) {
            self.nfs.insert(line.device.into(), nfs_mount(line));
        }
    }

    fn has_room(&self, warnings: &mut LookupWarnings) -> bool {
        let room = self.nfs.len() < MAX_NFS;
        if !room {
            warnings.note(&format_args!("Only {MAX_NFS} NFS mounts are read."));
        }
        room
    }

    /// Finds the network namespace of each NFS mount's client, and the server's true port. Only
    /// this file lists a mount that no process sees any more.
    pub fn read_volumes(&mut self, spaces: &Namespaces, warnings: &mut LookupWarnings) {
        for (&namespace, pids) in &spaces.nets {
            let add = |line: &str| {
                if let Some(volume) = Volume::parse(line) {
                    self.add_volume(namespace, &volume, warnings);
                }
            };
            let read = spaces.lines(pids, "net/nfsfs/volumes", MAX_VOLUMES, add);
            not_all(
                read,
                warnings,
                &format_args!("network namespace {namespace}"),
            );
        }
    }

    fn add_volume(&mut self, namespace: u64, volume: &Volume<'_>, warnings: &mut LookupWarnings) {
        if !self.nfs.contains_key(volume.device) && !self.has_room(warnings) {
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

/// Warns about a file that was not read completely. A missing file is no warning: its process
/// ended, or its module is not loaded.
pub fn not_all(
    read: io::Result<Option<bool>>,
    warnings: &mut LookupWarnings,
    of: &std::fmt::Arguments<'_>,
) {
    match read {
        Ok(Some(false)) => warnings.note(&format_args!(
            "Only a part of {of} is read: it is too large."
        )),
        Ok(_) => {}
        Err(error) => warnings.note(&format_args!("Not all of {of} can be read: {error}.")),
    }
}

/// The NFS mount in a line.
pub(super) fn nfs_mount(line: &Line<'_>) -> NfsMount {
    NfsMount {
        bdi: line.device.into(),
        source: unescape(line.source),
        fstype: line.fstype.into(),
        version: line.option("vers").unwrap_or_default().into(),
        mount_points: vec![unescape(line.mount_point)],
        server: nfs_server(line),
        netns: None,
        listener: None,
        listener_tgid: None,
    }
}

/// `addr=` and `port=` (`nfs_show_mount_options`, fs/nfs/super.c). Version 3 without a port used
/// the server's rpcbind, so the default is a guess.
fn nfs_server(line: &Line<'_>) -> Option<SocketAddr> {
    let address: IpAddr = line.option("addr")?.parse().ok()?;
    let port = line.option("port").and_then(|port| port.parse().ok());
    let port = port.filter(|port| *port != 0).unwrap_or(NFS_PORT);
    Some(canonical(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::{Line, nfs_mount};

    const NFS: &str = "36 35 0:29 / /mnt/a\\040b rw,noatime shared:1 master:2 - nfs4 10.9.0.2:/ \
                       rw,vers=4.2,rsize=131072,hard,proto=tcp,clientaddr=10.9.0.1,local_lock=none,addr=10.9.0.2";

    #[test]
    fn an_nfs_mount_is_read_with_its_server_and_version() {
        let mount = nfs_mount(&Line::parse(NFS).unwrap());
        assert_eq!(mount.bdi, "0:29");
        assert_eq!(mount.source, "10.9.0.2:/");
        assert_eq!(mount.fstype, "nfs4");
        assert_eq!(mount.version, "4.2");
        assert_eq!(mount.mount_points, ["/mnt/a b"]);
        assert_eq!(mount.server, Some("10.9.0.2:2049".parse().unwrap()));
    }

    #[test]
    fn a_port_of_the_mount_is_taken_and_mountaddr_is_not_the_server() {
        let line = "36 35 0:30 / /mnt rw - nfs h:/x rw,vers=3,port=20049,mountaddr=10.0.0.9,mountvers=3,addr=fd00::2";
        let mount = nfs_mount(&Line::parse(line).unwrap());
        assert_eq!(mount.server, Some("[fd00::2]:20049".parse().unwrap()));
        assert_eq!(mount.version, "3");
    }
}
