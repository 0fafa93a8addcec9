//! Waits for an event or the end of a time.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use guest::{Event, Until};

use super::Player;
use crate::{counters, http, tell};

/// Bytes a second that a frozen loop may still acknowledge.
const TRICKLE: f64 = 500_000.0;

impl Player {
    /// Waits for this event, at most this long.
    pub fn watch(&mut self, most: Duration, until: &Until) {
        let start = Instant::now();
        let passed = |since: &AtomicU64, seconds: u64| {
            let at = since.load(Relaxed);
            at > 0 && tell::now() > at + seconds * 1000
        };
        let mut progress = (start, counters::read().acked);
        let mut killed = None;
        while start.elapsed() < most && !self.daemon_died() {
            thread::sleep(Duration::from_millis(200));
            match until {
                Until::Killed(seconds) => {
                    if killed.is_none() && counters::read().oom_kills > 0 {
                        killed = Some(Instant::now());
                    }
                    if killed.is_some_and(|at| at.elapsed() > Duration::from_secs(*seconds)) {
                        return;
                    }
                }
                Until::Frozen(seconds) => {
                    let acked = counters::read().acked;
                    // A burst counts as one second of a trickle at least.
                    let since = progress.0.elapsed();
                    let grown = acked.saturating_sub(progress.1) as f64;
                    if grown > TRICKLE * since.as_secs_f64().max(1.0) {
                        progress = (Instant::now(), acked);
                    } else if since > Duration::from_secs(*seconds) {
                        return;
                    }
                }
                Until::Confirmed(_)
                    if self.daemon.is_none() && start.elapsed() > Duration::from_secs(25) =>
                {
                    return;
                }
                Until::Confirmed(seconds) if passed(&self.shared.confirmed_ms, *seconds) => return,
                Until::Recovered(seconds) if passed(&self.shared.recovered_ms, *seconds) => return,
                Until::Over | Until::Confirmed(_) | Until::Recovered(_) => {}
                Until::Metric { name, labels } => {
                    if self.daemon.is_some()
                        && let Some(line) = metric(name, labels)
                    {
                        tell::event(Event::Metric { line });
                        return;
                    }
                    thread::sleep(Duration::from_millis(800));
                }
            }
        }
    }
}

fn metric(name: &str, labels: &[String]) -> Option<String> {
    let body = http::get("/metrics").ok()?;
    body.lines()
        .filter(|line| line.starts_with(name))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .find(|line| {
            let value = line.rsplit(' ').next().and_then(|word| word.parse().ok());
            value.is_some_and(|number: f64| number > 0.0)
        })
        .map(str::to_owned)
}
