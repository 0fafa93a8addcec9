//! Every number that a verdict depends on, with its reason.

mod loops;
mod related;
mod signatures;

use std::time::Duration;

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

pub use loops::LoopThresholds;
pub use related::RelatedThresholds;
pub use signatures::SignatureThresholds;

/// The numbers of all signatures. Durations are written as people write them
/// (`5s`, `500ms`), in TOML as in flags; shares are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// The sliding window. Three ticks: long enough for a one-thread server
    /// that one sample catches idle, short enough that the last good second
    /// has left it, and `confirm` is over, 9 s after the last progress.
    #[serde(with = "human")]
    pub window: Duration,
    /// All four conditions for so long: livelock.
    #[serde(with = "human")]
    pub confirm: Duration,
    /// Not one byte for so long after the confirmation: deadlock. Each wait of
    /// a crawl ends after 200 ms, so half a minute without any is another
    /// thing.
    #[serde(with = "human")]
    pub deadlock_after: Duration,
    /// A condition gone, or every second with progress, for so long:
    /// recovered. Raising `vm.dirty_bytes` alone moves the loop for 1-2 s and
    /// must not count; real recovery is to be seen within 10 s.
    #[serde(with = "human")]
    pub recover: Duration,
    /// So long `recovered` stays before `none`, so that a scrape every 15 s
    /// or a person at `top` can see it in the events.
    #[serde(with = "human")]
    pub recovered_hold: Duration,
    /// Fewer than three conditions for so long: no longer suspected. One
    /// window, so that what left it is what ends the suspicion.
    #[serde(with = "human")]
    pub calm: Duration,
    /// Three conditions with the closing edge refuted for so long: suspected. A
    /// slow disk under a loopback mount completes no WRITE for 4-9 s in a row
    /// and is not a suspect; where the edge holds or is unknown there is no delay.
    #[serde(with = "human")]
    pub suspect_without_edge: Duration,
    /// A longer silence between observations (SIGSTOP, suspend) restarts the
    /// window. A starved machine that ticks every few seconds does not: the
    /// counters went on in the kernel.
    #[serde(with = "human")]
    pub max_gap: Duration,
    /// The verdict of a loop that ended so long ago, and whose state is none,
    /// is forgotten.
    #[serde(with = "human")]
    pub forget_after: Duration,
    /// Dirty and writeback bytes of the client from which it wants something.
    /// Below one WRITE call of the usual `wsize` (1 MiB) it may just be
    /// collecting.
    pub demand_floor_bytes: u64,
    /// Progress under this share of the best second that the loop has shown
    /// is none: 1 % of what it can do.
    pub stall_share: f64,
    /// Progress under so many bytes a second is none, whatever the loop has
    /// shown: it may freeze in its first second. The crawl before the freeze
    /// was measured at 0-0.5 MB/s; the disks did 30-100 MB/s.
    pub stall_floor_bytes_per_second: u64,
    /// Progress over so many bytes a second is always some: a page cache takes
    /// gigabytes a second, 1 % of which is a disk at work.
    pub stall_cap_bytes_per_second: u64,
    /// The best second counts half after so long: the load changes.
    #[serde(with = "human")]
    pub best_half_life: Duration,
    /// Share of the busy server-thread samples that are throttled or queue
    /// behind a throttled one. Measured in livelocks: 8 of 8.
    pub blockage_share: f64,
    /// Share of the window that the server was paused for, in all, before the
    /// samples count: guards against one unlucky sample.
    pub blockage_evidence_share: f64,
    /// The node's dirty pages over the hard limit, as a share of it. Frozen:
    /// 1.03 to 1.05; a crawl wavers around 1.
    pub over_limit_share: f64,
    /// The server's own BDI is nearly clean under this share of its setpoint.
    /// Frozen: 0.005 (6.12), 0.14 (5.10); slow but alive: 0.88. Where it was not
    /// paused, under this share of what the client holds.
    pub server_clean_share: f64,
    /// Or under this share of the node's limit: where the setpoint is that of a
    /// device that wrote little so far, it is not a measure. Frozen: 0.03, the
    /// pages of a WRITE of 1 MiB or two at a limit of 50 MB.
    pub server_clean_limit_share: f64,
    /// The server's disk works from this share of the time on. Frozen: 0; slow
    /// but alive: 0.92 to 1.
    pub disk_busy_share: f64,
    /// Share of the dirty pages that are not the server's own BDI's that the
    /// NFS client devices hold together. Frozen: 0.99.
    pub clients_share: f64,
    /// Share that one NFS client device must hold to be part of it.
    pub own_share: f64,
    /// A condition that held keeps holding until its number is this many times
    /// past the threshold.
    pub hysteresis: f64,
    /// What makes an NFS mount a loop.
    pub loops: LoopThresholds,
    /// What closes the cycle, by signature.
    pub signatures: SignatureThresholds,
    /// What looks like a livelock and is none.
    pub related: RelatedThresholds,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3),
            confirm: Duration::from_secs(5),
            deadlock_after: Duration::from_secs(30),
            recover: Duration::from_secs(3),
            recovered_hold: Duration::from_secs(10),
            calm: Duration::from_secs(3),
            suspect_without_edge: Duration::from_secs(12),
            max_gap: Duration::from_secs(10),
            forget_after: Duration::from_mins(1),
            demand_floor_bytes: 1 << 20,
            stall_share: 0.01,
            stall_floor_bytes_per_second: 768 << 10,
            stall_cap_bytes_per_second: 4 << 20,
            best_half_life: Duration::from_mins(10),
            blockage_share: 0.5,
            blockage_evidence_share: 0.2,
            over_limit_share: 0.97,
            server_clean_share: 0.5,
            server_clean_limit_share: 0.1,
            disk_busy_share: 0.5,
            clients_share: 0.5,
            own_share: 0.1,
            hysteresis: 1.5,
            loops: LoopThresholds::default(),
            signatures: SignatureThresholds::default(),
            related: RelatedThresholds::default(),
        }
    }
}

