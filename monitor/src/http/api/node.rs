//! `/api/v1/node`, the node at a glance, and `/api/v1/history`, what a picture
//! of the last minutes begins with.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use monitor_model::api::{At, Tracks};
use monitor_verdict::timeline::time;

use super::{Latest, answer};
use crate::publish::ready;

/// Made for who asks: readiness is of this moment, not of the tick.
pub(in crate::http) async fn node(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let node = snapshot.node(&ready::not_ready_now(&snapshot));
    let at = snapshot.ticked().then(|| time(node.unix_ms));
    // It has `unix_ms` itself: twice would be read by nobody strict.
    Json(At { at, item: node }).into_response()
}

pub(in crate::http) async fn history(State(shared): Latest) -> Response {
    let tracks = shared.history().tracks();
    answer(&shared.load(), Tracks { tracks })
}
