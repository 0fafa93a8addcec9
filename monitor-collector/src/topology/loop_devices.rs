//! Loop devices, and the file systems of their files.

use std::{fs, path::Path};

use compact_str::CompactString;
use monitor_model::observation::LoopDevice;

use super::mounts::{MAX_LINES, Mounts, not_all};
use super::namespaces::Namespaces;
use super::warnings::LookupWarnings;
use crate::host::mountinfo::Line;
use crate::host::text::{numbered, unescape};

/// Maximum number of loop devices.
const MAX_DEVICES: usize = 1024;
/// The kernel's suffix for the path of an unlinked file (`d_path`, `fs/d_path.c`).
const DELETED: &str = " (deleted)";

/// All loop devices with a file, by name.
///
/// The file itself may lie on NFS, so only its path is used. The kernel shows the path in the mount
/// namespace in which the device was set up. It is looked up in the host's.
pub fn read(
    spaces: &Namespaces,
    sysfs: &Path,
    mounts: &Mounts,
    warnings: &mut LookupWarnings,
) -> Vec<LoopDevice> {
    let mut devices = with_file(&sysfs.join("block"), warnings);
    let Some((_, pids)) = spaces.mounts.first() else {
        return devices;
    };
    if devices.is_empty() {
        return devices;
    }
    let mut best: Vec<Option<Over>> = vec![None; devices.len()];
    let read = spaces.lines(pids, "mountinfo", MAX_LINES, |line| {
        if let Some(line) = Line::parse(line) {
            let mount_point = unescape(line.mount_point);
            for (device, best) in devices.iter().zip(&mut best) {
                if holds(&mount_point, &device.file)
                    && best
                        .as_ref()
                        .is_none_or(|best| best.gives_way_to(&mount_point, &line))
                {
                    *best = Some(Over::of(&mount_point, &line));
                }
            }
        }
    });
    not_all(read, warnings, &format_args!("the host's mounts"));
    for (device, best) in devices.iter_mut().zip(best) {
        let file_system = best.and_then(|best| mounts.file_systems.get(&best.device));
        device.on = file_system.map(|fs| fs.bdi.clone()).unwrap_or_default();
    }
    devices
}

/// The mount that a file probably lies on.
#[derive(Clone, Debug)]
struct Over {
    length: usize,
    parent: CompactString,
    device: CompactString,
}

impl Over {
    fn of(mount_point: &str, line: &Line<'_>) -> Self {
        Self {
            length: mount_point.len(),
            parent: line.parent.into(),
            device: line.device.into(),
        }
    }

    /// The longer mount point is closer to the file. Of two at the same place the upper one is
    /// mounted on the lower; their order carries no meaning.
    fn gives_way_to(&self, mount_point: &str, line: &Line<'_>) -> bool {
        mount_point.len() > self.length
            || mount_point.len() == self.length && self.parent != line.id
    }
}

/// Whether a path is at or below a mount point.
pub(super) fn holds(mount_point: &str, path: &str) -> bool {
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    let below = path.strip_prefix(mount_point);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || mount_point.ends_with('/'))
}

/// `/sys/block/loop0/loop/backing_file` (`loop_attr_backing_file_show`, drivers/block/loop.c)
/// exists while the device has a file.
fn with_file(block: &Path, warnings: &mut LookupWarnings) -> Vec<LoopDevice> {
    let names = numbered(block, "loop", MAX_DEVICES + 1);
    if names.len() > MAX_DEVICES {
        warnings.note(&format_args!("Only {MAX_DEVICES} loop devices are read."));
    }
    let read = |name: CompactString| {
        let dir = block.join(name);
        let file = fs::read_to_string(dir.join("loop/backing_file")).ok()?;
        let dev = fs::read_to_string(dir.join("dev")).ok()?;
        device(&dev, &file)
    };
    names
        .into_iter()
        .take(MAX_DEVICES)
        .filter_map(read)
        .collect()
}

/// Parses its files `dev` and `loop/backing_file`.
pub(super) fn device(dev: &str, file: &str) -> Option<LoopDevice> {
    let file = file.strip_suffix('\n').unwrap_or(file);
    (!file.is_empty()).then(|| LoopDevice {
        bdi: dev.trim_end().into(),
        file: file.into(),
        on: CompactString::default(),
    })
}

#[cfg(test)]
mod tests {
    use monitor_model::observation::LoopDevice;