/// A threshold that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("threshold `{key}` is {value}, but must be {rule}")]
pub struct ThresholdError {
    /// The field's name, which is the key in the configuration.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it must be.
    pub rule: &'static str,
}

impl Thresholds {
    /// The reason of a key (`window`, `loops.half_life`): its field's comment.
    #[must_use]
    pub fn reason(key: &str) -> Option<&'static str> {
        match key.split_once('.') {
            None => Self::get_field_docs(key),
            Some(("loops", key)) => LoopThresholds::get_field_docs(key),
            Some(("related", key)) => RelatedThresholds::get_field_docs(key),
            Some(("signatures", key)) => SignatureThresholds::get_field_docs(key),
            Some(_) => return None,
        }
        .ok()
    }

    /// The factor by which a threshold is looser, seen from whether the
    /// condition held one tick ago: what held, holds on a little longer.
    pub(super) fn slack(&self, held: bool) -> f64 {
        if held { self.hysteresis } else { 1.0 }
    }

    /// Whether a verdict is possible with these.
    ///
    /// # Errors
    ///
    /// Names the first one that is out of its range.
    pub fn check(&self) -> Result<(), ThresholdError> {
        self.check_durations()?;
        self.check_shares()?;
        self.loops.check()?;
        self.signatures.check()?;
        self.related.check()?;
        let error = |key, value: String, rule| Err(ThresholdError { key, value, rule });
        if !(1.0..=3.0).contains(&self.hysteresis) {
            return error("hysteresis", self.hysteresis.to_string(), "from 1 to 3");
        }
        if self.stall_floor_bytes_per_second == 0 {
            return error("stall_floor_bytes_per_second", "0".to_owned(), "above 0");
        }
        if self.stall_cap_bytes_per_second < self.stall_floor_bytes_per_second {
            let value = self.stall_cap_bytes_per_second.to_string();
            let rule = "at least stall_floor_bytes_per_second";
            return error("stall_cap_bytes_per_second", value, rule);
        }
        Ok(())
    }

    fn check_durations(&self) -> Result<(), ThresholdError> {
        let second = Duration::from_secs(1);
        let longest = Duration::from_hours(24);
        for (key, value, least, rule) in [
            ("max_gap", self.max_gap, second * 2, "from 2s to 1day"),
            (
                "window",
                self.window,
                second * 2,
                "from 2s to 1day, and no longer than max_gap",
            ),
            ("confirm", self.confirm, Duration::ZERO, "at most 1day"),
            (
                "deadlock_after",
                self.deadlock_after,
                second,
                "from 1s to 1day",
            ),
            ("recover", self.recover, second, "from 1s to 1day"),
            (
                "recovered_hold",
                self.recovered_hold,
                Duration::ZERO,
                "at most 1day",
            ),
            ("calm", self.calm, second, "from 1s to 1day"),
            (
                "suspect_without_edge",
                self.suspect_without_edge,
                Duration::ZERO,
                "at most 1day",
            ),
            ("forget_after", self.forget_after, second, "from 1s to 1day"),
            (
                "best_half_life",
                self.best_half_life,
                second,
                "from 1s to 1day",
            ),
        ] {
            let too_long = key == "window" && value > self.max_gap;
            if value < least || value > longest || too_long {
                let value = humantime::format_duration(value).to_string();
                return Err(ThresholdError { key, value, rule });
            }
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<(), ThresholdError> {
        for (key, value) in [
            ("stall_share", self.stall_share),
            ("blockage_share", self.blockage_share),
            ("blockage_evidence_share", self.blockage_evidence_share),
            ("over_limit_share", self.over_limit_share),
            ("server_clean_share", self.server_clean_share),
            ("server_clean_limit_share", self.server_clean_limit_share),
            ("disk_busy_share", self.disk_busy_share),
            ("clients_share", self.clients_share),
            ("own_share", self.own_share),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                let (value, rule) = (value.to_string(), "a share: above 0 and at most 1");
                return Err(ThresholdError { key, value, rule });
            }
        }
        Ok(())
    }
}

