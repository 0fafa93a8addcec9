//! Devices that rest on others: dm, md and bcache on their disks, a loop device on the device of its
//! file, btrfs on its members. A partition has no BDI of its own, so its disk stands for it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _};
use monitor_model::observation::{LoopDevice, RestsOn};

use super::warnings::LookupWarnings;
use crate::host::text::is_device;

/// Maximum number of disks, and of btrfs file systems.
const MAX_UPPER: usize = 4096;
/// Maximum number of devices below one.
const MAX_LOWER: usize = 256;
/// Maximum number of edges.
const MAX_EDGES: usize = 8192;

/// The BDI of a block device, by its directory in sysfs, which may be a link: its own number, or of
/// a partition its disk's.
pub fn bdi_of(device: &Path) -> Option<CompactString> {
    let file = if device.join("partition").exists() {
        device.join("../dev")
    } else {
        device.join("dev")
    };
    let number = fs::read_to_string(file).ok()?;
    let number = number.trim_end();
    is_device(number).then(|| number.into())
}

/// The BDI of the block device with this number: of a partition its disk's.
pub fn bdi_of_number(sysfs: &Path, number: &str) -> Option<CompactString> {
    if !is_device(number) {
        return None;
    }
    bdi_of(&sysfs.join("dev/block").join(number))
}

/// All edges, in order.
pub fn read(
    sysfs: &Path,
    loop_devices: &[LoopDevice],
    warnings: &mut LookupWarnings,
) -> Vec<RestsOn> {
    let mut edges = BTreeSet::new();
    let mut add = |bdi: &CompactString, on: CompactString| {
        if *bdi != on && (edges.len() < MAX_EDGES) {
            let bdi = bdi.clone();
            edges.insert(RestsOn { bdi, on });
        }
    };
    for device in loop_devices.iter().filter(|device| !device.on.is_empty()) {
        add(&device.bdi, device.on.clone());
    }
    // `bd_link_disk_holder` (block/holder.c) links a disk's members here.
    let disks = sysfs.join("block");
    for disk in entries(&disks, MAX_UPPER, "block devices", warnings) {
        let members = members(&disk.join("slaves"), warnings);
        if let Some(bdi) = (!members.is_empty()).then(|| bdi_of(&disk)).flatten() {
            for on in members {
                add(&bdi, on);
            }
        }
    }
    let file_systems = sysfs.join("fs/btrfs");
    for file_system in entries(&file_systems, MAX_UPPER, "btrfs file systems", warnings) {
        if let Ok(bdi) = fs::read_link(file_system.join("bdi"))
            && let Some(bdi) = bdi.file_name()
        {
            let bdi = bdi.to_string_lossy().to_compact_string();
            let members = members(&file_system.join("devices"), warnings);
            for on in members {
                add(&bdi, on);
            }
        }
    }
    if edges.len() == MAX_EDGES {
        warnings.note(&format_args!(
            "Only {MAX_EDGES} connections of devices to those below them are read."
        ));
    }
    edges.into_iter().collect()
}

/// The BDIs of the block devices in a directory.
fn members(dir: &Path, warnings: &mut LookupWarnings) -> Vec<CompactString> {
    let members = entries(dir, MAX_LOWER, "devices below one", warnings);
    members.iter().filter_map(|member| bdi_of(member)).collect()
}

