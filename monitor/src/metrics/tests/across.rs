//! Tests of the edges of loops across nodes.

use std::sync::Arc;

use monitor_model::{
    observation::{Container, NetNamespace, ServerAddress},
    remote::RemoteMount,
};

use super::page;
use crate::publish::testing;

#[test]
fn a_node_tells_its_addresses_its_mounts_and_its_number() {
    let mut snapshot = testing::snapshot();
    let pod = Container {
        pod_uid: "u".into(),
        ..Container::default()
    };
    let topology = Arc::make_mut(&mut snapshot.observation.topology);
    let address = |last: u8, netns| ServerAddress {
        address: [10, 7, 0, last].into(),
        netns,
    };
    topology.server_addresses = vec![address(1, 1), address(3, 2)];
    topology.net_namespaces = vec![NetNamespace {
        netns: 2,
        container: pod.clone(),
    }];
    snapshot.remote = vec![RemoteMount {
        bdi: "0:40".into(),
        mount: "/data".into(),
        export: "10.7.0.2:/srv".into(),
        server: [10, 7, 0, 2].into(),
        container: Some(pod),
        held_bytes: Some(5),
        blocked: true,
    }];
    let page = page(&snapshot);
    let own = |address, pod_uid| {
        let labels = [("address", address), ("pod_uid", pod_uid)];
        page.get("throttle_node_address", &labels)
    };
    assert_eq!(own("10.7.0.1", ""), Some(1.0));
    assert_eq!(own("10.7.0.3", "u"), Some(1.0));
    let labels = [
        ("bdi", "0:40"),
        ("mount", "/data"),
        ("export", "10.7.0.2:/srv"),
        ("server_address", "10.7.0.2"),
        ("pod_uid", "u"),
    ];
    let mount = |name| page.get(name, &labels);
    assert_eq!(mount("throttle_remote_mount_held_bytes"), Some(5.0));
    assert_eq!(mount("throttle_remote_mount_blocked"), Some(1.0));
    let number = page.get("throttle_node_number", &[]);
    assert_eq!(
        number,
        Some(f64::from(0xf3a1_b2c4_u32) * f64::from(1 << 20) + f64::from(0x4))
    );
}
