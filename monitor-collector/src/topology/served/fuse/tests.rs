use std::fs;

use monitor_model::observation::{ClientKind, FileSystem, Topology};

use super::{Connection, Held, connection, pair};
use crate::topology::LookupRequest;
use crate::topology::reader::Reader;
use crate::topology::tests::node::Node;

fn mounted(number: u64, subtype: &str) -> Connection {
    Connection {
        number,
        subtype: subtype.into(),
    }
}

fn held(tgid: u32, name: &str, fd: u32, connection: Option<u64>) -> Held {
    Held {
        tgid,
        name: name.into(),
        fd,
        connection,
    }
}

/// The pairs as `45 bindfs 204`, with a question mark if deduced from the name.
fn told(connections: &[Connection], held: &[Held], whole: bool) -> Vec<String> {
    let pairs = pair(connections, held, whole).into_iter();
    pairs
        .map(|(n, d)| {
            format!(
                "{n} {} {}{}",
                d.name,
                d.tgid,
                if d.by_name { "?" } else { "" }
            )
        })
        .collect()
}

#[test]
fn a_connection_has_the_number_of_the_mounts_device() {
    let of = |fstype: &str, device: &str| {
        connection(&FileSystem {
            fstype: fstype.into(),
            device: device.into(),
            ..FileSystem::default()
        })
    };
    assert_eq!(of("fuse.bindfs", "0:45"), Some(mounted(45, "bindfs")));
    assert_eq!(of("fuse", "0:45"), Some(mounted(45, "")));
    assert_eq!(of("fuseblk", "8:16"), Some(mounted(8 << 20 | 16, "")));
    for no in ["virtiofs", "fusectl", "ext4", "fusex"] {
        assert_eq!(of(no, "0:45"), None, "{no}");
    }
}

#[test]
fn where_the_kernel_shows_the_connection_nothing_else_counts() {
    let mounts = [
        mounted(45, "bindfs"),
        mounted(46, "bindfs"),
        mounted(47, "sshfs"),
    ];
    let open = [
        held(7, "sshfs", 3, Some(45)),
        held(8, "bindfs", 3, Some(46)),
        held(8, "bindfs", 9, Some(46)),
        held(9, "other", 3, None),
    ];
    assert_eq!(told(&mounts, &open, false), ["45 sshfs 7", "46 bindfs 8"]);
    // A child inherited it: which of them reads is unknown.
    let open = [held(7, "x", 3, Some(45)), held(8, "x", 3, Some(45))];
    assert!(told(&mounts, &open, true).is_empty());
}

#[test]
fn the_only_process_serves_all_there_is() {
    let open = [held(7, "daemon", 3, None), held(7, "daemon", 5, None)];
    assert_eq!(told(&[mounted(45, "bindfs")], &open, true), ["45 daemon 7"]);
    let two = [mounted(45, "a"), mounted(46, "b")];
    assert_eq!(told(&two, &open, true), ["45 daemon 7", "46 daemon 7"]);
    assert!(
        told(&two, &open, false).is_empty(),
        "another one may be hidden"
    );
    assert!(told(&two, &[], true).is_empty());
}

#[test]
fn of_several_processes_the_one_with_the_mounts_name_is_taken_and_that_is_said() {
    let mounts = [
        mounted(45, "a-very-long-name-indeed"),
        mounted(46, "lxcfs"),
        mounted(47, ""),
    ];
    let open = [
        held(7, "lxcfs", 3, None),
        held(8, "a-very-long-nam", 3, None),
        held(9, "mount.ntfs-3g", 3, None),
    ];
    assert_eq!(
        told(&mounts, &open, true),
        [
            "45 a-very-long-nam 8?",
            "46 lxcfs 7?",
            "47 mount.ntfs-3g 9?"
        ]
    );
    assert_eq!(told(&mounts, &open, false).len(), 2);
}

#[test]
fn of_two_processes_with_the_same_name_none_is_taken() {
    let mounts = [
        mounted(45, "bindfs"),
        mounted(46, "bindfs"),
        mounted(47, "lxcfs"),
    ];
    let open = [
        held(7, "bindfs", 3, None),
        held(8, "bindfs", 3, None),
        held(9, "lxcfs", 3, None),
    ];
    assert_eq!(told(&mounts, &open, true), ["47 lxcfs 9?"]);
}

fn mount(node: &Node, minor: u32, fstype: &str, mount_point: &str) {
    node.sysfs(&format!("class/bdi/0:{minor}/x"), "");
    node.sysfs(&format!("fs/fuse/connections/{minor}/waiting"), "0\n");
    let line = format!("{minor} 27 0:{minor} / {mount_point} rw - {fstype} x rw,user_id=0");
    node.append(1, "mountinfo", &line);
}

