//! The list of scenarios. To add one: a function in a file below that returns a
//! [`Scenario`], and its name in [`all`]. New kinds of steps go to the guest.

mod alerts;
mod exempt;
mod faults;
mod guard;
mod livelocks;
mod loops;
mod negatives;
mod operations;
mod pairs;
mod reclaim;
mod signals;
mod steps;
mod varieties;
mod ways_out;

use anyhow::{Context as _, Result, bail};
use guest::{Plan, Step, Until};

use crate::{
    kernels::{self, Kernel},
    parts::Parts,
};

/// Where the daemon listens in a guest whose port is forwarded: QEMU's own network
/// has this address for it.
pub const FORWARDED: &str = "10.0.2.15:9746";

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
    /// A port of the host's loopback that leads to the daemon.
    pub forward: Option<u16>,
    /// More words on the kernel's command line.
    pub cmdline: &'static str,
    /// What happens.
    pub plan: Plan,
    /// A second guest beside it, on the same Ethernet.
    pub peer: Option<Peer>,
    /// What is right.
    pub expect: Expect,
    /// Whether the servers of all its loops are exempt from local dirty throttling,
    /// as the daemon must observe: `yes`, `no` or `partly`.
    pub exempt: Option<&'static str>,
    /// On which of its kernels `./dev test` plays it: all that only this one
    /// shows there is seen on each, the rest once.
    pub core: &'static [Kernel],
    /// The host ends a guest that takes longer.
    pub seconds: u64,
    /// How much of one host processor it keeps busy, in percent, emulated: the
    /// matrix runs no more at a time than leave each guest its time.
    pub load: usize,
}

impl Default for Scenario {
    /// The usual machine, and no more.
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
            peer: None,
            exempt: None,
            expect: Expect::Measured,
            core: &[],
            seconds: 150,
            load: 60,
        }
    }
}

impl Scenario {
    /// Whether it tests anything: the matrix leaves the others out.
    pub fn is_test(&self) -> bool {
        ![FACTS, COSTS].contains(&self.name) && !matches!(self.expect, Expect::Measured)
    }

    /// Have the daemon of the judged guest record what it observes, and carry the
    /// newest recordings out at the end.
    pub fn record(&mut self) {
        const AT: &str = "/rec";
        let mut records = false;
        for step in &mut self.plan.steps {
            if let Step::Daemon { args } = step {
                // A window of an hour keeps twelve minutes in one file.
                args.extend(["--record.dir", AT, "--record.window", "1h"].map(str::to_owned));
                records = true;
            }
        }
        if records {
            // Stopped, so that nothing is cut off.
            let carry = Step::Carry {
                dir: AT.to_owned(),
                newest: 16,
            };
            self.plan.steps.extend([Step::StopDaemon, carry]);
            self.seconds += 60;
        }
    }

