use std::fs;

use monitor_model::observation::Container;
use tempfile::TempDir;

use super::{Instant, PodNames, RETRY, parse};

const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
/// A static pod's.
const HASH: &str = "33d556edd3ae8ef21980288cef77ae8b";

/// A node with one ext4, and the kubelet's directory on it.
struct Node {
    dir: TempDir,
    names: PodNames,
}

impl Node {
    fn new(fstype: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let own = dir.path().join("proc/self");
        fs::create_dir_all(&own).unwrap();
        let line = format!("27 1 254:0 / / rw,relatime - {fstype} /dev/vda rw\n");
        fs::write(own.join("mountinfo"), line).unwrap();
        let names = PodNames::new(dir.path().join("proc"), dir.path().join("pods"));
        Self { dir, names }
    }

    fn pod(&self, name: &str) {
        fs::create_dir_all(self.dir.path().join("pods").join(name)).unwrap();
    }

    /// `namespace/pod` of each of these UIDs.
    fn ask(&mut self, uids: &[&str]) -> Vec<String> {
        let of = |uid: &&str| Container {
            pod_uid: (*uid).into(),
            ..Container::default()
        };
        let mut all: Vec<Container> = uids.iter().map(of).collect();
        let mut asked: Vec<&mut Container> = all.iter_mut().collect();
        self.names.fill(&mut asked);
        let name = |one: &Container| format!("{}/{}", one.namespace, one.pod);
        all.iter().map(name).collect()
    }

    /// The directory is not read again, if this is gone and the names are there.
    fn remove(&self) {
        fs::remove_dir_all(self.dir.path().join("pods")).unwrap();
    }
}

#[test]
fn a_directory_s_name_is_a_namespace_a_pod_and_a_uid() {
    let of = |name: &str| parse(&name.replace("UID", UID)).is_some();
    assert_eq!(
        parse(&format!("kube-system_kube-proxy-node-1.example.org_{HASH}")),
        Some(("kube-system", "kube-proxy-node-1.example.org", HASH))
    );
    assert!(of("shop_web-0_UID"));
    let long = "n".repeat(64);
    assert!(of(&format!("{}_web-0_UID", &long[1..])));
    for no in [
        "",
        "UID",
        "web-0_UID",
        "a_shop_web-0_UID",
        "shop_web-0_UID_a",
        "shop_web-0_0a1b",
        "_web-0_UID",
        "shop__UID",
        "Shop_web-0_UID",
        "shop_web 0_UID",
        "sh.op_web-0_UID",
        "-shop_web-0_UID",
        "shop_web-_UID",
        "shop_web..0_UID",
        "shop_.._UID",
        "shop_web\u{1b}0_UID",
        &format!("{long}_web-0_UID"),
        &format!("shop_{}_UID", "n".repeat(254)),
    ] {
        assert!(!of(no), "{no}");
    }
}

#[test]
fn pods_are_named_by_their_uid_and_remembered() {
    let mut node = Node::new("ext4");
    node.pod(&format!("shop_web-0_{UID}"));
    node.pod(&format!("kube-system_etcd-node-1_{HASH}"));
    node.pod("lost+found");
    assert_eq!(
        node.ask(&[UID, "", HASH]),
        ["shop/web-0", "/", "kube-system/etcd-node-1"]
    );
    node.remove();
    assert_eq!(node.ask(&[UID]), ["shop/web-0"]);
    // What nobody asks for any more is forgotten.
    assert_eq!(node.ask(&[HASH]), ["/"]);
}

#[test]
fn a_pod_without_a_directory_is_searched_for_again_only_after_a_while() {
    let mut node = Node::new("ext4");
    node.pod("other");
    assert_eq!(node.ask(&[UID]), ["/"]);
    node.pod(&format!("shop_web-0_{UID}"));
    assert_eq!(node.ask(&[UID]), ["/"]);
    node.names.last = Instant::now().checked_sub(RETRY);
    assert_eq!(node.ask(&[UID]), ["shop/web-0"]);
}

#[test]
fn another_unknown_pod_is_searched_for_at_once_and_the_first_with_it() {
    let mut node = Node::new("ext4");
    assert_eq!(node.ask(&[UID]), ["/"]);
    node.pod(&format!("shop_web-0_{UID}"));
    node.pod(&format!("shop_web-1_{HASH}"));
    assert_eq!(node.ask(&[UID, HASH]), ["shop/web-0", "shop/web-1"]);
}

#[test]
fn a_directory_on_nfs_is_not_read() {
    let mut node = Node::new("nfs4");
    node.pod(&format!("shop_web-0_{UID}"));
    assert_eq!(node.ask(&[UID]), ["/"]);
}

#[test]
fn while_a_read_hangs_no_other_begins_and_its_answer_counts() {
    let mut node = Node::new("ext4");
    node.pod(&format!("shop_web-0_{UID}"));
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    node.names.reading = Some(receive);
    let start = Instant::now();
    assert_eq!(node.ask(&[UID]), ["/"]);
    assert!(start.elapsed() < super::PATIENCE, "it does not wait again");
    let late = [(UID.into(), ("shop".into(), "web-0".into()))];
    send.send(Ok(late.into())).unwrap();
    assert_eq!(node.ask(&[UID]), ["shop/web-0"]);
    assert!(node.names.reading.is_none());
}

#[test]
fn a_thread_that_is_gone_does_not_keep_others_from_it() {
    let mut node = Node::new("ext4");
    node.pod(&format!("shop_web-0_{UID}"));
    node.names.reading = Some(std::sync::mpsc::sync_channel(1).1);
    assert_eq!(node.ask(&[UID]), ["/"]);
    assert_eq!(node.ask(&[UID]), ["shop/web-0"]);
}
