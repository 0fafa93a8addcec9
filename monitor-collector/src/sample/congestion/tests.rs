use std::{collections::BTreeMap, fs, path::Path};

use compact_str::CompactString;
use monitor_common::CongestedBdi;
use monitor_model::observation::{Bdi, Congestion, CongestionBy, Memory};

use super::{Congestions, IDLE_TICKS, LIMITS_TICKS, Seen};

const MIB: u64 = 1 << 20;

/// A node whose NFS mounts are congested above 1 MiB under writeback.
struct Node {
    root: tempfile::TempDir,
    congestions: Congestions,
    flags: BTreeMap<CompactString, CongestedBdi>,
    write_congested: BTreeMap<CompactString, CongestedBdi>,
    pending: u64,
    outdated: Vec<CompactString>,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (procfs, sysfs) = (root.path().join("proc"), root.path().join("sys"));
        write(&procfs.join("sys/fs/nfs/nfs_congestion_kb"), "1024\n");
        Self {
            congestions: Congestions::new(&procfs, &sysfs),
            root,
            flags: BTreeMap::new(),
            write_congested: BTreeMap::new(),
            pending: 0,
            outdated: Vec::new(),
        }
    }

    fn sysfs(&self, path: &str, text: &str) {
        write(&self.root.path().join("sys").join(path), text);
    }

    fn tick(&mut self, now_ns: u64, bdi: Bdi) -> Bdi {
        let memory = Memory {
            page_size: 4096,
            ..Memory::default()
        };
        let mut bdis = [bdi];
        let seen = Seen {
            now_ns,
            memory: &memory,
            flags: &self.flags,
            write_congested: &self.write_congested,
            nfs: &BTreeMap::from([("0:29".into(), self.pending), ("0:30".into(), 0)]),
        };
        self.outdated = self.congestions.tell(&mut bdis, &seen);
        let [bdi] = bdis;
        bdi
    }

    fn told(&mut self, now_ns: u64, bdi: Bdi) -> Congestion {
        self.tick(now_ns, bdi).congestion.unwrap()
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn mount(name: &str, fstype: &str, writeback: u64) -> Bdi {
    Bdi {
        bdi: name.into(),
        fstype: fstype.into(),
        writeback_bytes: Some(writeback),
        ..Bdi::default()
    }
}

fn nfs(writeback: u64) -> Bdi {
    mount("0:29", "nfs4", writeback)
}

#[test]
fn the_time_that_an_nfs_mount_is_congested_adds_up_over_its_times() {
    let mut node = Node::new();
    let mut told = |now_ns, writeback| {
        let told = node.told(now_ns, nfs(writeback));
        assert_eq!(told.by, CongestionBy::NfsWriteback);
        (told.congested, told.since_ns, told.total_ns)
    };
    assert_eq!(told(100, MIB), (false, None, 0));
    assert_eq!(told(200, 2 * MIB), (true, Some(200), 0));
    assert_eq!(told(300, MIB), (true, Some(200), 100), "not yet below");
    assert_eq!(told(400, 0), (false, None, 200));
    assert_eq!(told(900, 2 * MIB), (true, Some(900), 200));
    assert_eq!(told(950, 2 * MIB), (true, Some(900), 250));
}

#[test]
fn the_kernel_s_flag_goes_before_every_rule_and_its_times_count_to_the_nanosecond() {
    let mut node = Node::new();
    let mut told = |now_ns, since_ns, total_ns| {
        let flag = CongestedBdi { since_ns, total_ns };
        node.flags = BTreeMap::from([("0:29".into(), flag)]);
        let told = node.told(now_ns, nfs(100 * MIB));
        assert_eq!(told.by, CongestionBy::Flag);
        (told.congested, told.since_ns, told.total_ns)
    };
    assert_eq!(told(100, 0, 0), (false, None, 0));
    assert_eq!(told(200, 170, 12), (true, Some(170), 42));
    assert_eq!(told(300, 0, 50), (false, None, 50));
    assert_eq!(told(400, 0, 50), (false, None, 50));
}

#[test]
fn a_flag_that_is_first_seen_to_change_takes_over_from_the_rule_and_the_total_never_falls() {
    let mut node = Node::new();
    assert!(node.told(100, nfs(2 * MIB)).congested);
    assert_eq!(node.told(200, nfs(2 * MIB)).total_ns, 100);
    let cleared = CongestedBdi::default();
    node.flags = BTreeMap::from([("0:29".into(), cleared)]);
    let told = node.told(300, nfs(2 * MIB));
    assert_eq!((told.congested, told.by), (false, CongestionBy::Flag));
    assert_eq!(told.total_ns, 100);
}

#[test]
fn the_nfs_client_s_flag_goes_before_its_rule() {
    let mut node = Node::new();
    let mut told = |now_ns, since_ns, total_ns, writeback| {
        let flag = CongestedBdi { since_ns, total_ns };
        node.write_congested = BTreeMap::from([("0:29".into(), flag)]);
        let told = node.told(now_ns, nfs(writeback));
        assert_eq!(told.by, CongestionBy::WriteCongested);
        (told.congested, told.since_ns, told.total_ns)
    };
    assert_eq!(told(100, 0, 0, 100 * MIB), (false, None, 0));
    assert_eq!(told(200, 170, 0, MIB), (true, Some(170), 30));
    assert_eq!(told(300, 0, 50, MIB), (false, None, 50));
}

#[test]
fn an_nfs_mount_with_nothing_to_write_is_not_congested_whatever_its_flag_was() {
    let mut node = Node::new();
    let flag = CongestedBdi {
        since_ns: 50,
        total_ns: 0,
    };
    node.write_congested = BTreeMap::from([("0:29".into(), flag)]);
    node.pending = 1;
    let mut now_ns = 0;
    let mut told = |node: &mut Node, writeback| {
        now_ns += 100;
        let told = node.told(now_ns, nfs(writeback));
        (told.congested, told.total_ns)
    };
    for _ in 0..=IDLE_TICKS {
        assert!(told(&mut node, MIB).0, "it writes back");
        assert!(told(&mut node, 0).0, "a reply is to come");
    }
    node.pending = 0;
    for _ in 1..IDLE_TICKS {
        assert!(told(&mut node, 0).0, "not long enough");
        assert!(node.outdated.is_empty());
    }
    let (congested, total_ns) = told(&mut node, 0);
    assert!(!congested);
    assert_eq!(node.outdated, ["0:29"]);
    // Forgotten, and known again by the next pages.
    node.write_congested.clear();
    assert_eq!(told(&mut node, 0), (false, total_ns));
    let flag = CongestedBdi::default();
    node.write_congested = BTreeMap::from([("0:29".into(), flag)]);
    assert_eq!(told(&mut node, 0), (false, total_ns));
}

#[test]
fn a_mount_that_only_its_writes_tell_to_be_nfs_is_held_to_the_nfs_rule() {
    let told = Node::new().told(1, mount("0:30", "", 2 * MIB));
    assert!(told.congested);
    assert_eq!(told.threshold_bytes, Some(MIB));
}

#[test]
fn an_nfs_mount_of_unknown_threshold_is_neither_congested_nor_not() {
    let mut node = Node::new();
    fs::remove_dir_all(node.root.path().join("proc")).unwrap();
    assert_eq!(node.tick(1, nfs(2 * MIB)).congestion, None);
}

#[test]
fn a_fuse_mount_is_held_to_the_requests_of_its_connection() {
    for (name, fstype, connection) in [
        ("0:45", "fuse.sshfs", "45"),
        ("0:45", "virtiofs", "45"),
        ("8:17-fuseblk", "", "8388625"),
    ] {
        let mut node = Node::new();
        let dir = format!("fs/fuse/connections/{connection}");
        node.sysfs(&format!("{dir}/waiting"), "9\n");
        node.sysfs(&format!("{dir}/congestion_threshold"), "9\n");
        let told = node.told(1, mount(name, fstype, 0));
        assert_eq!(
            (told.congested, told.by),
            (true, CongestionBy::FuseRequests),
            "{name}"
        );
    }
}

#[test]
fn a_bdi_that_is_gone_is_forgotten() {
    let mut node = Node::new();
    assert!(node.told(100, nfs(2 * MIB)).congested);
    node.tick(200, mount("0:31", "nfs4", 0));
    assert_eq!(node.congestions.watched.len(), 1);
    assert_eq!(node.told(300, nfs(2 * MIB)).since_ns, Some(300));
}

#[test]
fn limits_are_read_once_in_a_while_and_what_a_kernel_lacks_is_unknown() {
    let mut node = Node::new();
    node.sysfs("class/bdi/0:29/max_ratio", "100\n");
    let bdi = node.tick(1, nfs(0));
    assert_eq!((bdi.max_ratio, bdi.strict_limit), (Some(100), None));
    node.sysfs("class/bdi/0:29/max_ratio", "5\n");
    node.sysfs("class/bdi/0:29/strict_limit", "1\n");
    for _ in 1..LIMITS_TICKS {
        assert_eq!(node.tick(1, nfs(0)).max_ratio, Some(100));
    }
    let bdi = node.tick(1, nfs(0));
    assert_eq!((bdi.max_ratio, bdi.strict_limit), (Some(5), Some(true)));
}
