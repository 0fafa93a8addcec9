//! FUSE mounts, each served by the process that has its connection open: `/dev/fuse`.
//!
//! Nothing below such a mount is read. A virtiofs mount has no daemon here: it is on the host of
//! this virtual machine.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_model::observation::{ClientKind, FileSystem};

use super::remembered::{Fact, OpenFile, Remembered};
use super::{Device, Kind, NodeFiles, Place};
use crate::host::text::numbered;
use crate::topology::fds::{FdInfo, comm, links};
use crate::topology::namespaces::{Namespaces, is_gone};

/// Maximum number of file descriptors in one search, and of those that are `/dev/fuse`.
const MAX_FDS: usize = 262_144;
const MAX_HELD: usize = 1024;
/// Maximum number of connections.
const MAX_CONNECTIONS: usize = 4096;
/// `TASK_COMM_LEN` without its zero.
const COMM_LEN: usize = 15;
/// It opens `/dev/fuse` for the daemon, and never reads it.
const MOUNT_HELPER: &str = "fusermount";

/// FUSE mounts.
pub struct Fuse;

/// A connection, by the number of its device (`fuse_ctl_add_conn`, fs/fuse/control.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::topology) struct Connection {
    pub number: u64,
    /// `bindfs` of the mount's type `fuse.bindfs`; empty: unknown.
    pub subtype: CompactString,
}

/// An open `/dev/fuse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::topology) struct Held {
    pub tgid: u32,
    pub name: CompactString,
    pub fd: u32,
    /// The connection, where the kernel shows it.
    pub connection: Option<u64>,
}

/// The daemon of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    pub tgid: u32,
    pub name: CompactString,
    fd: u32,
    /// Whether it was chosen by its name.
    pub by_name: bool,
}

/// The daemons found so far, by the number of the connection.
pub type Daemons = Remembered<u64, Daemon>;

impl Kind for Fuse {
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let mounts: Vec<_> = node
            .file_systems
            .iter()
            .filter_map(|mount| Some((connection(mount)?, mount)))
            .collect();
        let connections = if mounts.is_empty() {
            Vec::new()
        } else {
            all_connections(node, &mounts)
        };
        let keys: Vec<_> = connections.iter().map(|one| (one.number, 0)).collect();
        if node.memory.fuse.check(node.spaces, &keys) {
            find(&mut node.memory.fuse, node.spaces, &connections);
        }
        let mut devices = Vec::new();
        for (Connection { number, .. }, mount) in mounts {
            let place = format_args!("{} ({})", mount.mount_point, mount.device);
            let Some(daemon) = node.memory.fuse.get(&number) else {
                node.warnings.note(&format_args!(
                    "Which process serves the FUSE mount {place} is unknown: none is seen to have its connection open, or several may have it."
                ));
                continue;
            };
            if daemon.by_name {
                node.warnings.note(&format_args!(
                    "That {} ({}) serves the FUSE mount {place} is deduced from its name: this kernel does not show the connections of FUSE daemons.",
                    daemon.name, daemon.tgid
                ));
            }
            devices.push(Device {
                bdi: mount.bdi.clone(),
                kind: ClientKind::Fuse,
                name: mount.mount_point.clone(),
                server: Place::Process(daemon.tgid),
                target: None,
            });
        }
        devices
    }
}

/// The connection of a mount; `None`: another type of file system.
pub(in crate::topology) fn connection(mount: &FileSystem) -> Option<Connection> {
    let (fstype, subtype) = mount.fstype.split_once('.').unwrap_or((&mount.fstype, ""));
    if !matches!(fstype, "fuse" | "fuseblk") {
        return None;
    }
    // `dev_t`, include/linux/kdev_t.h. A mount without a block device has the major number 0.
    let (major, minor) = mount.device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(Connection {
        number: u64::from(major) << 20 | u64::from(minor),
        subtype: subtype.into(),
    })
}

/// The connections of these mounts, and those of mounts that no process sees: each has a directory
/// in fusectl, if that is mounted. A virtiofs mount has one, too.
fn all_connections(node: &NodeFiles<'_>, mounts: &[(Connection, &FileSystem)]) -> Vec<Connection> {
    let mut all: Vec<_> = mounts.iter().map(|(one, _)| one.clone()).collect();
    let virtiofs = |number: u64| {
        let device = format!("0:{number}");
        let mut file_systems = node.file_systems.iter();
        file_systems.any(|fs| fs.fstype == "virtiofs" && fs.device == device)
    };
    let control = node.sysfs.join("fs/fuse/connections");
    for name in numbered(&control, "", MAX_CONNECTIONS) {
        if let Ok(number) = name.parse()
            && all.iter().all(|one| one.number != number)
            && !virtiofs(number)
        {
            let subtype = CompactString::default();
            all.push(Connection { number, subtype });
        }
    }
    all
}

