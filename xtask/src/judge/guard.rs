//! Judges the guard's effect on a node, and that it leaves no change behind.

use std::collections::BTreeMap;

use guest::{Event, Sample};

use super::{CRAWL, Fault, Judgement, STOPPED, Seen, nothing, void};
use crate::scenario::Quiet;

/// The minimum speed of a guarded load, as percent of one over 127.0.0.1.
const AS_FAST: u64 = 80;

/// Milliseconds from the confirmation on.
const MOVES_WITHIN: u64 = 5_000;

/// Bytes that no frozen loop acknowledges.
const MOVED: u64 = 2_000_000;

type Values = BTreeMap<String, String>;

/// There is no livelock, the load is fast, and no change is left behind.
pub fn prevented(seen: &Seen<'_>) -> Judgement {
    let starts = seen.all_writers_started();
    let [local, across] = starts[..] else {
        return Err(void("not two loads"));
    };
    let change = seen.phase("across").ok_or("no second phase")?;
    let end = seen.served("/api/v1/guard").ok_or("never asked")?.0;
    if let Some(entry) = seen.confirmed() {
        return Err(format!("a livelock was confirmed: {}", entry.reason).into());
    }
    let (local, ours) = (rate(seen, local, change), rate(seen, across, end));
    if local < CRAWL {
        return Err(void("over 127.0.0.1 nothing moved"));
    }
    let stop = longest_stop(seen, across, end);
    let percent = ours * 100 / local;
    let words = format!(
        "{:.1} MB/s, {percent} % of 127.0.0.1, longest stop {:.1} s",
        ours as f64 / 1e6,
        stop as f64 / 1000.0
    );
    if stop > STOPPED || percent < AS_FAST {
        return Err(seen.late(across, words));
    }
    as_before(seen)?;
    Ok(words)
}

/// The livelock begins and is broken.
pub fn broken(seen: &Seen<'_>) -> Judgement {
    let started = seen.writers_started()?;
    let confirmed = seen
        .confirmed()
        .ok_or_else(|| void("no livelock was confirmed"))?
        .monotonic_ms;
    let end = seen.served("/api/v1/guard").ok_or("never asked")?.0;
    let before = sample(seen, confirmed).ok_or("no samples")?.1.acked;
    let moved = seen
        .samples()
        .find(|(ms, sample)| *ms > confirmed && sample.acked > before + MOVED);
    let Some((moved, _)) = moved else {
        return Err("it never moved again".into());
    };
    let stop = longest_stop(seen, moved, end);
    let words = format!(
        "stuck {:.1} s after the load began, moved {:.1} s after the confirmation, {:.1} MB/s for {:.0} s, longest stop {:.1} s",
        (confirmed - started) as f64 / 1000.0,
        (moved - confirmed) as f64 / 1000.0,
        rate(seen, moved, end) as f64 / 1e6,
        (end - moved) as f64 / 1000.0,
        stop as f64 / 1000.0
    );
    if moved - confirmed > MOVES_WITHIN || stop > STOPPED {
        return Err(seen.late(confirmed, words));
    }
    as_before(seen)?;
    Ok(words)
}

/// All snapshots of the values are the same, and there were changes in between.
pub fn undone(seen: &Seen<'_>) -> Judgement {
    let undone = as_before(seen)?;
    let changed = seen.0.iter().filter_map(|fact| match &fact.event {
        Event::Changed(values) => Some(values),
        _ => None,
    });
    let first = seen.settings().next().ok_or("no values")?;
    let mut killed = 0;
    for values in changed {
        if values == first {
            return Err("killed with its helper it had changed nothing".into());
        }
        killed += 1;
    }
    let (_, told) = seen.served("/api/v1/guard").ok_or("never asked")?;
    if !told.contains("left_alone") {
        return Err(format!("what a hand changed is not left alone: {told}").into());
    }
    Ok(format!(
        "{undone} times the same values, {killed} times after a kill of all"
    ))
}

