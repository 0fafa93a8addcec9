//! Positives: livelocks that the daemon must report.

use guest::{Filesystem, Ganesha, Load, Plan, Step, Until, Way};

use super::steps::{
    client, daemon, dirty_bytes, disk, export, fetch, filesystem, load, modprobe, mount,
    nfs_modules, plan, run, serve_in_pod, watch,
};
use super::{Expect, Scenario};
use crate::kernels::Kernel;

pub fn netns_livelock() -> Scenario {
    Scenario {
        name: "netns-livelock",
        about: "the server in its own network namespace: stops within seconds",
        plan: netns_plan([Step::Hog { megabytes: 100 }], 300),
        exempt: Some("no"),
        ..netns()
    }
}

pub fn netns_no_hog() -> Scenario {
    Scenario {
        name: "netns-no-hog",
        about: "the same with memory to spare",
        megabytes: 1024,
        plan: netns_plan([], 300),
        // On 6.1 it crawls, and may continue.
        kernels: &[Kernel::V5_10, Kernel::V6_12, Kernel::Newest],
        core: &[Kernel::V5_10, Kernel::V6_12],
        seconds: 180,
        ..netns()
    }
}

pub fn two_servers() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        filesystem(Filesystem::Tmpfs, "memory", "/memory"),
    ];
    steps.extend(serve_in_pod(8));
    steps.extend([
        Step::Pod("other".to_owned()),
        run(&["ip -n other link set lo up"]),
        Step::Serve {
            pod: Some("other".to_owned()),
            threads: 4,
            exports: vec![export("/memory")],
            v3: false,
        },
        mount("10.9.0.2"),
        Step::Mount {
            pod: Some("other".to_owned()),
            server: "127.0.0.1".to_owned(),
            path: "/".to_owned(),
            at: "/beside".to_owned(),
            version: "4.2".to_owned(),
            options: String::new(),
        },
        Step::Hog { megabytes: 80 },
        daemon(),
        Step::Start(Load::Direct {
            pod: Some("other".to_owned()),
            dir: "/beside".to_owned(),
            megabytes_per_second: 5,
        }),
        watch(4, Until::Over),
        Step::Count,
        load("/mnt", 300),
    ]);
    steps.extend(until_confirmed());
    steps.push(Step::Count);
    Scenario {
        name: "two-servers",
        about: "the livelock, beside an nfsd in another network namespace that serves 5 MB a second to another client",
        plan: plan(steps),
        expect: Expect::LivelockBeside {
            signatures: DIRTY,
            beside: "/beside",
            at_least: 20_000_000,
        },
        // This kernel lacks the BTF of modules; the matrix has all kernels.
        core: &[Kernel::V5_10],
        load: 40,
        ..netns()
    }
}

pub fn idle_server() -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(16));
    steps.extend([
        mount("10.9.0.2"),
        daemon(),
        watch(3, Until::Over),
        Step::Start(Load::Endless {
            dir: "/mnt".to_owned(),
            writers: 8,
            // Together they fit on the disk, and exceed the dirty limit.
            megabytes: 450,
            way: Way::Buffered,
        }),
    ]);
    steps.extend(until_confirmed());
    steps.push(watch(100, Until::Over));
    Scenario {
        name: "netns-idle-server",
        about: "the livelock on a large node, where the server's threads fall idle in between: one incident",
        megabytes: 8192,
        plan: plan(steps),
        // On 6.1 this load runs at the speed of the disk.
        kernels: &[Kernel::V5_10, Kernel::V6_12, Kernel::Newest],
        core: &[],
        seconds: 260,
        // Four such guests at once leave the host no memory for their disks.
        load: 70,
        ..netns()
    }
}

pub fn netns_recovery() -> Scenario {
    let mut plan = netns_plan([Step::Hog { megabytes: 100 }], 300);
    plan.steps.extend([
        watch(32, Until::Over),
        // Limit the mount to a small part of the dirty pages, then raise the limit.
        client("max_ratio", "1"),
        // 5.10 and 6.1 lack this setting and do not need it.
        Step::SetIfThere {
            path: "/sys/class/bdi/CLIENT/strict_limit".to_owned(),
            value: "1".to_owned(),
        },
        dirty_bytes("100000000"),
        Step::HelpedOut,
        watch(45, Until::Recovered(3)),
    ]);
    Scenario {
        name: "netns-recovery",
        about: "the livelock, 40 s of it, then limits of dirty pages under which it goes on",
        // On 5.10 it mostly stalls again.
        kernels: LATER,
        plan,
        expect: Expect::Recovery(DIRTY),
        core: &[Kernel::Newest],
        seconds: 200,
        ..netns()
    }
}

const LATER: &[Kernel] = &[Kernel::V6_1, Kernel::V6_12, Kernel::Newest];

