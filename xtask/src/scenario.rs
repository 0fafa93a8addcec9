//! The list of scenarios. To add one: a function here that returns a
//! [`Scenario`], and its name in [`all`]. New kinds of steps go to the guest.

use anyhow::{Context as _, Result};
use guest::{Plan, Step, Until};

use crate::kernels::{self, Kernel};

/// A machine, what happens on it, and what is right to say about it.
pub struct Scenario {
    /// As on the command line of `./dev vm`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Where it makes sense.
    pub kernels: &'static [Kernel],
    /// The guest's memory.
    pub megabytes: u32,
    /// Its disks: `/dev/vda` and so on.
    pub disks: Vec<Disk>,
    /// More options of QEMU.
    pub qemu: &'static [&'static str],
    /// More words on the kernel's command line.
    pub cmdline: &'static str,
    /// What happens.
    pub plan: Plan,
    /// What is right.
    pub expect: Expect,
    /// The host ends a guest that takes longer.
    pub seconds: u64,
    /// How much of one host processor it keeps busy, in percent, emulated: the
    /// matrix runs no more at a time than leave each guest its time.
    pub load: usize,
}

/// A disk of 4 GiB, of which only what is written takes space.
#[derive(Clone, Copy)]
pub struct Disk {
    /// Writes are held down to so many bytes a second.
    pub bytes_per_second: Option<u64>,
}

/// For each program that is run, the exit codes that are right.
pub type Codes = &'static [&'static [i32]];

/// What is right to say about a scenario.
#[derive(Clone)]
pub enum Expect {
    /// The loop stops, and the daemon confirms it in time; never before.
    Livelock,
    /// The same, and after the node is helped out the daemon says so in time.
    Recovery,
    /// The daemon never confirms, and the disk writes this much a second.
    Nothing {
        /// Less than this, in bytes a second, and the scenario proves nothing.
        at_least: u64,
    },
    /// The metric that the last watch waited for counts what the kernel traced.
    Metric,
    /// Probes of modules are attached soon after the modules are loaded.
    LateModules,
    /// `check` ends with these exit codes, in the order of the plan.
    ExitCodes(Codes),
}

const FAST: Disk = Disk {
    bytes_per_second: None,
};
const SLOW: Disk = Disk {
    bytes_per_second: Some(5_000_000),
};

/// The one that makes fixtures and tests nothing.
pub const FACTS: &str = "facts";

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    vec![
        netns_livelock(),
        netns_no_hog(),
        netns_recovery(),
        loopback_healthy(),
        loopback_slow_disk(),
        local_slow_disk(),
        reclaim_congestion(),
        late_modules(),
        probes(),
        lockdown("lockdown-integrity", "lockdown=integrity", &[&[0]]),
        lockdown(
            "lockdown-confidentiality",
            "lockdown=confidentiality",
            &[&[2]],
        ),
        facts(),
    ]
}

/// The one of that name.
pub fn find(name: &str) -> Result<Scenario> {
    all()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario {name}: see ./dev vm --list"))
}

fn modprobe(names: &[&str]) -> Step {
    Step::Modprobe(names.iter().map(|&name| name.to_owned()).collect())
}

fn nfs_modules() -> Step {
    modprobe(&["virtio_pci", "virtio_blk", "veth", "nfs", "nfsv4", "nfsd"])
}

fn daemon() -> Step {
    let args = ["run", "--log.format", "logfmt", "--log.level", "debug"];
    Step::Daemon {
        args: args.map(str::to_owned).to_vec(),
    }
}

fn disk() -> Step {
    Step::Disk {
        device: "/dev/vda".to_owned(),
        at: "/export".to_owned(),
    }
}

fn serve(namespaced: bool, threads: u32) -> Step {
    Step::Serve {
        namespaced,
        threads,
    }
}

fn mount(server: &str) -> Step {
    Step::Mount {
        server: server.to_owned(),
        at: "/mnt".to_owned(),
    }
}

fn load(dir: &str, megabytes: u64) -> Step {
    Step::Load {
        dir: dir.to_owned(),
        writers: 4,
        megabytes,
    }
}

fn watch(seconds: u64, until: Until) -> Step {
    Step::Watch { seconds, until }
}

fn fetch(path: &str, lines: &[&str]) -> Step {
    Step::Fetch {
        path: path.to_owned(),
        lines: lines.iter().map(|&begin| begin.to_owned()).collect(),
    }
}

