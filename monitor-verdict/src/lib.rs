//! Turns observations into verdicts. Pure: no clock, no I/O, no async. The time is the
//! observation's own, so that a recording gives the same verdict.
//!
//! The path of an observation:
//!
//! 1. [`window`] keeps the few numbers that the signatures need, in a ring of about three seconds,
//!    and answers queries: what moved, which tasks paused, which disk was busy. A gap or a step
//!    back in time empties it. A counter that runs backwards becomes unknown.
//! 2. [`loops`] finds the NFS mounts that this node serves to itself; [`engine`] judges them.
//! 3. Each loop ([`judge`]) has four conditions. Three are common to all signatures. The fourth is
//!    the closing edge of one of the [`signatures`]: among those that hold, the one that explains
//!    most of the server's waits. A condition is true, false, or unknown if an input is missing.
//!    Missing inputs lower the confidence.
//! 4. Conditions and time become a state. A livelock requires four true conditions: with an unknown
//!    one a loop is at most suspected. In a livelock an unknown condition does not end it.
//! 5. [`related`] finds conditions that only look like a livelock. [`mitigation`] knows the
//!    mitigations, [`guard`] decides what to change, and [`evidence`] proves a verdict.
//! 6. The result is the transitions of this tick and the verdict of every loop.
//!
//! All numbers and their reasons are in [`thresholds`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod engine;
pub mod evidence;
pub mod guard;
mod judge;
mod loops;
pub mod mitigation;
pub mod related;
mod signatures;
#[cfg(test)]
mod tests;
pub mod text;
mod thresholds;
pub mod timeline;
mod window;

pub use engine::{Changes, Engine};
pub use loops::{Loops, MAX_LOOPS};
pub use thresholds::{
    LoopThresholds, RelatedThresholds, SignatureThresholds, ThresholdError, Thresholds,
};
pub use window::reduce::signal;