/// A process with `/dev/fuse` as its file 3.
fn daemon(node: &Node, pid: u32, name: &str) {
    node.process(pid, name, 20, 30);
    node.append(pid, "status", &format!("Tgid:\t{pid}"));
    node.file(pid, 3, "/dev/fuse", 2, 27);
}

fn round(reader: &mut Reader) -> Topology {
    reader.round(&LookupRequest::default())
}

/// The served mounts as `0:45 /mnt bindfs 204`.
fn served(reader: &mut Reader) -> Vec<String> {
    let topology = round(reader);
    let all = topology.served.iter();
    all.map(|one| {
        assert_eq!(one.kind, ClientKind::Fuse);
        let tgid = one.server.tgid.unwrap_or_default();
        format!("{} {} {} {tgid}", one.bdi, one.name, one.server.name)
    })
    .collect()
}

#[test]
fn the_daemon_of_a_mount_is_a_server_until_it_ends() {
    let node = Node::new();
    mount(&node, 45, "fuse.bindfs", "/mnt");
    // Its daemon is on the host of this virtual machine.
    mount(&node, 46, "virtiofs", "/shared");
    let mut reader = node.reader(&[]);
    assert!(served(&mut reader).is_empty());
    let said = round(&mut reader).incomplete.join(" ");
    assert!(
        said.contains("/mnt (0:45)") && !said.contains("/shared"),
        "{said}"
    );
    daemon(&node, 204, "bindfs");
    node.file(204, 4, "/export/x", 2, 27);
    assert_eq!(served(&mut reader), ["0:45 /mnt bindfs 204"]);
    let topology = round(&mut reader);
    assert_eq!(topology.writes[0].file, "/export/x");
    assert_eq!(topology.server_processes[0].tgid, 204);
    assert!(topology.incomplete.is_empty(), "{:?}", topology.incomplete);
    fs::write(node.path("proc/204/comm"), "sh\n").unwrap();
    fs::remove_file(node.path("proc/204/fd/3")).unwrap();
    assert!(served(&mut reader).is_empty());
}

#[test]
fn a_daemon_stays_known_when_others_come_and_a_new_one_has_what_is_left() {
    let node = Node::new();
    mount(&node, 45, "fuse.bindfs", "/a");
    daemon(&node, 204, "bindfs");
    daemon(&node, 190, "fusermount3");
    let mut reader = node.reader(&[]);
    assert_eq!(served(&mut reader), ["0:45 /a bindfs 204"]);
    mount(&node, 46, "fuse.bindfs", "/b");
    daemon(&node, 205, "bindfs");
    assert_eq!(
        served(&mut reader),
        ["0:45 /a bindfs 204", "0:46 /b bindfs 205"]
    );
    // Whoever begins now has to tell two daemons of one name apart.
    assert!(served(&mut node.reader(&[])).is_empty());
}

#[test]
fn a_connection_that_is_mounted_where_no_process_is_counts_too() {
    let node = Node::new();
    mount(&node, 45, "fuse.bindfs", "/a");
    node.sysfs("fs/fuse/connections/50/waiting", "0\n");
    daemon(&node, 204, "other");
    daemon(&node, 205, "another");
    assert!(served(&mut node.reader(&[])).is_empty());
    daemon(&node, 206, "bindfs");
    let mut reader = node.reader(&[]);
    assert_eq!(served(&mut reader), ["0:45 /a bindfs 206"]);
    let said = round(&mut reader).incomplete.join(" ");
    assert!(said.contains("deduced from its name"), "{said}");
}

#[test]
fn where_the_kernel_shows_the_connection_the_name_is_nothing() {
    let node = Node::new();
    mount(&node, 45, "fuse.bindfs", "/a");
    mount(&node, 46, "fuse.bindfs", "/b");
    for (pid, number) in [(204, 46), (205, 45)] {
        daemon(&node, pid, "bindfs");
        let line = format!("fuse_connection:\t{number}");
        node.append(pid, "fdinfo/3", &line);
    }
    let mut reader = node.reader(&[]);
    assert_eq!(
        served(&mut reader),
        ["0:45 /a bindfs 205", "0:46 /b bindfs 204"]
    );
}

#[test]
fn a_disk_behind_a_daemon_is_a_client_of_its_own() {
    let node = Node::new();
    node.sysfs("class/bdi/8:16/x", "");
    node.sysfs("class/bdi/8:16-fuseblk/x", "");
    node.append(
        1,
        "mountinfo",
        "45 27 8:16 / /usb rw - fuseblk /dev/sdb rw,user_id=0",
    );
    daemon(&node, 204, "mount.ntfs-3g");
    assert_eq!(
        served(&mut node.reader(&[])),
        ["8:16-fuseblk /usb mount.ntfs-3g 204"]
    );
}
