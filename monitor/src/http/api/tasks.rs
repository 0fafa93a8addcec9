//! `/api/v1/tasks`, and one of them: `/api/v1/tasks/TID`.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Latest, answer};
use crate::publish::tasks;
use crate::publish::tasks::{MAX_MATCH, Sort, Task, TaskQuery, rows};

const DEFAULT_TASKS: usize = 50;
pub(in crate::http) const MAX_TASKS: usize = 1000;

const QUERY: &str = "limit: 1 to 1000 (default 50); sort: recent, delay, waits or age (default \
                     recent); match: a text of at most 64 characters";

fn wanted(pairs: &[(String, String)]) -> Result<TaskQuery, String> {
    let (mut limit, mut sort, mut matching) = (None, None, None);
    for (key, value) in pairs {
        let again = match key.as_str() {
            "limit" => limit.replace(parse_limit(value)?).is_some(),
            "sort" => sort.replace(parse_sort(value)?).is_some(),
            "match" => matching.replace(parse_match(value)?).is_some(),
            _ => return Err(format!("unknown parameter {key:?}")),
        };
        if again {
            return Err(format!("{key} is given twice"));
        }
    }
    Ok(TaskQuery {
        limit: limit.unwrap_or(DEFAULT_TASKS),
        sort: sort.unwrap_or_default(),
        matching: matching.unwrap_or_default(),
    })
}

fn parse_limit(value: &str) -> Result<usize, String> {
    let limit = value
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_TASKS).contains(limit));
    limit.ok_or_else(|| format!("limit {value:?} is not a number from 1 to {MAX_TASKS}"))
}

fn parse_sort(value: &str) -> Result<Sort, String> {
    Sort::from_word(value).ok_or_else(|| format!("sort {value:?} is unknown"))
}

fn parse_match(value: &str) -> Result<String, String> {
    if value.chars().count() > MAX_MATCH {
        return Err(format!("match has more than {MAX_MATCH} characters"));
    }
    Ok(value.to_owned())
}

pub(in crate::http) async fn tasks(
    State(shared): Latest,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let query = query
        .map_err(|rejection| rejection.body_text())
        .and_then(|Query(pairs)| wanted(&pairs));
    match query {
        Ok(wanted) => {
            let snapshot = shared.load();
            answer(&snapshot, rows(&snapshot, &wanted))
        }
        Err(error) => {
            let error = json!({"error": error, "accepted": QUERY});
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

/// One task.
pub(in crate::http) async fn task(
    State(shared): Latest,
    tid: Result<Path<u32>, PathRejection>,
) -> Response {
    let snapshot = shared.load();
    let found = tid.ok().map(|Path(tid)| tasks::task(&snapshot, tid));
    let known = |task: &Task| task.stack.is_some() || !task.causes.is_empty();
    if let Some(task) = found.filter(known) {
        return answer(&snapshot, task);
    }
    let error = json!({"error": "no wait of this thread id is recorded"});
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}
