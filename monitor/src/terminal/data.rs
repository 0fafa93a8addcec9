//! What is asked for, and what comes.

use monitor_model::api::{Node, Rows, Task, TaskQuery, Track};

/// Where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The daemon at this URL.
    Daemon(String),
    /// eBPF programs of its own.
    #[default]
    Own,
}

/// What the screen has room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Which tasks, and how many.
    pub rows: TaskQuery,
    /// The thread that is looked at closely.
    pub detail: Option<u32>,
}

/// What there is to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// The node at a glance.
    pub node: Node,
    /// The tasks that were asked for.
    pub rows: Rows,
    /// The thread that was asked for.
    pub detail: Option<Task>,
    /// The conditions of the last minutes: with the first answer, and with the
    /// first after a while without.
    pub tracks: Vec<Track>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This.
    Fresh(Box<Data>),
    /// Nothing, and why.
    Failed(String),
}
