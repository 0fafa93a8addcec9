//! Loop devices, and the file systems of their files.
//!
//! The driver tells the path of a file (`file_path`, `fs/d_path.c`) as it is in the mount namespace in
//! which the device was set up, but not which namespace that is. `LOOP_GET_STATUS64` would tell the
//! file's device, but it asks the file's server first (`vfs_getattr` in `loop_get_status`,
//! `drivers/block/loop.c`) and hangs with it. So the path is looked up in the mounts of each namespace
//! that could have set it up, and what the device took over from its file rules some of them out
//! (`traits.rs`). Where some remain that disagree, it is taken
//! for the host's, until the device's worker is paused on another of them, which the verdict sees.

mod traits;

use std::{collections::BTreeMap, fs, path::Path};

use compact_str::CompactString;
use monitor_model::observation::LoopDevice;

use self::traits::Traits;
use super::mounts::{Mounts, not_all};
use super::namespaces::{Namespaces, user_of};
use super::nearest::{self, Nearest};
use super::warnings::LookupWarnings;
use crate::host::text::numbered;

/// Maximum number of loop devices.
const MAX_DEVICES: usize = 1024;
/// Maximum number of file systems that a file may lie on.
const MAX_CANDIDATES: usize = 16;
/// `CAP_SYS_ADMIN`.
const ADMIN: u64 = 1 << 21;

/// All loop devices with a file, by name.
pub fn read(
    spaces: &Namespaces,
    sysfs: &Path,
    mounts: &Mounts,
    warnings: &mut LookupWarnings,
) -> Vec<LoopDevice> {
    let mut found = with_file(&sysfs.join("block"), warnings);
    if found.is_empty() {
        return Vec::new();
    }
    let candidates = {
        let files: Vec<_> = found.iter().map(|(device, _)| &*device.file).collect();
        candidates(spaces, &files, warnings)
    };
    for ((device, traits), (host, mut candidates)) in found.iter_mut().zip(candidates) {
        candidates.retain(|_, mount| traits.fits(mount, sysfs));
        let bdi = |device: &CompactString| {
            let bdi = mounts.file_systems.get(device).map(|fs| fs.bdi.clone());
            bdi.filter(|bdi| !bdi.is_empty())
        };
        let mut bdis: Vec<_> = candidates.keys().filter_map(bdi).collect();
        bdis.sort_unstable();
        bdis.dedup();
        // Most are set up by the host.
        let by_host = host.filter(|device| candidates.contains_key(device));
        let by_host = by_host.and_then(|device| bdi(&device));
        if let [only] = bdis.as_slice() {
            device.on.clone_from(only);
        } else {
            device.on = by_host.unwrap_or_default();
            bdis.truncate(MAX_CANDIDATES);
            device.maybe_on = bdis;
        }
    }
    found.into_iter().map(|(device, _)| device).collect()
}

/// For each file the device of the host's mount that it may lie on, and all such mounts, by device.
fn candidates(
    spaces: &Namespaces,
    files: &[&str],
    warnings: &mut LookupWarnings,
) -> Vec<(Option<CompactString>, BTreeMap<CompactString, Nearest>)> {
    let mut all = vec![BTreeMap::new(); files.len()];
    let Some(((_, host), others)) = spaces.mounts.split_first() else {
        return all.into_iter().map(|one| (None, one)).collect();
    };
    let host_user = host.first().and_then(|pid| user_of(&spaces.process(*pid)));
    let (mounts, read) = nearest::find(spaces, host, files);
    not_all(read, warnings, &format_args!("the host's mounts"));
    let device = |mount: &Option<Nearest>| Some(mount.as_ref()?.device.clone());
    let of_host: Vec<_> = mounts.iter().map(device).collect();
    for (mount, all) in mounts.into_iter().zip(&mut all) {
        all.extend(mount.map(|mount| (mount.device.clone(), mount)));
    }
    // By device: many files of one container lie on the same overlay.
    let mut overlays: BTreeMap<CompactString, (CompactString, Vec<usize>)> = BTreeMap::new();
    for (namespace, pids) in others {
        if !pids
            .iter()
            .any(|pid| may_set_up(&spaces.process(*pid), host_user))
        {
            continue;
        }
        let (mounts, read) = nearest::find(spaces, pids, files);
        not_all(read, warnings, &format_args!("mount namespace {namespace}"));
        for (at, (mount, all)) in mounts.into_iter().zip(&mut all).enumerate() {
            let Some(mount) = mount else {
                continue;
            };
            if let Some(upper) = &mount.upper {
                let overlay = overlays.entry(mount.device.clone());
                overlay
                    .or_insert_with(|| (upper.clone(), Vec::new()))
                    .1
                    .push(at);
            } else {
                all.entry(mount.device.clone()).or_insert(mount);
            }
        }
    }
    // What is written to an overlay, as a container's own root is, lands in its upper directory.
    let uppers: Vec<_> = overlays.values().map(|(upper, _)| &**upper).collect();
    let (mounts, _) = nearest::find(spaces, host, &uppers);
    for (mount, (_, files)) in mounts.into_iter().zip(overlays.values()) {
        for (mount, at) in std::iter::repeat_n(mount, files.len()).zip(files) {
            if let (Some(mount), Some(all)) = (mount, all.get_mut(*at)) {
                all.entry(mount.device.clone()).or_insert(mount);
            }
        }
    }
    of_host.into_iter().zip(all).collect()
}

