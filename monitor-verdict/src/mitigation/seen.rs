//! The outcome of each action on each kernel, and whether it helped.

mod runs;

use monitor_model::{
    observation::{ClientKind, ServerKind},
    verdict::Signature,
};

use super::action::Action;
use super::kernel::Kernel;
use super::target::Target;
use crate::text::rate;

/// Stops up to this length do not count: they are a few pauses of 200 ms each.
const STOP: f64 = 2.0;

/// A stall this long within a minute means that the action did not help.
const STUCK: f64 = 30.0;

/// Below this rate, MB/s, the loop crawls.
const CRAWL: f64 = 1.0;

/// Below this rate, MB/s, over the minute and at its end, the loop is stalled.
const DEAD: f64 = 0.3;

/// A livelock that was reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// nfsd waits in `balance_dirty_pages`, across network namespaces.
    Nfsd,
    /// nfs-ganesha waits there.
    Ganesha,
    /// nfsd waits there, and a loop device lies on the mount.
    LoopDevice,
    /// nfsd reclaims.
    Reclaim,
    /// qemu-nbd or nbd-server waits in `balance_dirty_pages`.
    Nbd,
    /// tgtd waits there.
    Iscsi,
    /// LIO's workers wait there.
    Lio,
    /// smbd waits there.
    Samba,
    /// ksmbd's workers wait there.
    Ksmbd,
    /// A FUSE daemon waits there, and nfsd waits for it.
    Fuse,
}

impl Stuck {
    /// The most similar reproduced livelock; `None`: there is none.
    pub fn of(signature: Signature, target: &Target) -> Option<Self> {
        Some(match signature {
            Signature::DirtyThrottle => return Self::of_client(target),
            Signature::LoopDevice => Self::LoopDevice,
            Signature::ReclaimCongestion => Self::Reclaim,
            Signature::CommitWait | Signature::RequestStarvation => return None,
        })
    }
}

impl Stuck {
    /// The same, where the server waits in `balance_dirty_pages`.
    fn of_client(target: &Target) -> Option<Self> {
        let behind = target
            .last_server
            .as_ref()
            .is_some_and(|last| *last != target.server);
        Some(match (target.client_kind, target.server_kind) {
            (ClientKind::Nfs, _) if target.is_nfsd() && behind => Self::Fuse,
            (ClientKind::Nfs, _) if target.is_nfsd() => Self::Nfsd,
            (ClientKind::Nfs, _) => Self::Ganesha,
            (ClientKind::Nbd, _) => Self::Nbd,
            (ClientKind::Scsi, ServerKind::Target) => Self::Lio,
            (ClientKind::Scsi, _) => Self::Iscsi,
            (ClientKind::Cifs, ServerKind::Process) => Self::Samba,
            (ClientKind::Cifs, ServerKind::Target) => Self::Ksmbd,
            (ClientKind::Fuse, _) => Self::Fuse,
            _ => return None,
        })
    }
}

/// The time of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// After the loop stalled.
    During,
    /// Before the load.
    Before,
}

/// One run of one action in a guest, watched for a minute.
#[derive(Clone, Copy, Debug)]
struct Run {
    of: Stuck,
    when: When,
    kernel: Kernel,
    action: Action,
    came: Came,
}

/// The outcome of a run.
#[derive(Clone, Copy, Debug)]
enum Came {
    /// An action on a stalled loop.
    Out {
        /// Seconds until bytes moved; NaN: never.
        moved: f64,
        /// The longest stop after that, seconds.
        stop: f64,
        /// Seconds until all pages were written; NaN: never.
        drained: f64,
        /// MB/s over the minute.
        rate: f64,
        /// MB/s over its last 20 s.
        last: f64,
        /// Processes killed for memory.
        oom: u32,
    },
    /// An action before the load.
    Load {
        /// Seconds until the loop stalled; NaN: never.
        froze: f64,
        /// MB/s over the minute.
        rate: f64,
        /// Processes killed for memory.
        oom: u32,
    },
    /// A run of which only a text remains.
    Told(Help, &'static str),
}

/// Whether it helped, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Help {
    /// The loop stalled, or stalled again, or processes were killed for memory.
    No,
    /// The loop resumed, with stops.
    Partly,
    /// The loop resumed and kept running, or never stalled.
    Yes,
}