    /// Have the daemon of the judged guest listen at this port of the host's
    /// loopback, too.
    pub fn forward_to(&mut self, port: u16) -> Result<()> {
        if self.peer.is_some() || self.forward.is_some() {
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

    /// Go on for so long, to be looked at.
    pub fn hold(&mut self, seconds: u64) {
        if seconds > 0 {
            self.plan.steps.push(steps::watch(seconds, Until::Over));
            self.seconds += seconds;
        }
    }

    /// Where nothing must happen, watch for three minutes.
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

    /// How long it takes on a host that is not too busy: what the plan watches,
    /// and what is around it. Watches that end early are taken for 12 s.
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

    /// What all its guests together keep busy.
    pub fn weight(&self) -> usize {
        self.load + self.peer.as_ref().map_or(0, |peer| peer.load)
    }

    /// What its images must have beside what every image has.
    pub fn parts(&self) -> Parts {
        let parts = Parts::default().with(&self.plan);
        match &self.peer {
            Some(peer) => parts.with(&peer.plan),
            None => parts,
        }
    }
}

/// A second guest, with the same kernel. It lives as long as the first: its
/// plan had better end by waiting, or with [`guest::Step::Die`].
pub struct Peer {
    /// Its memory.
    pub megabytes: u32,
    /// Its disks: `/dev/vda` and so on.
    pub disks: Vec<Disk>,
    /// What happens in it.
    pub plan: Plan,
    /// Whether the daemon is in its image, too. It is not judged.
    pub daemon: bool,
    /// As the scenario's.
    pub load: usize,
}

/// A disk of 4 GiB, of which only what is written takes space.
#[derive(Clone, Copy)]
pub struct Disk {
    /// Both guests have the same one, under the same number.
    pub shared: bool,
    /// Writes are held down to so many bytes a second.
    pub bytes_per_second: Option<u64>,
}

/// For each program that is run, the exit codes that are right.
pub type Codes = &'static [&'static [i32]];

/// What is right to say about a scenario.
#[derive(Clone)]
pub enum Expect {
    /// The loop stops, and the daemon confirms it in time by one of these
    /// signatures; never before.
    Livelock(Signatures),
    /// The same, and after the node is helped out the daemon says so in time.
    Recovery(Signatures),
    /// The loop of the mount at `/mnt` is a [`Expect::Livelock`], while another
    /// one, of the mount at `beside`, moves bytes and has no verdict.
    LivelockBeside {
        /// As of [`Expect::Livelock`].
        signatures: Signatures,
        /// Where the other one's client is mounted.
        beside: &'static str,
        /// What must be written there from one [`guest::Step::Count`] to the next;
        /// less, and it proves nothing.
        at_least: u64,
    },
    /// The kernel kills processes for want of memory. The daemon survives, ticks
    /// whenever user space moves at all, and holds its verdict; which it need
    /// not reach if no signature is named.
    Survival(Signatures),
    /// The same in a loop that a takeover under load has just made.
    LivelockAfterTakeover(Signatures),
    /// The daemon never confirms.
    Nothing(Quiet),
    /// The metric that the last watch waited for counts what the kernel traced.
    Metric,
    /// Probes of modules are attached soon after the modules are loaded.
    LateModules,
    /// `check` ends with these exit codes, in the order of the plan.
    ExitCodes(Codes),
    /// No loop is ever reported, nor a verdict, though each guest's mounts had
    /// this many bytes acknowledged.
    NoLoop {
        /// Less than this, and the scenario proves nothing.
        at_least: u64,
    },
    /// No loop before this guest becomes the server; then the whole truth soon
    /// after the first write.
    Failover,
    /// The daemon, another one, and `check` answer beside a mount that is dead.
    HungServer,
    /// The modules can be unloaded once the daemon is stopped, and it sees all
    /// again when both are back.
    ModulesReload,
    /// After a fault the daemon says what it said before.
    Outlived,
    /// The gauge of congestion follows the kernel's flag, up and down.
    Congestion,
    /// The gauge of congestion stays down, as the kernel's flag does, whatever
    /// the bytes under writeback.
    NoCongestion,
    /// Each of these loops is reported in time and as it is, and no other.
    Loops(Vec<LoopExpected>),
    /// The bytes on `/metrics` are those that the kernel counted.
    Counters,
    /// Anything: what an action did to the load is told in numbers.
    Measured,
    /// The guard prevents it, at speed.
    Prevented,
    /// The guard breaks it.
    Broken,
    /// Whatever ends the guard, all values are what they were.
    Undone,
    /// There is a livelock, and no value is changed.
    Untouched {
        /// Whether the guard says what it would do.
        advised: bool,
    },
    /// As [`Expect::Nothing`], and the guard does nothing.
    NoAction(Quiet),
    /// A real Prometheus and Alertmanager tell it: see `crate::alerts`.
    Told,
}

/// Signatures, each of them right.
pub type Signatures = &'static [&'static str];

/// What makes a scenario without a livelock worth anything.
#[derive(Clone, Copy, Default)]
pub struct Quiet {
    /// The disks write so many bytes a second; less, and it proves nothing.
    pub disk: u64,
    /// So many bytes a second are acknowledged to NFS clients, at least.
    pub acked: u64,
    /// Whether processes must have been killed for want of memory.
    pub oom: bool,
    /// How often the event that is traced must come, at least.
    pub traced: u64,
    /// Which conditions the daemon must name.
    pub related: &'static [&'static str],
    /// What the reason of one that began must say.
    pub says: &'static [&'static str],
}

/// A loop that must be reported.
#[derive(Clone)]
pub struct LoopExpected {
    /// Where the client's mount is; no two of a plan are at the same place.
    pub at: &'static str,
    /// The server's program.
    pub server: &'static str,
    /// Where the file system is mounted that the server writes to.
    pub backing: &'static str,
    /// How the daemon must know.
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
/// As fast as an emulated machine can bear beside others.
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

/// The one that makes fixtures.
pub const FACTS: &str = "facts";
/// The one that measures.
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
    all.extend(ways_out::all());
    all
}

/// The one that is scraped, through this port of the host's loopback.
pub fn alerts(port: Option<u16>) -> Scenario {
    Scenario {
        forward: port,
        ..alerts::scenario()
    }
}

/// The one of that name.
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
        let pair = all().into_iter().find(|one| one.peer.is_some());
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
