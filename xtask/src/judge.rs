//! Judges the facts of a guest. Pure: facts in, a sentence out.

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
mod mitigations;
mod modules;
mod nothing;
mod operations;
mod pairs;
mod probes;
mod served;

/// Milliseconds without progress that make a stop.
const STOPPED: u64 = 5_000;

/// Milliseconds between two samples, 500 apart by plan, that indicate an overloaded host.
const STARVED: u64 = 2_500;

/// Bytes that the node must hold for its loop to have demand.
const HELD: u64 = 1_000_000;

/// One percent of a guest disk's rate, bytes a second: less does not count as progress.
const CRAWL: u64 = 500_000;

/// The reason why a run is not right.
#[derive(Debug)]
pub enum Fault {
    /// The daemon was wrong.
    Wrong(String),
    /// The event to judge did not happen. The play proves nothing, and may be repeated.
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

pub fn void(why: impl Into<String>) -> Fault {
    Fault::Void(why.into())
}

/// `Ok`: the reason why it is right. `Err`: the fault.
pub type Judgement = Result<String, Fault>;

/// Judges an outcome.
pub fn judge(scenario: &Scenario, outcome: &Outcome) -> Judgement {
    let seen = Seen(&outcome.facts);
    if let Some(trouble) = &outcome.trouble {
        // A failure before the daemon starts is not the daemon's: an emulated machine sometimes
        // stops by itself. RCU stalls come from a host without time for the guest. In a cpuset that
        // is too tight, the kernel gives up without a process to kill; the daemon is not in one.
        let silent = !seen.has_ours()
            || trouble.contains(qemu::STALL)
            || trouble.contains(qemu::NOBODY_TO_KILL)
            || outcome.peers.iter().any(Vec::is_empty);
        return Err(if silent {
            void(trouble.clone())
        } else {
            trouble.clone().into()
        });
    }
    if let Some(words) = seen.failure() {
        return Err(words.into());
    }
    if let Some(words) = outcome.peers.iter().find_map(|peer| Seen(peer).failure()) {
        return Err(format!("beside it, {words}").into());
    }
    let mut words = expected(scenario, outcome, &seen)?;
    if let Some(served) = scenario.served.filter(|_| seen.has_daemon()) {
        words = format!("{words}; {}", seen.served_loop(&served)?);
    }
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
        Expect::NoLoop { at_least } => pairs::no_loop(seen, &Seen(outcome.peer()), *at_least),
        Expect::Failover => pairs::failover(seen),
        Expect::HungServer => operations::hung_server(seen),
        Expect::Outlived => faults::outlived(seen),
        Expect::Congestion => congestion::judge(seen),
        Expect::NoCongestion => congestion::none(seen),
        Expect::ModulesReload => modules::reload(seen),
        Expect::Loops(wanted) => seen.loops(wanted),
        Expect::Counters => seen.counters(),
        Expect::Measured => mitigations::measured(seen),
        Expect::HeldMeasured => mitigations::held(seen),
        Expect::Prevented => guard::prevented(seen),
        Expect::Broken => guard::broken(seen),
        Expect::Undone => guard::undone(seen),
        Expect::Untouched { advised } => guard::untouched(seen, *advised),
        Expect::NoAction(quiet) => guard::no_action(seen, quiet),
        Expect::Told | Expect::Across(_) => {
            Err(void("it is judged by what was told while it was played"))
        }
    }
}

/// The same in a few words, for the table.
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

/// The times of a label's events by the guest's monotonic clock, milliseconds.
#[derive(Default)]
pub struct Times {
    /// The loop stalled; or the load began, if the verdict came before that.
    pub onset: Option<u64>,
    /// The mitigation.
    pub helped_out: Option<u64>,
    /// The loop resumed, or had nothing left to write.
    pub moves_again: Option<u64>,
}

/// The times of a play that was judged right.
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

pub struct Seen<'a>(pub &'a [Fact]);

impl Seen<'_> {
    fn failure(&self) -> Option<String> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Failed(words) => Some(format!("the guest failed: {words}")),
            Event::DaemonDied { status } => Some(format!("the daemon died: {status}")),
            _ => None,
        })
    }

    /// Whether the daemon's program has started, even for a moment.
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

    /// Whether a plan's requests for the loops were answered.
    fn serves_loops(&self) -> bool {
        self.0.iter().any(
            |fact| matches!(&fact.event, Event::Served { path, .. } if path == "/api/v1/loops"),
        )
    }

    pub fn writers_started(&self) -> Result<u64, Fault> {
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

    pub fn samples(&self) -> impl Iterator<Item = (u64, Sample)> {
        self.0.iter().filter_map(|fact| match fact.event {
            Event::Sample(sample) => Some((fact.ms, sample)),
            _ => None,
        })
    }

    /// The longest time without a sample from then on. The guest takes two a second with its memory
    /// locked, whatever hangs. A gap means that the host is late, and then the daemon's times prove
    /// nothing.
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

    /// The count of the traced event.
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
        // The trace was read first, so it is complete. But the two ways of attaching may differ by
        // a sleep or two.
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