/// No value ever changes.
pub fn untouched(seen: &Seen<'_>, advised: bool) -> Judgement {
    if seen.confirmed().is_none() {
        return Err(void("no livelock was confirmed"));
    }
    let (_, told) = seen.served("/api/v1/guard").ok_or("never asked")?;
    if advised && !told.contains("throttle-monitor guard ease ") {
        return Err(format!("no command was said: {told}").into());
    }
    let times = as_before(seen)?;
    Ok(format!("{times} times the same values"))
}

/// A negative in which the guard does nothing.
pub fn no_action(seen: &Seen<'_>, quiet: &Quiet) -> Judgement {
    let words = nothing::judge(seen, quiet)?;
    let (_, told) = seen.served("/metrics").ok_or("never asked")?;
    if !told.contains("throttle_guard_mode 3") {
        return Err(format!("it does not guard: {told}").into());
    }
    let mut actions = told
        .lines()
        .filter(|line| line.starts_with("throttle_guard_actions_total"));
    match actions.find(|line| !line.ends_with(" 0")) {
        Some(line) => Err(format!("the guard acted: {line}").into()),
        None => Ok(format!("{words}; the guard did nothing")),
    }
}

/// The number of snapshots of the values, which must be the same.
fn as_before(seen: &Seen<'_>) -> Result<usize, Fault> {
    let all: Vec<&Values> = seen.settings().collect();
    let [first, rest @ ..] = &all[..] else {
        return Err("no values".into());
    };
    for values in rest {
        for (path, value) in *values {
            if let Some(before) = first.get(path)
                && before != value
            {
                return Err(format!("{path} was {before}, and is {value}").into());
            }
        }
        if values.len() < first.len() {
            return Err("values are missing".into());
        }
    }
    if rest.is_empty() {
        return Err("values were looked at once".into());
    }
    Ok(all.len())
}

/// The last sample up to that time.
fn sample(seen: &Seen<'_>, ms: u64) -> Option<(u64, Sample)> {
    seen.samples().take_while(|(at, _)| *at <= ms).last()
}

/// Bytes acknowledged a second.
fn rate(seen: &Seen<'_>, from: u64, to: u64) -> u64 {
    let samples: Vec<_> = seen
        .samples()
        .filter(|(ms, _)| (from..=to).contains(ms))
        .collect();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return 0;
    };
    last.1.acked.saturating_sub(first.1.acked) * 1000 / last.0.saturating_sub(first.0).max(1)
}

/// The longest time with almost no acknowledged bytes.
fn longest_stop(seen: &Seen<'_>, from: u64, to: u64) -> u64 {
    let mut longest = 0;
    let mut begin: Option<(u64, u64)> = None;
    for (ms, sample) in seen.samples().filter(|(ms, _)| (from..=to).contains(ms)) {
        let (since, acked) = *begin.get_or_insert((ms, sample.acked));
        let moved = sample.acked.saturating_sub(acked) * 1000;
        if moved > CRAWL * (ms - since).max(STOPPED / 5) {
            begin = Some((ms, sample.acked));
        } else {
            longest = longest.max(ms - since);
        }
    }
    longest
}

impl Seen<'_> {
    fn all_writers_started(&self) -> Vec<u64> {
        let starts = self
            .0
            .iter()
            .filter(|fact| matches!(fact.event, Event::WritersStarted));
        starts.map(|fact| fact.ms).collect()
    }

    fn phase(&self, name: &str) -> Option<u64> {
        let words = format!("{{\"Phase\":\"{name}\"}}");
        let mut facts = self.0.iter();
        facts
            .find(|fact| matches!(&fact.event, Event::Step(step) if *step == words))
            .map(|fact| fact.ms)
    }

    fn served(&self, wanted: &str) -> Option<(u64, &str)> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Served { path, text, .. } if path == wanted => Some((fact.ms, text.as_str())),
            _ => None,
        })
    }

    fn settings(&self) -> impl Iterator<Item = &Values> {
        self.0.iter().filter_map(|fact| match &fact.event {
            Event::Values(values) => Some(values),
            _ => None,
        })
    }
}
