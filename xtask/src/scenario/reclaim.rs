//! The server must reclaim memory that only it can clean.
//!
//! A v1 cpuset with hard walls gives the server and the writers a small memory node of their own,
//! while the rest of the guest stays usable.

use guest::{Load, Step, Until, Way};

use super::livelocks::until_confirmed;
use super::steps::{
    daemon, dirty_bytes, disk, fetch, load, mount, nfs_modules, plan, read, run, serve, set, watch,
};
use super::{Disk, Expect, FAST, Quiet, Scenario, Signatures};
use crate::kernels::Kernel;

const RECLAIM: Signatures = &["reclaim-congestion"];

/// Swap at a megabyte a second.
const SWAP: Disk = Disk {
    shared: false,
    bytes_per_second: Some(1_000_000),
};

pub fn usable() -> Scenario {
    let mut steps = vec![nfs_modules(), disk(), dirty_bytes("130000000")];
    steps.push(run(&["mkswap /dev/vdb", "swapon /dev/vdb"]));
    steps.extend(tight(60, vec![]));
    steps.extend(until_confirmed());
    Scenario {
        name: "reclaim-usable",
        about: "nfsd reclaims in a node full of its client's pages, beside a slow swap",
        kernels: &[Kernel::V5_10, Kernel::V6_1],
        disks: vec![FAST, SWAP],
        plan: plan(steps),
        expect: Expect::Livelock(RECLAIM),
        core: &[],
        ..two_nodes()
    }
}

pub fn purest() -> Scenario {
    let mut steps = vec![nfs_modules(), disk(), dirty_bytes("130000000")];
    let reader = read("/export", 1, 400, 2);
    steps.extend(tight(60, vec![trace(), reader]));
    steps.extend(until_confirmed());
    steps.push(Step::Traced);
    Scenario {
        name: "reclaim-purest",
        about: "the same without swap, beside a slow reader: nfsd sleeps in wait_iff_congested and little else",
        kernels: &[Kernel::V5_10],
        plan: plan(steps),
        expect: Expect::Livelock(RECLAIM),
        core: &[],
        ..two_nodes()
    }
}

pub fn whole_machine() -> Scenario {
    let ticks = || {
        fetch(
            "/metrics",
            &[
                "throttle_monitor_tick_duration_seconds_count",
                "throttle_livelock_",
            ],
        )
    };
    let mut steps = vec![
        nfs_modules(),
        disk(),
        dirty_bytes("60000000"),
        serve(2),
        mount("127.0.0.1"),
        daemon(),
        watch(3, Until::Over),
        ticks(),
        Step::Hog { megabytes: 80 },
        // A victim for the OOM killer, because writers own nothing. If the dirty limit were a share
        // of the memory, they would take the memory of each victim, until none is left.
        Step::Start(Load::Gobble {
            processes: 20,
            megabytes: 2,
            again: false,
        }),
        load("/mnt", 150),
        watch(90, Until::Killed(5)),
    ];
    // No answer comes while all of user space is stalled. Once there is memory again, the same
    // daemon must still run and tick.
    steps.extend([
        Step::Signal {
            name: "writer".to_owned(),
            number: 9,
        },
        run(&["umount /hog"]),
        watch(20, Until::Over),
        ticks(),
    ]);
    Scenario {
        name: "reclaim-whole-machine",
        about: "256 MB and a full tmpfs: all of user space stands still until the OOM killer comes; the daemon must not",
        kernels: &[Kernel::V5_10],
        megabytes: 256,
        plan: plan(steps),
        // Nothing runs for half a minute and more: too long for a verdict.
        expect: Expect::Survival(&[]),
        seconds: 240,
        load: 100,
        ..Scenario::default()
    }
}

/// nfsd is exempt from dirty throttling over 127.0.0.1, so only reclaim can stall it.
pub fn commit_wait() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        serve(2),
        mount("127.0.0.1"),
        daemon(),
        watch(3, Until::Over),
        // Allow so many pages that wait for a COMMIT that reclaim finds little else.
        set("/proc/sys/vm/dirty_ratio", "70"),
        set("/proc/sys/vm/dirty_background_ratio", "60"),
        load("/mnt", 400),
    ];
    steps.extend(until_confirmed());
    // Write all stacks to the console's log.
    steps.push(set("/proc/sysrq-trigger", "w"));
    steps.push(watch(30, Until::Over));
    Scenario {
        name: "commit-wait",
        about: "nfsd reclaims memory for its next call, and waits for the COMMIT of pages of its own client",
        kernels: &[Kernel::V6_12_43],
        megabytes: 256,
        plan: plan(steps),
        expect: Expect::Livelock(&["commit-wait"]),
        core: &[],
        ..Scenario::default()
    }
}

