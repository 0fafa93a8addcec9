//! Judges livelocks: confirmed in time, by the right signature, held, and ended in time.

use guest::{Event, Related, Transition};

use super::served::BLAME;
use super::{CRAWL, Fault, HELD, Judgement, STARVED, STOPPED, Seen, seconds, void};
use crate::scenario::Signatures;

mod evidence;

/// Milliseconds after the stop within which a livelock must be confirmed.
const AFTER_STOP: u64 = 10_000;

/// Milliseconds without a byte after which the daemon must have reported a deadlock: the
/// confirmation, thirty seconds, and some ticks.
const DEADLOCK: u64 = 42_000;

/// The rate, bytes a second, from which a loop certainly runs.
const GOES_ON: u64 = 3_000_000;

/// Bytes that may remain when all is written.
const DRAINED: u64 = 2_000_000;

/// The loop stalls under the load, and that is reported.
pub fn judge(seen: &Seen<'_>, signatures: Signatures) -> Judgement {
    let started = seen.writers_started()?;
    let stop = seen.stop(started)?;
    if !seen.has_daemon() {
        return Ok(format!("{}; no daemon to judge", stop.words));
    }
    let words = seen.in_time(&stop, signatures)?;
    if let Some(entry) = seen.taken_back() {
        return Err(format!(
            "{words}; {} though nothing moved: {}",
            entry.to, entry.reason
        )
        .into());
    }
    if let Some(other) = seen.second_story() {
        return Err(format!(
            "{words}; beside the open verdict {} of {}: {}",
            other.kind, other.bdi, other.reason
        )
        .into());
    }
    if let Some(instead) = seen.hidden_from_metrics() {
        return Err(format!("{words}, but /metrics {instead}").into());
    }
    match evidence::judge(seen) {
        Ok(()) => Ok(words),
        Err(why) => Err(format!("{words}; the evidence: {why}").into()),
    }
}

/// The loop at `/mnt` stalls and that is reported, while another one moves.
pub fn beside(seen: &Seen<'_>, signatures: Signatures, beside: &str, at_least: u64) -> Judgement {
    let words = judge(seen, signatures)?;
    let device = seen.mounted(beside)?.device.as_str();
    let mut counts = seen.0.iter().filter_map(|fact| match &fact.event {
        Event::Counted(counts) => counts.clients.get(device).copied(),
        _ => None,
    });
    let first = counts.next().unwrap_or(0);
    let written = counts.next_back().unwrap_or(first).saturating_sub(first);
    let words = format!(
        "{words}; beside it {:.1} MB were written",
        written as f64 / 1e6
    );
    if written < at_least {
        return Err(void(format!("{words}, too little")));
    }
    if !seen.has_daemon() {
        return Ok(words);
    }
    let of = |entry: &Transition, device: &str| entry.of.starts_with(&format!("{device}-"));
    let frozen = seen.mounted("/mnt")?.device.as_str();
    if let Some(entry) = seen.confirmed().filter(|entry| !of(entry, frozen)) {
        return Err(format!("{words}, but the verdict is of {}", entry.of).into());
    }
    let other = seen.0.iter().find_map(|fact| match &fact.event {
        Event::Verdict(entry) if entry.confirms() && of(entry, device) => Some(entry),
        _ => None,
    });
    match other {
        Some(entry) => {
            Err(format!("{words}; {} of {}: {}", entry.to, entry.of, entry.reason).into())
        }
        None => Ok(words),
    }
}

/// The loop that a takeover created stalls, and that is reported.
pub fn after_takeover(seen: &Seen<'_>, signatures: Signatures) -> Judgement {
    seen.writers_started()?;
    let taken = seen
        .took_over()
        .ok_or("this guest never became the server")?;
    let Some(found) = seen.reports().map(|(ms, _)| ms).find(|ms| *ms > taken) else {
        if seen.nfsd_idles() {
            return Err(void(
                "no call of the client reached the server that took over",
            ));
        }
        let stop = seen.stop(taken)?;
        return Err(format!("{}, and no loop was reported", stop.words).into());
    };
    let stop = seen.stop(taken)?;
    let words = seen.in_time(&stop, signatures)?;
    Ok(format!(
        "{words}; the loop known {} after the takeover",
        seconds(found - taken)
    ))
}

