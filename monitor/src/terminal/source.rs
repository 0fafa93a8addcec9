//! Where what is shown comes from.

use monitor_model::api::{MAX_TASKS, Node, Rows, Sort, Task, TaskQuery, Track};

use super::data::{Answer, Data, Request};

/// A daemon, or the programs of this process.
pub(crate) trait Source: Send {
    /// The node at a glance.
    fn node(&self) -> anyhow::Result<Node>;
    fn rows(&self, wanted: &TaskQuery) -> anyhow::Result<Rows>;
    /// A thread.
    fn task(&self, tid: u32) -> anyhow::Result<Task>;
    /// The conditions of the last minutes.
    fn tracks(&self) -> anyhow::Result<Vec<Track>>;
}

/// Everything that is asked for. `has_history` is whether the history is known up to the last
/// answer.
pub(super) fn answer(source: &dyn Source, has_history: &mut bool, request: &Request) -> Answer {
    match data(source, *has_history, request) {
        Ok(data) => {
            *has_history = true;
            Answer::Fresh(Box::new(data))
        }
        Err(error) => {
            *has_history = false;
            Answer::Failed(error.root_cause().to_string())
        }
    }
}

fn data(source: &dyn Source, has_history: bool, request: &Request) -> anyhow::Result<Data> {
    let node = source.node()?;
    let rows = match few(&node, &request.rows) {
        Some(rows) => rows,
        None => source.rows(&request.rows)?,
    };
    let detail = request.detail.map(|tid| source.task(tid)).transpose()?;
    let tracks = if has_history {
        Vec::new()
    } else {
        source.tracks()?
    };
    Ok(Data {
        node,
        rows,
        detail,
        tracks,
    })
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
