//! How the signals are attached on each kernel.

use guest::{Step, Until};

use super::steps::{check, daemon, disk, fetch, load, mount, nfs_modules, plan, serve, watch};
use super::{COSTS, Codes, Expect, FACTS, Quiet, Scenario};
use crate::kernels::{self, Kernel};

pub fn late_modules() -> Scenario {
    Scenario {
        name: "late-modules",
        about: "the daemon starts before nfs, nfsd and sunrpc are loaded",
        disks: vec![],
        plan: plan([
            daemon(),
            Step::Probes,
            nfs_modules(),
            watch(3, Until::Over),
            Step::Probes,
            check(&["check"], None),
        ]),
        expect: Expect::LateModules,
        core: &[Kernel::V5_10],
        seconds: 90,
        ..Scenario::default()
    }
}

pub fn lockdown(
    name: &'static str,
    cmdline: &'static str,
    core: &'static [Kernel],
    codes: Codes,
) -> Scenario {
    Scenario {
        name,
        about: "what `check` says under kernel lockdown",
        disks: vec![],
        cmdline,
        core,
        plan: plan([nfs_modules(), check(&["check"], None)]),
        expect: Expect::ExitCodes(codes),
        seconds: 90,
        ..Scenario::default()
    }
}

pub fn facts() -> Scenario {
    Scenario {
        name: FACTS,
        about: "what the kernel offers, as JSON: the fixtures in monitor/tests/facts",
        disks: vec![],
        plan: plan([nfs_modules(), check(&["facts"], None)]),
        expect: Expect::ExitCodes(&[&[0]]),
        seconds: 90,
        ..Scenario::default()
    }
}

pub fn costs() -> Scenario {
    Scenario {
        name: COSTS,
        about: "what each eBPF program takes, by the kernel's own accounting, under loopback NFS and a local writer",
        megabytes: 1024,
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            daemon(),
            Step::Set {
                path: "/proc/sys/kernel/bpf_stats_enabled".to_owned(),
                value: "1".to_owned(),
            },
            load("/mnt", 150),
            watch(30, Until::Over),
            fetch(
                "/metrics",
                &[
                    "throttle_monitor_probe_runs",
                    "throttle_monitor_probe_seconds",
                ],
            ),
        ]),
        expect: Expect::Nothing(Quiet::default()),
        seconds: 120,
        load: 100,
        ..Scenario::default()
    }
}

pub fn probes() -> Scenario {
    Scenario {
        name: "probes",
        about: "what `check` says: as root, without fentry, as nobody",
        disks: vec![],
        plan: plan([
            nfs_modules(),
            check(&["check"], None),
            check(&["check", "--probe.avoid", "fentry"], None),
            check(&["check"], Some(65534)),
        ]),
        expect: Expect::ExitCodes(&[&[0], &[1], &[2]]),
        core: kernels::ALL,
        seconds: 90,
        ..Scenario::default()
    }
}
