//! What a tick publishes: the [`snapshot::Snapshot`] that everything which is shown comes from.
//!
//! The tick thread owns a [`snapshot::Publisher`]. Who shows something loads the snapshot
//! that was published last, and never waits for the tick.

#![forbid(unsafe_code)]

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod history;
pub mod node;
pub mod process;
pub mod ready;
pub mod snapshot;
pub mod tasks;

#[cfg(test)]
pub(crate) mod testing;

/// Nanoseconds as seconds.
pub(crate) const fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