    use super::{DELETED, holds};
    use crate::topology::LookupRequest;
    use crate::topology::tests::node::Node;

    fn node() -> Node {
        let node = Node::new();
        node.sysfs("class/bdi/254:16/x", "");
        node.sysfs("class/bdi/0:29/x", "");
        node
    }

    fn loop_device(node: &Node, number: u32, file: &str) {
        node.sysfs(&format!("block/loop{number}/dev"), &format!("7:{number}\n"));
        let path = format!("block/loop{number}/loop/backing_file");
        node.sysfs(&path, &format!("{file}\n"));
    }

    fn read(node: &Node) -> Vec<LoopDevice> {
        node.reader(&[])
            .round(&LookupRequest::default())
            .loop_devices
    }

    /// The devices as `7:0 /a/file on 254:0`.
    fn told(node: &Node) -> Vec<String> {
        let words = |d: &LoopDevice| format!("{} {} on {}", d.bdi, d.file, d.on);
        read(node).iter().map(words).collect()
    }

    #[test]
    fn a_file_lies_on_the_nearest_mount_above_it() {
        let node = node();
        node.append(1, "mountinfo", "36 27 254:16 / /data rw - xfs /dev/vdb rw");
        node.append(
            1,
            "mountinfo",
            "37 36 0:29 / /data/nfs rw - nfs4 10.9.0.2:/ rw,vers=4.2",
        );
        loop_device(&node, 0, "/data/nfs/image");
        loop_device(&node, 1, "/data/image");
        loop_device(&node, 2, "/database/image");
        // One device is not configured, the other has another driver.
        node.sysfs("block/loop3/dev", "7:3\n");
        node.sysfs("block/vda/dev", "254:0\n");
        assert_eq!(
            told(&node),
            [
                "7:0 /data/nfs/image on 0:29",
                "7:1 /data/image on 254:16",
                "7:2 /database/image on 254:0"
            ]
        );
    }

    #[test]
    fn a_deleted_file_and_a_mount_point_with_a_space_are_found_all_the_same() {
        let node = node();
        node.append(
            1,
            "mountinfo",
            r"37 27 0:29 / /a\040b rw - nfs4 10.9.0.2:/ rw,vers=4.2",
        );
        // The file is itself a mount point, as of a container's volume.
        node.append(
            1,
            "mountinfo",
            "38 27 254:16 /x /image rw - xfs /dev/vdb rw",
        );
        loop_device(&node, 9, &format!("/a b/image{DELETED}"));
        loop_device(&node, 10, &format!("/image{DELETED}"));
        assert_eq!(
            told(&node),
            [
                "7:9 /a b/image (deleted) on 0:29",
                "7:10 /image (deleted) on 254:16"
            ]
        );
    }

    #[test]
    fn of_two_mounts_at_one_place_the_upper_one_counts_in_whatever_order() {
        let (lower, upper) = (
            "36 27 254:16 / /data rw - xfs /dev/vdb rw",
            "35 36 0:29 / /data rw - nfs4 10.9.0.2:/ rw,vers=4.2",
        );
        for order in [[lower, upper], [upper, lower]] {
            let node = node();
            for line in order {
                node.append(1, "mountinfo", line);
            }
            loop_device(&node, 0, "/data/image");
            assert_eq!(told(&node), ["7:0 /data/image on 0:29"]);
        }
    }

    #[test]
    fn a_mount_in_another_namespace_holds_no_file_of_the_hosts() {
        let node = node();
        node.process(50, "pod", 21, 30);
        node.append(
            50,
            "mountinfo",
            "37 27 0:29 / /data rw - nfs4 10.9.0.2:/ rw,vers=4.2",
        );
        loop_device(&node, 0, "/data/image");
        assert_eq!(told(&node), ["7:0 /data/image on 254:0"]);
    }

    #[test]
    fn where_the_file_system_has_no_bdi_it_is_not_known() {
        let node = node();
        node.append(1, "mountinfo", "37 27 0:40 / /tmp rw - tmpfs tmpfs rw");
        loop_device(&node, 0, "/tmp/image");
        assert_eq!(told(&node), ["7:0 /tmp/image on "]);
    }

    #[test]
    fn only_what_is_below_a_mount_point_is_on_it() {
        assert!(holds("/", "/image") && holds("/a", "/a/b") && holds("/a", "/a"));
        assert!(!holds("/a", "/ab") && !holds("/a/b", "/a"));
    }
}
