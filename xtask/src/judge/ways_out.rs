//! What an action did to a loop, in numbers. Nothing is right or wrong here.

use guest::{Event, Sample};

use super::{CRAWL, Judgement, STOPPED, Seen, void};

/// Bytes that no frozen loop lets through.
const MOVED: u64 = 2_000_000;

/// What is left over when all is written.
const DRAINED: u64 = 2_000_000;

/// For an action on a frozen loop, and for one before the load. Words of the
/// form `what=number`, one line for each run.
pub fn measured(seen: &Seen<'_>) -> Judgement {
    let started = seen.writers_started()?;
    let helped = seen.0.iter().find_map(|fact| match fact.event {
        Event::HelpedOut => Some(fact.ms),
        _ => None,
    });
    let stopped = seen.stopped(started);
    let froze = stopped.map_or("no".to_owned(), |at| in_seconds(at - started));
    let Some(helped) = helped else {
        // An action before the load.
        return Ok(format!(
            "froze={froze} {}",
            Flow::after(seen, started).words()
        ));
    };
    if seen.moves_at(helped - STOPPED) {
        return Err(void(format!("froze={froze}, not before the action")));
    }
    Ok(format!(
        "froze={froze} {}",
        Flow::after(seen, helped).words()
    ))
}

fn in_seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1000.0)
}

/// What flowed from a moment on.
struct Flow {
    samples: Vec<(u64, Sample)>,
}

impl Flow {
    fn after(seen: &Seen<'_>, from: u64) -> Self {
        let samples = seen.samples().filter(|(ms, _)| *ms >= from).collect();
        Self { samples }
    }

    fn words(&self) -> String {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return "no samples".to_owned();
        };
        let since = |ms: Option<u64>| ms.map_or("never".to_owned(), |ms| in_seconds(ms - first.0));
        let at = |is: &dyn Fn(&Sample) -> bool| {
            let mut samples = self.samples.iter();
            samples.find(|(_, sample)| is(sample)).map(|(ms, _)| *ms)
        };
        let moved = at(&|sample| sample.acked > first.1.acked + MOVED);
        let drained = at(&|sample| sample.dirty + sample.writeback < DRAINED);
        let late = last.0.saturating_sub(20_000);
        let middle = self.samples.iter().find(|(ms, _)| *ms >= late);
        let rate = |from: &(u64, Sample)| {
            let grown = last.1.acked.saturating_sub(from.1.acked);
            grown * 1000 / last.0.saturating_sub(from.0).max(1)
        };
        let longest = self.longest_stop(moved.unwrap_or(last.0));
        format!(
            "moved={} longest-stop-after={} drained={} bytes/s={} bytes/s-at-last={} oom={}",
            since(moved),
            in_seconds(longest),
            since(drained),
            rate(first),
            rate(middle.unwrap_or(first)),
            last.1.oom_kills,
        )
    }

    /// The longest time from then on in which nothing to speak of flowed.
    fn longest_stop(&self, from: u64) -> u64 {
        let mut longest = 0;
        let mut begin: Option<(u64, u64)> = None;
        for (ms, sample) in self.samples.iter().filter(|(ms, _)| *ms >= from) {
            let (since, acked) = *begin.get_or_insert((*ms, sample.acked));
            if (sample.acked - acked) * 1000 > CRAWL * (ms - since).max(STOPPED / 5) {
                begin = Some((*ms, sample.acked));
            } else {
                longest = longest.max(ms - since);
            }
        }
        longest
    }
}
