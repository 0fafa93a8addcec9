//! One device holds the node's dirty limit and does not move: writers to all others wait.

use guest::{Filesystem, Load, Plan, Step, Until, Way};

use super::steps::{
    client, daemon, dirty_bytes, disk, filesystem, load_by, modprobe, mount, nfs_modules, plan,
    reach, run, serve, serve_in_pod, set, watch,
};
use super::{Expect, FAST, Peer, Quiet, Scenario};
use crate::kernels::{self, Kernel};

/// Since Linux 6.2 a BDI has `strict_limit`.
const BOUNDED: &[Kernel] = &[Kernel::V6_12, Kernel::Newest];

/// How long the effect of an action is watched.
const SECONDS: u64 = 40;

/// The limit that the dead mount fills.
const LIMIT: &str = "60000000";

pub fn all() -> Vec<Scenario> {
    let mut all = vec![dead_server_holds(), cut_server_holds(), nobody_holds()];
    all.extend(actions());
    all.extend(before());
    all
}

/// The server is another node, which dies without a word.
fn dead_server_holds() -> Scenario {
    let address = |own: &str| {
        run(&[
            &format!("ip addr add {own}/24 dev eth0"),
            "ip link set eth0 up",
        ])
    };
    let network = || vec![nfs_modules(), modprobe(&["virtio_net"])];
    let mut server = network();
    server.extend([
        address("10.7.0.1"),
        disk(),
        serve(8),
        Step::Hear(7000),
        Step::Die,
    ]);
    let mut steps = network();
    steps.extend([
        address("10.7.0.2"),
        data(),
        reach("10.7.0.1:2049"),
        mount("10.7.0.1"),
        dirty_bytes(LIMIT),
        daemon(),
        load_by(Way::Moderate, "/mnt", 300),
        watch(4, Until::Over),
        reach("10.7.0.1:7000"),
        Step::Gone("10.7.0.1:2049".to_owned()),
        // A megabyte a second from each of four writers.
        watch(25, Until::Over),
        writers(),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "dead-server-holds",
        about: "another node, the server, dies: the pages of its mount fill the dirty limit, and writers to a clean local disk wait",
        megabytes: 768,
        plan: plan(steps),
        peers: vec![Peer {
            megabytes: 320,
            disks: vec![FAST],
            plan: plan(server),
            daemon: false,
            forward: None,
            load: 30,
        }],
        expect: held(&["tasks on average in balance_dirty_pages on /data"]),
        core: &[],
        seconds: 200,
        load: 40,
        ..Scenario::default()
    }
}

/// The server is a pod of this node, so the mount is a loop whose link is cut.
fn cut_server_holds() -> Scenario {
    let mut plan = filled(vec![daemon()]);
    // With the link back it would be a livelock: the server waits for the pages of its client.
    plan.steps.push(watch(SECONDS, Until::Over));
    Scenario {
        name: "cut-server-holds",
        about: "the same with a server in a pod of this node, whose link is cut",
        plan,
        expect: held(&["tasks on average in balance_dirty_pages on /data"]),
        ..machine()
    }
}

/// The same load with everything healthy. nfsd is exempt over 127.0.0.1: in a pod it would be in a
/// livelock with its client.
fn nobody_holds() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        filesystem(Filesystem::Ext4, "/dev/vdb", "/data"),
        serve(8),
        mount("127.0.0.1"),
        dirty_bytes(LIMIT),
        daemon(),
        load_by(Way::Moderate, "/mnt", 300),
    ];
    steps.extend([
        watch(5, Until::Over),
        writers(),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "nobody-holds",
        about: "the load of cut-server-holds with a server that works: nobody is held",
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: 2_000_000,
            acked: 500_000,
            not_related: &["dirty-limit-held"],
            ..Quiet::default()
        }),
        ..machine()
    }
}

fn held(says: &'static [&'static str]) -> Expect {
    Expect::Nothing(Quiet {
        related: &["dirty-limit-held", "nfs-server-not-responding"],
        not_related: &["dirty-throttling"],
        says,
        ..Quiet::default()
    })
}

