//! Loops that the daemon must report on this kernel, with the right facts and in time. The writers
//! are slow: nothing here is meant to stall.

use guest::{Export, Filesystem, Ganesha, Load, Step, Until};

use super::steps::{daemon, fetch, filesystem, modprobe, nfs_modules, plan, run, watch};
use super::{Expect, FAST, LoopExpected, Scenario};
use crate::kernels::Kernel;

/// Long enough to see a report that is some seconds late.
const WRITE_SECONDS: u64 = 12;

pub fn local() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        modprobe(&["nfsv3", "nft_chain_nat", "nft_nat", "nft_masq"]),
        daemon(),
        filesystem(Filesystem::Ext4, "/dev/vda", "/export"),
        filesystem(Filesystem::Ext4, "/dev/vdb", "/far"),
    ];
    steps.extend(["vip", "nat", "srv"].map(|name| Step::Pod(name.to_owned())));
    steps.extend([
        // The virtual address belongs to the node; a pod reaches it through its gateway.
        run(&["ip addr add 10.50.0.1/32 dev lo"]),
        cable("vip", "10.51.0"),
        cable("nat", "10.61.0"),
        cable("srv", "10.62.0"),
        // The target 10.60.0.1 belongs to no machine. Neither end sees the other's address.
        Step::Set {
            path: "/proc/sys/net/ipv4/ip_forward".to_owned(),
            value: "1".to_owned(),
        },
        run(&[
            "nft add table ip nat",
            "nft add chain ip nat pre { type nat hook prerouting priority -100 ; }",
            "nft add chain ip nat post { type nat hook postrouting priority 100 ; }",
            "nft add rule ip nat pre ip daddr 10.60.0.1 dnat to 10.62.0.2",
            "nft add rule ip nat post ip daddr 10.62.0.2 masquerade",
        ]),
        serve(None, &["/export"], "async", false),
        serve(Some("srv"), &["/far"], "async", true),
        mount(None, "127.0.0.1:/export", "/mnt/local", "4.2"),
        mount(Some("vip"), "10.50.0.1:/export", "/mnt/vip", "4.1"),
        mount(Some("nat"), "10.60.0.1:/far", "/mnt/nat", "3"),
    ]);
    steps.extend(writes(&[
        (None, "/mnt/local"),
        (Some("vip"), "/mnt/vip"),
        (Some("nat"), "/mnt/nat"),
    ]));
    Scenario {
        name: "loop-local",
        about: "loops are found: 127.0.0.1, a virtual address, and behind address translation",
        disks: vec![FAST, FAST],
        plan: plan(steps),
        expect: Expect::Loops(vec![
            LoopExpected {
                scope: "same-netns",
                exempt: "yes",
                ..nfsd("/mnt/local", "/export")
            },
            nfsd("/mnt/vip", "/export"),
            nfsd("/mnt/nat", "/far"),
        ]),
        core: &[Kernel::Newest],
        ..quiet()
    }
}

pub fn two() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        filesystem(Filesystem::Ext4, "/dev/vda", "/one"),
        filesystem(Filesystem::Ext4, "/dev/vdb", "/two"),
    ];
    steps.extend(["srv1", "srv2", "cli"].map(|name| Step::Pod(name.to_owned())));
    steps.extend([
        cable("srv1", "10.9.1"),
        run(&[
            "ip -n srv2 link add v0 type veth peer name v0 netns cli",
            "ip -n srv2 addr add 10.9.2.2/24 dev v0",
            "ip -n srv2 link set v0 up",
            "ip -n cli addr add 10.9.2.3/24 dev v0",
            "ip -n cli link set v0 up",
        ]),
        serve(Some("srv1"), &["/one"], "async", false),
        serve(Some("srv2"), &["/two"], "async", false),
        mount(None, "10.9.1.2:/one", "/mnt/one", "4.0"),
        with_options(
            mount(Some("cli"), "10.9.2.2:/two", "/mnt/two", "4.2"),
            "nconnect=4",
        ),
        // Everything exists before the daemon starts.
        daemon(),
    ]);
    steps.extend(writes(&[(None, "/mnt/one"), (Some("cli"), "/mnt/two")]));
    Scenario {
        name: "loop-two",
        about: "two servers and two clients in pods, one with four connections, older than the daemon",
        disks: vec![FAST, FAST],
        plan: plan(steps),
        expect: Expect::Loops(vec![nfsd("/mnt/one", "/one"), nfsd("/mnt/two", "/two")]),
        core: &[Kernel::V6_1],
        ..quiet()
    }
}

