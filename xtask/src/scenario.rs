//! The list of scenarios. To add one: a function in a file below that returns a
//! [`Scenario`], and its name in [`all`]. New kinds of steps go to the guest.

mod across;
mod alerts;
mod block;
mod exempt;
mod faults;
mod files;
mod guard;
mod held;
mod livelocks;
mod loops;
mod mitigations;
mod negatives;
mod operations;
mod pairs;
mod reclaim;
mod signals;
mod steps;
mod varieties;

use anyhow::{Context as _, Result, bail};
use guest::{Plan, Step, Until};

use crate::{
    kernels::{self, Kernel},
    parts::Parts,
};

/// The daemon's address in a guest with a forwarded port, in QEMU's own network.
pub const FORWARDED: &str = "10.0.2.15:9746";

/// A machine, its plan, and the expected result.
pub struct Scenario {
    /// The name on the command line of `./dev vm`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The kernels that it applies to.
    pub kernels: &'static [Kernel],
    /// The guest's memory.
    pub megabytes: u32,
    /// Its disks: `/dev/vda` and so on.
    pub disks: Vec<Disk>,
    /// More options of QEMU.
    pub qemu: &'static [&'static str],
    /// A port of the host's loopback that leads to the daemon.
    pub forward: Option<u16>,
    /// Additions to the kernel's command line.
    pub cmdline: &'static str,
    /// Its steps.
    pub plan: Plan,
    /// Other guests beside it, on the same Ethernet.
    pub peers: Vec<Peer>,
    /// The expected result.
    pub expect: Expect,
    /// The exemption of the servers of all its loops from local dirty throttling, as the daemon
    /// must observe it: `yes`, `no` or `partly`.
    pub exempt: Option<&'static str>,
    /// The loop of the mount at `/mnt` that the daemon must report.
    pub served: Option<ServedLoop>,
    /// The kernels on which `./dev test` plays it: all of them if only this scenario shows a
    /// difference, otherwise one.
    pub core: &'static [Kernel],
    /// The time limit.
    pub seconds: u64,
    /// Its load while emulated, in percent of one host processor. The matrix limits the total, so
    /// that each guest gets its time.
    pub load: usize,
}

impl Default for Scenario {
    /// The usual machine.
    fn default() -> Self {
        Self {
            name: "",
            about: "",
            kernels: kernels::ALL,
            megabytes: 320,
            disks: vec![FAST],
            qemu: &[],
            forward: None,
            cmdline: "",
            plan: Plan::default(),
            peers: Vec::new(),
            exempt: None,
            served: None,
            expect: Expect::Measured,
            core: &[],
            seconds: 150,
            load: 60,
        }
    }
}

impl Scenario {
    /// Whether it is a test: the matrix skips the others.
    pub fn is_test(&self) -> bool {
        ![FACTS, COSTS].contains(&self.name)
            && !matches!(self.expect, Expect::Measured | Expect::HeldMeasured)
    }

    /// Makes the judged guest's daemon record, and copies the newest recordings out at the end.
    pub fn record(&mut self) {
        const AT: &str = "/rec";
        let mut records = false;
        for step in &mut self.plan.steps {
            if let Step::Daemon { args } = step {
                // A window of an hour has files of twelve minutes.
                args.extend(["--record.dir", AT, "--record.window", "1h"].map(str::to_owned));
                records = true;
            }
        }
        if records {
            // Stop the daemon first, so that the recording is complete.
            let carry = Step::Carry {
                dir: AT.to_owned(),
                newest: 16,
            };
            self.plan.steps.extend([Step::StopDaemon, carry]);
            self.seconds += 60;
        }
    }

