//! Tests of which processes the commands stop.

use std::sync::Arc;

use monitor_common::Class;
use monitor_model::{
    loops::Mount,
    observation::{LoopDevice, Topology},
    verdict::Signature,
};

use super::{commands, node, the_loop, wait};
use crate::mitigation::mitigations;

#[test]
fn the_writers_to_a_loop_device_on_the_mount_are_the_loops_writers() {
    let mut node = node("6.12.9");
    node.topology = Arc::new(Topology {
        loop_devices: vec![LoopDevice {
            bdi: "7:0".into(),
            file: "/mnt/image".into(),
            on: "0:29".into(),
            ..LoopDevice::default()
        }],
        ..Topology::default()
    });
    node.waits.push(wait(60, Class::User, "7:0"));
    node.waits.push(wait(61, Class::User, "7:1"));
    let out = mitigations(Signature::LoopDevice, &the_loop(), &node);
    assert!(commands(&out).contains("kill -STOP 40 41 60\n"), "{out:?}");
}

#[test]
fn where_no_writer_is_known_they_are_looked_for_on_the_mount_unless_its_name_is_strange() {
    let mut node = node("5.10.0-32");
    node.waits.clear();
    let out = |mount_point: &str| {
        let mut found = the_loop();
        found.mounts = vec![Mount {
            mount_point: mount_point.into(),
            ..Mount::default()
        }];
        commands(&mitigations(Signature::ReclaimCongestion, &found, &node))
    };
    assert!(out("/srv/data").contains("mount=/srv/data  #"));
    for strange in ["/srv/$(reboot)", "/a b", "/a;b", "srv", ""] {
        let out = out(strange);
        assert!(out.contains("mount=/mnt  #"), "{out}");
    }
}
