//! The numbers that tell related conditions apart.

use std::time::Duration;

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{ThresholdError, human};

/// What makes a related condition, and what ends it. Shares of a task's time
/// are sums over all tasks: 2 means that two tasks waited all the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct RelatedThresholds {
    /// A condition that holds for so long has begun: half as long again as
    /// the window, so that one burst that fills a window is none.
    #[serde(with = "human")]
    pub begin: Duration,
    /// A condition that did not hold for so long has ended. A disk that
    /// flushes its cache writes nothing for seconds and is slow all the same.
    #[serde(with = "human")]
    pub end: Duration,
    /// No answer from an NFS server, one call of nfsd that sleeps, or no page
    /// of a device that moves while it holds the dirty limit, for so long. A
    /// slow disk under a loopback mount completes no WRITE for 4-9 s in a row.
    #[serde(with = "human")]
    pub silence: Duration,
    /// A server that answers, but so seldom, is still not responding.
    #[serde(with = "human")]
    pub answers_apart: Duration,
    /// Share of one task's time that writers are paused on a BDI before it is
    /// dirty throttling. One heavy writer is paused 80-95 % of its time.
    pub pause_share: f64,
    /// Share of the time that a slow or saturated disk is busy. Measured under
    /// loopback at 5 MB/s: 0.92 to 1.
    pub disk_busy_share: f64,
    /// Share of one task's time that tasks wait for a slow or saturated disk.
    /// One nfsd thread in `balance_dirty_pages`, 5 pauses of 200 ms a second: 1.
    pub disk_wait_share: f64,
    /// A disk is slow if it moves fewer bytes than this per second of busy time,
    /// and saturated if it moves more. The slow disk of the scenarios moves
    /// 5 MB/s; memory cards and the smallest cloud volumes move 10 to 20, the
    /// slowest disk that streams 60.
    pub disk_slow_bytes_per_second: u64,
    /// A disk whose requests take less time than this is not slow, however few
    /// bytes they carry. Small synchronous writes take less than 1 ms each on
    /// flash and 8 ms on a rotating disk.
    #[serde(with = "human")]
    pub disk_slow_request: Duration,
    /// A disk is also slow if it moves less than this share of the bytes and
    /// completes less than this share of the requests that it has shown to be
    /// able to. A cloud volume without burst credit falls to a tenth; reads
    /// among writes alone cost a factor of 3.
    pub disk_slow_share: f64,
    /// What a disk has shown counts half after this time.
    #[serde(with = "human")]
    pub disk_shown_half_life: Duration,
    /// Share of one task's time spent in reclaim and compaction. A node at
    /// work reclaims now and then; where memory is short, tasks do nothing
    /// else.
    pub reclaim_share: f64,
    /// Share of the memory that must be available for reclaim not to be
    /// starvation; dirty pages do not count, for they are to be written first.
    pub available_share: f64,
    /// Share of one task's time in reclaim that makes an OOM kill one of the
    /// node's, where plenty is available again after it: a memory cgroup kills
    /// without any.
    pub oom_reclaim_share: f64,
    /// A disk that is busy for less than this waits for nothing: whatever its
    /// other partitions write, a call that sleeps is not waiting its turn.
    pub hung_busy_share: f64,
    /// Share of the dirty limit that devices whose pages do not move must have
    /// together to hold it. With the default background limit, half of the
    /// hard one, the kernel begins to pause writers at this share.
    pub holder_limit_share: f64,
    /// The node's dirty pages as a share of the limit from which writers to any
    /// device may be held. From the middle between the two limits up the
    /// kernel allows them less and less, and nothing at the limit. Measured: 1.
    pub limit_full_share: f64,
    /// A device with less than this share of the limit is nearly clean: its
    /// writers do not wait for its own pages. Measured: 0.004.
    pub held_clean_share: f64,
    /// What holds, holds on until its number is under this part of its
    /// threshold.
    pub ease: f64,
}

impl Default for RelatedThresholds {
    fn default() -> Self {
        Self {
            begin: Duration::from_millis(4500),
            end: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            answers_apart: Duration::from_secs(3),
            pause_share: 0.5,
            disk_busy_share: 0.9,
            disk_wait_share: 0.5,
            disk_slow_bytes_per_second: 20_000_000,
            disk_slow_request: Duration::from_millis(4),
            disk_slow_share: 0.2,
            disk_shown_half_life: Duration::from_hours(24),
            reclaim_share: 0.5,
            available_share: 0.1,
            oom_reclaim_share: 0.02,
            hung_busy_share: 0.3,
            holder_limit_share: 0.75,
            limit_full_share: 0.9,
            held_clean_share: 0.1,
            ease: 0.75,
        }
    }
}