    /// Makes the judged guest's daemon also listen on this port of the host's loopback.
    pub fn forward_to(&mut self, port: u16) -> Result<()> {
        if !self.peers.is_empty() || self.forward.is_some() {
            bail!(
                "{} has a network of its own: its port cannot be forwarded",
                self.name
            );
        }
        self.forward = Some(port);
        let network = [
            steps::modprobe(&["virtio_pci", "virtio_net"]),
            steps::run(&["ip addr add 10.0.2.15/24 dev eth0", "ip link set eth0 up"]),
        ];
        self.plan.steps.splice(0..0, network);
        for step in &mut self.plan.steps {
            if let Step::Daemon { args } = step {
                for address in ["127.0.0.1:9746", FORWARDED] {
                    args.extend(["--web.listen-address", address].map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    /// Continues for this long, for inspection.
    pub fn hold(&mut self, seconds: u64) {
        if seconds > 0 {
            self.plan.steps.push(steps::watch(seconds, Until::Over));
            self.seconds += seconds;
        }
    }

    /// Watches for three minutes if nothing must happen.
    pub fn lengthen(&mut self) {
        let least = match self.expect {
            Expect::Nothing(_) | Expect::NoAction(_) => 180_u64,
            Expect::Broken => guard::BROKEN_SECONDS,
            _ => return,
        };
        let watched = self.plan.steps.iter_mut().filter_map(|step| match step {
            Step::Watch {
                seconds,
                until: Until::Over,
            } => Some(seconds),
            _ => None,
        });
        if let Some(longest) = watched.max() {
            let more = least.saturating_sub(*longest);
            *longest += more;
            self.seconds += more;
        }
    }

    /// The duration on a host that is not too busy: the plan's watches, and the rest. Watches that
    /// end early count as 12 s.
    #[cfg(test)]
    pub fn usual_seconds(&self) -> u64 {
        let watched = self.plan.steps.iter().map(|step| match step {
            Step::Watch {
                seconds,
                until: Until::Over,
            } => *seconds,
            Step::Watch { .. } | Step::Written => 12,
            Step::SecondDaemon(_) | Step::Check { .. } => 5,
            _ => 0,
        });
        watched.sum::<u64>() + if self.plan.steps.len() > 4 { 18 } else { 10 }
    }

    /// The load of all its guests together.
    pub fn weight(&self) -> usize {
        self.load + self.peers.iter().map(|peer| peer.load).sum::<usize>()
    }

    /// The parts of its images beside those of every image.
    pub fn parts(&self) -> Parts {
        let parts = Parts::default().with(&self.plan);
        let with = |parts: Parts, peer: &Peer| parts.with(&peer.plan);
        self.peers.iter().fold(parts, with)
    }
}

/// Another guest with the same kernel. It lives as long as the first, so its plan must end by
/// waiting, or with [`guest::Step::Die`].
pub struct Peer {
    /// Its memory.
    pub megabytes: u32,
    /// Its disks: `/dev/vda` and so on.
    pub disks: Vec<Disk>,
    /// Its steps.
    pub plan: Plan,
    /// Whether the daemon is in its image, too, without being judged.
    pub daemon: bool,
    /// A port of the host's loopback that leads to its daemon.
    pub forward: Option<u16>,
    /// Its load, as for the scenario.
    pub load: usize,
}

/// A loop, by the kinds of its ends.
#[derive(Clone, Copy)]
pub struct ServedLoop {
    /// The kind of the client: `nfs`, `nbd`, `scsi`, `cifs` and so on.
    pub kind: &'static str,
    /// The server's name; the loop's name is the client's BDI and this.
    pub server: &'static str,
}

/// A disk of 4 GiB, which only takes space for written data.
#[derive(Clone, Copy)]
pub struct Disk {
    /// Both guests have the same disk, under the same number.
    pub shared: bool,
    /// The limit of writes, bytes a second.
    pub bytes_per_second: Option<u64>,
}

/// The accepted exit codes of each program.
pub type Codes = &'static [&'static [i32]];

/// The expected result of a scenario.
#[derive(Clone)]
pub enum Expect {
    /// The loop stalls, and the daemon confirms it in time by one of these signatures, but not
    /// before.
    Livelock(Signatures),
    /// The same, and the daemon reports the recovery in time after the mitigation.
    Recovery(Signatures),
    /// The loop of the mount at `/mnt` is a [`Expect::Livelock`], while another loop, of the mount
    /// at `beside`, moves bytes without a verdict.
    LivelockBeside {
        /// The signatures as in [`Expect::Livelock`].
        signatures: Signatures,
        /// The mount of the other loop.
        beside: &'static str,
        /// Bytes that must be written there from one [`guest::Step::Count`] to the next; fewer make
        /// the play void.
        at_least: u64,
    },
    /// The kernel kills processes for lack of memory. The daemon survives, ticks whenever user
    /// space runs at all, and keeps its verdict. Without a named signature it need not reach one.
    Survival(Signatures),
    /// The same in a loop that a takeover under load has just created.
    LivelockAfterTakeover(Signatures),
    /// The daemon never confirms.
    Nothing(Quiet),
    /// The metric that the last watch waited for counts what the kernel traced.
    Metric,
    /// Probes of modules are attached soon after the modules are loaded.
    LateModules,
    /// `check` ends with these exit codes, in the order of the plan.
    ExitCodes(Codes),
    /// No loop is ever reported, nor a verdict, although each guest's mounts had this many bytes
    /// acknowledged.
    NoLoop {
        /// Fewer bytes make the play void.
        at_least: u64,
    },
    /// There is no loop before this guest becomes the server, and a complete report soon after the
    /// first write.
    Failover,
    /// The daemon, another one, and `check` answer beside a dead mount.
    HungServer,
    /// The modules can be unloaded once the daemon is stopped, and it attaches again when both are
    /// back.
    ModulesReload,
    /// After a fault the daemon reports the same as before.
    Outlived,
    /// The gauge of congestion follows the kernel's flag, up and down.
    Congestion,
    /// The gauge of congestion stays down like the kernel's flag, for any number of bytes under
    /// writeback.
    NoCongestion,
    /// Each of these loops is reported in time and correctly, and no other.
    Loops(Vec<LoopExpected>),
    /// The bytes on `/metrics` are those that the kernel counted.
    Counters,
    /// Any result: the effect of the action is printed in numbers.
    Measured,
    /// The same of writers to a local disk, which another device holds.
    HeldMeasured,
    /// The guard prevents it, at full speed.
    Prevented,
    /// The guard breaks it.
    Broken,
    /// However the guard ends, all values are restored.
    Undone,
    /// There is a livelock, and no value is changed.
    Untouched {
        /// Whether the guard reports what it would do.
        advised: bool,
    },
    /// As [`Expect::Nothing`], and the guard does nothing.
    NoAction(Quiet),
    /// A real Prometheus and Alertmanager raise the alerts: see `crate::alerts`.
    Told,
    /// A real Prometheus with the committed rules scrapes all guests: see `crate::across`.
    Across(Across),
}

/// The expected result of guests that serve each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// They freeze together, and an alert names all of them in time.
    Livelock,
    /// No such alert, although each moves bytes at some time.
    Quiet,
    /// Any result: what the action on frozen guests does is printed in numbers.
    Measured,
    /// They freeze together, an alert names all, and what its runbook says gets all going.
    ByTheBook,
}

/// Signatures, any of which is right.
pub type Signatures = &'static [&'static str];

/// The conditions for a meaningful scenario without a livelock.
#[derive(Clone, Copy, Default)]
pub struct Quiet {
    /// Minimum bytes a second that the disks write; fewer make the play void.
    pub disk: u64,
    /// Minimum bytes a second that are acknowledged to NFS clients.
    pub acked: u64,
    /// Whether processes must have been killed for lack of memory.
    pub oom: bool,
    /// Minimum count of the traced event.
    pub traced: u64,
    /// The related conditions that the daemon must report.
    pub related: &'static [&'static str],
    /// Whether no loop may be reported.
    pub no_loop: bool,
    /// Those that it must not report.
    pub not_related: &'static [&'static str],
    /// Texts that the reason of a condition must contain.
    pub says: &'static [&'static str],
}