/// The outcome of an action on a kernel, over all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The result of the worst run.
    pub help: Help,
    /// Each run in a few words.
    pub words: String,
}

/// Whether any run of it on any kernel killed processes for memory. The kernel's version does not
/// decide whether memory is short.
pub(super) fn kills(of: Stuck, when: When, action: Action) -> bool {
    let mut runs = runs::RUNS.iter();
    runs.any(|run| (run.of, run.when, run.action) == (of, when, action) && run.kills())
}

/// The outcome of an action on this kernel; `None`: it was not tried.
pub(super) fn outcome(of: Stuck, when: When, action: Action, kernel: Kernel) -> Option<Outcome> {
    let fits =
        |run: &&Run| (run.of, run.when, run.action, run.kernel) == (of, when, action, kernel);
    let runs = || runs::RUNS.iter().filter(fits);
    let help = runs().map(Run::help).min()?;
    let words: Vec<String> = runs().map(Run::words).collect();
    let words = words.join("; in another run: ");
    Some(Outcome { help, words })
}

impl Run {
    /// Seconds until all pages were written, if all writers had stopped. That completes the run.
    fn drained(&self) -> Option<f64> {
        match self.came {
            Came::Out { drained, .. } if self.action.ends_writing() => {
                Some(drained).filter(|seconds| !seconds.is_nan())
            }
            _ => None,
        }
    }

    const fn kills(&self) -> bool {
        matches!(
            self.came,
            Came::Out { oom: 1.., .. } | Came::Load { oom: 1.., .. }
        )
    }

    fn help(&self) -> Help {
        match self.came {
            _ if self.kills() => Help::No,
            Came::Out { .. } if self.drained().is_some() => Help::Yes,
            Came::Out { moved, .. } if moved.is_nan() => Help::No,
            Came::Out { stop, last, .. } if stop >= STUCK && last < CRAWL => Help::No,
            Came::Out { rate, last, .. } if rate < DEAD && last < DEAD => Help::No,
            Came::Out { stop, last, .. } if stop >= STOP || last < CRAWL => Help::Partly,
            Came::Load { froze, .. } if !froze.is_nan() => Help::No,
            Came::Load { rate, .. } if rate < CRAWL => Help::Partly,
            Came::Out { .. } | Came::Load { .. } => Help::Yes,
            Came::Told(help, _) => help,
        }
    }

    fn words(&self) -> String {
        match self.came {
            Came::Told(_, words) => words.to_owned(),
            Came::Load { froze, rate, oom } if froze.is_nan() => {
                format!("no stall, {}{}", per_second(rate), killed(oom))
            }
            Came::Load { froze, oom, .. } => {
                format!("stalled after {froze:.1} s{}", killed(oom))
            }
            Came::Out {
                moved,
                stop,
                rate,
                last,
                oom,
                ..
            } => {
                if let Some(seconds) = self.drained() {
                    format!("everything was written after {seconds:.1} s{}", killed(oom))
                } else if moved.is_nan() {
                    "no byte for a minute".to_owned()
                } else if oom == 0 && self.help() == Help::No {
                    format!("resumed after {moved:.1} s, then stalled for {stop:.0} s")
                } else {
                    format!(
                        "resumed after {moved:.1} s{}, {} over a minute and {} at its end{}",
                        stops(stop),
                        per_second(rate),
                        per_second(last),
                        killed(oom)
                    )
                }
            }
        }
    }
}

/// The measurements are in millions of bytes.
fn per_second(megabytes: f64) -> String {
    rate(megabytes * 1e6)
}

fn stops(longest: f64) -> String {
    if longest < STOP {
        return String::new();
    }
    format!(", with stalls of up to {longest:.0} s")
}

fn killed(oom: u32) -> String {
    match oom {
        0 => String::new(),
        1 => ", one process killed for memory".to_owned(),
        oom => format!(", {oom} processes killed for memory"),
    }
}
