//! NBD: `/dev/nbd0`, served by qemu-nbd, nbd-server or nbdkit. The smallest kind: an example to
//! copy.

use std::fs;

use compact_str::format_compact;
use monitor_model::observation::ClientKind;

use super::{Device, Kind, MAX_DEVICES, NodeFiles, Place};
use crate::host::text;

/// Network block devices.
pub struct Nbd;

impl Kind for Nbd {
    /// `/sys/block/nbd0/pid` (`pid_show`, drivers/block/nbd.c) exists while the device has a
    /// connection. It is the thread that set it up.
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let block = node.sysfs.join("block");
        let device = |name: &str| {
            let dir = block.join(name);
            let tid = fs::read_to_string(dir.join("pid"))
                .ok()?
                .trim()
                .parse()
                .ok()?;
            Some(Device {
                bdi: fs::read_to_string(dir.join("dev")).ok()?.trim_end().into(),
                kind: ClientKind::Nbd,
                name: format_compact!("/dev/{name}"),
                server: Place::Process(tid),
                target: None,
            })
        };
        let names = text::numbered(&block, "nbd", MAX_DEVICES);
        names.iter().filter_map(|name| device(name)).collect()
    }
}
