//! Mitigations of a livelock, and preventions.

use serde::{Deserialize, Serialize};

/// One measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// Its effect, one sentence.
    pub what: String,
    /// The commands, in this order.
    pub commands: Vec<String>,
    /// The commands that undo it, once the load is gone.
    #[serde(default)]
    pub undo: Vec<String>,
    /// The measurements: kernels and numbers.
    pub seen: String,
}

/// An ineffective action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ineffective {
    /// The action, a few words.
    pub what: String,
    /// The outcome: kernels and numbers.
    pub seen: String,
}
