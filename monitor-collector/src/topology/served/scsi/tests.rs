use std::{fs, os::unix::fs::symlink};

use monitor_model::observation::{ClientKind, Proof, ServerKind, Topology};

use crate::topology::LookupRequest;
use crate::topology::served::{Device, Graph, NodeFiles, Place};
use crate::topology::tests::node::Node;
use crate::topology::{namespaces::Namespaces, served::scsi::iscsi, warnings::LookupWarnings};

const CONFIG: &str = "kernel/config/target";
const BUFFERED: &str =
    "TCM FILEIO ID: 0        File: /export/img  Size: 1  Mode: Buffered-WCE Async: 0\n";
const IQN: &str = "iqn.2003-01.org.linux-iscsi.node:disk";

fn link(node: &Node, at: &str, target: &str) {
    let at = node.path("sys").join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(target, at).unwrap();
}

fn node() -> Node {
    let node = Node::new();
    node.sysfs("class/bdi/254:16/x", "");
    node.append(
        1,
        "mountinfo",
        "36 27 254:16 / /export rw - ext4 /dev/vdb rw",
    );
    node
}

/// A backstore, and a LUN that has it.
fn lun(node: &Node, group: &str, number: u32, store: &str, info: &str) {
    node.sysfs(&format!("{CONFIG}/core/{store}/info"), info);
    let lun = format!("{CONFIG}/{group}/lun/lun_{number}");
    node.sysfs(&format!("{lun}/alua_tg_pt_gp"), "");
    let target = format!("../../../../../../target/core/{store}");
    link(node, &format!("{lun}/5c0ffee"), &target);
}

/// An adapter of `tcm_loop` with the SCSI host 2, and its disk.
fn adapter(node: &Node, name: &str, host: u32) -> String {
    let group = format!("loopback/naa.{name}/tpgt_1");
    node.sysfs(
        &format!("{CONFIG}/{group}/address"),
        &format!("{host}:0:1\n"),
    );
    node.sysfs(
        &format!("class/scsi_host/host{host}/proc_name"),
        "tcm_loopback\n",
    );
    group
}

fn scsi_disk(node: &Node, address: &str, name: &str, number: &str) {
    let at = format!("class/scsi_device/{address}/device/block/{name}/dev");
    node.sysfs(&at, &format!("{number}\n"));
}

fn read(node: &Node) -> Topology {
    node.reader(&[]).round(&LookupRequest::default())
}

#[test]
fn a_disk_of_lio_is_served_by_the_kernel_and_written_to_the_device_of_its_file() {
    let node = node();
    let group = adapter(&node, "6001405a1b2c3d4e", 2);
    lun(&node, &group, 0, "fileio_0/d0", BUFFERED);
    scsi_disk(&node, "2:0:1:0", "sda", "8:0");
    let found = read(&node);
    let served = &found.served[0];
    assert_eq!((&*served.bdi, &*served.name), ("8:0", "/dev/sda"));
    assert_eq!(
        (served.kind, served.proof),
        (ClientKind::Scsi, Proof::Kernel)
    );
    assert_eq!(
        (&*served.server.name, served.server.kind),
        ("lio", ServerKind::Target)
    );
    let writes = &found.writes[0];
    assert_eq!(writes.server, served.server);
    assert_eq!((&*writes.bdi, &*writes.device), ("254:16", "254:16"));
    assert_eq!((&*writes.file, writes.direct), ("/export/img", false));
    assert_eq!(writes.client, "8:0");
}

#[test]
fn each_disk_has_the_file_of_its_own_lun() {
    let node = node();
    let block = "iBlock device: vdb1  UDEV PATH: /dev/vdb1  readonly: 0\n        Major: 254 Minor: 17  CLAIMED: IBLOCK\n";
    node.sysfs("dev/block/254:17/partition", "1\n");
    node.sysfs("dev/block/dev", "254:16\n");
    for (name, host) in [("a", 2), ("b", 3)] {
        let group = adapter(&node, name, host);
        lun(&node, &group, 0, "fileio_0/d0", BUFFERED);
        lun(&node, &group, host, "iblock_0/p", block);
    }
    scsi_disk(&node, "2:0:1:0", "sda", "8:0");
    scsi_disk(&node, "3:0:1:3", "sdb", "8:16");
    // Another host's disk with a LUN of the same number.
    scsi_disk(&node, "4:0:1:0", "sdc", "8:32");
    let mut told: Vec<_> = read(&node)
        .writes
        .iter()
        .map(|one| format!("{} {} {} {}", one.client, one.file, one.bdi, one.direct))
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["8:0 /export/img 254:16 false", "8:16 /dev/vdb1 254:16 true"]
    );
}

