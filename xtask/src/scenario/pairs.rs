//! Two guests on one Ethernet: 10.7.0.1 and 10.7.0.2.

use guest::{Plan, Step, Until};

use super::livelocks::{DIRTY, until_confirmed};
use super::steps::{
    daemon, disk, fetch, load, modprobe, mount, nfs_modules, plan, reach, run, serve, watch, write,
};
use super::{Expect, FAST, Peer, SHARED, Scenario};
use crate::kernels::Kernel;

pub fn loop_remote() -> Scenario {
    Scenario {
        name: "loop-remote",
        about: "two nodes, each the other's NFS server: no loop, though each is client and server",
        megabytes: 512,
        plan: remote_plan("10.7.0.1", "10.7.0.2", true),
        peers: vec![Peer {
            megabytes: 512,
            disks: vec![FAST],
            plan: remote_plan("10.7.0.2", "10.7.0.1", false),
            daemon: false,
            forward: None,
            load: 60,
        }],
        expect: Expect::NoLoop {
            at_least: 5_000_000,
        },
        core: &[Kernel::V6_12],
        ..Scenario::default()
    }
}

/// Both write all the time, but only one of them heavily. If both do, each node throttles the
/// server of the other's pages, and together they livelock like one node: on 6.12 within three
/// seconds.
fn remote_plan(own: &str, other: &str, is_judged: bool) -> Plan {
    let mut steps = vec![nfs_modules(), modprobe(&["virtio_net"])];
    steps.push(address(own));
    steps.extend([
        disk(),
        serve(8),
        reach(&format!("{other}:2049")),
        mount(other),
        daemon(),
        write(),
        watch(12, Until::Over),
    ]);
    if is_judged {
        steps.extend([
            load("/mnt", 150),
            watch(20, Until::Over),
            fetch("/api/v1/loops", &[]),
        ]);
    } else {
        steps.push(stay());
    }
    plan(steps)
}

pub fn loop_failover() -> Scenario {
    let mut first = vec![nfs_modules(), modprobe(&["virtio_net"])];
    first.push(address("10.7.0.1"));
    first.extend([
        take_over(true),
        // The client reports when it has written enough.
        Step::Hear(7000),
        Step::Die,
    ]);
    let mut second = vec![nfs_modules(), modprobe(&["virtio_net"])];
    second.push(address("10.7.0.2"));
    second.extend([
        reach("10.7.0.100:2049"),
        mount("10.7.0.100"),
        daemon(),
        write(),
        watch(6, Until::Over),
        reach("10.7.0.1:7000"),
        Step::Gone("10.7.0.1:2049".to_owned()),
        take_over(false),
        watch(18, Until::Over),
    ]);
    Scenario {
        name: "loop-failover",
        about: "a pair of nodes: the client's server dies, and it becomes its own",
        plan: plan(second),
        expect: Expect::Failover,
        core: &[Kernel::Newest],
        ..loop_failover_machine(first)
    }
}

pub fn failover_livelock() -> Scenario {
    let mut first = vec![nfs_modules(), modprobe(&["virtio_net"])];
    first.push(address("10.7.0.1"));
    first.extend([take_over(true), Step::Hear(7000), Step::Die]);
    let mut second = vec![nfs_modules(), modprobe(&["virtio_net"])];
    second.push(address("10.7.0.2"));
    second.extend([
        // The server will be a pod on this node, as an orchestrator may place it. The address is
        // not the node's, so the kernel does not know that it serves itself.
        Step::Pod("srv".to_owned()),
        run(&[
            "ip link add v0 type veth peer name v1 netns srv",
            "ip addr add 10.9.0.1/24 dev v0",
            "ip link set v0 up",
            "ip -n srv addr add 10.9.0.2/24 dev v1",
            "ip -n srv link set v1 up",
            "ip -n srv route add default via 10.9.0.1",
        ]),
        reach("10.7.0.100:2049"),
        mount("10.7.0.100"),
        daemon(),
        load("/mnt", 150),
        watch(6, Until::Over),
        reach("10.7.0.1:7000"),
        Step::Gone("10.7.0.1:2049".to_owned()),
        run(&["ip route add 10.7.0.100/32 via 10.9.0.2"]),
        Step::TakeOver {
            pod: Some("srv".to_owned()),
            device: "/dev/vda".to_owned(),
            make: false,
            address: "10.7.0.100/32".to_owned(),
            interface: "v1".to_owned(),
        },
    ]);
    second.extend(until_confirmed());
    Scenario {
        name: "failover-livelock",
        about: "the same under load, and the server comes back in a pod of the client's node: the new loop stops at once",
        plan: plan(second),
        expect: Expect::LivelockAfterTakeover(DIRTY),
        core: &[],
        ..loop_failover_machine(first)
    }
}

fn loop_failover_machine(first: Vec<Step>) -> Scenario {
    Scenario {
        megabytes: 512,
        disks: vec![SHARED],
        peers: vec![Peer {
            megabytes: 512,
            disks: vec![SHARED],
            plan: plan(first),
            daemon: false,
            forward: None,
            load: 30,
        }],
        load: 50,
        ..Scenario::default()
    }
}

pub fn address(own: &str) -> Step {
    run(&[
        &format!("ip addr add {own}/24 dev eth0"),
        "ip link set eth0 up",
    ])
}

fn take_over(make: bool) -> Step {
    Step::TakeOver {
        pod: None,
        device: "/dev/vda".to_owned(),
        make,
        address: "10.7.0.100/24".to_owned(),
        interface: "eth0".to_owned(),
    }
}

/// Waits until the judged guest is done.
pub fn stay() -> Step {
    watch(600, Until::Over)
}
