//! `/api/v1/tasks`, and one of them: `/api/v1/tasks/TID`.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::known_only::known_only;
use crate::observation::{Container, TaskDelay};
use crate::words::words;

/// Maximum length of a search text, characters.
pub const MAX_MATCH: usize = 64;

/// A task and one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The task, the cause, and its finished waits.
    #[serde(flatten)]
    pub task: TaskDelay,
    /// Time in this cause within the last tick, seconds, with an unfinished wait. At most the
    /// length of the tick.
    pub throttled_seconds: f64,
    /// Duration of the current wait; `None`: the task does not wait.
    pub waiting_seconds: Option<f64>,
    /// The task's container; `None`: none is known.
    pub container: Option<Container>,
}

words! {
    /// The sort key of rows, descending.
    #[derive(Default)]
    Sort {
        /// Time within the last tick.
        #[default]
        Recent = "recent",
        /// Finished waits since the daemon started.
        Delay = "delay",
        /// Number of finished waits.
        Waits = "waits",
        /// Age of the unfinished wait.
        Age = "age",
    }
}

/// The selection of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// The sort key.
    pub sort: Sort,
    /// Maximum number of rows.
    pub limit: usize,
    /// A search text for name, id, cause, class, BDI or container; empty: all rows.
    pub matching: String,
}

/// Some of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// Number of all known rows.
    pub total: usize,
    /// Number of matching rows.
    pub matching: usize,
    /// The first of those.
    #[serde(deserialize_with = "known_only")]
    pub tasks: Vec<Row>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub tid: u32,
    /// A row for each cause; empty: the task is unknown.
    #[serde(deserialize_with = "known_only")]
    pub causes: Vec<Row>,
    /// Functions of its kernel stack, innermost first; `None`: not read. Stacks are read while a
    /// loop is stalled or suspected.
    pub stack: Option<Vec<CompactString>>,
}