#[test]
fn an_adapter_without_a_host_is_not_asked_for_its_address() {
    let node = node();
    let group = adapter(&node, "a", 2);
    lun(&node, &group, 0, "fileio_0/d0", BUFFERED);
    scsi_disk(&node, "2:0:1:0", "sda", "8:0");
    fs::create_dir_all(node.path("sys").join(CONFIG).join("loopback/naa.b/tpgt_1")).unwrap();
    assert!(read(&node).served.is_empty());
}

/// A session of the initiator with a disk under LUN 1.
fn session(node: &Node, transport: &str) {
    node.sysfs("class/scsi_host/host6/proc_name", transport);
    let session = "class/iscsi_session/session3";
    node.sysfs(&format!("{session}/targetname"), &format!("{IQN}\n"));
    node.sysfs(&format!("{session}/tpgt"), "1\n");
    node.sysfs(
        &format!("{session}/initiatorname"),
        "iqn.1993-08.org.debian:node\n",
    );
    let disk = format!("{session}/device/target6:0:0/6:0:0:1/block/sdd/dev");
    node.sysfs(&disk, "8:48\n");
    let connection = "class/iscsi_connection/connection3:0";
    node.sysfs(&format!("{connection}/address"), "::ffff:10.9.0.2\n");
    node.sysfs(&format!("{connection}/port"), "3260\n");
}

fn sessions(node: &Node) -> Vec<Device> {
    let sysfs = node.path("sys");
    iscsi::devices(&sysfs, &sysfs.join(CONFIG))
}

#[test]
fn an_iscsi_disk_is_served_at_the_other_end_of_its_connection() {
    let node = node();
    session(&node, "iscsi_tcp\n");
    let devices = sessions(&node);
    assert_eq!(devices.len(), 1);
    let device = &devices[0];
    assert_eq!((&*device.bdi, &*device.name), ("8:48", "/dev/sdd"));
    assert_eq!(device.server, Place::Tcp("10.9.0.2:3260".parse().unwrap()));
    assert_eq!(device.target, None);
}

#[test]
fn an_iscsi_disk_of_a_target_of_this_node_has_the_file_of_its_lun() {
    let node = node();
    session(&node, "iscsi_tcp\n");
    let group = format!("iscsi/{IQN}/tpgt_1");
    lun(&node, &group, 0, "fileio_0/other", BUFFERED);
    lun(
        &node,
        &group,
        1,
        "fileio_1/d1",
        &BUFFERED.replace("img", "one"),
    );
    let file = |node: &Node| {
        sessions(node)[0]
            .target
            .clone()
            .map(|target| target.files.as_ref().unwrap()[0].path.clone())
    };
    assert_eq!(file(&node).unwrap(), "/export/one");
    // The initiator has an entry in which LUN 1 is the target's LUN 0.
    let acl = format!("{CONFIG}/{group}/acls/iqn.1993-08.org.debian:node");
    let target = format!("../../../../../../../target/iscsi/{IQN}/tpgt_1/lun/lun_0");
    link(&node, &format!("{acl}/lun_1/0ddba11"), &target);
    assert_eq!(file(&node).unwrap(), "/export/img");
}

#[test]
fn an_initiator_in_hardware_has_no_socket_here() {
    let node = node();
    session(&node, "bnx2i\n");
    assert!(sessions(&node).is_empty());
}

#[test]
fn broken_attributes_are_no_disks() {
    for (file, text) in [
        ("class/iscsi_connection/connection3:0/address", "none"),
        ("class/iscsi_connection/connection3:0/port", "0"),
        ("class/iscsi_connection/connection3:0/port", "99999"),
    ] {
        let node = node();
        session(&node, "iscsi_tcp\n");
        node.sysfs(file, text);
        assert!(sessions(&node).is_empty(), "{file} {text}");
    }
}

#[test]
fn a_name_of_a_target_leads_nowhere_else() {
    let node = node();
    session(&node, "iscsi_tcp\n");
    node.sysfs("class/iscsi_session/session3/targetname", "../iscsi\n");
    assert_eq!(sessions(&node)[0].target, None);
    let (mut warnings, procfs, sysfs) = (
        LookupWarnings::default(),
        node.path("proc"),
        node.path("sys"),
    );
    let spaces = Namespaces::walk(&procfs, &mut warnings).unwrap();
    let graph = Graph::read(&mut NodeFiles {
        smb: &[],
        memory: &mut super::super::Memory::default(),
        sysfs: &sysfs,
        spaces: &spaces,
        file_systems: &[],
        warnings: &mut warnings,
    });
    assert!(graph.writes.is_empty());
}