/// The daemon outlives the OOM killer, and reports the same before and after.
pub fn survival(seen: &Seen<'_>, signatures: Signatures) -> Judgement {
    let started = seen.writers_started()?;
    let killed = seen
        .samples()
        .find(|(_, sample)| sample.oom_kills > 0)
        .map(|(ms, _)| ms)
        .ok_or_else(|| void("no process was killed for want of memory"))?;
    let kills = seen.samples().last().map_or(0, |(_, last)| last.oom_kills);
    let stop = seen.stop(started)?;
    let words = format!(
        "{}, {kills} processes killed from {} on",
        stop.words,
        seconds(killed.saturating_sub(started))
    );
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    let words = if signatures.is_empty() {
        words
    } else {
        format!("{words}; {}", seen.told(&stop, signatures)?)
    };
    let ticks: Vec<_> = seen
        .values("throttle_monitor_tick_duration_seconds_count")
        .collect();
    let (Some(&(from, first)), Some(&(to, last))) = (ticks.first(), ticks.last()) else {
        return Err(format!("{words}; its ticks are not on /metrics").into());
    };
    // The guest takes two samples a second, with its memory locked.
    let samples = seen.samples().filter(|(ms, _)| (from..to).contains(ms));
    let could = samples.count() as f64 / 2.0;
    let words = format!(
        "{words}; {} ticks in {}, of which user space ran for {could:.0} s",
        last - first,
        seconds(to.saturating_sub(from))
    );
    if last - first < could / 2.0 {
        return Err(words.into());
    }
    if let Some(entry) = seen.taken_back() {
        return Err(format!("{words}; taken back though nothing moved: {}", entry.reason).into());
    }
    Ok(words)
}

/// The loop stalls, is mitigated, and both are reported.
pub fn recovery(seen: &Seen<'_>, signatures: Signatures) -> Judgement {
    let words = judge(seen, signatures)?;
    if !seen.has_daemon() {
        return Ok(words);
    }
    let helped = seen.helped_out().ok_or("the node was not helped out")?;
    let before = seen.samples().filter(|(ms, _)| *ms < helped).last();
    let frozen = before.ok_or("no samples before the way out")?.1.acked;
    let still = seen.samples().find(|(_, sample)| sample.acked >= frozen);
    let still = still.map_or(0, |(ms, _)| helped.saturating_sub(ms));
    let deadlock = seen.entered("deadlock", 0);
    if still > DEADLOCK && deadlock.is_none() {
        return Err(format!(
            "{words}; nothing moved for {}, and no deadlock",
            seconds(still)
        )
        .into());
    }
    let recovered = seen.entered("recovered", helped);
    let goes_on = moves_again(seen);
    let Some(recovered) = recovered else {
        return Err(match goes_on {
            Some(_) => format!("{words}; it goes on again, and the daemon never said so").into(),
            None => void(format!("{words}; the way out did not help for long")),
        });
    };
    let moves = seen
        .samples()
        .find(|(ms, sample)| *ms > helped && sample.acked > frozen + 1_000_000)
        .ok_or_else(|| format!("{words}; recovered, though nothing moved"))?
        .0;
    let took = recovered.saturating_sub(moves);
    let confirmed = seen.confirmed().map(|entry| entry.monotonic_ms);
    let deadlock = deadlock.map_or_else(
        || "no deadlock".to_owned(),
        |at| {
            format!(
                "deadlock {} later",
                seconds(at.saturating_sub(confirmed.unwrap_or(at)))
            )
        },
    );
    let words = format!(
        "{words}, {deadlock}, recovered {} after it moved again",
        seconds(took)
    );
    if goes_on.is_some_and(|since| recovered > since + AFTER_STOP) {
        return Err(seen.late(helped, format!("too late: {words}")));
    }
    Ok(words)
}

/// Signature, time from the stop to the confirmation, and the rate after that.
pub fn cell(seen: &Seen<'_>, started: u64) -> String {
    if !seen.has_daemon() {
        return "no daemon".to_owned();
    }
    let Some(verdict) = seen.confirmed() else {
        return "survived, not confirmed".to_owned();
    };
    let Some(stopped) = seen.stopped(started) else {
        return format!("{}, never stopped", verdict.signature);
    };
    let end = seen.helped_out().unwrap_or(u64::MAX);
    let mut still = seen.samples().filter(|(ms, _)| (stopped..end).contains(ms));
    let rate = match (still.next(), still.last()) {
        (Some(first), Some(last)) => {
            let grown = last.1.acked.saturating_sub(first.1.acked);
            grown * 1000 / last.0.saturating_sub(first.0).max(1)
        }
        _ => 0,
    };
    format!(
        "{} after {}, {} KB/s",
        verdict.signature,
        seconds(verdict.monotonic_ms.saturating_sub(stopped)),
        rate / 1000
    )
}

