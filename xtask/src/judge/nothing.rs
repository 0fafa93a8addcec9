//! Judges scenarios without a livelock.

use guest::{Event, Sample};

use super::{CRAWL, HELD, Judgement, STOPPED, Seen, seconds, void};
use crate::scenario::Quiet;

/// There is no verdict although there was enough to judge; returns what happened instead.
pub fn judge(seen: &Seen<'_>, quiet: &Quiet) -> Judgement {
    let started = seen.writers_started()?;
    let flow = Flow::from(seen, started).ok_or("no samples after the start of the load")?;
    let (disk, acked, kills) = (flow.disk, flow.acked, flow.kills);
    let mut words = flow.words();
    if kills > 0 {
        words = format!("{words}, {kills} processes killed");
    }
    // Most scenarios do not include the OOM killer.
    let killed = |until: u64| {
        let mut before = seen.samples().filter(|(ms, _)| *ms <= until);
        !quiet.oom && before.any(|(_, sample)| sample.oom_kills > 0)
    };
    if let Some(entry) = seen.confirmed() {
        if killed(entry.monotonic_ms) {
            return Err(void(format!("{words}, then {} told", entry.signature)));
        }
        if seen.stood_still(entry.monotonic_ms) {
            return Err(void(format!(
                "a real one: disk and client crawled for {}, {} told it ({words})",
                seconds(STOPPED),
                entry.signature
            )));
        }
        return Err(format!(
            "false verdict: {} by {} at {}: {} ({words})",
            entry.to,
            entry.signature,
            seconds(entry.monotonic_ms.saturating_sub(started)),
            entry.reason
        )
        .into());
    }
    if killed(u64::MAX) {
        return Err(void(format!("{words}, though memory should be enough")));
    }
    if disk < quiet.disk || acked < quiet.acked {
        return Err(void(format!("{words}, too little")));
    }
    let traced = seen.traced().unwrap_or(0);
    if traced < quiet.traced {
        return Err(void(format!("{words}, {traced} sleeps are not a storm")));
    }
    if quiet.oom && kills == 0 {
        return Err(void(format!("{words}, no process was killed")));
    }
    if !seen.has_daemon() {
        return Ok(format!("{words}, no daemon to judge"));
    }
    if !seen
        .0
        .iter()
        .any(|fact| matches!(fact.event, Event::HasRelated))
    {
        return Ok(format!(
            "{words}, no verdict; related conditions are not served"
        ));
    }
    if let Some((ms, found)) = seen.reports().next().filter(|_| quiet.no_loop) {
        let at = seconds(ms);
        return Err(format!("{words}, no verdict, but a loop at {at}: {found:?}").into());
    }
    let named: Vec<_> = seen
        .0
        .iter()
        .filter_map(|fact| match &fact.event {
            Event::Related(entry) if entry.began => Some(entry.kind.as_str()),
            _ => None,
        })
        .collect();
    if let Some(missing) = quiet.related.iter().find(|kind| !named.contains(*kind)) {
        return Err(format!("{words}, no verdict, but {missing} was not named: {named:?}").into());
    }
    if let Some(wrong) = quiet.not_related.iter().find(|kind| named.contains(*kind)) {
        return Err(format!("{words}, no verdict, but {wrong} was named: {named:?}").into());
    }
    let reasons: Vec<_> = seen
        .0
        .iter()
        .filter_map(|fact| match &fact.event {
            Event::Related(entry) if entry.began => Some(entry.reason.as_str()),
            _ => None,
        })
        .collect();
    let said = |words: &&&str| reasons.iter().any(|reason| reason.contains(**words));
    if let Some(missing) = quiet.says.iter().find(|words| !said(words)) {
        return Err(
            format!("{words}, no verdict, but nothing said {missing:?}: {reasons:?}").into(),
        );
    }
    let named = named
        .first()
        .map_or(String::new(), |kind| format!(", {kind}"));
    Ok(format!("{words}, no verdict{named}"))
}

/// The amount of data, in a few words.
pub fn cell(seen: &Seen<'_>) -> String {
    let started = seen.writers_started().unwrap_or(0);
    let flow = Flow::from(seen, started);
    let flow = flow.map_or(String::new(), |flow| format!(", {}", flow.words()));
    format!("no verdict{flow}")
}

impl Seen<'_> {
    /// Whether the loop stalled before that time by the measure of a positive, with an idle disk: a
    /// slow disk is never idle then. 7.2 did so over 127.0.0.1 for half a minute, at the first
    /// write to an xfs. 5.10 did so with tight but sufficient memory.
    fn stood_still(&self, until: u64) -> bool {
        let since = until.saturating_sub(STOPPED);
        let mut samples = self.samples().filter(|(ms, _)| (since..until).contains(ms));
        let (Some((_, first)), Some((_, last))) = (samples.next(), samples.last()) else {
            return false;
        };
        let moved = last.acked.saturating_sub(first.acked) + last.disk.saturating_sub(first.disk);
        moved * 1000 < CRAWL * STOPPED && last.dirty + last.writeback > HELD
    }
}

/// Bytes a second since the start of the load, and processes killed.
struct Flow {
    disk: u64,
    acked: u64,
    kills: u64,
}

impl Flow {
    fn from(seen: &Seen<'_>, started: u64) -> Option<Self> {
        let mut after = seen.samples().filter(|(ms, _)| *ms >= started);
        let (first, last) = (after.next()?, after.last()?);
        let rate = |of: fn(&Sample) -> u64| {
            let elapsed = last.0.saturating_sub(first.0).max(1);
            of(&last.1).saturating_sub(of(&first.1)) * 1000 / elapsed
        };
        Some(Self {
            disk: rate(|sample| sample.disk),
            acked: rate(|sample| sample.acked),
            kills: last.1.oom_kills,
        })
    }

    fn words(&self) -> String {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        format!(
            "{:.1} MB/s to disk, {:.1} by NFS",
            mb(self.disk),
            mb(self.acked)
        )
    }
}

#[cfg(test)]
mod tests;