pub fn netns_drained() -> Scenario {
    let mut steps = netns_load([Step::Hog { megabytes: 100 }], 300);
    // On 6.1 the crawl may end by itself after 20 s.
    steps.extend(confirmed_for(2));
    steps.extend([
        Step::Signal {
            name: "writer".to_owned(),
            // SIGSTOP.
            number: 19,
        },
        dirty_bytes("100000000"),
        Step::HelpedOut,
        watch(60, Until::Recovered(3)),
    ]);
    Scenario {
        name: "netns-drained",
        about: "the livelock, 2 s after its confirmation the writers are stopped and the limit raised: all is written",
        plan: plan(steps),
        expect: Expect::Recovery(DIRTY),
        core: &[Kernel::V6_1],
        seconds: 220,
        ..netns()
    }
}

/// The signature of a server that waits in `balance_dirty_pages`.
pub const DIRTY: super::Signatures = &["dirty-throttle"];

/// The livelock across namespaces on its machine.
pub fn netns() -> Scenario {
    Scenario {
        expect: Expect::Livelock(DIRTY),
        load: 35,
        ..Scenario::default()
    }
}

/// The steps between the mount and the daemon, and each writer's megabytes.
pub fn netns_plan<const N: usize>(before: [Step; N], megabytes: u64) -> Plan {
    let mut steps = netns_load(before, megabytes);
    steps.extend(until_confirmed());
    plan(steps)
}

/// The same until the writers write.
fn netns_load<const N: usize>(before: [Step; N], megabytes: u64) -> Vec<Step> {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.push(mount("10.9.0.2"));
    steps.extend(before);
    steps.extend([daemon(), watch(3, Until::Over), load("/mnt", megabytes)]);
    steps
}

/// Waits for the verdict, and collects what is visible from outside while the node hangs.
pub fn until_confirmed() -> [Step; 5] {
    confirmed_for(10)
}

fn confirmed_for(seconds: u64) -> [Step; 5] {
    [
        watch(60, Until::Confirmed(seconds)),
        fetch(
            "/metrics",
            &[
                "throttle_livelock_",
                "throttle_loop_",
                "throttle_nfsd_threads",
                "throttle_waiting_tasks",
                "throttle_oldest_wait_seconds",
                "throttle_nfs_write_",
                "throttle_bdi_dirty_bytes",
            ],
        ),
        fetch("/api/v1/verdicts", &[]),
        fetch("/api/v1/stalls", &[]),
        Step::Evidence,
    ]
}

pub fn starved() -> Scenario {
    let ticks = || {
        fetch(
            "/metrics",
            &[
                "throttle_monitor_tick_duration_seconds_count",
                "throttle_livelock_",
            ],
        )
    };
    let mut plan = netns_plan([], 300);
    plan.steps.extend([
        // A victim for the OOM killer, because writers own nothing.
        Step::Start(Load::Gobble {
            processes: 3,
            megabytes: 10,
            again: false,
        }),
        Step::Start(Load::Fill),
        watch(90, Until::Killed(5)),
        ticks(),
        watch(15, Until::Over),
        ticks(),
    ]);
    Scenario {
        name: "netns-starved",
        about: "the livelock in 256 MB, then a tmpfs is filled until the OOM killer comes: the daemon must tick on and hold its verdict",
        megabytes: 256,
        plan,
        expect: Expect::Survival(DIRTY),
        core: &[],
        seconds: 240,
        ..netns()
    }
}

/// The kernels where it stalls; on 6.1 it continues.
pub const GANESHA: &[Kernel] = &[Kernel::V5_10, Kernel::V6_12, Kernel::Newest];

pub fn ganesha() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        Step::Ganesha {
            pod: None,
            path: "/export".to_owned(),
            kind: Ganesha::Four,
        },
        mount("127.0.0.1"),
        Step::Hog { megabytes: 200 },
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 150),
    ];
    steps.extend(until_confirmed());
    Scenario {
        name: "ganesha-livelock",
        about: "nfs-ganesha, a server in userspace, over 127.0.0.1: it is throttled as any writer is",
        kernels: GANESHA,
        megabytes: 512,
        plan: plan(steps),
        core: &[Kernel::V6_12],
        ..netns()
    }
}

pub fn loop_device() -> Scenario {
    let mut steps = vec![nfs_modules(), modprobe(&["loop"]), disk()];
    steps.extend(serve_in_pod(8));
    steps.push(mount("10.9.0.2"));
    steps.extend(on_loop_device());
    steps.extend(until_confirmed());
    Scenario {
        name: "loop-device",
        about: "ext4 on a loop device whose file lies on the NFS mount of a server in a pod",
        megabytes: 512,
        plan: plan(steps),
        expect: Expect::Livelock(&["loop-device"]),
        core: &[Kernel::V6_12],
        ..netns()
    }
}

/// Creates the loop device on `/mnt`, starts the daemon, and writes to it.
pub fn on_loop_device() -> [Step; 4] {
    [
        Step::LoopDevice {
            file: "/mnt/image".to_owned(),
            megabytes: 1024,
            at: "/loop".to_owned(),
        },
        daemon(),
        watch(3, Until::Over),
        load("/loop", 150),
    ]
}