/// The time of the stop, or of the load's start if the crawl before the stop was confirmed.
pub fn onset(seen: &Seen<'_>, started: u64) -> Option<u64> {
    let stopped = seen.stopped(started)?;
    let early = seen
        .confirmed()
        .is_some_and(|entry| entry.monotonic_ms < stopped);
    Some(if early { started } else { stopped })
}

/// The time at which the mitigated loop resumed, or had nothing left to write.
pub fn moves_again(seen: &Seen<'_>) -> Option<u64> {
    let helped = seen.helped_out()?;
    seen.goes_on(helped).or_else(|| seen.drained(helped))
}

/// The stop of a loop, and the earliest time for it.
struct Stop {
    /// The start of the load, or the takeover.
    started: u64,
    at: u64,
    words: String,
}

impl Seen<'_> {
    pub fn helped_out(&self) -> Option<u64> {
        let mut facts = self.0.iter();
        let fact = facts.find(|fact| matches!(fact.event, Event::HelpedOut))?;
        Some(fact.ms)
    }

    fn stop(&self, started: u64) -> Result<Stop, Fault> {
        let at = self
            .stopped(started)
            .ok_or_else(|| void("the loop never stopped"))?;
        let words = format!("stopped {} after the start", seconds(at - started));
        Ok(Stop { started, at, words })
    }

    /// The livelock is confirmed, by a right signature and not before the load.
    fn told(&self, stop: &Stop, signatures: Signatures) -> Result<String, Fault> {
        let Some(verdict) = self.confirmed() else {
            let words = format!("{}, and the daemon never confirmed it", stop.words);
            return Err(self.late(stop.started, words));
        };
        let at = verdict.monotonic_ms;
        if at < stop.started {
            return Err(format!("{}: confirmed before the load began", verdict.to).into());
        }
        let words = format!(
            "{}, {} by {} {} after the start",
            stop.words,
            verdict.to,
            verdict.signature,
            seconds(at - stop.started)
        );
        if !signatures.contains(&verdict.signature.as_str()) {
            return Err(format!("{words}, but it is {}", signatures.join(" or ")).into());
        }
        Ok(words)
    }

    /// The same, and in time. A verdict in the crawl before the stop is also right.
    fn in_time(&self, stop: &Stop, signatures: Signatures) -> Result<String, Fault> {
        let words = self.told(stop, signatures)?;
        if self
            .confirmed()
            .is_some_and(|entry| entry.monotonic_ms > stop.at + AFTER_STOP)
        {
            return Err(self.late(stop.started, format!("too late: {words}")));
        }
        Ok(words)
    }

    /// An event came too late: the daemon's fault, if the host gave the guest its time.
    pub(super) fn late(&self, from: u64, words: String) -> Fault {
        match self.longest_gap(from) {
            gap if gap > STARVED => void(format!("{words}; the guest stood for {}", seconds(gap))),
            _ => words.into(),
        }
    }

    /// The time from which there is nothing left to write.
    fn drained(&self, after: u64) -> Option<u64> {
        let mut samples = self.samples().filter(|(ms, _)| *ms > after);
        samples
            .find(|(_, sample)| sample.dirty + sample.writeback < DRAINED)
            .map(|(ms, _)| ms)
    }

    /// Whether bytes move within some seconds of that time.
    fn moves_at(&self, at: u64) -> bool {
        let mut near = self.samples().filter(|(ms, _)| ms.abs_diff(at) < STOPPED);
        let (first, last) = (near.next(), near.last());
        let (Some(first), Some(last)) = (first, last) else {
            return false;
        };
        let grown = last.1.acked.saturating_sub(first.1.acked);
        grown * 1000 > CRAWL * last.0.saturating_sub(first.0)
    }

    /// The values of a metric without labels, and when they were fetched.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u64, f64)> + 'a {
        self.0.iter().filter_map(move |fact| match &fact.event {
            Event::Served { text, .. } => text.lines().find_map(|line| {
                let (known, value) = line.split_once(' ')?;
                let value = (known == name).then(|| value.parse().ok())??;
                Some((fact.ms, value))
            }),
            _ => None,
        })
    }

    /// The time of the stop: the last growth of acknowledged WRITE bytes, faster than a crawl over
    /// two seconds, before [`STOPPED`] without growth. A stopped loop still acknowledges a few
    /// pages now and then.
    pub fn stopped(&self, started: u64) -> Option<u64> {
        let samples: Vec<_> = self.samples().filter(|(ms, _)| *ms >= started).collect();
        let mut last = started;
        for at in 1..samples.len() {
            let (ms, sample) = samples[at];
            let grown = |from: usize| sample.acked.saturating_sub(samples[from].1.acked);
            let from = at.saturating_sub(4);
            if grown(at - 1) > 0 && grown(from) * 1000 > CRAWL * ms.saturating_sub(samples[from].0)
            {
                last = ms;
            } else if sample.dirty + sample.writeback < HELD {
                // Without pages to write there is no stop: the writers may be dead.
                last = ms;
            } else if sample.writeback == 0 && sample.acked == samples[0].1.acked {
                // A large node's client fills its memory before it sends anything.
                last = ms;
            } else if ms >= last + STOPPED {
                return Some(last);
            }
        }
        None
    }

    /// Whether nfsd has threads at the end, and none of them works on a call.
    fn nfsd_idles(&self) -> bool {
        let metrics = self.0.iter().rev().find_map(|fact| match &fact.event {
            Event::Served { path, text, .. } if path == "/metrics" => Some(text),
            _ => None,
        });
        let lines = metrics.into_iter().flat_map(|text| text.lines());
        let threads = lines.filter_map(|line| line.strip_prefix("throttle_nfsd_threads{"));
        let some: Vec<&str> = threads.filter(|line| !line.ends_with(" 0")).collect();
        matches!(some.as_slice(), [one] if one.contains("idle"))
    }

    fn entered(&self, state: &str, after: u64) -> Option<u64> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Verdict(entry) if entry.to == state && entry.monotonic_ms > after => {
                Some(entry.monotonic_ms)
            }
            _ => None,
        })
    }

    /// The time from which the loop runs for [`AFTER_STOP`] without a break: a mitigated livelock
    /// may move for a moment and stall again.
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

    /// The transition that ended the verdict although the loop was stalled. If the loop moves
    /// again, it may end.
    pub fn taken_back(&self) -> Option<&Transition> {
        self.0.iter().find_map(|fact| match &fact.event {
            Event::Verdict(entry) if matches!(entry.from.as_str(), "livelock" | "deadlock") => {
                (!entry.confirms() && !self.moves_at(entry.monotonic_ms)).then_some(entry)
            }
            _ => None,
        })
    }

    /// A related condition that blames the client while the verdict of its own loop is open.
    fn second_story(&self) -> Option<&Related> {
        let (mut open, mut told) = (None, None);
        for fact in self.0 {
            match &fact.event {
                Event::Verdict(entry) => open = entry.confirms().then_some(&entry.of),
                Event::Related(entry) if entry.began => {
                    let client = format!("{}-", entry.bdi);
                    let own = open.is_some_and(|of: &String| of.starts_with(&client));
                    if own && BLAME.contains(&&*entry.kind) {
                        told = told.or(Some(entry));
                    }
                }
                _ => {}
            }
        }
        told
    }

    /// The difference between /metrics and the daemon's last verdict at that time.
    fn hidden_from_metrics(&self) -> Option<String> {
        let told = |ms| {
            self.0.iter().rev().find_map(|fact| match &fact.event {
                Event::Verdict(entry) if entry.monotonic_ms < ms => Some(entry),
                _ => None,
            })
        };
        let mut served = self.0.iter().filter_map(|fact| match &fact.event {
            Event::Served { path, text, .. } if path == "/metrics" => Some((fact.ms, text)),
            _ => None,
        });
        let Some((ms, text)) = served.next() else {
            return Some("was not served".to_owned());
        };
        let states = text
            .lines()
            .filter(|line| line.starts_with("throttle_livelock_state{"));
        let shown = states
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .find(|value| *value > 0.0);
        let entry = told(ms)?;
        let hidden = entry.confirms() && !shown.is_some_and(|value| matches!(value, 2.0 | 3.0));
        hidden.then(|| {
            format!(
                "has {} as its state {} after it was told",
                shown.unwrap_or(0.0),
                seconds(ms.saturating_sub(entry.monotonic_ms))
            )
        })
    }
}

#[cfg(test)]
pub mod tests;
