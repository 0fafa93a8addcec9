//! Judges faults of a node: the daemon continues, and keeps its verdict.

use std::fmt::Write as _;

use guest::Event;

use super::{Judgement, Seen, seconds, void};

/// A page of metrics that was read.
struct Look<'a> {
    ms: u64,
    text: &'a str,
}

impl Look<'_> {
    /// The sum of the samples with this name whose labels contain this.
    fn sum(&self, name: &str, label: &str) -> Option<f64> {
        let values = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let ours = rest.starts_with(['{', ' ']) && rest.contains(label);
            let value = rest.rsplit_once(' ')?.1.parse::<f64>().ok()?;
            ours.then_some(value)
        });
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    fn ticks(&self) -> f64 {
        self.sum("throttle_monitor_tick_duration_seconds_count", "")
            .unwrap_or(0.0)
    }

    /// The worst state of any loop.
    fn state(&self) -> f64 {
        let values = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix("throttle_livelock_state{")?;
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        values.fold(0.0, f64::max)
    }

    fn loops(&self) -> usize {
        let ours = |line: &&str| line.starts_with("throttle_loop_info{");
        self.text.lines().filter(ours).count()
    }
}

/// After the fault it ticks, knows the loop, keeps the verdict, and has kept its counters. If it
/// was killed, nothing of it is left.
pub fn outlived(seen: &Seen<'_>) -> Judgement {
    if !seen.has_daemon() {
        return Ok("no daemon to judge".to_owned());
    }
    let looks = seen.0.iter().filter_map(|fact| match &fact.event {
        Event::Served { path, text, .. } if path == "/metrics" => Some(Look { ms: fact.ms, text }),
        _ => None,
    });
    let looks: Vec<_> = looks.collect();
    let [first, .., before, last] = looks.as_slice() else {
        return Err("the metrics were not looked at three times".into());
    };
    let mut words = format!(
        "{:.0} ticks in the last {}",
        last.ticks() - before.ticks(),
        seconds(last.ms - before.ms)
    );
    // One a second, or half of that on a busy host.
    if (last.ticks() - before.ticks()) * 2000.0 < (last.ms - before.ms) as f64 {
        return Err(format!("it does not tick: {words}").into());
    }
    if first.loops() == 0 {
        return Err(void("no loop was known before the fault"));
    }
    if last.loops() != first.loops() {
        return Err(format!(
            "{words}; {} loops before, {} after",
            first.loops(),
            last.loops()
        )
        .into());
    }
    write!(words, ", {} loop known", last.loops()).map_err(|error| error.to_string())?;
    match (first.state() >= 2.0, last.state() >= 2.0) {
        (true, true) => words.push_str(", livelock held"),
        (false, true) => words.push_str(", livelock found after it"),
        (true, false) => {
            return Err(format!("{words}; the livelock is not told any more").into());
        }
        (false, false) => return Err(format!("{words}; no livelock is told").into()),
    }
    let killed = seen
        .0
        .iter()
        .any(|fact| matches!(&fact.event, Event::Step(step) if step.contains("KillDaemon")));
    if killed {
        return nothing_left(seen, &words);
    }
    if let Some(entry) = seen.taken_back() {
        return Err(format!(
            "{words}; {} though nothing moved: {}",
            entry.to, entry.reason
        )
        .into());
    }
    let waits = |look: &Look<'_>| look.sum("throttle_delay_seconds_count", "").unwrap_or(0.0);
    if waits(last) < waits(first) {
        return Err(format!(
            "{words}; {} waits counted before, {} after",
            waits(first),
            waits(last)
        )
        .into());
    }
    for reason in ["ringbuf", "map_full", "evicted"] {
        let label = format!("reason=\"{reason}\"");
        let missed = last
            .sum("throttle_monitor_lost_events_total", &label)
            .unwrap_or(0.0);
        if missed > 0.0 {
            write!(words, ", {missed} lost ({reason}), and said so")
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(words)
}

/// Between the killed daemon and the next, the kernel has no objects of it.
fn nothing_left(seen: &Seen<'_>, words: &str) -> Judgement {
    let held = seen.0.iter().find_map(|fact| match fact.event {
        Event::BpfObjects {
            programs,
            maps,
            links,
        } => Some((programs, maps, links)),
        _ => None,
    });
    match held {
        Some((0, 0, 0)) => Ok(format!("{words}, nothing left in the kernel in between")),
        Some(left) => Err(format!("{words}; programs, maps, links left: {left:?}").into()),
        None => Err("nobody looked at what the kernel holds".into()),
    }
}

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;
    use crate::judge::Fault;

    fn look(ms: u64, ticks: u32, loops: usize, state: u32, waits: u32) -> Fact {
        let mut text = format!(
            "throttle_monitor_tick_duration_seconds_count {ticks}\nthrottle_delay_seconds_count{{cause=\"x\"}} {waits}\n\
             throttle_livelock_state{{loop=\"a\"}} {state}\n"
        );
        for at in 0..loops {
            let _ = writeln!(text, "throttle_loop_info{{loop=\"{at}\"}} 1");
        }
        let path = "/metrics".to_owned();
        Fact {
            ms,
            event: Event::Served { path, ms: 1, text },
        }
    }

    #[test]
    fn after_a_fault_it_must_tick_know_the_loop_hold_the_verdict_and_forget_nothing() {
        let before = || vec![look(1_000, 10, 1, 2, 100), look(60_000, 60, 1, 2, 110)];
        let with = |last: Fact| {
            let mut facts = before();
            facts.push(last);
            outlived(&Seen(&facts))
        };
        assert!(with(look(68_000, 68, 1, 2, 111)).is_ok());
        for wrong in [
            look(68_000, 62, 1, 2, 111),
            look(68_000, 68, 0, 2, 111),
            look(68_000, 68, 1, 0, 111),
            look(68_000, 68, 1, 2, 5),
        ] {
            assert!(matches!(with(wrong), Err(Fault::Wrong(_))));
        }
        assert!(outlived(&Seen(&before())).is_err(), "two looks are too few");
    }

    #[test]
    fn of_one_that_was_killed_nothing_may_be_left() {
        let mut facts = vec![look(1_000, 10, 1, 2, 100)];
        let killed = |event| Fact { ms: 2_000, event };
        facts.push(killed(Event::Step("\"KillDaemon\"".to_owned())));
        let left = |programs| Event::BpfObjects {
            programs,
            maps: 0,
            links: 0,
        };
        facts.push(killed(left(0)));
        facts.extend([look(60_000, 20, 1, 2, 1), look(68_000, 28, 1, 2, 2)]);
        assert!(outlived(&Seen(&facts)).is_ok());
        facts[2] = killed(left(3));
        assert!(outlived(&Seen(&facts)).is_err());
    }
}
