//! `/api/v1/node`, the node at a glance, and `/api/v1/history`, what a picture
//! of the last minutes begins with.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::{App, answer};
use crate::export::history::Track;
use crate::export::node::Node;
use crate::export::ready;

/// Made for who asks: readiness is of this moment, not of the tick.
pub(in crate::export::http) async fn node(State(shared): App) -> Response {
    let snapshot = shared.load();
    answer(
        &snapshot,
        Node::of(&snapshot, &ready::not_ready_now(&snapshot)),
    )
}

#[derive(Serialize)]
struct Tracks {
    tracks: Vec<Track>,
}

pub(in crate::export::http) async fn history(State(shared): App) -> Response {
    let tracks = shared.history().tracks();
    answer(&shared.load(), Tracks { tracks })
}
