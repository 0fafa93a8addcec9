//! Guests that serve each other in a ring: each exports a disk and mounts the next one's export.
//! The judged guest is 10.7.0.1, its peers 10.7.0.2 and so on.

use guest::{Step, Until, Way};

use super::pairs::{address, stay};
use super::steps::{
    dirty_bytes, disk, forwarded_daemon, load, load_by, modprobe, mount, nfs_modules, plan, reach,
    run, serve, server, watch, write,
};
use super::{Across, Disk, Expect, FAST, Peer, SLOW, Scenario};
use crate::kernels::{self, Kernel};

/// Since Linux 6.2 a BDI has `strict_limit`.
const BOUNDED: &[Kernel] = &[Kernel::V6_12, Kernel::Newest];

/// How long the effect of an action is watched.
const SECONDS: u64 = 40;

pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        livelock("across-livelock", 2),
        livelock("across-livelock-three", 3),
        healthy(),
        one_dead(),
        slow_disk(),
    ];
    all.extend(actions());
    all.push(by_the_book());
    all
}

/// One guest, by what it does once all are ready.
struct Node {
    disk: Disk,
    then: Vec<Step>,
}

fn livelock(name: &'static str, nodes: usize) -> Scenario {
    let heavy = |then: Vec<Step>| Node {
        disk: FAST,
        then: [vec![load("/mnt", 250)], then].concat(),
    };
    let mut all = vec![heavy(vec![
        watch(90, Until::Frozen(8)),
        watch(40, Until::Over),
    ])];
    all.extend((1..nodes).map(|_| heavy(vec![stay()])));
    Scenario {
        about: "nodes in a ring, each the next one's NFS client: they freeze together, and an alert of Prometheus names all",
        expect: Expect::Across(Across::Livelock),
        ..ring(name, all)
    }
}

fn healthy() -> Scenario {
    let moderate = |then: Step| Node {
        disk: FAST,
        then: vec![load_by(Way::Moderate, "/mnt", 250), then],
    };
    Scenario {
        about: "two nodes that serve each other under a moderate load both ways: no alert",
        expect: Expect::Across(Across::Quiet),
        ..ring(
            "across-healthy",
            vec![moderate(watch(60, Until::Over)), moderate(stay())],
        )
    }
}

fn one_dead() -> Scenario {
    let first = vec![
        load_by(Way::Moderate, "/mnt", 250),
        watch(10, Until::Over),
        reach("10.7.0.2:7300"),
        Step::Gone("10.7.0.2:2049".to_owned()),
        load("/mnt", 250),
        watch(60, Until::Over),
    ];
    let second = vec![
        load_by(Way::Moderate, "/mnt", 250),
        Step::Hear(7300),
        Step::Die,
    ];
    let node = |then| Node { disk: FAST, then };
    Scenario {
        about: "two nodes that serve each other, and one of them dies: no alert of both",
        expect: Expect::Across(Across::Quiet),
        ..ring("across-one-dead", vec![node(first), node(second)])
    }
}

fn slow_disk() -> Scenario {
    let first = Node {
        disk: FAST,
        then: vec![load("/mnt", 250), watch(60, Until::Over)],
    };
    let second = Node {
        disk: SLOW,
        then: vec![write(), stay()],
    };
    Scenario {
        about: "two nodes that serve each other, and the disk of the one that is written to is slow: no alert of both",
        expect: Expect::Across(Across::Quiet),
        ..ring("across-slow-disk", vec![first, second])
    }
}

/// What gets a frozen pair going again. The second node acts once it reaches the first one's port.
fn actions() -> Vec<Scenario> {
    let strict = || server("strict_limit", "1");
    let raised = || dirty_bytes("300000000");
    let stopped = || Step::Signal {
        name: "writer".to_owned(),
        number: 19,
    };
    vec![
        action("across-strict-one", vec![strict()], vec![]),
        action("across-strict-both", vec![strict()], vec![strict()]),
        action("across-raise-one", vec![raised()], vec![]),
        action("across-raise-both", vec![raised()], vec![raised()]),
        action("across-stop-raise-one", vec![stopped(), raised()], vec![]),
    ]
}

/// As somebody would who is paged: the alert, the runbook of its node, what that says.
fn by_the_book() -> Scenario {
    let first = vec![
        load("/mnt", 250),
        watch(90, Until::Frozen(8)),
        watch(40, Until::Over),
        server("strict_limit", "1"),
        Step::HelpedOut,
        watch(60, Until::Over),
    ];
    let second = vec![load("/mnt", 250), stay()];
    let node = |then| Node { disk: FAST, then };
    Scenario {
        about: "two nodes that serve each other and stand still: the alert, its runbook, and what that says gets both going",
        kernels: BOUNDED,
        expect: Expect::Across(Across::ByTheBook),
        ..ring("across-by-the-book", vec![node(first), node(second)])
    }
}

fn action(name: &'static str, first: Vec<Step>, second: Vec<Step>) -> Scenario {
    let frozen = vec![load("/mnt", 250), watch(90, Until::Frozen(8))];
    let go = |on: Vec<Step>| [on, vec![Step::HelpedOut, watch(SECONDS, Until::Over)]].concat();
    let mut one = frozen;
    let mut two = vec![load("/mnt", 250)];
    if second.is_empty() {
        two.push(stay());
    } else {
        one.push(Step::Hear(7300));
        two.push(reach("10.7.0.1:7300"));
        two.extend(second);
        two.push(stay());
    }
    one.extend(go(first));
    let node = |then| Node { disk: FAST, then };
    Scenario {
        about: "what gets two nodes going again that serve each other and stand still",
        kernels: BOUNDED,
        expect: Expect::Across(Across::Measured),
        ..ring(name, vec![node(one), node(two)])
    }
}

fn ring(name: &'static str, nodes: Vec<Node>) -> Scenario {
    let count = nodes.len();
    let mut plans = nodes.into_iter().enumerate().map(|(number, node)| {
        let mut steps = vec![nfs_modules(), modprobe(&["virtio_net"])];
        let next = format!("10.7.0.{}", (number + 1) % count + 1);
        steps.extend([
            address(&format!("10.7.0.{}", number + 1)),
            run(&["ip addr add 10.0.2.15/24 dev eth1", "ip link set eth1 up"]),
            disk(),
            serve(8),
            reach(&format!("{next}:2049")),
            mount(&next),
            Step::Hog { megabytes: 150 },
            forwarded_daemon(),
        ]);
        steps.extend(together(number, count));
        steps.extend(node.then);
        (node.disk, plan(steps))
    });
    let (disk, first) = plans.next().unwrap_or((FAST, plan([])));
    let peers = plans.map(|(disk, plan)| Peer {
        megabytes: 512,
        disks: vec![disk],
        plan,
        daemon: true,
        forward: None,
        load: 60,
    });
    Scenario {
        name,
        megabytes: 512,
        disks: vec![disk],
        plan: first,
        peers: peers.collect(),
        kernels: kernels::ALL,
        core: &[],
        seconds: 300,
        ..Scenario::default()
    }
}

/// All go on at once: the first hears of each of the others that it is ready, then lets each go.
fn together(number: usize, count: usize) -> Vec<Step> {
    let port = |base: u16, number: usize| base + u16::try_from(number).unwrap_or(0);
    if number == 0 {
        let hear = |base| (1..count).map(move |peer| Step::Hear(port(base, peer)));
        hear(7000).chain(hear(7100)).collect()
    } else {
        let reach = |base| reach(&format!("10.7.0.1:{}", port(base, number)));
        vec![reach(7000), reach(7100)]
    }
}