/// The entries of a directory; none if it cannot be read.
fn entries(dir: &Path, most: usize, of: &str, warnings: &mut LookupWarnings) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = all.take(most + 1).map(|entry| entry.path()).collect();
    if paths.len() > most {
        warnings.note(&format_args!("Only {most} {of} are read."));
        paths.truncate(most);
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use monitor_model::observation::LoopDevice;
    use proptest::prelude::*;

    use super::{LookupWarnings, MAX_LOWER, bdi_of_number, read};
    use crate::topology::tests::node::Node;

    fn disk(node: &Node, name: &str, number: &str) {
        node.sysfs(&format!("devices/{name}/dev"), &format!("{number}\n"));
        for (at, target) in [
            (format!("block/{name}"), format!("../devices/{name}")),
            (
                format!("dev/block/{number}"),
                format!("../../devices/{name}"),
            ),
        ] {
            link(node, &at, &target);
        }
    }

    fn link(node: &Node, at: &str, target: &str) {
        let at = node.path("sys").join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    }

    fn partition(node: &Node, disk: &str, name: &str, number: &str) {
        node.sysfs(
            &format!("devices/{disk}/{name}/dev"),
            &format!("{number}\n"),
        );
        node.sysfs(&format!("devices/{disk}/{name}/partition"), "1\n");
        let target = format!("../../devices/{disk}/{name}");
        link(node, &format!("dev/block/{number}"), &target);
    }

    fn told(node: &Node, loop_devices: &[LoopDevice]) -> (Vec<String>, String) {
        let mut warnings = LookupWarnings::default();
        let edges = read(&node.path("sys"), loop_devices, &mut warnings);
        let words = edges
            .iter()
            .map(|edge| format!("{} on {}", edge.bdi, edge.on));
        (words.collect(), warnings.into_sentences().join(" "))
    }

    fn on(bdi: &str, on: &str) -> LoopDevice {
        LoopDevice {
            bdi: bdi.into(),
            file: "/image".into(),
            on: on.into(),
            ..LoopDevice::default()
        }
    }

    #[test]
    fn a_crypt_device_rests_on_a_loop_device_and_that_on_the_mount_of_its_file() {
        let node = Node::new();
        disk(&node, "loop0", "7:0");
        disk(&node, "dm-0", "253:0");
        link(&node, "devices/dm-0/slaves/loop0", "../../loop0");
        let (edges, _) = told(&node, &[on("7:0", "0:29"), on("7:1", "")]);
        assert_eq!(edges, ["253:0 on 7:0", "7:0 on 0:29"]);
    }

    #[test]
    fn an_array_of_partitions_rests_on_their_disks_once_each() {
        let node = Node::new();
        disk(&node, "md127", "9:127");
        disk(&node, "sda", "8:0");
        partition(&node, "sda", "sda1", "8:1");
        partition(&node, "sda", "sda2", "8:2");
        for name in ["sda1", "sda2"] {
            let target = format!("../../sda/{name}");
            link(&node, &format!("devices/md127/slaves/{name}"), &target);
        }
        assert_eq!(told(&node, &[]).0, ["9:127 on 8:0"]);
        let sysfs = node.path("sys");
        assert_eq!(bdi_of_number(&sysfs, "8:2").unwrap(), "8:0");
        assert_eq!(bdi_of_number(&sysfs, "8:0").unwrap(), "8:0");
        assert_eq!(bdi_of_number(&sysfs, "8:9"), None);
        assert_eq!(bdi_of_number(&sysfs, "../8:0"), None);
    }

    #[test]
    fn btrfs_rests_on_its_members() {
        let node = Node::new();
        disk(&node, "vdb", "254:16");
        disk(&node, "vdc", "254:32");
        link(
            &node,
            "fs/btrfs/1111/bdi",
            "../../../devices/virtual/bdi/btrfs-1",
        );
        node.sysfs("fs/btrfs/features/raid56", "0\n");
        for name in ["vdb", "vdc"] {
            let target = format!("../../../../devices/{name}");
            link(&node, &format!("fs/btrfs/1111/devices/{name}"), &target);
        }
        let (edges, _) = told(&node, &[]);
        assert_eq!(edges, ["btrfs-1 on 254:16", "btrfs-1 on 254:32"]);
    }

    #[test]
    fn what_is_cut_is_reported_and_a_device_never_rests_on_itself() {
        let node = Node::new();
        disk(&node, "dm-1", "253:1");
        link(&node, "devices/dm-1/slaves/dm-1", "../../dm-1");
        assert_eq!(told(&node, &[]), (Vec::new(), String::new()));
        for number in 0..=MAX_LOWER {
            disk(&node, &format!("sd{number}"), &format!("8:{number}"));
            let (at, target) = (
                format!("devices/dm-1/slaves/sd{number}"),
                format!("../../sd{number}"),
            );
            link(&node, &at, &target);
        }
        let (edges, said) = told(&node, &[]);
        assert!(edges.len() <= MAX_LOWER);
        assert_eq!(
            said,
            format!("Only {MAX_LOWER} devices below one are read.")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn only_numbers_of_devices_are_taken(text in "[0-9:./\\n a]{0,12}") {
            let node = Node::new();
            disk(&node, "dm-0", "253:0");
            node.sysfs("devices/dm-0/slaves/x/dev", &text);
            for edge in told(&node, &[]).0 {
                let on = edge.strip_prefix("253:0 on ").unwrap();
                prop_assert_eq!(on, text.trim_end());
                prop_assert!(crate::host::text::is_device(on));
            }
        }
    }
}
