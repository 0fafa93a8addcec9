use monitor_model::observation::WritesTo;
use rustix::fs::OFlags;

use super::{Mount, is_candidate};
use crate::host::mountinfo::Line;
use crate::topology::LookupRequest;
use crate::topology::reader::Reader;
use crate::topology::tests::node::Node;

const RW: u32 = 2;

/// A node with a second disk, and process 204, which serves `/dev/ublkb0`.
fn node() -> Node {
    let node = Node::new();
    node.sysfs("class/bdi/254:16/x", "");
    node.sysfs("block/ublkb0/dev", "259:0\n");
    node.process(204, "ublk", 20, 30);
    let device = node.path("proc/204/fd/99");
    std::os::unix::fs::symlink("/dev/ublkc0", device).unwrap();
    node.append(204, "status", "Tgid:\t204");
    for line in [
        "27 1 254:0 / / rw - ext4 /dev/vda rw",
        "36 27 254:16 / /data rw - ext4 /dev/vdb rw",
        "37 27 0:6 / /dev rw - devtmpfs udev rw",
        "38 27 0:40 / /scratch rw - tmpfs tmpfs rw",
    ] {
        node.append(204, "mountinfo", line);
        node.append(1, "mountinfo", line);
    }
    node
}

fn told(reader: &mut Reader) -> Vec<String> {
    let words = |w: &WritesTo| {
        let direct = if w.direct { " directly" } else { "" };
        let name = &w.server.name;
        format!("{name} {} on {} {}{direct}", w.file, w.bdi, w.device)
    };
    let topology = reader.round(&LookupRequest::default());
    topology.writes.iter().map(words).collect()
}

fn once(node: &Node) -> Vec<String> {
    told(&mut node.reader(&[]))
}

#[test]
fn a_file_that_is_open_for_writing_is_on_the_device_of_its_mount() {
    let node = node();
    node.file(204, 3, "/data/image", RW, 36);
    node.file(204, 4, "/data/other", 0, 27);
    node.file(204, 5, "/dev/null", RW, 37);
    node.file(204, 6, "/dev/vdb", RW, 27);
    node.fd(204, 900);
    assert_eq!(once(&node), ["ublk /data/image on 254:16 254:16"]);
}

#[test]
fn what_the_server_keeps_for_itself_does_not_count() {
    let node = node();
    node.file(204, 3, "/var/log/samba/log.smbd", RW, 27);
    node.file(204, 4, "/var/lib/samba/locking.tdb", RW, 27);
    node.file(204, 5, "/run/smbd.pid (deleted)", RW, 27);
    assert!(once(&node).is_empty());
    node.file(204, 6, "/home/notes", 1 | OFlags::APPEND.bits(), 27);
    assert_eq!(once(&node), ["ublk /home/notes on 254:0 254:0"]);
    node.file(204, 7, "/scratch/x", RW, 38);
    assert_eq!(once(&node), ["ublk /home/notes on 254:0 254:0"]);
    node.file(204, 8, "/data/image (deleted)", RW, 36);
    assert_eq!(once(&node), ["ublk /data/image (deleted) on 254:16 254:16"]);
}

#[test]
fn memory_counts_if_there_is_nothing_else() {
    let node = node();
    node.file(204, 7, "/scratch/x", RW, 38);
    assert_eq!(once(&node), ["ublk /scratch/x on 0:40 0:40"]);
}

#[test]
fn direct_is_a_server_without_a_buffered_file_there() {
    let node = node();
    let direct = RW | OFlags::DIRECT.bits();
    node.file(204, 3, "/data/a", direct, 36);
    node.file(204, 4, "/home/a", direct, 27);
    node.file(204, 5, "/home/b", RW, 27);
    assert_eq!(
        once(&node),
        [
            "ublk /home/b on 254:0 254:0",
            "ublk /data/a on 254:16 254:16 directly"
        ]
    );
}

