//! Tests with made-up mounts of a real directory with real links.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{PlacementError, refuse, refuse_nfs};

/// A directory as a node: `proc/self/mountinfo` and a tree.
struct Node {
    dir: tempfile::TempDir,
    mounts: String,
    next: u32,
}

impl Node {
    /// A node with ext4 as its root.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::create_dir_all(dir.path().join("tree/a/b/c")).unwrap();
        let mut node = Self {
            dir,
            mounts: String::new(),
            next: 20,
        };
        node.line(1, Path::new("/"), "ext4");
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("tree").join(path)
    }

    /// Mounts on a mount; the new mount's id.
    fn mount(&mut self, on: u32, path: &str, fstype: &str) -> u32 {
        self.line(on, &self.path(path), fstype)
    }

    /// A mount with this device and source, and these options of its super block.
    fn full(&mut self, on: u32, path: &str, [device, fstype, source, options]: [&str; 4]) -> u32 {
        let (id, path) = (self.next, self.path(path));
        self.next += 1;
        writeln!(
            self.mounts,
            "{id} {on} {device} / {} rw shared:1 - {fstype} {source} rw,{options}",
            path.display()
        )
        .unwrap();
        id
    }

    /// A block device below /sys/devices, with its links.
    fn device(&self, number: &str, at: &str) -> PathBuf {
        let device = self.dir.path().join("sys/devices").join(at);
        fs::create_dir_all(device.join("slaves")).unwrap();
        for (links, name) in [
            ("dev/block", number),
            ("class/block", at.rsplit('/').next().unwrap()),
        ] {
            let links = self.dir.path().join("sys").join(links);
            fs::create_dir_all(&links).unwrap();
            symlink(&device, links.join(name)).unwrap();
        }
        device
    }

    /// A loop device on this file.
    fn loop_on(&self, number: &str, at: &str, file: &str) -> PathBuf {
        let device = self.device(number, at);
        fs::create_dir(device.join("loop")).unwrap();
        let file = format!("{}\n", self.path(file).display());
        fs::write(device.join("loop/backing_file"), file).unwrap();
        device
    }

    fn rests_on_nfs(&self, path: &str) -> bool {
        match self.refuses(self.path(path)) {
            Err(PlacementError::Rests { why, .. }) => {
                matches!(
                    *why,
                    PlacementError::Nfs { .. } | PlacementError::Rests { .. }
                )
            }
            _ => false,
        }
    }

    fn line(&mut self, on: u32, path: &Path, fstype: &str) -> u32 {
        let path = path.display().to_string().replace(' ', "\\040");
        let id = self.next;
        self.next += 1;
        writeln!(
            self.mounts,
            "{id} {on} 0:{id} / {path} rw shared:1 - {fstype} source rw"
        )
        .unwrap();
        id
    }

    fn refuses(&self, path: impl AsRef<Path>) -> Result<(), PlacementError> {
        let procfs = self.dir.path().join("proc");
        fs::write(procfs.join("self/mountinfo"), &self.mounts).unwrap();
        refuse(&procfs, &self.dir.path().join("sys"), path.as_ref())
    }

    fn is_refused(&self, path: &str) -> bool {
        matches!(
            self.refuses(self.path(path)),
            Err(PlacementError::Nfs { .. })
        )
    }
}

const ROOT: u32 = 20;

#[test]
fn a_path_on_nfs_is_refused_by_name_and_one_beside_it_is_not() {
    let mut node = Node::new();
    node.mount(ROOT, "a/b", "nfs4");
    for on in [
        "a/b",
        "a/b/",
        "a/b/c",
        "a/b/new/deep",
        "a/./b/x",
        "a/b/c/../x",
        // This path crosses NFS.
        "a/b/../x",
    ] {
        assert!(node.is_refused(on), "{on}");
    }
    for beside in ["a", "a/bb", "new", "a/../a/c"] {
        assert!(node.refuses(node.path(beside)).is_ok(), "{beside}");
    }
    let error = node.refuses(node.path("a/b/c")).unwrap_err().to_string();
    assert!(error.contains("a/b/c is on NFS (nfs4 at "), "{error}");
    assert!(
        error.contains("give a path on a local file system"),
        "{error}"
    );
}

#[test]
fn a_link_to_nfs_is_refused_wherever_it_is_in_the_path() {
    let mut node = Node::new();
    node.mount(ROOT, "a/b", "nfs");
    symlink(node.path("a/b"), node.path("absolute")).unwrap();
    symlink("a/b/c", node.path("relative")).unwrap();
    symlink("absolute", node.path("twice")).unwrap();
    symlink("../a/b", node.path("a/up")).unwrap();
    symlink("a", node.path("local")).unwrap();
    for on in [
        "absolute",
        "absolute/x",
        "relative",
        "twice/x/y",
        "a/up/x",
        "local/b",
    ] {
        assert!(node.is_refused(on), "{on}");
    }
    assert!(node.refuses(node.path("local/x")).is_ok());
}