/// A loop that must be reported.
#[derive(Clone)]
pub struct LoopExpected {
    /// The client's mount point; unique within a plan.
    pub at: &'static str,
    /// The server's program.
    pub server: &'static str,
    /// The mount point of the file system that the server writes to.
    pub backing: &'static str,
    /// The required proof.
    pub proof: &'static str,
    /// Whether client and server share a network namespace.
    pub scope: &'static str,
    /// Whether the server is exempt from local dirty throttling, as observed.
    pub exempt: &'static str,
}

const FAST: Disk = Disk {
    shared: false,
    bytes_per_second: None,
};
/// The highest rate that an emulated machine can sustain beside others.
const STEADY: Disk = Disk {
    shared: false,
    bytes_per_second: Some(30_000_000),
};
const SLOW: Disk = Disk {
    shared: false,
    bytes_per_second: Some(5_000_000),
};

const SHARED: Disk = Disk {
    shared: true,
    bytes_per_second: None,
};

/// The scenario that creates fixtures.
pub const FACTS: &str = "facts";
/// The scenario that measures.
pub const COSTS: &str = "costs";

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        livelocks::netns_livelock(),
        livelocks::netns_no_hog(),
        livelocks::two_servers(),
        livelocks::idle_server(),
        livelocks::netns_recovery(),
        alerts::scenario(),
        livelocks::netns_drained(),
        livelocks::starved(),
        livelocks::ganesha(),
        livelocks::loop_device(),
        reclaim::usable(),
        reclaim::purest(),
        reclaim::whole_machine(),
        reclaim::congestion(),
        reclaim::storm_works(),
        reclaim::commit_wait(),
        reclaim::request_starvation(),
        negatives::loopback_healthy(),
        negatives::service_address(),
        negatives::loopback_slow_disk(),
        negatives::loopback_light(),
        negatives::local_slow_disk(),
        negatives::ganesha_stopped(),
        negatives::ganesha_oom(),
        negatives::netns_moderate(),
        negatives::netns_readonly(),
        negatives::server_gone(),
        negatives::hung_fs(),
        negatives::memory_storm(),
        negatives::loop_device_loopback(),
        loops::local(),
        loops::two(),
        loops::backing(),
        loops::ganesha(),
        loops::counters(),
        signals::late_modules(),
        signals::probes(),
        signals::lockdown(
            "lockdown-integrity",
            "lockdown=integrity",
            &[Kernel::V5_10, Kernel::Newest],
            &[&[0]],
        ),
        signals::lockdown(
            "lockdown-confidentiality",
            "lockdown=confidentiality",
            &[Kernel::V6_1, Kernel::V6_12],
            &[&[2]],
        ),
        signals::facts(),
        signals::costs(),
        pairs::loop_remote(),
        pairs::loop_failover(),
        pairs::failover_livelock(),
        operations::hung_server(),
        operations::modules_reload(),
        operations::bdi_congested(),
        operations::nfs_folios(),
        faults::stopped(),
        faults::killed(),
        faults::processors(),
        faults::clock(),
        faults::suspend(),
        faults::tracefs(),
        faults::two_daemons(),
        faults::hidden(),
        faults::no_btf(),
    ];
    all.extend(varieties::all());
    all.extend(exempt::all());
    all.extend(guard::all());
    all.extend(mitigations::all());
    all.extend(block::all());
    all.extend(files::all());
    all.extend(held::all());
    all.extend(across::all());
    all
}