pub fn backing() -> Scenario {
    let exports = ["/ext4", "/xfs", "/btrfs", "/tmpfs"];
    let mut steps = vec![
        nfs_modules(),
        modprobe(&["xfs", "btrfs"]),
        daemon(),
        filesystem(Filesystem::Ext4, "/dev/vda", "/ext4"),
        filesystem(Filesystem::Xfs, "/dev/vdb", "/xfs"),
        filesystem(Filesystem::Btrfs, "/dev/vdc", "/btrfs"),
        filesystem(Filesystem::Tmpfs, "memory", "/tmpfs"),
    ];
    steps.extend(["srv", "again"].map(|name| Step::Pod(name.to_owned())));
    steps.extend([
        cable("srv", "10.9.1"),
        cable("again", "10.9.2"),
        run(&[
            "ip -n srv link add v1 type veth peer name v1 netns again",
            "ip -n srv addr add 10.9.3.2/24 dev v1",
            "ip -n srv link set v1 up",
            "ip -n again addr add 10.9.3.3/24 dev v1",
            "ip -n again link set v1 up",
        ]),
        serve(Some("srv"), &exports, "async", false),
    ]);
    // Each has its own mount and so its own BDI. Another server re-exports the data on ext4, and
    // must not keep bytes to itself.
    steps.extend([
        mount(Some("again"), "10.9.3.2:/ext4", "/mnt/ext4", "4.2"),
        serve(Some("again"), &["/mnt/ext4"], "sync", false),
        mount(None, "10.9.1.2:/xfs", "/mnt/xfs", "4.2"),
        mount(None, "10.9.1.2:/btrfs", "/mnt/btrfs", "4.2"),
        mount(None, "10.9.1.2:/tmpfs", "/mnt/tmpfs", "4.2"),
        mount(None, "10.9.2.2:/mnt/ext4", "/mnt/again", "4.2"),
    ]);
    steps.extend(writes(&[
        (Some("again"), "/mnt/ext4"),
        (None, "/mnt/xfs"),
        (None, "/mnt/btrfs"),
        (None, "/mnt/tmpfs"),
        (None, "/mnt/again"),
    ]));
    Scenario {
        name: "loop-backing",
        about: "the server's BDI is named: ext4, xfs, btrfs, a tmpfs, and NFS exported again",
        disks: vec![FAST, FAST, FAST],
        plan: plan(steps),
        expect: Expect::Loops(vec![
            nfsd("/mnt/ext4", "/ext4"),
            nfsd("/mnt/xfs", "/xfs"),
            nfsd("/mnt/btrfs", "/btrfs"),
            nfsd("/mnt/tmpfs", "/tmpfs"),
            nfsd("/mnt/again", "/mnt/ext4"),
        ]),
        core: &[Kernel::V6_12],
        ..quiet()
    }
}

pub fn ganesha() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        daemon(),
        filesystem(Filesystem::Ext4, "/dev/vda", "/export"),
        Step::Pod("cli".to_owned()),
        cable("cli", "10.9.1"),
        Step::Ganesha {
            pod: None,
            path: "/export".to_owned(),
            kind: Ganesha::Four,
        },
        mount(None, "127.0.0.1:/", "/mnt/local", "4.2"),
        mount(Some("cli"), "10.9.1.1:/", "/mnt/pod", "4.1"),
    ];
    steps.extend(writes(&[(None, "/mnt/local"), (Some("cli"), "/mnt/pod")]));
    let ganesha = |at| LoopExpected {
        server: "ganesha.nfsd",
        proof: "socket",
        ..nfsd(at, "/export")
    };
    Scenario {
        name: "loop-ganesha",
        about: "loops through nfs-ganesha, a server in userspace: over 127.0.0.1 and from a pod",
        plan: plan(steps),
        expect: Expect::Loops(vec![
            LoopExpected {
                scope: "same-netns",
                ..ganesha("/mnt/local")
            },
            ganesha("/mnt/pod"),
        ]),
        core: &[],
        ..quiet()
    }
}