#[test]
fn what_is_below_an_nfs_mount_is_not_asked() {
    let mut node = Node::new();
    // This link would lead away from NFS if it were followed.
    symlink(node.path("a"), node.path("a/b/out")).unwrap();
    assert!(node.refuses(node.path("a/b/out")).is_ok());
    node.mount(ROOT, "a/b", "nfs");
    assert!(node.is_refused("a/b/out"));
}

#[test]
fn the_topmost_mount_counts() {
    let mut node = Node::new();
    let below = node.mount(ROOT, "a/b", "nfs");
    let over = node.mount(below, "a/b", "tmpfs");
    assert!(!node.is_refused("a/b/c"));
    let on_it = node.mount(over, "a/b/c", "nfs4");
    assert!(node.is_refused("a/b/c"));
    assert!(!node.is_refused("a/b/d"));
    node.mount(on_it, "a/b/c", "ext4");
    assert!(!node.is_refused("a/b/c"));
}

#[test]
fn a_local_mount_that_nfs_is_mounted_over_does_not_hide_it() {
    let mut node = Node::new();
    node.mount(ROOT, "a/b", "ext4");
    node.mount(ROOT, "a", "nfs");
    assert!(node.is_refused("a/b"));
}

#[test]
fn a_root_on_nfs_leaves_only_what_is_mounted_elsewhere() {
    let mut node = Node::new();
    let root = node.line(ROOT, Path::new("/"), "nfs");
    node.line(root, node.dir.path().join("tree/a").as_path(), "tmpfs");
    assert!(node.is_refused("b"));
    // The path to it crosses NFS, which may hold a link.
    assert!(node.is_refused("a"));
}

#[test]
fn a_root_that_is_its_own_parent_is_a_root() {
    // An initramfs has mounts of this form.
    let mut node = Node::new();
    node.mounts.clear();
    node.next = 1;
    node.line(1, Path::new("/"), "rootfs");
    node.mount(1, "a/b", "nfs");
    assert!(node.is_refused("a/b"));
    assert!(!node.is_refused("a"));
}

#[test]
fn without_a_mount_at_the_root_the_others_still_count() {
    // A chroot sees mounts of this form.
    let mut node = Node::new();
    node.mounts.clear();
    node.mount(999, "a/b", "nfs");
    assert!(node.is_refused("a/b/c"));
    assert!(!node.is_refused("a/c"));
}

#[test]
fn a_mount_point_with_a_blank_is_found() {
    let mut node = Node::new();
    node.mount(ROOT, "a b", "nfs");
    assert!(node.is_refused("a b/c"));
}

#[test]
fn an_automount_point_that_is_not_mounted_is_refused() {
    let mut node = Node::new();
    let auto = node.mount(ROOT, "a/b", "autofs");
    let error = node.refuses(node.path("a/b/c")).unwrap_err();
    assert!(matches!(error, PlacementError::Automount { .. }), "{error}");
    node.mount(auto, "a/b", "ext4");
    assert!(node.refuses(node.path("a/b/c")).is_ok());
}

#[test]
fn links_without_an_end_are_refused() {
    let node = Node::new();
    symlink("two", node.path("one")).unwrap();
    symlink("one", node.path("two")).unwrap();
    let error = node.refuses(node.path("one/x")).unwrap_err();
    assert!(matches!(error, PlacementError::Links(_)), "{error}");
}

#[test]
fn where_the_mounts_cannot_be_read_nothing_is_written() {
    let error = refuse_nfs(Path::new("/nowhere"), Path::new("/tmp/x")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("/nowhere/self/mountinfo cannot be read"),
        "{error}"
    );
}

#[test]
fn this_machines_own_tmp_is_not_on_nfs() {
    let dir = tempfile::tempdir().unwrap();
    refuse_nfs(Path::new("/proc"), &dir.path().join("file")).unwrap();
}

#[test]
fn a_loop_device_is_local_only_if_its_file_is_not_on_nfs() {
    let mut node = Node::new();
    node.mount(ROOT, "nfs", "nfs4");
    node.loop_on("7:0", "virtual/block/loop0", "nfs/image");
    node.loop_on("7:1", "virtual/block/loop1", "a/image");
    node.full(ROOT, "a/b", ["7:0", "ext4", "/dev/loop0", "x"]);
    node.full(ROOT, "a/c", ["7:1", "ext4", "/dev/loop1", "x"]);
    assert!(node.rests_on_nfs("a/b/x"));
    assert!(node.refuses(node.path("a/c/x")).is_ok());
    let error = node.refuses(node.path("a/b/x")).unwrap_err().to_string();
    assert!(
        error.contains("is on ext4 at ") && error.contains("nfs/image is on NFS (nfs4 at "),
        "{error}"
    );
}

