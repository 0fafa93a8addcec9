//! Observation in, verdict out. Pure: no clock, no I/O, no async. The time is
//! the observation's own, so that a recording gives the same verdict.

mod types;

pub use types::{Condition, Conditions, LivelockState, Signature, Transition, Verdict};