/// The scenario that is scraped, through this port of the host's loopback.
pub fn alerts(port: Option<u16>) -> Scenario {
    Scenario {
        forward: port,
        ..alerts::scenario()
    }
}

/// The scenario of that name.
pub fn find(name: &str) -> Result<Scenario> {
    all()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario {name}: see ./dev vm --list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_is_looked_at_listens_where_it_is_reached_and_stays_a_while() {
        let mut scenario = find("netns-livelock").unwrap();
        let (steps, seconds) = (scenario.plan.steps.len(), scenario.seconds);
        scenario.forward_to(9746).unwrap();
        scenario.hold(60);
        assert_eq!(scenario.plan.steps.len(), steps + 3);
        assert_eq!(
            (scenario.forward, scenario.seconds),
            (Some(9746), seconds + 60)
        );
        let listens = |step: &Step| matches!(step, Step::Daemon { args } if args.iter().any(|arg| arg == FORWARDED));
        assert!(scenario.plan.steps.iter().any(listens));
        let pair = all().into_iter().find(|one| !one.peers.is_empty());
        assert!(
            pair.unwrap().forward_to(1).is_err(),
            "it has another network"
        );
    }

    #[test]
    fn what_a_daemon_records_is_carried_out() {
        let mut scenario = find("netns-livelock").unwrap();
        scenario.record();
        let mut steps = scenario.plan.steps.iter();
        let with = |word: &str, step: &Step| matches!(step, Step::Daemon { args } if args.iter().any(|arg| arg == word));
        assert!(steps.any(|step| with("--record.dir", step) && with("/rec", step)));
        assert!(matches!(steps.last(), Some(Step::Carry { .. })));
        let mut facts = find(FACTS).unwrap();
        let before = facts.plan.steps.len();
        facts.record();
        assert_eq!(
            facts.plan.steps.len(),
            before,
            "it has no daemon that runs on"
        );
    }

    #[test]
    fn a_negative_is_watched_for_three_minutes_if_there_is_time() {
        let mut scenario = find("loopback-slow-disk").unwrap();
        let before = scenario.seconds;
        scenario.lengthen();
        let watched = |seconds| {
            let mut steps = scenario.plan.steps.iter();
            steps.any(|step| matches!(step, Step::Watch { seconds: of, .. } if *of == seconds))
        };
        assert!(watched(180) && !watched(60));
        assert_eq!(scenario.seconds, before + 120);
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let names: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| other == &name).count(), 1);
        }
    }
}
