//! The guard, which changes the node's settings if enabled. It is the only part that writes outside
//! the daemon's own directories, and it runs in its own process.
//!
//! The verdict's guard ([`monitor_verdict::guard`]) decides the desired state. The daemon sends it
//! ([`link`]) to a helper process ([`serve`]), whose [`actuator`] applies it. The helper writes
//! only the [`tunables`] and keeps their old values in a [`journal`]. It restores them when they
//! are no longer wanted, after a [`silence`], or when the connection closes. Otherwise the next
//! helper restores them from the journal. The daemon restarts its own helper ([`restart`]).

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

/// The default path of the journal. It is in memory, like the settings: neither survives a reboot.
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
    /// The highest dirty limit, as percent of the memory that can be dirty.
    pub share: u8,
}

/// The outcome of a desired change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The loop's id; empty: a previous daemon left it.
    #[serde(rename = "loop")]
    pub loop_id: String,
    /// The action.
    pub action: Action,
    /// The outcome.
    pub result: Outcome,
    /// One sentence: the old and the new value, or the reason for the failure.
    pub words: String,
}

/// The helper's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The outcomes since the last report.
    pub made: Vec<Made>,
    /// The current changes: (loop, measure).
    pub active: Vec<(String, String)>,
}
