//! Other faults of a node: the daemon stops, processors come and go, the clock steps, tracefs and
//! BTF are missing. Most surround a livelock, so that there is state to lose.

use guest::{Step, Until};

use super::livelocks::{netns, netns_plan};
use super::steps::{
    check, daemon, disk, fetch, load, mount, nfs_modules, plan, run, serve_in_pod, set, watch,
};
use super::{Expect, Scenario};

/// Reads the values that the judge needs.
fn look() -> Step {
    fetch(
        "/metrics",
        &[
            "throttle_monitor_tick_duration_seconds_count",
            "throttle_livelock_state",
            "throttle_monitor_lost_events_total",
            "throttle_loop_info",
            "throttle_monitor_build_info",
            "throttle_delay_seconds_count",
        ],
    )
}

/// A livelock, the fault, and the livelock's end, with a reading after each.
fn around_a_livelock(
    name: &'static str,
    about: &'static str,
    first: &Step,
    fault: Vec<Step>,
    end: Vec<Step>,
) -> Scenario {
    let mut steps = netns_plan([Step::Hog { megabytes: 100 }], 300).steps;
    for step in &mut steps {
        if matches!(step, Step::Daemon { .. }) {
            step.clone_from(first);
        }
    }
    steps.extend([watch(40, Until::Confirmed(3)), look()]);
    steps.extend(fault);
    steps.extend(end);
    steps.extend([look(), watch(8, Until::Over), look()]);
    Scenario {
        name,
        about,
        plan: plan(steps),
        expect: Expect::Outlived,
        core: &[],
        seconds: 260,
        ..netns()
    }
}

fn daemon_with(more: &[&str]) -> Step {
    let mut step = daemon();
    if let Step::Daemon { args } = &mut step {
        args.extend(more.iter().map(|&word| word.to_owned()));
    }
    step
}

fn signal(number: i32) -> Step {
    Step::Signal {
        name: "throttle-monito".to_owned(),
        number,
    }
}

pub fn stopped() -> Scenario {
    around_a_livelock(
        "fault-stopped",
        "the daemon is stopped by SIGSTOP for a minute in a livelock",
        // Every wait leaves a record, and for a minute they are not read.
        &daemon_with(&["--stall-threshold", "1ms"]),
        vec![signal(19), watch(60, Until::Over)],
        vec![signal(18), watch(8, Until::Over)],
    )
}

pub fn killed() -> Scenario {
    around_a_livelock(
        "fault-killed",
        "the daemon is killed in a livelock and started again: nothing of it stays in the kernel",
        &daemon(),
        vec![
            Step::KillDaemon,
            watch(2, Until::Over),
            Step::BpfObjects,
            daemon(),
        ],
        vec![watch(25, Until::Over)],
    )
}

pub fn processors() -> Scenario {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    around_a_livelock(
        "fault-processors",
        "a processor goes and comes back in a livelock",
        &daemon(),
        vec![set(ONLINE, "0"), watch(10, Until::Over), look()],
        vec![set(ONLINE, "1"), watch(8, Until::Over)],
    )
}

pub fn clock() -> Scenario {
    around_a_livelock(
        "fault-clock",
        "the wall clock steps by a day, forth and back, in a livelock",
        &daemon(),
        vec![Step::StepClock(86_400), watch(10, Until::Over), look()],
        vec![Step::StepClock(-2 * 86_400), watch(10, Until::Over)],
    )
}

/// A task that waits for a dirty limit cannot be frozen, so the kernel aborts the suspend. The
/// suspend therefore comes before the livelock, which must still be found.
pub fn suspend() -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        Step::Hog { megabytes: 100 },
        daemon(),
        watch(5, Until::Over),
        look(),
        set("/sys/class/rtc/rtc0/wakealarm", "+20"),
        set("/sys/power/state", "mem"),
        watch(8, Until::Over),
        look(),
        load("/mnt", 300),
        watch(60, Until::Confirmed(3)),
        look(),
        watch(8, Until::Over),
        look(),
    ]);
    Scenario {
        name: "fault-suspend",
        about: "the node sleeps in memory (ACPI S3) for 20 s; the livelock after it is found",
        plan: plan(steps),
        expect: Expect::Outlived,
        core: &[],
        seconds: 260,
        ..netns()
    }
}

pub fn tracefs() -> Scenario {
    around_a_livelock(
        "fault-tracefs",
        "tracefs and debugfs are unmounted in a livelock",
        &daemon(),
        vec![run(&["umount -l /sys/kernel/debug"])],
        vec![watch(8, Until::Over)],
    )
}

pub fn hidden() -> Scenario {
    around_a_livelock(
        "fault-hidepid",
        "/proc hides other users' processes from now on, in a livelock",
        &daemon(),
        vec![run(&["mount -o remount,hidepid=2 /proc"])],
        vec![watch(8, Until::Over)],
    )
}

pub fn two_daemons() -> Scenario {
    let scenario = around_a_livelock(
        "fault-two",
        "a second daemon comes and goes in a livelock",
        &daemon(),
        vec![Step::SecondDaemon(9747)],
        vec![watch(5, Until::Over)],
    );
    // A start takes some 40 MB for a moment. On the usual guest with a hog, the OOM killer of 7.2
    // kills the second one.
    Scenario {
        megabytes: 448,
        ..scenario
    }
}

pub fn no_btf() -> Scenario {
    Scenario {
        name: "fault-no-btf",
        about: "a kernel that tells nothing of its structs: degraded, and said so",
        plan: plan([
            nfs_modules(),
            run(&["mount -t tmpfs none /sys/kernel/btf"]),
            check(&["check", "--verbose"], None),
        ]),
        disks: vec![],
        expect: Expect::ExitCodes(&[&[1]]),
        core: &[],
        seconds: 90,
        ..Scenario::default()
    }
}