/// Actions on the holder, on the held device and on the limit.
fn actions() -> Vec<Scenario> {
    let everywhere = kernels::ALL;
    let more = || dirty_bytes("200000000");
    let strict = || client("strict_limit", "1");
    let small = || client("max_ratio", "1");
    let on_held = |file: &str, value: &str| set(&format!("/sys/class/bdi/HELD/{file}"), value);
    let force = || Step::Begin {
        pod: None,
        words: ["umount-force", "/mnt"].map(str::to_owned).to_vec(),
    };
    let kill = || Step::Signal {
        name: "writer".to_owned(),
        number: 9,
    };
    vec![
        action("mitigation-held-nothing", everywhere, vec![]),
        action("mitigation-held-max-ratio", everywhere, vec![small()]),
        action(
            "mitigation-held-strict-max-ratio",
            BOUNDED,
            vec![strict(), small()],
        ),
        action("mitigation-held-dirty-bytes", everywhere, vec![more()]),
        action(
            "mitigation-held-max-ratio-dirty-bytes",
            everywhere,
            vec![small(), more()],
        ),
        action(
            "mitigation-held-strict-max-ratio-dirty-bytes",
            BOUNDED,
            vec![strict(), small(), more()],
        ),
        action("mitigation-held-umount-force", everywhere, vec![force()]),
        action(
            "mitigation-held-umount-force-again",
            everywhere,
            vec![
                force(),
                watch(3, Until::Over),
                force(),
                watch(3, Until::Over),
                force(),
            ],
        ),
        action(
            "mitigation-held-sigkill",
            everywhere,
            vec![kill(), force(), writers()],
        ),
        action(
            "mitigation-held-strict-held",
            BOUNDED,
            vec![on_held("strict_limit", "1")],
        ),
        // Tasks that wait already have read the old strict limit: a larger limit for a moment lets
        // them go.
        action(
            "mitigation-held-strict-lift",
            BOUNDED,
            vec![
                on_held("strict_limit", "1"),
                more(),
                watch(3, Until::Over),
                dirty_bytes(LIMIT),
            ],
        ),
        action(
            "mitigation-held-min-ratio-held",
            everywhere,
            vec![on_held("min_ratio", "50")],
        ),
    ]
}

/// Limits of the mount before its server dies.
fn before() -> Vec<Scenario> {
    let prevent = |name, kernels, steps: Vec<Step>| {
        let mut plan = filled(steps);
        plan.steps.push(watch(SECONDS, Until::Over));
        Scenario {
            name,
            about: "measures what a limit of the mount before its server dies prevents",
            kernels,
            plan,
            expect: Expect::HeldMeasured,
            ..machine()
        }
    };
    let strict = client("strict_limit", "1");
    let small = || client("max_ratio", "1");
    vec![
        prevent("prevent-held-max-ratio", kernels::ALL, vec![small()]),
        prevent("prevent-held-strict-limit", BOUNDED, vec![strict.clone()]),
        prevent(
            "prevent-held-strict-max-ratio",
            BOUNDED,
            vec![strict, small()],
        ),
    ]
}

fn action(name: &'static str, kernels: &'static [Kernel], actions: Vec<Step>) -> Scenario {
    let mut plan = filled(vec![]);
    plan.steps.push(watch(10, Until::Over));
    plan.steps.push(Step::HelpedOut);
    plan.steps.extend(actions);
    plan.steps.push(watch(SECONDS, Until::Over));
    Scenario {
        name,
        about: "measures whether an action frees writers that a dead server holds",
        kernels,
        plan,
        expect: Expect::HeldMeasured,
        ..machine()
    }
}

fn machine() -> Scenario {
    Scenario {
        megabytes: 768,
        disks: vec![FAST, FAST],
        seconds: 260,
        load: 40,
        ..Scenario::default()
    }
}

/// A clean disk of this node.
fn data() -> Step {
    filesystem(Filesystem::Ext4, "/dev/vda", "/data")
}

/// Three writers to it.
fn writers() -> Step {
    Step::Start(Load::Endless {
        dir: "/data".to_owned(),
        writers: 3,
        megabytes: 150,
        way: Way::Buffered,
    })
}

/// A mount of a pod's server, a limit, and a load that goes on, beside a disk of one's own. `ready`
/// comes between them.
fn started(ready: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        filesystem(Filesystem::Ext4, "/dev/vdb", "/data"),
    ];
    steps.extend(serve_in_pod(8));
    steps.extend([mount("10.9.0.2"), dirty_bytes(LIMIT)]);
    steps.extend(ready);
    steps.push(load_by(Way::Moderate, "/mnt", 300));
    steps
}

/// The server is cut off, the mount's pages fill the limit, and then the writers begin.
fn filled(ready: Vec<Step>) -> Plan {
    let mut steps = started(ready);
    steps.extend([
        watch(4, Until::Over),
        run(&["ip link set v0 down"]),
        watch(25, Until::Over),
        writers(),
    ]);
    plan(steps)
}
