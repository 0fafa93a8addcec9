//! Tests of the containers at the two ends of a loop.

use monitor_model::{
    loops::LoopChange::Appeared,
    observation::{Container, NetNamespace, Topology},
};

use super::host::{Host, SERVER_NS, connection};

const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";

fn pod(uid: &str, hostname: &str) -> Container {
    Container {
        id: "c0ffee".into(),
        runtime: "containerd".into(),
        pod_uid: uid.into(),
        hostname: hostname.into(),
        ..Container::default()
    }
}

fn server_in_a_pod(topology: &mut Topology) {
    topology.connections.push(connection("nfsd"));
    topology.net_namespaces.push(NetNamespace {
        netns: SERVER_NS,
        container: pod("server", "nfs-0"),
    });
}

#[test]
fn a_loop_is_reported_with_its_server_s_pod_and_the_pods_that_mount_it() {
    let mut host = Host::new();
    host.look_up(|topology| {
        server_in_a_pod(topology);
        let points = &mut topology.mounts[0].mount_points;
        points.insert(
            0,
            format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~nfs/data").into(),
        );
    });
    host.seconds(3, 10, 10);
    let one = host.found().expect("a loop");
    assert_eq!(one.server_container, Some(pod("server", "nfs-0")));
    let clients: Vec<_> = one.client_containers.iter().map(|c| &*c.pod_uid).collect();
    assert_eq!(clients, [UID]);
    assert_eq!(host.changes(), [Appeared]);
    let message = &host.events[0].message;
    let client = format!("kubernetes.io~nfs/data, pod {UID}) is served by");
    assert!(message.contains(&client), "{message}");
    let server = "nfsd in another network namespace, that of pod nfs-0 (";
    assert!(message.contains(server), "{message}");
}

#[test]
fn pods_are_called_by_namespace_and_name_and_joined_by_their_uids() {
    const OTHER: &str = "1b2c3d4e-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
    let mut host = Host::new();
    host.look_up(|topology| {
        server_in_a_pod(topology);
        let server = &mut topology.net_namespaces[0].container;
        (server.namespace, server.pod) = ("storage".into(), "nfs-0".into());
        let volume = |uid| format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~nfs/data");
        topology.mounts[0].mount_points = [UID, OTHER, UID].map(|uid| volume(uid).into()).into();
        topology.volume_pods.push(Container {
            pod_uid: UID.into(),
            namespace: "shop".into(),
            pod: "web-0".into(),
            ..Container::default()
        });
    });
    host.seconds(3, 10, 10);
    let one = host.found().expect("a loop");
    assert_eq!(
        (one.client_pod_uid(), one.server_pod_uid()),
        (UID, "server")
    );
    let message = &host.events[0].message;
    let clients = format!("pod shop/web-0, pod {OTHER}) is served by");
    assert!(message.contains(&clients), "{message}");
    let server = "in another network namespace, that of pod storage/nfs-0 (";
    assert!(message.contains(server), "{message}");
}

#[test]
fn without_pods_there_are_no_uids_and_a_container_outside_has_none() {
    let mut host = Host::new();
    host.look_up(|topology| {
        server_in_a_pod(topology);
        topology.net_namespaces[0].container.pod_uid = "".into();
    });
    host.seconds(3, 10, 10);
    let one = host.found().expect("a loop");
    assert_eq!((one.client_pod_uid(), one.server_pod_uid()), ("", ""));
    assert!(one.server_container.is_some());
}

#[test]
fn a_look_up_that_misses_the_container_takes_nothing_back() {
    let mut host = Host::new();
    host.look_up(server_in_a_pod).seconds(3, 10, 10);
    host.look_up(|topology| topology.connections.push(connection("nfsd")));
    host.seconds(3, 10, 10);
    let one = host.found().expect("a loop");
    assert_eq!(one.server_container, Some(pod("server", "nfs-0")));
}

#[test]
fn a_volume_of_the_client_s_own_pod_names_no_other_and_that_of_another_does() {
    const OTHER: &str = "1b2c3d4e-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
    let mut host = Host::new();
    host.look_up(|topology| {
        server_in_a_pod(topology);
        topology.net_namespaces.push(NetNamespace {
            netns: 11,
            container: pod(UID, "web-0"),
        });
        let volume = |uid| format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~nfs/data");
        topology.mounts[0].mount_points = [UID, OTHER].map(|uid| volume(uid).into()).to_vec();
    });
    host.seconds(3, 10, 10);
    let one = host.found().expect("a loop");
    let clients = one.client_containers.iter();
    let clients: Vec<_> = clients.map(|c| (&*c.id, &*c.pod_uid)).collect();
    assert_eq!(clients, [("c0ffee", UID), ("", OTHER)]);
}
