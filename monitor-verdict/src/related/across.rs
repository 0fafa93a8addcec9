//! This node's edges of loops across nodes: NFS mounts of servers elsewhere, and whether their pages
//! block this node's own server.

use monitor_model::{
    observation::{Container, NfsMount, Topology},
    related::RelatedKind::DirtyLimitHeld,
    remote::RemoteMount,
};

use super::limit_held::LimitHeld;
use super::view::{Node, RelatedView};
use crate::thresholds::nanos;

/// Maximum number of mounts, those with the most pages.
const MAX_MOUNTS: usize = 64;

/// The mounts at this tick. Without a `view` nothing is known of pauses, and none is blocked.
pub(super) fn remote_mounts(
    node: &Node<'_>,
    view: Option<&RelatedView<'_>>,
    limit: &LimitHeld,
) -> Vec<RemoteMount> {
    let topology = &node.now.topology;
    let holds = view.is_some_and(|view| limit.holds_servers(view));
    let newest = node.window.newest();
    let held = |bdi: &str| newest?.device(bdi)?.held_bytes;
    let blocked = |bdi: &str| holds && view.is_some_and(|view| lasts(view, bdi));
    let mut found: Vec<RemoteMount> = topology
        .mounts
        .iter()
        .filter(|mount| !is_served_here(node, mount))
        .filter_map(|mount| {
            Some(RemoteMount {
                bdi: mount.bdi.clone(),
                mount: mount.mount_points.first()?.clone(),
                export: mount.source.clone(),
                server: mount.server?.ip(),
                container: container(mount, topology),
                held_bytes: held(&mount.bdi),
                blocked: blocked(&mount.bdi),
            })
        })
        .collect();
    found.sort_by(|a, b| {
        let most = (b.blocked, b.held_bytes).cmp(&(a.blocked, a.held_bytes));
        most.then_with(|| a.bdi.cmp(&b.bdi))
    });
    found.truncate(MAX_MOUNTS);
    found
}

/// Whether the mount's pages have held the limit for long enough: one burst that fills it is none.
fn lasts(view: &RelatedView<'_>, bdi: &str) -> bool {
    let begin = nanos(view.node.thresholds.related.begin);
    let now = view.node.now.monotonic_ns;
    let mut held = view.held.iter();
    held.any(|((kind, name), held)| {
        let its = *kind == DirtyLimitHeld && name == bdi;
        its && held.last_ns == now && now.saturating_sub(held.since_ns) >= begin
    })
}

fn is_served_here(node: &Node<'_>, mount: &NfsMount) -> bool {
    let mut loops = node.loops.iter();
    loops.any(|one| one.stands && one.client_bdi == mount.bdi)
}

/// The pod whose volume it is, or whose network namespace the client has.
fn container(mount: &NfsMount, topology: &Topology) -> Option<Container> {
    let mut points = mount.mount_points.iter();
    points
        .find_map(|point| topology.pod_of_volume(point))
        .or_else(|| topology.container_of_netns(mount.netns?).cloned())
}
