//! What changes the node, if it is asked to: the only part that writes outside of
//! the daemon's own directories, and a process of its own.
//!
//! The verdict's guard ([`monitor_verdict::guard`]) says what shall hold; the daemon
//! hands that on ([`link`]) to a helper process ([`serve`]) whose [`actuator`] makes it
//! hold: it writes the [`tunables`] and no other file, keeps what they were in a
//! [`journal`], and puts them back when they are no longer wanted, when it hears nothing
//! for a while ([`silence`]) or loses the connection, or when the next one finds the
//! journal. One that the daemon started and that ends is started again ([`restart`]).

mod actuator;
mod controller;
mod desired;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod journal;
mod link;
mod message;
mod restart;
mod serve;
mod start;
#[cfg(test)]
mod tests;
mod tunables;
mod vmstat;

use std::path::PathBuf;

use monitor_model::guard::{Action, Outcome};
use serde::{Deserialize, Serialize};

pub use actuator::{Actuator, ActuatorError};
pub use controller::{Controller, GuardNow, Tallies};
pub use link::{Link, silence};
pub use serve::{ease, listen, serve};
pub use start::LinkError;

/// Where the journal is unless something else is said: in memory, as what it tells of
/// is. Neither outlives a reboot.
pub const JOURNAL: &str = "/run/throttle-monitor/guard.json";

/// Settings of the helper.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// The journal.
    pub journal: PathBuf,
    /// How much of the memory that can be dirty the dirty limit may be raised to,
    /// percent.
    pub share: u8,
}

/// What became of something that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The loop's id; empty: left by a daemon that was there before.
    #[serde(rename = "loop")]
    pub loop_id: String,
    /// What for.
    pub action: Action,
    /// What came of it.
    pub result: Outcome,
    /// One sentence: what was changed from what to what, or why not.
    pub words: String,
}

/// What the helper answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What became of what was wanted, since the last report.
    pub made: Vec<Made>,
    /// What is changed now: (loop, measure).
    pub active: Vec<(String, String)>,
}
