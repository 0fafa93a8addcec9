//! The numbers of the closing edges, beside those of `dirty-throttle`.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::ThresholdError;

/// What closes the cycle, by signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureThresholds {
    /// A busy disk to which less is written back, in bytes a second, works for
    /// others: reads, or writes past the page cache. A freeze leaves a commit
    /// of the journal every few seconds; the slowest disk under test writes
    /// 5 MB/s.
    pub disk_write_floor_bytes_per_second: u64,
    /// `reclaim-congestion`: share of the server's time in reclaim, without
    /// the threads that queue behind others. Frozen (5.10): 1; a livelock that
    /// is partly in `balance_dirty_pages` has the rest there.
    pub reclaim_share: f64,
    /// The client is congested in this share of the window's samples. In a
    /// stall it stays so; where WRITEs go through it comes and goes.
    pub congested_share: f64,
    /// Or it holds this share of the node's dirty limit: reclaim meets little
    /// but its pages, whatever its flag says.
    pub client_full_share: f64,
    /// `commit-wait`: share of the window that one thread waits for COMMIT.
    /// Beside a working server a COMMIT takes milliseconds.
    pub commit_share: f64,
    /// `request-starvation`: share of the window that one nfsd thread waits
    /// for pages. Up to 5.16 a retry sleeps 500 ms: two of them in 3 s.
    pub starvation_share: f64,
    /// `loop-device`: share of the pages of client and loop device together
    /// that the loop device holds. Less is what any mount has on its way.
    pub loop_device_share: f64,
}

impl Default for SignatureThresholds {
    fn default() -> Self {
        Self {
            disk_write_floor_bytes_per_second: 64 << 10,
            reclaim_share: 0.3,
            congested_share: 0.5,
            client_full_share: 0.5,
            commit_share: 0.3,
            starvation_share: 0.3,
            loop_device_share: 0.1,
        }
    }
}

impl SignatureThresholds {
    pub(super) fn check(&self) -> Result<(), ThresholdError> {
        for (key, value) in [
            ("signatures.reclaim_share", self.reclaim_share),
            ("signatures.congested_share", self.congested_share),
            ("signatures.client_full_share", self.client_full_share),
            ("signatures.commit_share", self.commit_share),
            ("signatures.starvation_share", self.starvation_share),
            ("signatures.loop_device_share", self.loop_device_share),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                let (value, rule) = (value.to_string(), "a share: above 0 and at most 1");
                return Err(ThresholdError { key, value, rule });
            }
        }
        if self.disk_write_floor_bytes_per_second == 0 {
            return Err(ThresholdError {
                key: "signatures.disk_write_floor_bytes_per_second",
                value: "0".to_owned(),
                rule: "above 0",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::SignatureThresholds;

    fn check(change: fn(&mut SignatureThresholds)) -> Option<&'static str> {
        let mut thresholds = SignatureThresholds::default();
        change(&mut thresholds);
        thresholds.check().err().map(|error| error.key)
    }

    #[test]
    fn shares_are_above_nothing_and_at_most_all() {
        assert_eq!(check(|t| t.commit_share = 1.0), None);
        let key = Some("signatures.commit_share");
        assert_eq!(check(|t| t.commit_share = 0.0), key);
        assert_eq!(check(|t| t.commit_share = 1.1), key);
        assert_eq!(check(|t| t.commit_share = f64::NAN), key);
    }

    #[test]
    fn a_disk_that_writes_a_byte_a_second_may_be_the_least() {
        assert_eq!(check(|t| t.disk_write_floor_bytes_per_second = 1), None);
    }
}
