//! Observation in, verdict out. Pure: no clock, no I/O, no async. The time is
//! the observation's own, so that a recording gives the same verdict.
//!
//! The way of an observation through here:
//!
//! 1. [`window`] keeps of it the few numbers that any signature asks for, in a ring of
//!    about three seconds, and answers questions about them: what moved, who was paused,
//!    which disk was busy. A gap or a step back in time empties it; a counter that runs
//!    backwards makes unknown what it counts.
//! 2. [`loops`] finds the NFS mounts that this node serves to itself;
//!    [`engine`] judges them.
//! 3. For each loop ([`judge`]) there are four conditions; the three that all
//!    signatures share are its own, the fourth is the closing edge of
//!    one of the [`signatures`]: of those that hold, the one that explains most
//!    of what the server waits for. A condition is true, false, or unknown where
//!    an input is missing; what is missing lowers the confidence.
//! 4. Conditions and time become a state. Only four true ones
//!    lead to a livelock: with an unknown one a loop is at most suspected.
//!    In a livelock an unknown one does not end it.
//! 5. [`related`] finds what looks like a livelock and is not one; [`mitigation`] says what
//!    gets a node out, [`guard`] what is to be changed, [`evidence`] proves a verdict.
//! 6. Out come the transitions of this tick and the verdict of every loop.
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
