//! `/api/v1/tasks`, and one of them: `/api/v1/tasks/TID`.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::known::known;
use crate::observation::{Container, TaskDelay};
use crate::words::words;

/// The longest text to look for, characters.
pub const MAX_MATCH: usize = 64;

/// A task and one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who, why, and its finished waits.
    #[serde(flatten)]
    pub task: TaskDelay,
    /// Time in this cause within the last tick, seconds: the wait that lasts
    /// included, and never more than the tick was long.
    pub throttled_seconds: f64,
    /// How long the wait lasts that it is in; `None`: it is in none.
    pub waiting_seconds: Option<f64>,
    /// In which container it lives; `None`: in none that is known.
    pub container: Option<Container>,
}

words! {
    /// What rows are sorted by, descending.
    #[derive(Default)]
    Sort {
        /// Time within the last tick.
        #[default]
        Recent = "recent",
        /// Finished waits since the daemon started.
        Delay = "delay",
        /// Number of finished waits.
        Waits = "waits",
        /// Age of the wait that lasts.
        Age = "age",
    }
}

/// Which rows, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// By what they are sorted.
    pub sort: Sort,
    /// How many at most.
    pub limit: usize,
    /// A text that a name, id, cause, class, BDI or container has; empty: any.
    pub matching: String,
}

/// Some of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// All that are known.
    pub total: usize,
    /// Those of them that match.
    pub matching: usize,
    /// The first of those.
    #[serde(deserialize_with = "known")]
    pub tasks: Vec<Row>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub tid: u32,
    /// A row for each cause; empty: it is not known.
    #[serde(deserialize_with = "known")]
    pub causes: Vec<Row>,
    /// Functions of its kernel stack, innermost first; `None`: not read. Stacks
    /// are read while a loop is, or may be, stuck.
    pub stack: Option<Vec<CompactString>>,
}
