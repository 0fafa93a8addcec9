//! NBD: `/dev/nbd0`, served by qemu-nbd, nbd-server or nbdkit.
//!
//! sysfs tells who set the device up, which is mostly the client's side (nbd-client) and may have
//! ended. Its server is at the other end of the kernel's socket, so that end is looked for:
//!
//! - The process lives and waits in the device (`NBD_DO_IT`): the socket is one of its own.
//! - It set the device up by netlink and ended: the socket is one that no process holds. If all such
//!   sockets lead to one address or one process, that is the server's.
//!
//! Where more than one answer is possible, there is none.

mod held;
mod search;
mod tables;

use std::fs;

use compact_str::{CompactString, format_compact};
use monitor_model::observation::ClientKind;

use self::search::Search;
use super::{Device, Kind, MAX_DEVICES, NodeFiles, Place};
use crate::host::text;

/// Network block devices.
pub struct Nbd;

impl Kind for Nbd {
    /// `/sys/block/nbd0/pid` (`pid_show`, `drivers/block/nbd.c`) exists while the device has a
    /// connection. It is the thread that set it up, in the initial pid namespace.
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let block = node.sysfs.join("block");
        let connected = |name: CompactString| {
            let dir = block.join(&name);
            let tid = fs::read_to_string(dir.join("pid")).ok()?;
            let bdi = fs::read_to_string(dir.join("dev")).ok()?;
            let bdi: CompactString = bdi.trim_end().into();
            Some((name, bdi, tid.trim().parse().ok()?))
        };
        let names = text::numbered(&block, "nbd", MAX_DEVICES);
        let connected: Vec<(_, _, u32)> = names.into_iter().filter_map(connected).collect();
        let mut search = Search::new(node.spaces, node.sysfs);
        let mut devices = Vec::new();
        for (name, bdi, tid) in connected {
            match search.server(&name, tid) {
                Ok(server) => devices.push(Device {
                    bdi,
                    kind: ClientKind::Nbd,
                    name: format_compact!("/dev/{name}"),
                    server,
                    target: None,
                }),
                Err(why) => node.warnings.note(&format_args!(
                    "The server of /dev/{name} is unknown: {why}."
                )),
            }
        }
        devices
    }
}

#[cfg(test)]
mod tests;
