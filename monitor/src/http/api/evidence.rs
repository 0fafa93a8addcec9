//! `/api/v1/evidence/ID`, and the list of what there is in `/api/v1/verdicts`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use monitor_model::api::EvidenceEntry;
use serde_json::json;

use super::Latest;
use crate::evidence::Document;

pub(super) fn entry(document: &Arc<Document>) -> EvidenceEntry<'_> {
    EvidenceEntry {
        head: Cow::Borrowed(&document.head),
        path: format!("/api/v1/evidence/{}", document.head.id),
        file: document.file().map(Cow::Borrowed),
    }
}

/// One document, whole, as it would be in its file.
pub(in crate::http) async fn evidence(
    State(shared): Latest,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let snapshot = shared.load();
    let wanted = |one: &&Arc<Document>| id.as_ref().is_ok_and(|Path(id)| one.head.id == *id);
    // Where the clock was set back there may be two: the newer one.
    if let Some(document) = snapshot.evidence.iter().rev().find(wanted) {
        return ([(CONTENT_TYPE, "application/json")], document.json()).into_response();
    }
    let kept: Vec<&str> = snapshot.evidence.iter().map(|one| &*one.head.id).collect();
    let error = json!({
        "error": "no evidence of this name is kept: only the newest documents are; --evidence.dir keeps more",
        "kept": kept,
    });
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}
