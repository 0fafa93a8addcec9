//! Positives: what the daemon must say.

use guest::{Plan, Step, Until};

use super::steps::{
    client, daemon, dirty_bytes, disk, fetch, load, mount, nfs_modules, plan, serve, serve_in_pod,
    watch,
};
use super::{Expect, FAST, Scenario};
use crate::kernels::{self, Kernel};

pub fn netns_livelock() -> Scenario {
    Scenario {
        name: "netns-livelock",
        about: "the server in its own network namespace: stops within seconds, every time",
        megabytes: 320,
        plan: netns_plan(Some(Step::Hog { megabytes: 100 })),
        ..netns()
    }
}

pub fn netns_no_hog() -> Scenario {
    Scenario {
        name: "netns-no-hog",
        about: "the same with memory to spare",
        // 6.1 goes on for half a minute: too long to wait for in each run.
        kernels: &[Kernel::V5_10, Kernel::V6_12, Kernel::Newest],
        megabytes: 1024,
        plan: netns_plan(None),
        ..netns()
    }
}

pub fn netns_recovery() -> Scenario {
    let mut plan = netns_plan(Some(Step::Hog { megabytes: 100 }));
    plan.steps.extend([
        watch(32, Until::Over),
        // Hold the mount to a small part of the dirty pages, then raise the limit.
        client("max_ratio", "1"),
        // Not in 5.10 and 6.1, and not needed there.
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
        about: "the livelock, 40 s of it, then the way out of the runbook",
        megabytes: 320,
        plan,
        expect: Expect::Recovery,
        seconds: 200,
        ..netns()
    }
}

/// The machine of the livelock across namespaces.
pub fn netns() -> Scenario {
    Scenario {
        name: "",
        about: "",
        kernels: kernels::ALL,
        megabytes: 0,
        disks: vec![FAST],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: Plan::default(),
        expect: Expect::Livelock,
        seconds: 150,
        load: 30,
    }
}

fn netns_plan(hog: Option<Step>) -> Plan {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.push(mount("10.9.0.2"));
    steps.extend(hog);
    steps.extend([
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 300),
        watch(60, Until::Confirmed(10)),
        // What can be seen from outside while the node hangs.
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
    ]);
    plan(steps)
}

pub fn reclaim_congestion() -> Scenario {
    Scenario {
        name: "reclaim-congestion",
        about: "nfsd has to reclaim, and sleeps 100 ms at a time in wait_iff_congested",
        kernels: &[Kernel::V5_10],
        megabytes: 448,
        disks: vec![FAST],
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
        cmdline: "",
        peer: None,
        plan: plan([
            nfs_modules(),
            disk(),
            dirty_bytes("130000000"),
            serve(2),
            mount("127.0.0.1"),
            daemon(),
            Step::Trace {
                event: "writeback/writeback_wait_iff_congested".to_owned(),
                task: "nfsd".to_owned(),
            },
            Step::Cpuset {
                mems: "1".to_owned(),
                threads: vec!["nfsd".to_owned()],
            },
            Step::Hog { megabytes: 30 },
            load("/mnt", 150),
            // So that what waits and tells is not short of memory itself.
            Step::LeaveCpuset,
            watch(60, slept("count")),
            // What the daemon makes of it is not judged, but worth seeing.
            watch(12, Until::Over),
            // In this order: the daemon must have counted all that was traced.
            Step::Traced,
            // /metrics shows the last tick.
            watch(2, Until::Over),
            watch(5, slept("sum")),
            watch(5, slept("count")),
        ]),
        expect: Expect::Metric,
        seconds: 150,
        load: 60,
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
