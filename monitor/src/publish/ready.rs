//! Whether the daemon does its work.

use std::time::Duration;

use monitor_model::observation::State;
use rustix::time::{ClockId, clock_gettime};

use super::snapshot::Snapshot;

/// The least age at which a tick is too old, however short the interval.
const MIN_STALE: Duration = Duration::from_secs(5);

/// Why the daemon does not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Nothing was read yet.
    #[error("the first tick has not finished yet")]
    NoTick,
    /// The tick hangs or fails.
    #[error(
        "the last tick was {:.1} s ago, more than {:.1} s: the tick thread hangs or fails; see the log",
        age.as_secs_f64(), limit.as_secs_f64()
    )]
    Stale {
        /// Age of the last tick.
        age: Duration,
        /// The age that it may have.
        limit: Duration,
    },
    /// The loader has not reported.
    #[error("the probes are not attached yet")]
    NoProbes,
    /// A signal is missing without which nothing can be said.
    #[error("the signal {signal} is unavailable: {reason}{}", in_brackets(.remedy))]
    Signal {
        /// The signal.
        signal: String,
        /// Why, in the kernel's words.
        reason: String,
        /// What a person can do, may be empty.
        remedy: String,
    },
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

/// How old a tick may be: three intervals, at least five seconds.
#[must_use]
pub fn stale_after(interval: Duration) -> Duration {
    interval.saturating_mul(3).max(MIN_STALE)
}

/// Everything that keeps the daemon from being ready at `now_ns`
/// (`CLOCK_MONOTONIC`); empty: it is ready. A recording is never late.
#[must_use]
pub fn not_ready(snapshot: &Snapshot, now_ns: u64) -> Vec<NotReady> {
    let mut reasons = Vec::new();
    let limit = stale_after(snapshot.daemon.interval());
    let age = Duration::from_nanos(now_ns.saturating_sub(snapshot.observation.monotonic_ns));
    if !snapshot.ticked() {
        reasons.push(NotReady::NoTick);
    } else if age >= limit && snapshot.daemon.info.recording.is_none() {
        reasons.push(NotReady::Stale { age, limit });
    }
    if snapshot.probes.signals.is_empty() {
        reasons.push(NotReady::NoProbes);
    }
    let missing = snapshot
        .probes
        .signals
        .iter()
        .filter(|s| s.applies && s.needed && s.state == State::Unavailable);
    reasons.extend(missing.map(|s| NotReady::Signal {
        signal: s.signal.to_string(),
        reason: s.reason.clone(),
        remedy: s.remedy.clone(),
    }));
    reasons
}

/// Everything that keeps it from being ready now.
#[must_use]
pub fn not_ready_now(snapshot: &Snapshot) -> Vec<NotReady> {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock is never negative.
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    not_ready(
        snapshot,
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
    )
}

/// The same in one line for people.
#[must_use]
pub fn sentence(reasons: &[NotReady]) -> String {
    if reasons.is_empty() {
        return "ready".to_owned();
    }
    let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    format!("not ready: {}", words.join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use monitor_model::observation::State;

    use super::{NotReady, not_ready, sentence, stale_after};
    use crate::publish::snapshot::{Daemon, ProbeReport, SignalReport, Snapshot};
    use crate::publish::testing;
    use crate::publish::testing::NOW_NS;

    fn with_signal(change: impl FnOnce(&mut SignalReport)) -> Vec<NotReady> {
        let mut report = testing::signal("nfs_client", State::Unavailable);
        change(&mut report);
        let mut snapshot = testing::snapshot();
        snapshot.probes = Arc::new(ProbeReport {
            signals: vec![report],
            ..ProbeReport::default()
        });
        not_ready(&snapshot, NOW_NS)
    }

    #[test]
    fn attached_and_degraded_signals_with_a_fresh_tick_are_ready() {
        assert_eq!(not_ready(&testing::snapshot(), NOW_NS + 1_000_000_000), []);
        assert_eq!(sentence(&[]), "ready");
    }

    #[test]
    fn before_anything_both_the_tick_and_the_probes_are_missing() {
        let reasons = not_ready(&Snapshot::before_the_first_tick(Daemon::default()), NOW_NS);
        assert_eq!(reasons, [NotReady::NoTick, NotReady::NoProbes]);
        assert_eq!(
            sentence(&reasons),
            "not ready: the first tick has not finished yet; the probes are not attached yet"
        );
    }

    #[test]
    fn a_tick_is_too_old_at_the_limit_and_not_before() {
        let limit_ns = 5_000_000_000;
        assert_eq!(not_ready(&testing::snapshot(), NOW_NS + limit_ns - 1), []);
        let reasons = not_ready(&testing::snapshot(), NOW_NS + limit_ns);
        assert_eq!(
            reasons,
            [NotReady::Stale {
                age: Duration::from_secs(5),
                limit: Duration::from_secs(5)
            }]
        );
        assert!(sentence(&reasons).contains("5.0 s ago"));
    }

    #[test]
    fn a_clock_read_before_the_tick_s_own_is_no_old_tick() {
        assert_eq!(not_ready(&testing::snapshot(), NOW_NS - 1), []);
    }

    #[test]
    fn a_long_interval_makes_the_limit_longer() {
        assert_eq!(
            stale_after(Duration::from_millis(100)),
            Duration::from_secs(5)
        );
        assert_eq!(
            stale_after(Duration::from_secs(10)),
            Duration::from_secs(30)
        );
    }

    #[test]
    fn a_needed_signal_that_is_unavailable_is_named_with_reason_and_remedy() {
        let words = sentence(&with_signal(|_| ()));
        assert_eq!(
            words,
            "not ready: the signal nfs_client is unavailable: fentry: EPERM (add CAP_BPF)"
        );
        let words = sentence(&with_signal(|report| report.remedy.clear()));
        assert_eq!(
            words,
            "not ready: the signal nfs_client is unavailable: fentry: EPERM"
        );
    }

    #[test]
    fn a_signal_that_is_not_needed_or_does_not_apply_keeps_nobody_from_being_ready() {
        assert_eq!(with_signal(|report| report.needed = false), []);
        assert_eq!(with_signal(|report| report.applies = false), []);
        assert_eq!(with_signal(|report| report.state = State::Degraded), []);
    }
}
