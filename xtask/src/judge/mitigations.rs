//! Measures the effect of an action on a loop. Nothing is right or wrong here.

use std::ops::Range;

use guest::{Event, Sample};

use super::{CRAWL, Judgement, STOPPED, Seen, void};

/// Bytes that no frozen loop acknowledges.
const MOVED: u64 = 2_000_000;

/// Bytes that may remain when all is written.
const DRAINED: u64 = 2_000_000;

/// Texts of the form `what=number`, one line for each run, for an action on a frozen loop or before
/// the load.
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
    let before = helped.saturating_sub(STOPPED)..helped;
    if Flow::during(seen, before).rate() > CRAWL {
        return Err(void(format!("froze={froze}, not before the action")));
    }
    Ok(format!(
        "froze={froze} {}",
        Flow::after(seen, helped).words()
    ))
}

/// The same for the writers to a local disk, which another device holds. Each number is of bytes
/// that the disks wrote: the server's are idle.
pub fn held(seen: &Seen<'_>) -> Judgement {
    let helped = seen.0.iter().find_map(|fact| match fact.event {
        Event::HelpedOut => Some(fact.ms),
        _ => None,
    });
    let last_start = seen.0.iter().rev().find_map(|fact| match fact.event {
        Event::WritersStarted => Some(fact.ms),
        _ => None,
    });
    let of_disk = |mut flow: Flow| {
        for (_, sample) in &mut flow.samples {
            sample.acked = sample.disk;
        }
        flow
    };
    let Some(helped) = helped else {
        let started = last_start.ok_or("the writers were never started")?;
        return Ok(of_disk(Flow::after(seen, started)).words());
    };
    let before = of_disk(Flow::during(seen, helped.saturating_sub(STOPPED)..helped));
    if before.rate() > CRAWL {
        return Err(void(format!(
            "{} bytes/s went to disk before the action",
            before.rate()
        )));
    }
    Ok(format!(
        "before={} {}",
        before.rate(),
        of_disk(Flow::after(seen, helped)).words()
    ))
}

fn in_seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1000.0)
}

fn rate(from: &(u64, Sample), to: &(u64, Sample)) -> u64 {
    to.1.acked.saturating_sub(from.1.acked) * 1000 / to.0.saturating_sub(from.0).max(1)
}

/// The data that moved in a time.
struct Flow {
    samples: Vec<(u64, Sample)>,
}

impl Flow {
    fn after(seen: &Seen<'_>, from: u64) -> Self {
        Self::during(seen, from..u64::MAX)
    }

    fn during(seen: &Seen<'_>, when: Range<u64>) -> Self {
        let samples = seen.samples().filter(|(ms, _)| when.contains(ms)).collect();
        Self { samples }
    }

    /// In bytes a second.
    fn rate(&self) -> u64 {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return 0;
        };
        rate(first, last)
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
        let longest = self.longest_stop(moved.unwrap_or(last.0));
        format!(
            "moved={} longest-stop-after={} drained={} bytes/s={} bytes/s-at-last={} oom={}",
            since(moved),
            in_seconds(longest),
            since(drained),
            self.rate(),
            rate(middle.unwrap_or(first), last),
            last.1.oom_kills,
        )
    }

    /// The longest time from then on in which almost no data moved.
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

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;
    use crate::judge::{Fault, livelock::tests::facts};

    /// Frozen at 14 s, helped at 40 s, and from then on so many bytes a second.
    fn helped(rate: u64) -> Vec<Fact> {
        let mut facts = facts(14_000);
        for fact in &mut facts {
            if let Event::Sample(sample) = &mut fact.event {
                sample.acked += fact.ms.saturating_sub(40_000) * rate / 1000;
            }
        }
        facts.push(Fact {
            ms: 40_000,
            event: Event::HelpedOut,
        });
        facts
    }

    #[test]
    fn an_action_that_helps_is_told_from_one_that_does_not() {
        let words = measured(&Seen(&helped(20_000_000))).unwrap();
        assert!(words.starts_with("froze=4.0 moved=0.5 "), "{words}");
        assert!(words.contains(" bytes/s=20000000 "), "{words}");
        let words = measured(&Seen(&helped(0))).unwrap();
        assert!(
            words.contains("moved=never") && words.contains(" bytes/s=0 "),
            "{words}"
        );
    }

    #[test]
    fn an_action_on_a_loop_that_moves_proves_nothing() {
        let mut facts = facts(60_000);
        facts.push(Fact {
            ms: 40_000,
            event: Event::HelpedOut,
        });
        assert!(matches!(measured(&Seen(&facts)), Err(Fault::Void(_))));
    }

    #[test]
    fn an_action_before_the_load_is_told_by_what_flows() {
        let words = measured(&Seen(&facts(60_000))).unwrap();
        assert!(words.starts_with("froze=no "), "{words}");
        let words = measured(&Seen(&facts(14_000))).unwrap();
        assert!(words.starts_with("froze=4.0 "), "{words}");
        assert!(words.contains("longest-stop-after=45.5 "), "{words}");
    }
}
