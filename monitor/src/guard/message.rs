//! The messages between the daemon and its helper.

use std::time::Duration;

use monitor_model::guard::DesiredState;
use serde::{Deserialize, Serialize};

/// The largest message: 256 loops, each with its limits.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// A helper restores everything after this time without a message. The daemon sends one at every
/// tick, and `--interval` is at most 5 s.
pub const SILENCE: Duration = Duration::from_secs(15);

/// The daemon's message at each tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HelperMessage {
    #[serde(flatten)]
    pub(super) wanted: DesiredState,
    /// Milliseconds without a message after which the helper restores everything.
    #[serde(default = "silence_ms")]
    pub(super) silence_ms: u64,
}

fn silence_ms() -> u64 {
    u64::try_from(SILENCE.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_say_how_long_it_may_be_silent_may_be_so_for_fifteen_seconds() {
        let message: HelperMessage = serde_json::from_str(r#"{"holds":[],"ease":[]}"#).unwrap();
        assert_eq!(message.silence_ms, 15_000);
        assert_eq!(message.wanted, DesiredState::default());
    }
}
