//! The daemon with `--guard.mode`: it prevents or breaks livelocks, and leaves no change behind.

use guest::{Plan, Step, Until};

use super::livelocks;
use super::mitigations::BOUNDED;
use super::steps::{disk, fetch, load, mount, nfs_modules, plan, serve, serve_in_pod, set, watch};
use super::{Expect, Scenario, block, files, negatives};
use crate::kernels::Kernel;

/// How long a load must run without a stall.
const PREVENTED_SECONDS: u64 = 300;

/// How long a stalled load must run again, if all scenarios are played.
pub const BROKEN_SECONDS: u64 = 126;

/// The same in the core, or if the scenario is played alone.
const BROKEN_SHORTLY: u64 = 30;

/// Starts the daemon with its guard.
fn guarding(mode: &str) -> Step {
    let args = [
        "run",
        "--log.format",
        "logfmt",
        "--guard.mode",
        mode,
        "--guard.hold-down",
        "5s",
    ];
    Step::Daemon {
        args: args.map(str::to_owned).to_vec(),
    }
}

/// Reads `/api/v1/guard` and the metrics.
fn told() -> [Step; 2] {
    [
        fetch("/api/v1/guard", &[]),
        fetch("/metrics", &["throttle_guard_", "throttle_livelock_"]),
    ]
}

pub fn all() -> Vec<Scenario> {
    let mut all = vec![prevent(), breaks(), undo(), quiet("advise"), quiet("off")];
    let others = block::to_break().into_iter().chain(files::to_break());
    all.extend(others.map(|(name, steps)| breaks_another(name, steps)));
    all.extend(untouched());
    all
}

/// The same load, first over 127.0.0.1, then across namespaces.
fn prevent() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        disk(),
        serve(8),
        mount("127.0.0.1"),
        Step::Hog { megabytes: 100 },
        // On heavily emulated processors its programs slow the load.
        guarding("prevent"),
        load("/mnt", 300),
        watch(60, Until::Over),
        Step::Phase("across".to_owned()),
        Step::StopWriters,
        Step::StopDaemon,
        Step::Umount("/mnt".to_owned()),
        Step::StopServer,
    ];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        Step::Values,
        guarding("prevent"),
        watch(8, Until::Over),
        load("/mnt", 300),
        watch(PREVENTED_SECONDS, Until::Over),
    ]);
    steps.extend(told());
    steps.extend([Step::StopDaemon, Step::Values]);
    Scenario {
        name: "guard-prevent",
        about: "--guard.mode prevent: the livelock across namespaces does not come, and the load is as fast as over 127.0.0.1",
        plan: plan(steps),
        expect: Expect::Prevented,
        seconds: 600,
        load: 100,
        ..Scenario::default()
    }
}

fn stuck(mode: &str) -> Plan {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        Step::Hog { megabytes: 100 },
        Step::Values,
        guarding(mode),
        watch(3, Until::Over),
        load("/mnt", 300),
        watch(60, Until::Confirmed(0)),
    ]);
    plan(steps)
}

fn breaks() -> Scenario {
    let mut plan = stuck("break");
    plan.steps.push(watch(BROKEN_SHORTLY, Until::Over));
    plan.steps.extend(told());
    plan.steps.extend([Step::StopDaemon, Step::Values]);
    Scenario {
        name: "guard-break",
        about: "--guard.mode break: the livelock moves within 5 s of its confirmation, and stays so (two minutes in --all)",
        plan,
        expect: Expect::Broken,
        core: &[Kernel::V5_10],
        seconds: 240,
        load: 90,
        ..Scenario::default()
    }
}

/// Loops of other kinds than nfsd's: by `strict_limit` of the device that the server writes to, which
/// kernels have since 6.2.
fn breaks_another(name: &'static str, mut steps: Vec<Step>) -> Scenario {
    steps.extend([
        Step::Values,
        guarding("break"),
        watch(3, Until::Over),
        load("/mnt", 250),
        watch(60, Until::Confirmed(0)),
        watch(BROKEN_SHORTLY, Until::Over),
    ]);
    steps.extend(told());
    steps.extend([Step::StopDaemon, Step::Values]);
    Scenario {
        name,
        about: "--guard.mode break: the livelock of another kind of server moves within 5 s of its confirmation, and stays so",
        kernels: if name == "guard-break-ksmbd" {
            &[Kernel::V6_12]
        } else {
            BOUNDED
        },
        plan: plan(steps),
        expect: Expect::Broken,
        core: &[],
        megabytes: 512,
        seconds: 240,
        load: 90,
        ..Scenario::default()
    }
}