/// Finds the daemons of these connections, of those that have none.
fn find(daemons: &mut Daemons, spaces: &Namespaces, connections: &[Connection]) {
    let (mut held, whole) = search(spaces);
    let fds: Vec<_> = held.iter().map(|one| one.tgid).collect();
    // A process with one open file serves one connection.
    held.retain(|one| {
        fds.iter().filter(|tgid| **tgid == one.tgid).count() > 1
            || daemons.servers().all(|daemon| daemon.tgid != one.tgid)
    });
    let unknown = connections
        .iter()
        .filter(|one| daemons.get(&one.number).is_none());
    let unknown: Vec<_> = unknown.cloned().collect();
    for (number, daemon) in pair(&unknown, &held, whole) {
        if let Some(file) = OpenFile::read(spaces, daemon.tgid, daemon.fd) {
            daemons.put(number, daemon, vec![Fact::Open(file)]);
        }
    }
}

/// The daemon of each connection.
///
/// Where the kernel shows the connections (`fuse_connection`), that decides, if one process has the
/// connection open. Otherwise the daemon is the only process with the name of the mount's type, or
/// the only process that is left, as long as all processes were read.
pub(in crate::topology) fn pair(
    connections: &[Connection],
    held: &[Held],
    whole: bool,
) -> BTreeMap<u64, Daemon> {
    let shown = held.iter().any(|one| one.connection.is_some());
    let mut found: BTreeMap<u64, Daemon> = BTreeMap::new();
    let mut add = |number: u64, held: &Held, by_name: bool| {
        let daemon = Daemon {
            tgid: held.tgid,
            name: held.name.clone(),
            fd: held.fd,
            by_name,
        };
        found.insert(number, daemon);
    };
    if shown {
        for connection in connections {
            let of_it = held
                .iter()
                .filter(|h| h.connection == Some(connection.number));
            if let Some(held) = only(of_it) {
                add(connection.number, held, false);
            }
        }
        return found;
    }
    // Of one process among all there is nothing to choose.
    let several = !whole || only(held.iter()).is_none();
    let mut left: Vec<_> = held.iter().collect();
    let mut unserved: Vec<_> = connections.iter().collect();
    unserved.retain(|connection| {
        let name = comm_of(&connection.subtype);
        let named = held.iter().filter(|h| !name.is_empty() && h.name == name);
        let Some(held) = only(named).filter(|_| several) else {
            return true;
        };
        left.retain(|one| one.tgid != held.tgid);
        add(connection.number, held, true);
        false
    });
    if let Some(held) = only(left.into_iter()).filter(|_| whole) {
        for connection in unserved {
            add(connection.number, held, several);
        }
    }
    found
}

/// The first of the open files, if all are of one process.
fn only<'a>(mut held: impl Iterator<Item = &'a Held>) -> Option<&'a Held> {
    let first = held.next()?;
    held.all(|one| one.tgid == first.tgid).then_some(first)
}

/// A program's name as the kernel cuts it.
fn comm_of(name: &str) -> &str {
    let end = name.floor_char_boundary(COMM_LEN);
    name.get(..end).unwrap_or(name)
}

/// All open `/dev/fuse`, and whether all processes were read.
fn search(spaces: &Namespaces) -> (Vec<Held>, bool) {
    let (mut held, mut budget) = (Vec::new(), MAX_FDS);
    let mut whole = spaces.denied == 0;
    for &tgid in spaces.nets.values().flatten() {
        let process = spaces.process(tgid);
        let mut fds = Vec::new();
        let read = links(&process, &mut budget, |fd, link| {
            if is_fuse(link) && held.len() + fds.len() < MAX_HELD {
                fds.push(fd);
            }
        });
        whole &= read.is_ok() || read.is_err_and(|error| is_gone(&error));
        let name = (!fds.is_empty()).then(|| comm(&process)).flatten();
        let Some(name) = name.filter(|name| !name.starts_with(MOUNT_HELPER)) else {
            continue;
        };
        held.extend(fds.into_iter().map(|fd| Held {
            tgid,
            name: name.clone(),
            fd,
            connection: FdInfo::read(&process, fd).and_then(|info| info.fuse_connection),
        }));
    }
    whole &= budget > 0 && held.len() < MAX_HELD;
    (held, whole)
}

fn is_fuse(link: &[u8]) -> bool {
    link == b"/dev/fuse" || link.ends_with(b"/dev/fuse")
}

#[cfg(test)]
mod tests;
