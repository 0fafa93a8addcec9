//! Where what is shown comes from.

use anyhow::bail;
use monitor_model::api::{MAX_TASKS, Node, Rows, Sort, Task, TaskQuery, Tracks};

use super::own::Own;
use crate::{
    cli::daemon::{Access, DaemonClient, PATIENCE},
    publish::{ready, tasks},
    terminal::{Answer, Data, Request},
};

/// A daemon, or the programs of this process.
#[derive(Debug)]
pub enum Source {
    /// Over HTTP.
    Daemon {
        /// It.
        daemon: DaemonClient,
        /// Whether its history is known up to the last answer.
        begun: bool,
    },
    /// In this process.
    Own(Own),
}

impl Source {
    /// The daemon at this URL.
    #[must_use]
    pub fn daemon(url: &str, access: &Access) -> Self {
        Self::Daemon {
            daemon: DaemonClient::new(url, PATIENCE, access),
            begun: false,
        }
    }

    /// The node at a glance.
    ///
    /// # Errors
    ///
    /// The daemon does not answer, or the thread that ticks is gone.
    pub fn node(&self) -> anyhow::Result<Node> {
        match self {
            Self::Daemon { daemon, .. } => daemon.get("node"),
            Self::Own(own) => {
                if own.is_over() {
                    bail!("the thread that ticks panicked: this is a bug");
                }
                let snapshot = own.shared().load();
                Ok(snapshot.node(&ready::not_ready_now(&snapshot)))
            }
        }
    }

    /// Everything that is asked for.
    pub fn answer(&mut self, request: &Request) -> Answer {
        match self.data(request) {
            Ok(data) => Answer::Fresh(Box::new(data)),
            Err(error) => {
                if let Self::Daemon { begun, .. } = self {
                    *begun = false;
                }
                Answer::Failed(error.root_cause().to_string())
            }
        }
    }

    fn data(&mut self, request: &Request) -> anyhow::Result<Data> {
        let node = self.node()?;
        let rows = match few(&node, &request.rows) {
            Some(rows) => rows,
            None => self.rows(&request.rows)?,
        };
        let detail = match request.detail {
            Some(tid) => Some(self.detail(tid)?),
            None => None,
        };
        let tracks = match self {
            Self::Daemon { daemon, begun } if !*begun => {
                let tracks = daemon.get::<Tracks>("history")?.tracks;
                *begun = true;
                tracks
            }
            _ => Vec::new(),
        };
        Ok(Data {
            node,
            rows,
            detail,
            tracks,
        })
    }

    fn rows(&self, wanted: &TaskQuery) -> anyhow::Result<Rows> {
        match self {
            Self::Daemon { daemon, .. } => {
                let mut query = vec![
                    ("limit", wanted.limit.to_string()),
                    ("sort", wanted.sort.as_str().to_owned()),
                ];
                if !wanted.matching.is_empty() {
                    query.push(("match", wanted.matching.clone()));
                }
                let mut rows: Rows = daemon.find("tasks", &query)?.unwrap_or_default();
                // Whatever answers there.
                rows.tasks.truncate(wanted.limit);
                Ok(rows)
            }
            Self::Own(own) => Ok(tasks::rows(&own.shared().load(), wanted)),
        }
    }

    fn detail(&self, tid: u32) -> anyhow::Result<Task> {
        match self {
            Self::Daemon { daemon, .. } => {
                let found = daemon.find(&format!("tasks/{tid}"), &[])?;
                Ok(found.unwrap_or_else(|| Task {
                    tid,
                    ..Task::default()
                }))
            }
            Self::Own(own) => Ok(tasks::task(&own.shared().load(), tid)),
        }
    }
}

/// The rows, where the node at a glance has them already.
fn few(node: &Node, wanted: &TaskQuery) -> Option<Rows> {
    let first = TaskQuery {
        limit: wanted.limit,
        ..TaskQuery::default()
    };
    if *wanted != first || wanted.sort != Sort::Recent || wanted.limit > MAX_TASKS {
        return None;
    }
    let mut rows = node.tasks.clone();
    rows.tasks.truncate(wanted.limit);
    Some(rows)
}
