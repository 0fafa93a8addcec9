//! Observation in, verdict out. Pure: no clock, no I/O, no async. The time is
//! the observation's own, so that a recording gives the same verdict.
//!
//! The way of an observation through here:
//!
//! 1. [`reduce`] keeps of it the few numbers that any signature asks for.
//! 2. [`window`] puts them into a ring of about three seconds and answers
//!    questions about it: what moved, who was paused, which disk was busy. A
//!    gap or a step back in time empties it; a counter that runs backwards
//!    makes unknown what it counts.
//! 3. [`loops`] finds the NFS mounts that this node serves to itself;
//!    [`engine`] judges them.
//! 4. For each loop ([`judged`]) there are four conditions; the three that all
//!    signatures share are in [`conditions`], the fourth is the closing edge of
//!    one of the [`signatures`]: of those that hold, the one that explains most
//!    of what the server waits for. A condition is true, false, or unknown where
//!    an input is missing; what is missing lowers the [`confidence`].
//! 5. [`machine`] turns conditions and time into a state. Only four true ones
//!    lead to a livelock: with an unknown one a loop is at most suspected.
//!    In a livelock an unknown one does not end it.
//! 6. Out come the transitions of this tick and the verdict of every loop.
//!
//! All numbers and their reasons are in [`thresholds`].

mod conditions;
mod confidence;
pub mod dossier;
mod engine;
pub mod guard;
mod judged;
mod loops;
mod machine;
mod reduce;
pub mod related;
pub mod remedy;
mod signatures;
#[cfg(test)]
mod tests;
pub mod text;
mod thresholds;
pub mod timeline;
mod view;
mod window;

pub use engine::{Changes, Engine};
pub use loops::{Loops, MAX_LOOPS};
pub use reduce::signal;
pub use thresholds::{
    LoopThresholds, RelatedThresholds, SignatureThresholds, ThresholdError, Thresholds,
};