#[test]
fn a_disk_that_is_open_as_a_file_is_its_own_device_and_a_partition_its_disks() {
    let node = node();
    node.sysfs("class/block/vdc/dev", "254:32\n");
    node.file(204, 3, "/dev/vdc", RW, 37);
    assert_eq!(once(&node), ["ublk /dev/vdc on 254:32 "]);
    let node = self::node();
    node.sysfs("devices/vdc/dev", "254:32\n");
    node.sysfs("devices/vdc/vdc1/dev", "254:33\n");
    node.sysfs("devices/vdc/vdc1/partition", "1\n");
    node.sysfs("class/block/x", "");
    let link = node.path("sys/class/block/vdc1");
    std::os::unix::fs::symlink("../../devices/vdc/vdc1", link).unwrap();
    node.file(204, 3, "/dev/vdc1", RW, 37);
    assert_eq!(once(&node), ["ublk /dev/vdc1 on 254:32 "]);
}

#[test]
fn a_node_in_a_container_is_taken_for_the_disk_only_by_its_name_in_devtmpfs() {
    let mount = |line: &str| Mount::of(&Line::parse(line).unwrap());
    let host = mount("37 27 0:6 / /dev rw - devtmpfs udev rw");
    assert_eq!(host.disk("/dev/vdb").unwrap(), "vdb");
    let renamed = mount("37 27 0:6 /vdb /dev/xvda rw - devtmpfs udev rw");
    assert_eq!(renamed.disk("/dev/xvda").unwrap(), "vdb");
    let made = mount("37 27 0:50 / /dev rw - tmpfs tmpfs rw");
    assert_eq!(made.disk("/dev/vdb"), None);
    for no in [
        "/dev/",
        "/dev",
        "/vdb",
        "/dev/../vdb",
        "/dev/mapper/x",
        "/dev/.",
    ] {
        assert_eq!(host.disk(no), None, "{no}");
    }
}

#[test]
fn a_file_that_was_opened_in_another_namespace_is_found_by_its_mount() {
    let node = node();
    node.process(50, "pod", 21, 31);
    node.append(50, "mountinfo", "77 70 254:16 / /mnt rw - ext4 /dev/vdb rw");
    node.file(204, 3, "/mnt/image", RW, 77);
    node.file(204, 4, "/lost", RW, 99);
    assert_eq!(once(&node), ["ublk /mnt/image on 254:16 254:16"]);
}

#[test]
fn files_are_read_again_when_their_names_change_or_after_some_rounds() {
    let node = node();
    node.file(204, 3, "/data/image", RW, 36);
    let mut reader = node.reader(&[]);
    assert_eq!(told(&mut reader), ["ublk /data/image on 254:16 254:16"]);
    std::fs::remove_dir_all(node.path("proc/204/fdinfo")).unwrap();
    assert_eq!(told(&mut reader), ["ublk /data/image on 254:16 254:16"]);
    node.file(204, 4, "/home/b", RW, 27);
    assert_eq!(told(&mut reader), ["ublk /home/b on 254:0 254:0"]);
    std::fs::remove_dir_all(node.path("proc/204/fdinfo")).unwrap();
    let rounds = (0..20).map(|_| told(&mut reader).len());
    assert_eq!(rounds.sum::<usize>(), usize::from(super::KEEP_ROUNDS));
}

#[test]
fn an_nfs_server_process_has_its_files_read_too() {
    let node = node();
    node.nfs_mount(1, "0:29", "10.9.0.2:2049");
    node.address(1, "10.9.0.2");
    node.socket(1, "10.9.0.2:801", "10.9.0.2:2049", "01", 900);
    node.socket(1, "10.9.0.2:2049", "10.9.0.2:801", "01", 901);
    node.process(51, "ganesha.nfsd", 20, 30);
    node.fd(51, 901);
    node.file(51, 3, "/data/f", RW, 36);
    let told = told(&mut node.reader(&["ganesha.nfsd"]));
    assert_eq!(told, ["ganesha.nfsd /data/f on 254:16 254:16"]);
}

#[test]
fn only_paths_are_candidates() {
    for yes in [
        "/data/x",
        "/dev/vdb",
        "/srv/dev/image",
        "/a:b/c",
        "/tmp/x (deleted)",
    ] {
        assert!(is_candidate(yes), "{yes}");
    }
    for no in [
        "socket:[1]",
        "pipe:[2]",
        "anon_inode:[eventfd]",
        "/memfd:x (deleted)",
        "/[aio] (deleted)",
        "/dmabuf:",
        "/dev/net/tun",
        "/jail/dev/net/tun",
        "/proc/1/mem",
        "/sys/x",
        "",
    ] {
        assert!(!is_candidate(no), "{no}");
    }
}
