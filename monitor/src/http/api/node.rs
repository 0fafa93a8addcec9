//! `/api/v1/node`, the node at a glance, and `/api/v1/history`, what a picture
//! of the last minutes begins with.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::{App, answer, rfc3339};
use crate::publish::history::Track;
use crate::publish::node::Node;
use crate::publish::ready;

/// It has the time of its tick itself: twice would be read by nobody strict.
#[derive(Serialize)]
struct NodeAt {
    at: Option<String>,
    #[serde(flatten)]
    node: Node,
}

/// Made for who asks: readiness is of this moment, not of the tick.
pub(in crate::http) async fn node(State(shared): App) -> Response {
    let snapshot = shared.load();
    let node = Node::of(&snapshot, &ready::not_ready_now(&snapshot));
    let at = snapshot.ticked().then(|| rfc3339(node.unix_ms));
    Json(NodeAt { at, node }).into_response()
}

#[derive(Serialize)]
struct Tracks {
    tracks: Vec<Track>,
}

pub(in crate::http) async fn history(State(shared): App) -> Response {
    let tracks = shared.history().tracks();
    answer(&shared.load(), Tracks { tracks })
}
