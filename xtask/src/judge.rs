//! What a guest told, against what is right. Pure: facts in, a sentence out.

use std::fmt;

use guest::{Event, Fact, Sample, Transition};

use crate::{
    qemu::{self, Outcome},
    scenario::{Expect, Scenario},
};

mod congestion;
mod counters;
mod exempt;
mod faults;
mod guard;
mod livelock;
mod loops;
mod modules;
mod nothing;
mod operations;
mod pairs;
mod probes;
mod ways_out;

/// Milliseconds without progress that make a stop.
const STOPPED: u64 = 5_000;

/// Milliseconds between two samples, 500 apart, that only a host too busy makes.
const STARVED: u64 = 2_500;

/// Bytes that the node must hold for its loop to want something.
const HELD: u64 = 1_000_000;

/// One percent of what a guest's disk does, in bytes a second:
/// less than this is not a progress.
const CRAWL: u64 = 500_000;

/// Why a run is not right.
#[derive(Debug)]
pub enum Fault {
    /// The daemon said or did something wrong.
    Wrong(String),
    /// What should have been judged did not happen: nothing is proven either
    /// way, and it may be played once more.
    Void(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(why) => f.write_str(why),
            Self::Void(why) => write!(f, "{why}: the scenario proves nothing"),
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        Self::Wrong(why.to_owned())
    }
}

fn void(why: impl Into<String>) -> Fault {
    Fault::Void(why.into())
}

/// `Ok`: why it is right. `Err`: what is wrong.
pub type Judgement = Result<String, Fault>;

/// Judge an outcome.
pub fn judge(scenario: &Scenario, outcome: &Outcome) -> Judgement {
    let seen = Seen(&outcome.facts);
    if let Some(trouble) = &outcome.trouble {
        // Before the daemon has begun, nothing of ours can have done it: an
        // emulated machine stops or breaks down now and then by itself. RCU
        // stalls are those of a host that had no time for the guest. In a cpuset
        // that is too tight, the kernel gives up when it finds nobody to kill
        // there; the daemon is not in one.
        let silent = !seen.has_ours()
            || trouble.contains(qemu::STALL)
            || trouble.contains(qemu::NOBODY_TO_KILL)
            || scenario.peer.is_some() && outcome.peer.is_empty();
        return Err(if silent {
            void(trouble.clone())
        } else {
            trouble.clone().into()
        });
    }
    if let Some(words) = seen.failure() {
        return Err(words.into());
    }
    if let Some(words) = Seen(&outcome.peer).failure() {
        return Err(format!("beside it, {words}").into());
    }
    let words = expected(scenario, outcome, &seen)?;
    let Some(wanted) = scenario.exempt.filter(|_| seen.has_daemon()) else {
        return Ok(words);
    };
    Ok(format!("{words}; {}", seen.exempt(wanted)?))
}

fn expected(scenario: &Scenario, outcome: &Outcome, seen: &Seen<'_>) -> Judgement {
    match &scenario.expect {
        Expect::Livelock(signatures) => livelock::judge(seen, signatures),
        Expect::Recovery(signatures) => livelock::recovery(seen, signatures),
        Expect::LivelockBeside {
            signatures,
            beside,
            at_least,
        } => livelock::beside(seen, signatures, beside, *at_least),
        Expect::Survival(signatures) => livelock::survival(seen, signatures),
        Expect::LivelockAfterTakeover(signatures) => livelock::after_takeover(seen, signatures),
        Expect::Nothing(quiet) => nothing::judge(seen, quiet),
        Expect::Metric => seen.metric(),
        Expect::LateModules => seen.late_modules(),
        Expect::ExitCodes(wanted) => seen.exit_codes(wanted),
        Expect::NoLoop { at_least } => pairs::no_loop(seen, &Seen(&outcome.peer), *at_least),
        Expect::Failover => pairs::failover(seen),
        Expect::HungServer => operations::hung_server(seen),
        Expect::Outlived => faults::outlived(seen),
        Expect::Congestion => congestion::judge(seen),
        Expect::NoCongestion => congestion::none(seen),
        Expect::ModulesReload => modules::reload(seen),
        Expect::Loops(wanted) => seen.loops(wanted),
        Expect::Counters => seen.counters(),
        Expect::Measured => ways_out::measured(seen),
        Expect::Prevented => guard::prevented(seen),
        Expect::Broken => guard::broken(seen),
        Expect::Undone => guard::undone(seen),
        Expect::Untouched { advised } => guard::untouched(seen, *advised),
        Expect::NoAction(quiet) => guard::no_action(seen, quiet),
        Expect::Told => Err(void("it is judged by what was told while it was played")),
    }
}

