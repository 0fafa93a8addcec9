//! The containers at the two ends of a loop.

use monitor_model::{loops::Loop, observation::Topology};

/// Fills them in. A look-up without a container does not clear it.
pub(super) fn describe(one: &mut Loop, topology: &Topology) {
    let of_netns = |netns: Option<u64>| topology.container_of_netns(netns?);
    let process = one.server_tgid;
    let server = process.and_then(|tgid| topology.container_of_process(tgid));
    if let Some(server) = server.or_else(|| of_netns(one.server_netns)) {
        one.server_container = Some(server.clone());
    }
    let mut clients: Vec<_> = of_netns(one.client_netns).cloned().into_iter().collect();
    for mount in &one.mounts {
        let pod = topology.pod_of_volume(&mount.mount_point);
        let is_new = |uid: &str| clients.iter().all(|client| client.pod_uid != uid);
        clients.extend(pod.filter(|pod| is_new(&pod.pod_uid)));
    }
    if !clients.is_empty() {
        one.client_containers = clients;
    }
}
