//! The numbers that make an NFS mount a loop.
//!
//! Chance matches of transaction ids do not count: they are 32-bit counters
//! from random starts. The kernel side matches within a second only, but the
//! counter of a remote client that sweeps over a local one's yields a burst of
//! matches: hence a share of the calls, over many seconds, and a run.

use std::time::Duration;

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{ThresholdError, human};

/// What makes an NFS mount a loop, and what ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct LoopThresholds {
    /// Calls and writes count half after so long. A sweep of one counter over
    /// another takes a second or two where their rates differ.
    #[serde(with = "human")]
    pub half_life: Duration,
    /// Recent calls served here before a match can be proof: one may be
    /// chance, a run of them is not.
    pub served_min_calls: u64,
    /// Share of the recent calls that must be served here for proof. In a loop
    /// it is all of them, but those that wait for a thread for over a second.
    pub served_share: f64,
    /// Calls before "served elsewhere" is believed. A mount alone makes ten.
    pub refute_min_calls: u64,
    /// Under this share served here, the calls are answered elsewhere; in a
    /// loop whose threads are free it is nearly one.
    pub refute_share: f64,
    /// Calls answered elsewhere before a loop appeared that make the node one
    /// that has become its own client. Fewer than to refute: it only words the
    /// event.
    pub elsewhere_min_calls: u64,
    /// Recent writes before LOCALIO is told from them.
    pub localio_min_writes: u64,
    /// With LOCALIO less than this share of the writes goes by RPC.
    pub localio_rpc_share: f64,
    /// What a look-up found stands for so long after it is first missed, and a
    /// mount that writes is there: one late or torn look-up ends nothing.
    #[serde(with = "human")]
    pub patience: Duration,
    /// A loop of which mount or scope is not known yet is told after so long
    /// all the same. It is judged from the first.
    #[serde(with = "human")]
    pub tell_after: Duration,
}

impl Default for LoopThresholds {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(10),
            served_min_calls: 3,
            served_share: 0.5,
            refute_min_calls: 16,
            refute_share: 0.1,
            elsewhere_min_calls: 8,
            localio_min_writes: 8,
            localio_rpc_share: 0.5,
            patience: Duration::from_secs(10),
            tell_after: Duration::from_millis(2500),
        }
    }
}

impl LoopThresholds {
    pub(super) fn check(&self) -> Result<(), ThresholdError> {
        for (key, value) in [
            ("loops.half_life", self.half_life),
            ("loops.patience", self.patience),
            ("loops.tell_after", self.tell_after),
        ] {
            if value < Duration::from_secs(1) || value > Duration::from_hours(24) {
                let value = humantime::format_duration(value).to_string();
                let rule = "from 1s to 1day";
                return Err(ThresholdError { key, value, rule });
            }
        }
        for (key, value) in [
            ("loops.served_share", self.served_share),
            ("loops.refute_share", self.refute_share),
            ("loops.localio_rpc_share", self.localio_rpc_share),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                let (value, rule) = (value.to_string(), "a share: above 0 and at most 1");
                return Err(ThresholdError { key, value, rule });
            }
        }
        if self.refute_share >= self.served_share {
            let (key, value) = ("loops.refute_share", self.refute_share.to_string());
            let rule = "less than loops.served_share";
            return Err(ThresholdError { key, value, rule });
        }
        for (key, value) in [
            ("loops.served_min_calls", self.served_min_calls),
            ("loops.refute_min_calls", self.refute_min_calls),
            ("loops.elsewhere_min_calls", self.elsewhere_min_calls),
            ("loops.localio_min_writes", self.localio_min_writes),
        ] {
            if value == 0 {
                let (value, rule) = ("0".to_owned(), "above 0");
                return Err(ThresholdError { key, value, rule });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::LoopThresholds;

    type Change = fn(&mut LoopThresholds, Duration);

    fn check(change: impl FnOnce(&mut LoopThresholds)) -> Option<&'static str> {
        let mut thresholds = LoopThresholds::default();
        change(&mut thresholds);
        thresholds.check().err().map(|error| error.key)
    }

    #[test]
    fn times_are_from_a_second_to_a_day() {
        let all: [(&str, Change); 3] = [
            ("loops.half_life", |t, time| t.half_life = time),
            ("loops.patience", |t, time| t.patience = time),
            ("loops.tell_after", |t, time| t.tell_after = time),
        ];
        let (second, day) = (Duration::from_secs(1), Duration::from_hours(24));
        let little = Duration::from_nanos(1);
        for (key, change) in all {
            for within in [second, day] {
                assert_eq!(check(|t| change(t, within)), None, "{key} {within:?}");
            }
            for beyond in [Duration::from_nanos(999_999_999), day + little] {
                assert_eq!(check(|t| change(t, beyond)), Some(key), "{beyond:?}");
            }
        }
    }

    #[test]
    fn shares_are_above_nothing_and_at_most_all_and_what_refutes_is_less_than_what_proves() {
        assert_eq!(check(|t| t.served_share = 1.0), None);
        assert_eq!(check(|t| t.localio_rpc_share = 1.0), None);
        for none in [0.0, -1.0, 1.5, f64::NAN] {
            let key = Some("loops.localio_rpc_share");
            assert_eq!(check(|t| t.localio_rpc_share = none), key, "{none}");
        }
        let key = Some("loops.refute_share");
        assert_eq!(check(|t| t.refute_share = 0.0), key);
        assert_eq!(check(|t| t.refute_share = t.served_share), key);
    }

    #[test]
    fn one_call_is_the_least_that_proves_or_refutes() {
        assert_eq!(check(|t| t.refute_min_calls = 1), None);
        let key = Some("loops.refute_min_calls");
        assert_eq!(check(|t| t.refute_min_calls = 0), key);
        let key = Some("loops.served_min_calls");
        assert_eq!(check(|t| t.served_min_calls = 0), key);
    }
}