fn plan(steps: impl Into<Vec<Step>>) -> Plan {
    Plan {
        steps: steps.into(),
    }
}

fn netns_livelock() -> Scenario {
    Scenario {
        name: "netns-livelock",
        about: "the server in its own network namespace: stops within seconds, every time",
        megabytes: 320,
        plan: netns_plan(Some(Step::Hog { megabytes: 100 })),
        ..netns()
    }
}

fn netns_no_hog() -> Scenario {
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

fn netns_recovery() -> Scenario {
    let mut plan = netns_plan(Some(Step::Hog { megabytes: 100 }));
    plan.steps.extend([
        watch(32, Until::Over),
        Step::WayOut {
            dirty_bytes: 100_000_000,
        },
        watch(20, Until::Over),
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

fn netns() -> Scenario {
    Scenario {
        name: "",
        about: "",
        kernels: kernels::ALL,
        megabytes: 0,
        disks: vec![FAST],
        qemu: &[],
        cmdline: "",
        plan: Plan::default(),
        expect: Expect::Livelock,
        seconds: 150,
        load: 30,
    }
}

fn netns_plan(hog: Option<Step>) -> Plan {
    let mut steps = vec![nfs_modules(), disk(), serve(true, 8), mount("10.9.0.2")];
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

fn loopback_healthy() -> Scenario {
    Scenario {
        name: "loopback-healthy",
        about: "the same load over 127.0.0.1 goes on at disk speed",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![FAST],
        qemu: &[],
        cmdline: "",
        plan: plan([
            nfs_modules(),
            disk(),
            serve(false, 8),
            mount("127.0.0.1"),
            Step::Hog { megabytes: 100 },
            daemon(),
            load("/mnt", 300),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 2_000_000,
        },
        seconds: 210,
        load: 100,
    }
}

fn loopback_slow_disk() -> Scenario {
    Scenario {
        name: "loopback-slow-disk",
        about: "127.0.0.1 and a disk of 5 MB/s: looks much like a livelock, and is none",
        kernels: kernels::ALL,
        megabytes: 512,
        disks: vec![SLOW],
        qemu: &[],
        cmdline: "",
        plan: plan([
            nfs_modules(),
            disk(),
            serve(false, 8),
            mount("127.0.0.1"),
            daemon(),
            load("/mnt", 150),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 1_500_000,
        },
        seconds: 210,
        load: 35,
    }
}

fn local_slow_disk() -> Scenario {
    Scenario {
        name: "local-slow-disk",
        about: "no NFS at all: ordinary dirty throttling on a disk of 5 MB/s",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![SLOW],
        qemu: &[],
        cmdline: "",
        plan: plan([
            modprobe(&["virtio_pci", "virtio_blk"]),
            disk(),
            daemon(),
            load("/export", 150),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 1_500_000,
        },
        seconds: 210,
        load: 20,
    }
}

fn reclaim_congestion() -> Scenario {
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
        plan: plan([
            nfs_modules(),
            disk(),
            Step::Set {
                path: "/proc/sys/vm/dirty_bytes".to_owned(),
                value: "130000000".to_owned(),
            },
            serve(false, 2),
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

fn late_modules() -> Scenario {
    Scenario {
        name: "late-modules",
        about: "the daemon starts before nfs, nfsd and sunrpc are loaded",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
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

fn check(args: &[&str], uid: Option<u32>) -> Step {
    Step::Check {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        uid,
    }
}

fn lockdown(name: &'static str, cmdline: &'static str, codes: Codes) -> Scenario {
    Scenario {
        name,
        about: "what `check` says under kernel lockdown",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline,
        plan: plan([nfs_modules(), check(&["check"], None)]),
        expect: Expect::ExitCodes(codes),
        seconds: 90,
        load: 60,
    }
}

fn facts() -> Scenario {
    Scenario {
        name: FACTS,
        about: "what the kernel offers, as JSON: the fixtures in monitor/tests/facts",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
        plan: plan([nfs_modules(), check(&["facts"], None)]),
        expect: Expect::ExitCodes(&[&[0]]),
        seconds: 90,
        load: 60,
    }
}

fn probes() -> Scenario {
    Scenario {
        name: "probes",
        about: "what `check` says: as root, without fentry, as nobody",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![],
        qemu: &[],
        cmdline: "",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| other == &name).count(), 1);
        }
    }
}
