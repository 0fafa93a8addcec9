//! This node's edges of loops across nodes. The rules join those of all nodes.

use monitor_model::{observation::Topology, remote::RemoteMount};
use prometheus::Result;

use super::family::{Family, MetricsPage};
use crate::publish::snapshot::Snapshot;

/// Whole numbers up to this are exact in Prometheus.
const EXACT_BITS: u32 = 52;

pub(super) fn write(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    addresses(&snapshot.observation.topology, page)?;
    mounts(&snapshot.remote, page)?;
    let mut id = Family::gauge(
        "throttle_node_number",
        "A number of the node's boot, so that rules can put nodes in an order. Source: /proc/sys/kernel/random/boot_id.",
    );
    id.add_some(&[], number(&snapshot.daemon.boot_id));
    page.put(id)
}

fn addresses(topology: &Topology, page: &mut MetricsPage) -> Result<()> {
    let mut family = Family::gauge(
        "throttle_node_address",
        "Always 1: an address under which other nodes may reach the NFS servers of this node. Source: /proc/PID/net.",
    );
    for one in &topology.server_addresses {
        let container = topology.container_of_netns(one.netns);
        let pod = container.map_or("", |one| &*one.pod_uid);
        let address = one.address.to_string();
        family.add(&[("address", &address), ("pod_uid", pod)], 1.0);
    }
    page.put(family)
}

fn mounts(remote: &[RemoteMount], page: &mut MetricsPage) -> Result<()> {
    let mut held = Family::gauge(
        "throttle_remote_mount_held_bytes",
        "Dirty and writeback pages of an NFS mount that no server of this node is known to serve, bytes. Source: the kernel's BDI.",
    );
    let mut blocked = Family::gauge(
        "throttle_remote_mount_blocked",
        "Whether the pages of such a mount hold this node's dirty limit and do not move, while this node's NFS server waits for that limit. Source: the verdict.",
    );
    for one in remote {
        let server = one.server.to_string();
        let pod = one.container.as_ref().map_or("", |pod| &*pod.pod_uid);
        let labels = [
            ("bdi", &*one.bdi),
            ("mount", &*one.mount),
            ("export", &*one.export),
            ("server_address", &*server),
            ("pod_uid", pod),
        ];
        held.add(&labels, one.held_bytes.unwrap_or(0) as f64);
        blocked.add(&labels, f64::from(u8::from(one.blocked)));
    }
    page.put(held)?;
    page.put(blocked)
}

/// The first bits of the boot's id; `None`: it is unknown.
fn number(boot_id: &str) -> Option<f64> {
    let digits: String = boot_id.chars().filter(|c| *c != '-').take(16).collect();
    let bits = u64::from_str_radix(&digits, 16).ok()?;
    Some((bits >> (u64::BITS - EXACT_BITS)) as f64)
}
