//! What a guest told, against what is right. Pure: facts in, a sentence out.

use std::fmt;

use guest::{Event, Fact, Sample, Transition};

use crate::{
    qemu::Outcome,
    scenario::{Expect, Scenario},
};

mod congestion;
mod counters;
mod loops;
mod modules;
mod operations;
mod pairs;
mod probes;
mod ways_out;

/// Milliseconds after the stop in which a livelock must be confirmed.
const AFTER_STOP: u64 = 10_000;

/// Milliseconds without a byte after which the daemon must have said deadlock:
/// the confirmation, thirty seconds, and some ticks.
const DEADLOCK: u64 = 42_000;

/// Milliseconds without progress that make a stop.
const STOPPED: u64 = 5_000;

/// One percent of what a guest's disk does, in bytes a second:
/// less than this is no progress.
const CRAWL: u64 = 500_000;

/// From so many bytes a second on, a loop goes on without any doubt.
const GOES_ON: u64 = 3_000_000;

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
        // emulated machine stops or breaks down now and then by itself.
        let silent = !seen.has_ours() || scenario.peer.is_some() && outcome.peer.is_empty();
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
    match &scenario.expect {
        Expect::Livelock => seen.livelock(),
        Expect::Recovery => seen.recovery(),
        Expect::Nothing { at_least } => seen.nothing(*at_least),
        Expect::Metric => seen.metric(),
        Expect::LateModules => seen.late_modules(),
        Expect::ExitCodes(wanted) => seen.exit_codes(wanted),
        Expect::NoLoop { at_least } => pairs::no_loop(&seen, &Seen(&outcome.peer), *at_least),
        Expect::Failover => pairs::failover(&seen),
        Expect::HungServer => operations::hung_server(&seen),
        Expect::Congestion => congestion::judge(&seen),
        Expect::NoCongestion => congestion::none(&seen),
        Expect::ModulesReload => modules::reload(&seen),
        Expect::Loops(wanted) => seen.loops(wanted),
        Expect::Counters => seen.counters(),
        Expect::Measured => ways_out::measured(&seen),
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

    fn samples(&self) -> impl Iterator<Item = (u64, Sample)> {
        self.0.iter().filter_map(|fact| match fact.event {
            Event::Sample(sample) => Some((fact.ms, sample)),
            _ => None,
        })
    }

    fn confirmed(&self) -> Option<&Transition> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Verdict(entry) if entry.confirms() => Some(entry),
            _ => None,
        })
    }

    /// When the loop stopped: the last time at which acknowledged WRITE bytes
    /// grew and had grown faster than a crawl over two seconds, before a
    /// stretch of [`STOPPED`] without. A stopped loop still lets a few pages
    /// through now and then.
    fn stopped(&self, started: u64) -> Option<u64> {
        let samples: Vec<_> = self.samples().filter(|(ms, _)| *ms >= started).collect();
        let mut last = started;
        for at in 1..samples.len() {
            let (ms, sample) = samples[at];
            let grown = |from: usize| sample.acked.saturating_sub(samples[from].1.acked);
            let from = at.saturating_sub(4);
            if grown(at - 1) > 0 && grown(from) * 1000 > CRAWL * ms.saturating_sub(samples[from].0)
            {
                last = ms;
            } else if ms >= last + STOPPED {
                return Some(last);
            }
        }
        None
    }

    fn livelock(&self) -> Judgement {
        let started = self.writers_started()?;
        let Some(stopped) = self.stopped(started) else {
            return Err(void("the loop never stopped"));
        };
        let stop = format!("stopped {} after the start", seconds(stopped - started));
        if !self.has_daemon() {
            return Ok(format!("{stop}; no daemon to judge"));
        }
        let Some(verdict) = self.confirmed() else {
            return Err(format!("{stop}, and the daemon never confirmed it").into());
        };
        let at = verdict.monotonic_ms;
        if at < started {
            return Err(format!("{}: confirmed before the load began", verdict.to).into());
        }
        let words = format!(
            "{stop}, {} by {} {} after the start",
            verdict.to,
            verdict.signature,
            seconds(at - started)
        );
        // A verdict in the crawl that comes before the stop is right too.
        if at > stopped + AFTER_STOP {
            return Err(format!("too late: {words}").into());
        }
        if !self.on_metrics() {
            return Err(format!("{words}, but /metrics does not show it").into());
        }
        Ok(words)
    }

    fn entered(&self, state: &str, after: u64) -> Option<u64> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Verdict(entry) if entry.to == state && entry.monotonic_ms > after => {
                Some(entry.monotonic_ms)
            }
            _ => None,
        })
    }

    fn recovery(&self) -> Judgement {
        let words = self.livelock()?;
        if !self.has_daemon() {
            return Ok(words);
        }
        let helped = self
            .0
            .iter()
            .find(|fact| matches!(fact.event, Event::HelpedOut));
        let helped = helped
            .map(|fact| fact.ms)
            .ok_or("the node was not helped out")?;
        let before = self.samples().filter(|(ms, _)| *ms < helped).last();
        let frozen = before.ok_or("no samples before the way out")?.1.acked;
        let still = self.samples().find(|(_, sample)| sample.acked >= frozen);
        let still = still.map_or(0, |(ms, _)| helped.saturating_sub(ms));
        let deadlock = self.entered("deadlock", 0);
        if still > DEADLOCK && deadlock.is_none() {
            return Err(format!(
                "{words}; nothing moved for {}, and no deadlock",
                seconds(still)
            )
            .into());
        }
        let recovered = self.entered("recovered", helped);
        let goes_on = self.goes_on(helped);
        let Some(recovered) = recovered else {
            return Err(match goes_on {
                Some(_) => {
                    format!("{words}; it goes on again, and the daemon never said so").into()
                }
                None => void(format!("{words}; the way out did not help for long")),
            });
        };
        let moves = self
            .samples()
            .find(|(ms, sample)| *ms > helped && sample.acked > frozen + 1_000_000);
        let moves = moves
            .ok_or_else(|| format!("{words}; recovered, though nothing moved"))?
            .0;
        let took = recovered.saturating_sub(moves);
        let words = format!(
            "{words}, {}, recovered {} after it moved again",
            deadlock.map_or_else(
                || "no deadlock".to_owned(),
                |at| format!(
                    "deadlock {} later",
                    seconds(at.saturating_sub(self.confirmed().map_or(at, |c| c.monotonic_ms)))
                )
            ),
            seconds(took)
        );
        if goes_on.is_some_and(|since| recovered > since + AFTER_STOP) {
            return Err(format!("too late: {words}").into());
        }
        Ok(words)
    }

    /// Since when the loop has gone on for [`AFTER_STOP`] without a break: a
    /// livelock that is helped may move for a moment and stop again.
    fn goes_on(&self, after: u64) -> Option<u64> {
        let samples: Vec<_> = self.samples().filter(|(ms, _)| *ms > after).collect();
        let mut since = None;
        for (from, to) in samples.iter().zip(samples.iter().skip(4)) {
            let grown = to.1.acked.saturating_sub(from.1.acked);
            if grown * 1000 < GOES_ON * to.0.saturating_sub(from.0) {
                since = None;
            } else if to.0 >= *since.get_or_insert(from.0) + AFTER_STOP {
                return since;
            }
        }
        None
    }

    /// Whether the metrics that were fetched after the verdict say the same.
    fn on_metrics(&self) -> bool {
        self.0.iter().any(|fact| match &fact.event {
            Event::Served { path, text, .. } if path == "/metrics" => text.lines().any(|line| {
                line.starts_with("throttle_livelock_state{")
                    && (line.ends_with(" 2") || line.ends_with(" 3"))
            }),
            _ => false,
        })
    }

    fn nothing(&self, at_least: u64) -> Judgement {
        let started = self.writers_started()?;
        let mut after = self.samples().filter(|(ms, _)| *ms >= started);
        let (first, last) = (after.next(), after.last());
        let (Some(first), Some(last)) = (first, last) else {
            return Err("no samples after the start of the load".into());
        };
        let elapsed = last.0.saturating_sub(first.0).max(1);
        let rate = last.1.disk.saturating_sub(first.1.disk) * 1000 / elapsed;
        let words = format!("{:.1} MB/s to the disk", rate as f64 / 1e6);
        if let Some(entry) = self.confirmed() {
            return Err(format!(
                "false verdict: {} by {} at {}: {} ({words})",
                entry.to,
                entry.signature,
                seconds(entry.monotonic_ms.saturating_sub(started)),
                entry.reason
            )
            .into());
        }
        if rate < at_least {
            return Err(void(format!("{words}, too little")));
        }
        let none = if self.has_daemon() {
            "no verdict"
        } else {
            "no daemon to judge"
        };
        Ok(format!("{words}, {none}"))
    }

    fn metric(&self) -> Judgement {
        let traced = self.0.iter().find_map(|fact| match &fact.event {
            Event::Traced { count, .. } => Some(*count),
            _ => None,
        });
        let count = traced.ok_or("the guest reported no trace")?;
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
