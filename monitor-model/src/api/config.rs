//! The state of the daemon's configuration.

use serde::{Deserialize, Serialize};

/// The configuration in effect, and the outcome of the last reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigStatus {
    /// The file of `--config.file`; `null`: there is none.
    pub file: Option<String>,
    /// Whether the last reload, or else the start, succeeded.
    pub last_reload_successful: bool,
    /// Time of the last successful reload, or of the start, milliseconds since 1970.
    pub last_reload_success_unix_ms: u64,
    /// The reason why the last reload failed; `null`: it did not.
    pub error: Option<String>,
    /// Keys that the file changes, but that need a restart.
    pub needs_restart: Vec<String>,
}
