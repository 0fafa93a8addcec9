//! The header of a segment.

use std::time::Duration;

use monitor_verdict::Thresholds;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The header of a segment: the recorder and its thresholds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Version of the program.
    pub program: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Release of the running kernel, `uname -r`.
    pub kernel: String,
    /// A number for each life of a daemon. Segments with the same number continue each other.
    pub run: u64,
    /// The number of observations of that life before this segment. If the previous segment has
    /// fewer, some are missing in between.
    pub before: u64,
    /// Wall clock at its first observation, milliseconds since 1970.
    pub unix_ms: u64,
    /// `CLOCK_MONOTONIC` at its first observation, nanoseconds.
    pub monotonic_ns: u64,
    /// Time between two ticks, milliseconds.
    pub interval_ms: u64,
    /// Upper bounds of the histograms' buckets, seconds.
    pub bucket_bounds: Vec<f64>,
    /// The thresholds of the daemon.
    #[serde(deserialize_with = "known")]
    pub thresholds: Thresholds,
}

impl Header {
    /// The header of a daemon that starts to record now.
    #[must_use]
    pub fn new(kernel: &str, interval: Duration, bounds: &[f64], thresholds: Thresholds) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos());
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("THROTTLE_MONITOR_REVISION").to_owned(),
            kernel: kernel.to_owned(),
            run: u64::try_from(nanos).unwrap_or(u64::MAX),
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            bucket_bounds: bounds.to_vec(),
            thresholds,
            ..Self::default()
        }
    }
}

/// Thresholds of another version: unknown keys are dropped, and missing ones have their defaults.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Thresholds, D::Error> {
    use monitor_verdict::Thresholds;
    use serde::de::Error as _;
    let mut written = Value::deserialize(from)?;
    let here = serde_json::to_value(Thresholds::default()).map_err(D::Error::custom)?;
    keep_known(&mut written, &here);
    serde_json::from_value(written).map_err(D::Error::custom)
}

fn keep_known(written: &mut Value, here: &Value) {
    if let (Value::Object(written), Value::Object(here)) = (written, here) {
        written.retain(|key, _| here.contains_key(key));
        for (key, value) in written {
            keep_known(value, &here[key.as_str()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Header, Thresholds};

    #[test]
    fn a_threshold_of_another_version_does_not_make_a_recording_unreadable() {
        let json =
            r#"{"thresholds": {"confirm": "7s", "gone": 3, "loops": {"of_old": {}}}, "new": 1}"#;
        let header: Header = serde_json::from_str(json).unwrap();
        assert_eq!(header.thresholds.confirm, Duration::from_secs(7));
        assert_eq!(header.thresholds.window, Thresholds::default().window);
    }

    #[test]
    fn a_threshold_of_the_wrong_type_is_an_error() {
        let json = r#"{"thresholds": {"confirm": 7}}"#;
        assert!(serde_json::from_str::<Header>(json).is_err());
    }
}
