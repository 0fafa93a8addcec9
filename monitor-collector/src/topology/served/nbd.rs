//! NBD: `/dev/nbd0`, served by qemu-nbd, nbd-server or nbdkit.
//!
//! sysfs tells who set the device up, which is mostly the client's side (nbd-client) and may have
//! ended. Its server is at the other end of the kernel's socket, so that end is looked for:
//!
//! - The process lives and waits in the device (`NBD_DO_IT`): the socket is one of its own.
//! - It set the device up by netlink and ended: the socket is one that no process holds. If all such
//!   sockets lead to one address or one process, that is the server's.
//! - It set the device up by netlink and lives: it serves the device if it has the other end of such a
//!   socket. sysfs may show another process in its place, see [`setter`].
//!
//! Where more than one answer is possible, there is none.

mod held;
mod search;
mod setter;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use compact_str::{CompactString, format_compact};
use monitor_model::observation::ClientKind;
use rustix::fs::fstat;

use self::search::{ReadPeers, Search, Unknown};
use super::remembered::Remembered;
use super::{Device, Kind, MAX_DEVICES, NodeFiles, Place};
use crate::host::text;
use crate::topology::namespaces::Namespaces;
use crate::topology::unix_peers;

/// Network block devices.
pub struct Nbd;

/// A connection of a device: its name, and the inode of the file of sysfs, which the kernel makes
/// for each connection.
type Key = (CompactString, u64);

/// The servers found so far.
#[derive(Debug, Default)]
pub struct Servers {
    known: Remembered<Key, Place>,
    /// Why there is none.
    unknown: BTreeMap<Key, Unknown>,
}

/// A device that is set up.
struct Connected {
    key: Key,
    bdi: CompactString,
    tid: u32,
}

impl Kind for Nbd {
    /// `/sys/block/nbd0/pid` (`pid_show`, `drivers/block/nbd.c`) exists while the device has a
    /// connection. It is the thread that set it up, in the initial pid namespace.
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let block = node.sysfs.join("block");
        let connected = |name: CompactString| {
            let dir = block.join(&name);
            let mut pid = File::open(dir.join("pid")).ok()?;
            let inode = fstat(&pid).ok()?.st_ino;
            let mut tid = String::new();
            pid.read_to_string(&mut tid).ok()?;
            let bdi = fs::read_to_string(dir.join("dev")).ok()?;
            Some(Connected {
                key: (name, inode),
                bdi: bdi.trim_end().into(),
                tid: tid.trim().parse().ok()?,
            })
        };
        let names = text::numbered(&block, "nbd", MAX_DEVICES);
        let connected: Vec<_> = names.into_iter().filter_map(connected).collect();
        let servers = &mut node.memory.nbd;
        servers.find(node.spaces, node.sysfs, &connected, unix_peers::read);
        let mut devices = Vec::new();
        for Connected { key, bdi, .. } in connected {
            let name = format_compact!("/dev/{}", key.0);
            if let Some(server) = servers.known.get(&key) {
                devices.push(Device {
                    bdi,
                    kind: ClientKind::Nbd,
                    name,
                    server: server.clone(),
                    target: None,
                });
            } else {
                let why = servers.unknown.get(&key).copied().unwrap_or_default();
                node.warnings
                    .note(&format_args!("The server of {name} is unknown: {why}."));
            }
        }
        devices
    }
}

impl Servers {
    /// Finds the servers of these devices. What sysfs shows of a known one does not matter.
    fn find(
        &mut self,
        spaces: &Namespaces,
        sysfs: &Path,
        connected: &[Connected],
        read_peers: ReadPeers,
    ) {
        let devices: Vec<_> = connected
            .iter()
            .map(|one| (one.key.clone(), one.tid))
            .collect();
        let is_due = self.known.check(spaces, &devices);
        self.unknown.retain(|key, _| {
            self.known.get(key).is_none() && devices.iter().any(|(one, _)| one == key)
        });
        if !is_due {
            return;
        }
        let names: Vec<_> = connected.iter().map(|one| one.key.0.clone()).collect();
        let known = self.known.sockets_of_kernel();
        let mut search = Search::new(spaces, sysfs, &names, known, read_peers);
        for Connected { key, tid, .. } in connected {
            if self.known.get(key).is_some() {
                continue;
            }
            match search.server(&key.0, *tid) {
                Ok(found) => {
                    self.unknown.remove(key);
                    self.known.put(key.clone(), found.place, found.facts);
                }
                Err(why) => {
                    self.unknown.insert(key.clone(), why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