/// Allocations of single pages never fail, so this has not been reproduced.
pub fn request_starvation() -> Scenario {
    let steps = vec![
        nfs_modules(),
        disk(),
        serve(64),
        mount("127.0.0.1"),
        daemon(),
        Step::Trace {
            event: "sunrpc/svc_alloc_arg_err".to_owned(),
            task: "nfsd".to_owned(),
        },
        watch(3, Until::Over),
        set("/proc/sys/vm/dirty_ratio", "70"),
        set("/proc/sys/vm/dirty_background_ratio", "60"),
        Step::Start(Load::Gobble {
            processes: 20,
            megabytes: 2,
            again: true,
        }),
        Step::Start(Load::Endless {
            dir: "/mnt".to_owned(),
            writers: 16,
            megabytes: 100,
            way: Way::Buffered,
        }),
        watch(5, Until::Over),
        Step::Start(Load::Fill),
        watch(40, Until::Over),
        Step::Traced,
    ];
    Scenario {
        name: "starve-requests",
        about: "an attempt at request-starvation: 64 nfsd threads in 256 MB that are full; tells how often svc_alloc_arg got no page",
        kernels: &[
            Kernel::V6_1,
            Kernel::V6_12,
            Kernel::Newest,
            Kernel::V6_12_43,
        ],
        megabytes: 256,
        plan: plan(steps),
        expect: Expect::Measured,
        core: &[],
        ..Scenario::default()
    }
}

pub fn storm_works() -> Scenario {
    let mut steps = vec![nfs_modules(), disk(), dirty_bytes("60000000")];
    // With ten megabytes more the OOM killer sometimes kills the writers.
    steps.extend(tight(20, vec![trace()]));
    steps.extend([watch(60, Until::Over), Step::Traced]);
    Scenario {
        name: "reclaim-storm-works",
        about: "memory is tight but enough: nfsd reclaims and sleeps in wait_iff_congested, and goes on",
        kernels: &[Kernel::V5_10],
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: 3_000_000,
            traced: 100,
            ..Quiet::default()
        }),
        load: 100,
        ..two_nodes()
    }
}

pub fn congestion() -> Scenario {
    let mut steps = vec![nfs_modules(), disk(), dirty_bytes("130000000")];
    steps.extend(tight(20, vec![victims(), trace()]));
    steps.extend([
        watch(60, slept("count")),
        // The daemon's verdict is not judged here, but informative.
        watch(12, Until::Over),
        // Keep this order: the daemon must have counted everything that was traced.
        Step::Traced,
        // /metrics shows the last tick.
        watch(2, Until::Over),
        watch(5, slept("sum")),
        watch(5, slept("count")),
    ]);
    Scenario {
        name: "reclaim-congestion",
        about: "nfsd has to reclaim, and sleeps 100 ms at a time in wait_iff_congested",
        kernels: &[Kernel::V5_10],
        plan: plan(steps),
        expect: Expect::Metric,
        core: &[Kernel::V5_10],
        ..two_nodes()
    }
}

/// Two nodes of memory, of which the second is small.
fn two_nodes() -> Scenario {
    Scenario {
        megabytes: 448,
        qemu: &[
            "-object",
            "memory-backend-ram,id=m0,size=288M",
            "-object",
            "memory-backend-ram,id=m1,size=160M",
            "-numa",
            "node,nodeid=0,memdev=m0,cpus=0-1",
            "-numa",
            "node,nodeid=1,memdev=m1",
        ],
        ..Scenario::default()
    }
}

/// Serves, starts the daemon, and moves nfsd, a hog, this and the writers to the small node.
fn tight(hog: u64, beside: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![
        serve(2),
        mount("127.0.0.1"),
        daemon(),
        Step::Cpuset {
            mems: "1".to_owned(),
            threads: vec!["nfsd".to_owned()],
        },
        Step::Hog { megabytes: hog },
    ];
    steps.extend(beside);
    steps.extend([
        load("/mnt", 150),
        // The sampler itself must not be short of memory.
        Step::LeaveCpuset,
    ]);
    steps
}

/// Victims for the OOM killer. Writers own nothing; after them it would kill the daemon, or give
/// up.
fn victims() -> Step {
    Step::Start(Load::Gobble {
        processes: 10,
        megabytes: 1,
        again: false,
    })
}

fn trace() -> Step {
    Step::Trace {
        event: "writeback/writeback_wait_iff_congested".to_owned(),
        task: "nfsd".to_owned(),
    }
}

fn slept(what: &str) -> Until {
    Until::Metric {
        name: format!("throttle_delay_seconds_{what}"),
        labels: vec![
            r#"cause="wait_iff_congested""#.to_owned(),
            r#"class="nfsd""#.to_owned(),
        ],
    }
}