/// Whether a process may set up a loop device: the devices of the host are out of reach for one
/// without `CAP_SYS_ADMIN`, or in a user namespace.
fn may_set_up(process: &Path, host_user: Option<u64>) -> bool {
    let user = user_of(process);
    if user.is_some() && host_user.is_some() && user != host_user {
        return false;
    }
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounds = bounds.and_then(|bounds| u64::from_str_radix(bounds.trim(), 16).ok());
    bounds.is_some_and(|bounds| bounds & ADMIN != 0)
}

/// `/sys/block/loop0/loop/backing_file` (`loop_attr_backing_file_show`, `drivers/block/loop.c`)
/// exists while the device has a file.
fn with_file(block: &Path, warnings: &mut LookupWarnings) -> Vec<(LoopDevice, Traits)> {
    let names = numbered(block, "loop", MAX_DEVICES + 1);
    if names.len() > MAX_DEVICES {
        warnings.note(&format_args!("Only {MAX_DEVICES} loop devices are read."));
    }
    let read = |name: CompactString| {
        let dir = block.join(name);
        let file = fs::read_to_string(dir.join("loop/backing_file")).ok()?;
        let dev = fs::read_to_string(dir.join("dev")).ok()?;
        Some((device(&dev, &file)?, Traits::read(&dir)))
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
        maybe_on: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use monitor_model::observation::LoopDevice;

    use crate::topology::LookupRequest;
    use crate::topology::nearest::DELETED;
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

    /// A privileged process in a mount namespace of its own, which mounts NFS at /data.
    fn privileged(node: &Node) {
        node.process(50, "pod", 21, 30);
        node.append(50, "status", "CapBnd:\t000001ffffffffff");
        node.append(50, "mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw");
        node.append(
            50,
            "mountinfo",
            "37 27 0:29 / /data rw - nfs4 10.9.0.2:/ rw,vers=4.2,wsize=262144",
        );
    }

    fn queue(node: &Node, device: &str, file: &str, value: &str) {
        node.sysfs(&format!("{device}/queue/{file}"), value);
    }

    #[test]
    fn a_file_that_several_namespaces_may_have_is_taken_for_the_hosts() {
        let node = node();
        privileged(&node);
        loop_device(&node, 0, "/data/image");
        loop_device(&node, 1, "/image");
        assert_eq!(
            told(&node),
            ["7:0 /data/image on 254:0", "7:1 /image on 254:0"]
        );
        let maybe: Vec<_> = read(&node).into_iter().map(|one| one.maybe_on).collect();
        assert_eq!(maybe, [vec!["0:29", "254:0"], vec![]]);
    }

    #[test]
    fn the_block_of_the_file_system_tells_nfs_in_a_namespace_from_the_hosts_disk() {
        for (granularity, on) in [("262144", "0:29"), ("4096", "254:0"), ("0", "254:0")] {
            let node = node();
            privileged(&node);
            loop_device(&node, 0, "/data/image");
            queue(&node, "block/loop0", "discard_max_bytes", "4294966784\n");
            queue(&node, "block/loop0", "discard_granularity", granularity);
            assert_eq!(told(&node), [format!("7:0 /data/image on {on}")]);
        }
    }

    #[test]
    fn a_disk_that_rotates_is_told_from_nfs() {
        for (own, on) in [("0", "0:29"), ("1", "254:0")] {
            let node = node();
            privileged(&node);
            queue(&node, "dev/block/254:0", "rotational", "1\n");
            loop_device(&node, 0, "/data/image");
            queue(&node, "block/loop0", "rotational", own);
            assert_eq!(told(&node), [format!("7:0 /data/image on {on}")]);
        }
    }

    #[test]
    fn a_container_in_a_user_namespace_sets_up_no_device_of_the_hosts() {
        let node = node();
        privileged(&node);
        for (pid, user) in [(1, 40), (50, 41)] {
            let link = node.path(&format!("proc/{pid}/ns/user"));
            std::os::unix::fs::symlink(format!("user:[{user}]"), link).unwrap();
        }
        loop_device(&node, 0, "/data/image");
        assert_eq!(told(&node), ["7:0 /data/image on 254:0"]);
    }

    #[test]
    fn a_containers_own_root_is_written_where_its_upper_directory_is() {
        for upper in ["/var/lib/upper", "/pods/upper"] {
            let node = node();
            node.append(1, "mountinfo", "36 27 254:16 / /pods rw - xfs /dev/vdb rw");
            node.process(50, "pod", 21, 30);
            node.append(50, "status", "CapBnd:\t000001ffffffffff");
            let root =
                format!("27 1 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir={upper}");
            node.append(50, "mountinfo", &root);
            loop_device(&node, 0, "/image");
            // The host's own root may have it as well.
            assert_eq!(told(&node), ["7:0 /image on 254:0"]);
            let maybe = &read(&node)[0].maybe_on;
            assert_eq!(maybe.is_empty(), upper == "/var/lib/upper", "{maybe:?}");
        }
    }
}
