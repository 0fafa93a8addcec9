//! On made-up mounts of a real directory with real links.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{PlacementError, refuse_nfs};

/// A directory that stands for a node: `proc/self/mountinfo` and a tree.
struct Node {
    dir: tempfile::TempDir,
    mounts: String,
    next: u32,
}

impl Node {
    /// With an ext4 as its root.
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
        refuse_nfs(&procfs, path.as_ref())
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
        // The way is over NFS.
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
    // Would lead away from NFS, if it were followed.
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
    // The way to it is over NFS, where a link could be.
    assert!(node.is_refused("a"));
}

#[test]
fn a_root_that_is_its_own_parent_is_a_root() {
    // So an initramfs shows itself.
    let mut node = Node::new();
    node.mounts.clear();
    node.next = 1;
    node.line(1, Path::new("/"), "rootfs");
    node.mount(1, "a/b", "nfs");
    assert!(node.is_refused("a/b"));
    assert!(!node.is_refused("a"));
}

#[test]
fn where_the_root_is_no_mount_the_others_still_count() {
    // So a chroot sees it.
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
fn this_machines_own_tmp_is_no_nfs() {
    let dir = tempfile::tempdir().unwrap();
    refuse_nfs(Path::new("/proc"), &dir.path().join("file")).unwrap();
}