/// A duration in nanoseconds, the unit of the observations.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `5s` instead of serde's `{ secs, nanos }`.
mod human {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Thresholds;

    fn refused(change: impl FnOnce(&mut Thresholds)) -> &'static str {
        let mut thresholds = Thresholds::default();
        change(&mut thresholds);
        thresholds.check().expect_err("must be refused").key
    }

    #[test]
    fn the_defaults_pass_their_own_check() {
        assert_eq!(Thresholds::default().check(), Ok(()));
    }

    #[test]
    fn a_threshold_out_of_range_is_refused_by_name() {
        assert_eq!(refused(|t| t.window = Duration::ZERO), "window");
        assert_eq!(refused(|t| t.window = t.max_gap * 2), "window");
        assert_eq!(refused(|t| t.confirm = Duration::MAX), "confirm");
        assert_eq!(refused(|t| t.blockage_share = 0.0), "blockage_share");
        assert_eq!(refused(|t| t.own_share = f64::NAN), "own_share");
        assert_eq!(refused(|t| t.disk_busy_share = 1.1), "disk_busy_share");
        assert_eq!(refused(|t| t.hysteresis = 0.9), "hysteresis");
        assert_eq!(
            refused(|t| t.loops.refute_share = 0.6),
            "loops.refute_share"
        );
        assert_eq!(
            refused(|t| t.signatures.reclaim_share = 0.0),
            "signatures.reclaim_share"
        );
        assert_eq!(
            refused(|t| t.signatures.loop_device_share = 1.5),
            "signatures.loop_device_share"
        );
        assert_eq!(
            refused(|t| t.signatures.disk_write_floor_bytes_per_second = 0),
            "signatures.disk_write_floor_bytes_per_second"
        );
        assert_eq!(refused(|t| t.hysteresis = f64::NAN), "hysteresis");
        assert_eq!(
            refused(|t| t.stall_cap_bytes_per_second = 1),
            "stall_cap_bytes_per_second"
        );
    }

    #[test]
    fn what_is_just_within_its_range_is_taken_and_what_is_just_beyond_is_not() {
        let day = Duration::from_hours(24);
        let (second, little) = (Duration::from_secs(1), Duration::from_nanos(1));
        let taken: [fn(&mut Thresholds); 5] = [
            |t| t.window = Duration::from_secs(2),
            |t| t.window = t.max_gap,
            |t| (t.window, t.max_gap) = (Duration::from_secs(2), Duration::from_secs(2)),
            |t| (t.confirm, t.max_gap) = (Duration::from_hours(24), Duration::from_hours(24)),
            |t| t.stall_cap_bytes_per_second = t.stall_floor_bytes_per_second,
        ];
        for change in taken {
            let mut thresholds = Thresholds::default();
            change(&mut thresholds);
            assert_eq!(thresholds.check(), Ok(()));
        }
        assert_eq!(
            refused(|t| t.window = Duration::from_nanos(1_999_999_999)),
            "window"
        );
        let short = |t: &mut Thresholds| {
            (t.window, t.max_gap) = (second * 2, Duration::from_nanos(1_999_999_999));
        };
        assert_eq!(refused(short), "max_gap");
        assert_eq!(refused(|t| t.max_gap = day + little), "max_gap");
        assert_eq!(
            refused(|t| t.calm = Duration::from_nanos(999_999_999)),
            "calm"
        );
        let floor = refused(|t| t.stall_floor_bytes_per_second = 0);
        assert_eq!(floor, "stall_floor_bytes_per_second");
    }

    #[test]
    fn each_has_its_reason_by_its_key() {
        for (key, words) in [
            ("confirm", "All four conditions"),
            ("loops.patience", "What a look-up found"),
            (
                "signatures.reclaim_share",
                "`reclaim-congestion`: share of the",
            ),
            ("related.silence", "No answer from an"),
        ] {
            let reason = Thresholds::reason(key).unwrap_or_default();
            assert!(reason.starts_with(words), "{key}: {reason}");
        }
        for key in ["confirmed", "loops.no", "no.half_life", "related.", ""] {
            assert_eq!(Thresholds::reason(key), None, "{key}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them_and_the_rest_keeps_its_default() {
        let some: Thresholds = serde_json::from_str(r#"{"confirm": "7s"}"#).expect("parses");
        assert_eq!(some.confirm, Duration::from_secs(7));
        assert_eq!(some.window, Thresholds::default().window);
        let error = serde_json::from_str::<Thresholds>(r#"{"confirm": "soon"}"#).expect_err("no");
        assert!(
            error.to_string().contains("`soon` is not a duration"),
            "{error}"
        );
        assert!(serde_json::from_str::<Thresholds>(r#"{"confrim": "7s"}"#).is_err());
    }

    #[test]
    fn they_survive_json() {
        let json = serde_json::to_string(&Thresholds::default()).expect("serializes");
        assert!(json.contains(r#""confirm":"5s""#), "{json}");
        let back: Thresholds = serde_json::from_str(&json).expect("parses");
        assert_eq!(back, Thresholds::default());
    }
}