#[test]
fn partitions_and_mapped_devices_lead_to_the_file_below() {
    let mut node = Node::new();
    node.mount(ROOT, "nfs", "nfs");
    let disk = node.loop_on("7:0", "virtual/block/loop0", "nfs/image");
    let part = node.device("259:3", "virtual/block/loop0/loop0p1");
    fs::write(part.join("partition"), "1\n").unwrap();
    let dm = node.device("253:0", "virtual/block/dm-0");
    fs::create_dir(dm.join("dm")).unwrap();
    fs::write(dm.join("dm/name"), "vg-data\n").unwrap();
    symlink(&part, dm.join("slaves/loop0p1")).unwrap();
    let upper = node.device("253:1", "virtual/block/dm-1");
    symlink(&dm, upper.join("slaves/dm-0")).unwrap();
    // A ring, which no kernel creates, must end.
    symlink(&upper, disk.join("slaves/dm-1")).unwrap();
    node.full(ROOT, "a/part", ["259:3", "xfs", "/dev/loop0p1", "x"]);
    node.full(ROOT, "a/dm", ["253:1", "ext4", "/dev/mapper/upper", "x"]);
    // btrfs has its own device number.
    node.full(
        ROOT,
        "a/btrfs",
        ["0:77", "btrfs", "/dev/mapper/vg-data", "x"],
    );
    node.full(ROOT, "a/loop", ["0:78", "btrfs", "/dev/loop0", "x"]);
    node.full(ROOT, "a/none", ["253:9", "ext4", "/dev/none", "x"]);
    for path in ["a/part", "a/dm", "a/btrfs", "a/loop"] {
        assert!(node.rests_on_nfs(path), "{path}");
    }
    assert!(node.refuses(node.path("a/none/x")).is_ok());
}

#[test]
fn a_loop_device_on_a_loop_device_on_nfs_is_found_and_an_endless_row_is_refused() {
    let mut node = Node::new();
    node.mount(ROOT, "nfs", "nfs4");
    node.loop_on("7:0", "virtual/block/loop0", "nfs/image");
    node.full(ROOT, "one", ["7:0", "ext4", "/dev/loop0", "x"]);
    node.loop_on("7:1", "virtual/block/loop1", "one/image");
    node.full(ROOT, "two", ["7:1", "ext4", "/dev/loop1", "x"]);
    assert!(node.rests_on_nfs("two/x"));
    for number in 2..30 {
        let below = format!("m{}/image", number - 1);
        node.loop_on(
            &format!("7:{number}"),
            &format!("virtual/block/loop{number}"),
            &below,
        );
        let device = format!("7:{number}");
        node.full(
            ROOT,
            &format!("m{number}"),
            [&device, "ext4", "/dev/x", "x"],
        );
    }
    let error = node.refuses(node.path("m29/x")).unwrap_err();
    assert!(matches!(error, PlacementError::Depth(_)), "{error}");
    assert!(node.refuses(node.path("m5/x")).is_ok());
}

#[test]
fn an_overlay_counts_as_its_layers_where_they_can_be_seen() {
    let mut node = Node::new();
    node.mount(ROOT, "nfs", "nfs4");
    let at = |path: &str| node.path(path).display().to_string();
    let (local, remote) = (at("a"), at("nfs/layer"));
    let lower = format!("lowerdir={local}:{remote},upperdir={local}/u,workdir={local}/w");
    let upper = format!("lowerdir={local},upperdir={remote},workdir={local}/w");
    let plain = format!("lowerdir={local},upperdir={local}/u,workdir={local}/w");
    node.full(ROOT, "o1", ["0:50", "overlay", "overlay", &lower]);
    node.full(ROOT, "o2", ["0:51", "overlay", "overlay", &upper]);
    node.full(ROOT, "o3", ["0:52", "overlay", "overlay", &plain]);
    assert!(node.rests_on_nfs("o1/x") && node.rests_on_nfs("o2/x"));
    assert!(node.refuses(node.path("o3/x")).is_ok());
    // The layers of a container's root are paths of the host.
    let mut node = Node::new();
    node.mounts.clear();
    let layers = "lowerdir=/var/lib/l1:/var/lib/l2,upperdir=/var/lib/u,workdir=/var/lib/w";
    let line = format!("20 1 0:60 / / rw - overlay overlay rw,{layers}\n");
    node.mounts.push_str(&line);
    assert!(node.refuses(node.path("a/x")).is_ok());
}

#[test]
fn what_a_server_answers_for_is_not_local() {
    for (fstype, options, refused) in [
        ("fuse.sshfs", "x", true),
        ("fuse", "x", true),
        ("fuseblk", "x", true),
        ("cifs", "x", true),
        ("ceph", "x", true),
        ("9p", "trans=tcp", true),
        ("9p", "trans=virtio", false),
        ("fusectl", "x", false),
        ("virtiofs", "x", false),
        ("tmpfs", "x", false),
    ] {
        let mut node = Node::new();
        node.full(ROOT, "a/b", ["0:40", fstype, "source", options]);
        let result = node.refuses(node.path("a/b/x"));
        let is_refused = matches!(result, Err(PlacementError::Served { .. }));
        assert_eq!(is_refused, refused, "{fstype}: {result:?}");
    }
}