impl RelatedThresholds {
    pub(super) fn check(&self) -> Result<(), ThresholdError> {
        let second = Duration::from_secs(1);
        let days = Duration::from_hours(24 * 365);
        if self.disk_shown_half_life < second || self.disk_shown_half_life > days {
            return Err(ThresholdError {
                key: "related.disk_shown_half_life",
                value: humantime::format_duration(self.disk_shown_half_life).to_string(),
                rule: "from 1s to 365days",
            });
        }
        for (key, value, least, rule) in [
            ("related.begin", self.begin, Duration::ZERO, "at most 1day"),
            (
                "related.disk_slow_request",
                self.disk_slow_request,
                Duration::ZERO,
                "at most 1day",
            ),
            ("related.end", self.end, second, "from 1s to 1day"),
            ("related.silence", self.silence, second, "from 1s to 1day"),
            (
                "related.answers_apart",
                self.answers_apart,
                Duration::ZERO,
                "at most related.silence",
            ),
        ] {
            let longest = if key == "related.answers_apart" {
                self.silence
            } else {
                Duration::from_hours(24)
            };
            if value < least || value > longest {
                let value = humantime::format_duration(value).to_string();
                return Err(ThresholdError { key, value, rule });
            }
        }
        let tasks = "above 0 and at most 1000";
        let share = "a share: above 0 and at most 1";
        for (key, value, most, rule) in [
            ("related.pause_share", self.pause_share, 1000.0, tasks),
            ("related.disk_busy_share", self.disk_busy_share, 1.0, share),
            (
                "related.disk_wait_share",
                self.disk_wait_share,
                1000.0,
                tasks,
            ),
            ("related.disk_slow_share", self.disk_slow_share, 1.0, share),
            ("related.reclaim_share", self.reclaim_share, 1000.0, tasks),
            ("related.available_share", self.available_share, 1.0, share),
            (
                "related.oom_reclaim_share",
                self.oom_reclaim_share,
                1000.0,
                tasks,
            ),
            ("related.hung_busy_share", self.hung_busy_share, 1.0, share),
            (
                "related.holder_limit_share",
                self.holder_limit_share,
                1.0,
                share,
            ),
            (
                "related.limit_full_share",
                self.limit_full_share,
                1.0,
                share,
            ),
            (
                "related.held_clean_share",
                self.held_clean_share,
                1.0,
                share,
            ),
            ("related.ease", self.ease, 1.0, share),
        ] {
            if !(value > 0.0 && value <= most) {
                let value = value.to_string();
                return Err(ThresholdError { key, value, rule });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::RelatedThresholds;

    fn refused(change: impl FnOnce(&mut RelatedThresholds)) -> &'static str {
        let mut thresholds = RelatedThresholds::default();
        change(&mut thresholds);
        thresholds.check().expect_err("must be refused").key
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_its_key() {
        assert_eq!(RelatedThresholds::default().check(), Ok(()));
        assert_eq!(refused(|t| t.begin = Duration::MAX), "related.begin");
        assert_eq!(refused(|t| t.end = Duration::ZERO), "related.end");
        assert_eq!(refused(|t| t.silence = Duration::ZERO), "related.silence");
        let apart = refused(|t| t.answers_apart = t.silence * 2);
        assert_eq!(apart, "related.answers_apart");
        assert_eq!(refused(|t| t.pause_share = 0.0), "related.pause_share");
        let busy = refused(|t| t.disk_busy_share = 1.1);
        assert_eq!(busy, "related.disk_busy_share");
        let wait = refused(|t| t.disk_wait_share = f64::NAN);
        assert_eq!(wait, "related.disk_wait_share");
        let shown = refused(|t| t.disk_shown_half_life = Duration::ZERO);
        assert_eq!(shown, "related.disk_shown_half_life");
        let request = refused(|t| t.disk_slow_request = Duration::MAX);
        assert_eq!(request, "related.disk_slow_request");
        let share = refused(|t| t.disk_slow_share = 1.5);
        assert_eq!(share, "related.disk_slow_share");
        assert_eq!(refused(|t| t.reclaim_share = -1.0), "related.reclaim_share");
        let available = refused(|t| t.available_share = 2.0);
        assert_eq!(available, "related.available_share");
        let oom = refused(|t| t.oom_reclaim_share = 1001.0);
        assert_eq!(oom, "related.oom_reclaim_share");
        let hung = refused(|t| t.hung_busy_share = 0.0);
        assert_eq!(hung, "related.hung_busy_share");
        let holder = refused(|t| t.holder_limit_share = 1.1);
        assert_eq!(holder, "related.holder_limit_share");
        let full = refused(|t| t.limit_full_share = 0.0);
        assert_eq!(full, "related.limit_full_share");
        let clean = refused(|t| t.held_clean_share = f64::NAN);
        assert_eq!(clean, "related.held_clean_share");
        assert_eq!(refused(|t| t.ease = 1.5), "related.ease");
    }

    #[test]
    fn what_is_just_within_its_range_is_taken() {
        let day = Duration::from_hours(24);
        let within: [fn(&mut RelatedThresholds); 5] = [
            |t| t.begin = Duration::ZERO,
            |t| t.end = Duration::from_secs(1),
            |t| t.silence = Duration::from_hours(24),
            |t| t.answers_apart = t.silence,
            |t| (t.disk_busy_share, t.pause_share) = (1.0, 1000.0),
        ];
        for change in within {
            let mut thresholds = RelatedThresholds::default();
            change(&mut thresholds);
            assert_eq!(thresholds.check(), Ok(()));
        }
        let little = Duration::from_nanos(1);
        assert_eq!(refused(|t| t.begin = day + little), "related.begin");
        let short = Duration::from_nanos(999_999_999);
        assert_eq!(refused(|t| t.end = short), "related.end");
        let long = refused(|t| t.answers_apart = t.silence + little);
        assert_eq!(long, "related.answers_apart");
    }

    #[test]
    fn tasks_may_wait_for_more_than_one_tasks_time() {
        let many = RelatedThresholds {
            pause_share: 4.0,
            reclaim_share: 16.0,
            ..RelatedThresholds::default()
        };
        assert_eq!(many.check(), Ok(()));
    }
}