/// However the guard ends, the settings are restored, except those that another process has set.
fn undo() -> Scenario {
    let kill = |name: &str| Step::Signal {
        name: name.to_owned(),
        number: 9,
    };
    let mut plan = stuck("break");
    let active = |measure: &str| Until::Metric {
        name: "throttle_guard_active".to_owned(),
        labels: vec![format!("measure=\"{measure}")],
    };
    // The measure does not matter.
    let any = || active("");
    // On emulated processors a daemon starts slowly beside a load.
    let again = |mode: &str, until: Until| {
        let load = load("/mnt", 300);
        let until = watch(60, until);
        let wait = watch(10, Until::Over);
        [guarding(mode), load, until, wait, Step::StopWriters]
    };
    let undone = |step: Step| [step, watch(3, Until::Over), Step::Values];
    // A load that moves again ends soon.
    plan.steps
        .extend([watch(20, any()), watch(10, Until::Over), Step::StopWriters]);
    // The daemon is killed. Its helper notices and restores everything.
    plan.steps.extend(undone(Step::KillDaemon));
    // The next daemon finds the loop stalled again. Then the helper is killed, too, and the next
    // one restores everything.
    plan.steps.extend(again("break", any()));
    plan.steps
        .extend([kill("throttle-guard"), Step::KillDaemon, Step::Changed]);
    let undo = Step::Check {
        args: ["guard", "undo"].map(str::to_owned).to_vec(),
        uid: None,
    };
    plan.steps.extend([undo.clone(), Step::Values]);
    // A daemon also restores what it finds, before anything else.
    plan.steps.extend(again("break", any()));
    plan.steps
        .extend([kill("throttle-guard"), Step::KillDaemon, Step::Changed]);
    plan.steps
        .extend([guarding("prevent"), watch(2, Until::Over)]);
    plan.steps.extend(undone(Step::StopDaemon));
    // Values that another process sets meanwhile stay.
    plan.steps.extend(again("prevent", active("max_ratio")));
    plan.steps
        .push(set("/sys/class/bdi/CLIENT/max_ratio", "37"));
    plan.steps.push(watch(4, Until::Over));
    plan.steps.extend(told());
    plan.steps.extend([Step::StopDaemon]);
    plan.steps.extend([Step::SetBack {
        path: "/sys/class/bdi/CLIENT/max_ratio".to_owned(),
        is: "37".to_owned(),
        value: "100".to_owned(),
    }]);
    plan.steps.extend([Step::Values, undo]);
    Scenario {
        name: "guard-undo",
        about: "--guard.mode break, killed, killed with its helper, stopped, and changed by hand meanwhile: every value is what it was, or what the hand set",
        plan,
        expect: Expect::Undone,
        seconds: 600,
        load: 100,
        ..Scenario::default()
    }
}

/// A mode that changes nothing.
fn quiet(mode: &'static str) -> Scenario {
    let mut plan = stuck(mode);
    plan.steps.push(watch(15, Until::Over));
    plan.steps.extend(told());
    plan.steps
        .extend([Step::Values, Step::StopDaemon, Step::Values]);
    Scenario {
        name: if mode == "off" {
            "guard-off"
        } else {
            "guard-advise"
        },
        about: if mode == "off" {
            "--guard.mode off: a livelock, and no value is changed"
        } else {
            "--guard.mode advise: a livelock, the commands are said, and no value is changed"
        },
        plan,
        expect: Expect::Untouched {
            advised: mode == "advise",
        },
        core: if mode == "off" { &[] } else { &[Kernel::V6_12] },
        ..livelocks::netns()
    }
}

/// The negatives, with a guard in its strongest mode: it does nothing.
fn untouched() -> Vec<Scenario> {
    let pairs = [
        (
            "guard-break-loopback-healthy",
            negatives::loopback_healthy(),
        ),
        (
            "guard-break-loopback-slow-disk",
            negatives::loopback_slow_disk(),
        ),
        ("guard-break-local-slow-disk", negatives::local_slow_disk()),
        ("guard-break-netns-moderate", negatives::netns_moderate()),
        ("guard-break-server-gone", negatives::server_gone()),
        ("guard-break-memory-storm", negatives::memory_storm()),
        ("guard-break-hung-fs", negatives::hung_fs()),
    ];
    let guarded = |(name, mut scenario): (&'static str, Scenario)| {
        let Expect::Nothing(quiet) = scenario.expect else {
            return None;
        };
        for step in &mut scenario.plan.steps {
            if let Step::Daemon { args } = step {
                args.extend(["--guard.mode", "break"].map(str::to_owned));
            }
        }
        scenario.plan.steps.extend(told());
        Some(Scenario {
            name,
            about: "a negative with --guard.mode break: no action",
            expect: Expect::NoAction(quiet),
            core: &[],
            ..scenario
        })
    };
    pairs.into_iter().filter_map(guarded).collect()
}
