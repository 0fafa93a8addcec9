//! What gets a node out of a livelock and what prevents it: only what was seen
//! to work on the kernel at hand, with the loop's own BDI filled in.

use serde::{Deserialize, Serialize};

use crate::loops::Loop;
use crate::observation::Observation;
use crate::types::Signature;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What it does, one sentence.
    pub what: String,
    /// What to type, in this order.
    pub commands: Vec<String>,
    /// How it was seen to work: kernels and numbers.
    pub seen: String,
}

/// What gets this node out of it, the best first.
#[must_use]
pub fn ways_out(_signature: Signature, _found: &Loop, _node: &Observation) -> Vec<Measure> {
    Vec::new()
}

/// What would have prevented it, the best first.
#[must_use]
pub fn preventions(_signature: Signature, _found: &Loop, _node: &Observation) -> Vec<Measure> {
    Vec::new()
}
