//! What gets a node out of a livelock, and what prevents one.

use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What it does, one sentence.
    pub what: String,
    /// What to type, in this order.
    pub commands: Vec<String>,
    /// What to type to take it back, once the load is gone.
    #[serde(default)]
    pub undo: Vec<String>,
    /// How it was seen to work: kernels and numbers.
    pub seen: String,
}

/// What does not help.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InVain {
    /// What somebody may think of, a few words.
    pub what: String,
    /// What came of it: kernels and numbers.
    pub seen: String,
}