pub fn counters() -> Scenario {
    let metrics = || {
        fetch(
            "/metrics",
            &[
                "throttle_nfs_write_sent_bytes_total",
                "throttle_nfs_write_acked_bytes_total",
                "throttle_nfsd_written_bytes_total",
            ],
        )
    };
    let mut steps = vec![
        nfs_modules(),
        modprobe(&["nfsv3"]),
        filesystem(Filesystem::Ext4, "/dev/vda", "/one"),
        filesystem(Filesystem::Ext4, "/dev/vdb", "/two"),
        Step::Pod("srv".to_owned()),
        cable("srv", "10.9.1"),
        serve(Some("srv"), &["/one", "/two"], "async", true),
        mount(None, "10.9.1.2:/one", "/mnt/one", "3"),
        mount(None, "10.9.1.2:/two", "/mnt/two", "4.2"),
        // Writes from before the daemon do not count.
        write(None, "/mnt/one", 2),
        Step::Written,
        daemon(),
        Step::Count,
    ];
    steps.extend([(None, "/mnt/one"), (None, "/mnt/two")].map(|(pod, at)| write(pod, at, 10)));
    // /metrics shows the last tick.
    steps.extend([Step::Written, watch(3, Until::Over), Step::Count, metrics()]);
    Scenario {
        name: "loop-counters",
        about: "the bytes on /metrics are those that the kernel itself has counted",
        disks: vec![FAST, FAST],
        plan: plan(steps),
        expect: Expect::Counters,
        core: &[Kernel::V5_10],
        ..quiet()
    }
}

fn quiet() -> Scenario {
    Scenario {
        megabytes: 640,
        ..Scenario::default()
    }
}

/// A loop through kernel nfsd from another network namespace.
fn nfsd(at: &'static str, backing: &'static str) -> LoopExpected {
    LoopExpected {
        at,
        server: "nfsd",
        backing,
        proof: "xid",
        scope: "cross-netns",
        exempt: "no",
    }
}

/// A veth pair between the root namespace, with address .1 of the net, and a pod, with .2 and a
/// default route to .1.
fn cable(pod: &str, net: &str) -> Step {
    Step::Run(vec![
        format!("ip link add {pod} type veth peer name eth0 netns {pod}"),
        format!("ip addr add {net}.1/24 dev {pod}"),
        format!("ip link set {pod} up"),
        format!("ip -n {pod} addr add {net}.2/24 dev eth0"),
        format!("ip -n {pod} link set eth0 up"),
        format!("ip -n {pod} route add default via {net}.1"),
    ])
}

fn serve(pod: Option<&str>, paths: &[&str], options: &str, v3: bool) -> Step {
    let exports = paths.iter().zip(1..).map(|(&path, number)| Export {
        path: path.to_owned(),
        options: format!("fsid={number},{options}"),
    });
    Step::Serve {
        pod: pod.map(str::to_owned),
        threads: 8,
        exports: exports.collect(),
        v3,
    }
}

fn mount(pod: Option<&str>, from: &str, at: &str, version: &str) -> Step {
    let (server, path) = from.split_once(':').unwrap_or((from, "/"));
    Step::Mount {
        pod: pod.map(str::to_owned),
        server: server.to_owned(),
        path: path.to_owned(),
        at: at.to_owned(),
        version: version.to_owned(),
        options: String::new(),
    }
}

fn with_options(mut step: Step, more: &str) -> Step {
    if let Step::Mount { options, .. } = &mut step {
        more.clone_into(options);
    }
    step
}

fn write(pod: Option<&str>, dir: &str, seconds: u64) -> Step {
    Step::Start(Load::AtLeisure {
        pod: pod.map(str::to_owned),
        dir: dir.to_owned(),
        seconds,
    })
}

/// Writes to all of them at once, and counts.
fn writes(mounts: &[(Option<&str>, &str)]) -> Vec<Step> {
    mounts
        .iter()
        .map(|(pod, at)| write(*pod, at, WRITE_SECONDS))
        .chain([Step::Written, Step::Count])
        .collect()
}