/// The same in a few words, for the table of all.
pub fn cell(scenario: &Scenario, outcome: &Outcome, judgement: &Judgement) -> String {
    let seen = Seen(&outcome.facts);
    match judgement {
        Err(Fault::Wrong(_)) => "**wrong**".to_owned(),
        Err(Fault::Void(_)) => "void".to_owned(),
        Ok(_) => match &scenario.expect {
            Expect::Livelock(_)
            | Expect::Survival(_)
            | Expect::Recovery(_)
            | Expect::LivelockBeside { .. } => {
                livelock::cell(&seen, seen.writers_started().unwrap_or(0))
            }
            Expect::LivelockAfterTakeover(_) => {
                livelock::cell(&seen, seen.took_over().unwrap_or(0))
            }
            Expect::Nothing(_) => nothing::cell(&seen),
            _ => "right".to_owned(),
        },
    }
}

/// When what a label tells of happened, by the guest's monotonic clock, in
/// milliseconds.
#[derive(Default)]
pub struct Times {
    /// The loop stopped; or the load began, where the verdict came before that.
    pub onset: Option<u64>,
    /// It was helped out.
    pub helped_out: Option<u64>,
    /// And went on, or had nothing left to write.
    pub moves_again: Option<u64>,
}

/// Those of a play that was judged right.
pub fn times(scenario: &Scenario, outcome: &Outcome) -> Times {
    let seen = Seen(&outcome.facts);
    let started = match &scenario.expect {
        Expect::Livelock(_)
        | Expect::Recovery(_)
        | Expect::Survival(_)
        | Expect::LivelockBeside { .. } => seen.writers_started().ok(),
        Expect::LivelockAfterTakeover(_) => seen.took_over(),
        _ => None,
    };
    Times {
        onset: started.and_then(|started| livelock::onset(&seen, started)),
        helped_out: seen.helped_out(),
        moves_again: livelock::moves_again(&seen),
    }
}

struct Seen<'a>(&'a [Fact]);

impl Seen<'_> {
    fn failure(&self) -> Option<String> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Failed(words) => Some(format!("the guest failed: {words}")),
            Event::DaemonDied { status } => Some(format!("the daemon died: {status}")),
            _ => None,
        })
    }

    /// Whether the daemon's program has been started, for good or for a moment.
    fn has_ours(&self) -> bool {
        self.0.iter().any(|fact| match &fact.event {
            Event::Step(words) => ["Daemon", "Check"]
                .iter()
                .any(|step| words.starts_with(&format!("{{\"{step}\":"))),
            _ => false,
        })
    }

    fn has_daemon(&self) -> bool {
        !self
            .0
            .iter()
            .any(|fact| matches!(fact.event, Event::NoDaemon))
    }

    /// Whether a plan that asked for them was answered.
    fn serves_loops(&self) -> bool {
        self.0.iter().any(
            |fact| matches!(&fact.event, Event::Served { path, .. } if path == "/api/v1/loops"),
        )
    }

    fn writers_started(&self) -> Result<u64, Fault> {
        self.0
            .iter()
            .find(|fact| matches!(fact.event, Event::WritersStarted))
            .map(|fact| fact.ms)
            .ok_or_else(|| "the writers were never started".into())
    }

    fn took_over(&self) -> Option<u64> {
        self.0
            .iter()
            .find(|fact| matches!(fact.event, Event::TookOver))
            .map(|fact| fact.ms)
    }

    fn samples(&self) -> impl Iterator<Item = (u64, Sample)> {
        self.0.iter().filter_map(|fact| match fact.event {
            Event::Sample(sample) => Some((fact.ms, sample)),
            _ => None,
        })
    }

    /// The longest time without a sample from then on. The guest takes two a
    /// second with its memory locked, whatever hangs: what is late makes the
    /// host late, and no daemon can be judged by its times.
    fn longest_gap(&self, from: u64) -> u64 {
        let times: Vec<_> = self
            .samples()
            .map(|(ms, _)| ms)
            .filter(|ms| *ms >= from)
            .collect();
        times
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .max()
            .unwrap_or(0)
    }

    fn confirmed(&self) -> Option<&Transition> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Verdict(entry) if entry.confirms() => Some(entry),
            _ => None,
        })
    }

    /// How often what was traced came.
    fn traced(&self) -> Option<u64> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Traced { count, .. } => Some(*count),
            _ => None,
        })
    }

    fn metric(&self) -> Judgement {
        let count = self.traced().ok_or("the guest reported no trace")?;
        if count == 0 {
            return Err(void("the kernel never did it"));
        }
        if !self.has_daemon() {
            return Ok(format!("traced {count} times; no daemon to judge"));
        }
        let lines: Vec<_> = self
            .0
            .iter()
            .filter_map(|fact| match &fact.event {
                Event::Metric { line } => Some(line.as_str()),
                _ => None,
            })
            .collect();
        let Some(line) = lines.last() else {
            return Err(format!("traced {count} times, and the metric never came up").into());
        };
        let counted = line
            .rsplit(' ')
            .next()
            .and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(0.0);
        let words = format!(
            "traced {count} times: {}",
            lines[lines.len().saturating_sub(2)..].join(", ")
        );
        // The trace was read first, so that none of it can be missing; but a
        // sleep or two may fall between the two ways of attaching.
        if counted < count as f64 * 0.95 {
            return Err(format!("too few counted: {words}").into());
        }
        Ok(words)
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
