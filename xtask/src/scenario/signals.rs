//! How the signals come in, kernel by kernel.

use guest::{Step, Until};

use super::steps::{check, daemon, nfs_modules, plan, watch};
use super::{Codes, Expect, FACTS, Scenario};
use crate::kernels;

pub fn late_modules() -> Scenario {
    Scenario {
        name: "late-modules",
        about: "the daemon starts before nfs, nfsd and sunrpc are loaded",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([
            daemon(),
            Step::Probes,
            nfs_modules(),
            watch(3, Until::Over),
            Step::Probes,
            check(&["check"], None),
        ]),
        expect: Expect::LateModules,
        seconds: 90,
        load: 60,
    }
}

pub fn lockdown(name: &'static str, cmdline: &'static str, codes: Codes) -> Scenario {
    Scenario {
        name,
        about: "what `check` says under kernel lockdown",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline,
        peer: None,
        plan: plan([nfs_modules(), check(&["check"], None)]),
        expect: Expect::ExitCodes(codes),
        seconds: 90,
        load: 60,
    }
}

pub fn facts() -> Scenario {
    Scenario {
        name: FACTS,
        about: "what the kernel offers, as JSON: the fixtures in monitor/tests/facts",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([nfs_modules(), check(&["facts"], None)]),
        expect: Expect::ExitCodes(&[&[0]]),
        seconds: 90,
        load: 60,
    }
}

pub fn probes() -> Scenario {
    Scenario {
        name: "probes",
        about: "what `check` says: as root, without fentry, as nobody",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([
            nfs_modules(),
            check(&["check"], None),
            check(&["check", "--probe.avoid", "fentry"], None),
            check(&["check"], Some(65534)),
        ]),
        expect: Expect::ExitCodes(&[&[0], &[1], &[2]]),
        seconds: 90,
        load: 60,
    }
}
