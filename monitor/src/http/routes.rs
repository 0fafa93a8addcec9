//! Which path shows what.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::json;

use super::events::{self, Events};
use super::paths::PATHS;
use super::recordings::{self, Recordings};
use super::reload;
use super::{Site, api, page, runbooks};
use crate::access::{Admission, Web};
use crate::metrics;
use crate::publish::ready;
use crate::publish::snapshot::{Shared, Snapshot};

/// Where nothing of the operator's choice goes, now or later.
const RESERVED: [&str; 4] = ["/-/", "/api/", "/runbooks/", "/verdicts/"];

/// Why metrics cannot be served under a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot serve metrics under {path:?}: {why}; use a path such as /metrics, of letters, digits and `-._~/`"
)]
pub struct PathError {
    /// What was asked for.
    pub path: String,
    why: &'static str,
}

/// Whether `--web.telemetry-path` can be served.
///
/// # Errors
///
/// When it does not begin with a slash, holds characters that are not plain,
/// has an empty or dotted segment, or is `/` or below `/-/`, `/api/`, `/runbooks/`
/// or `/verdicts/`.
pub fn check_telemetry_path(path: &str) -> Result<(), PathError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let why = if !path.starts_with('/') {
        "it does not begin with a slash"
    } else if path == "/" || RESERVED.iter().any(|prefix| path.starts_with(prefix)) {
        "it is reserved"
    } else if !path.chars().all(plain) {
        "it has characters that a path should not have"
    } else if path[1..]
        .split('/')
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        "it has a segment that is empty, `.` or `..`"
    } else {
        return Ok(());
    };
    Err(PathError {
        path: path.to_owned(),
        why,
    })
}

#[derive(Clone)]
struct App {
    shared: Arc<Shared>,
    telemetry_path: Arc<str>,
}

pub(super) fn router(site: Site, events: Events) -> Result<Router, PathError> {
    let Site {
        telemetry_path,
        shared,
        store,
        web,
        lifecycle,
    } = site;
    check_telemetry_path(&telemetry_path)?;
    let recordings = Router::new()
        .route("/api/v1/recordings", get(recordings::list))
        .route("/api/v1/recordings/{set}/{name}", get(recordings::file))
        .with_state(Recordings::new(store));
    let events = Router::new()
        .route("/api/v1/events", get(events::events))
        .with_state(events);
    let api = Router::new()
        .route("/api/v1/bdis", get(api::bdis))
        .route("/api/v1/evidence/{id}", get(api::evidence))
        .route("/api/v1/history", get(api::history))
        .route("/api/v1/loops", get(api::loops))
        .route("/api/v1/node", get(api::node))
        .route("/api/v1/probes", get(api::probes))
        .route("/api/v1/stalls", get(api::stalls))
        .route("/api/v1/tasks", get(api::tasks))
        .route("/api/v1/tasks/{tid}", get(api::task))
        .route("/api/v1/guard", get(api::guard))
        .route("/api/v1/verdicts", get(api::verdicts))
        .with_state(Arc::clone(&shared));
    let reloading = Router::new()
        .route(reload::PATH, any(reload::reload))
        .with_state(lifecycle);
    let app = App {
        shared,
        telemetry_path: telemetry_path.as_str().into(),
    };
    Ok(Router::new()
        .route("/", get(landing))
        .route(&telemetry_path, get(metrics))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready))
        .route("/verdicts/{id}", get(verdict))
        .route("/runbooks/", get(runbook_index))
        .route("/runbooks/{name}", get(runbook))
        .fallback(not_found)
        .with_state(app)
        .merge(api)
        .merge(events)
        .merge(recordings)
        .merge(reloading)
        .layer(from_fn(guard))
        .layer(from_fn_with_state(web, admit)))
}

/// Only who may gets in, whatever he asks for; everybody gets the headers that
/// the operator wants.
async fn admit(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let policy = web.policy();
    let sent = request.headers().get(AUTHORIZATION).cloned();
    let sent = sent.as_ref().map(HeaderValue::as_bytes);
    let mut response = match policy.admit(sent).await {
        Admission::Admitted => next.run(request).await,
        Admission::TooMany => {
            return (StatusCode::TOO_MANY_REQUESTS, "too many requests\n").into_response();
        }
        Admission::Unknown => (
            StatusCode::UNAUTHORIZED,
            [(
                WWW_AUTHENTICATE,
                r#"Basic realm="throttle-monitor", charset="UTF-8""#,
            )],
            "a user name and a password are required\n",
        )
            .into_response(),
    };
    for (name, value) in policy.headers() {
        let headers = response.headers_mut();
        if !headers.contains_key(name) {
            headers.insert(name, value.clone());
        }
    }
    response
}

/// Only what reads gets in, but for a reload; nothing that goes out is cached or guessed at.
async fn guard(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if reads || request.uri().path() == reload::PATH {
        next.run(request).await
    } else {
        let error = json!({"error": "this server is read-only: use GET or HEAD"});
        (
            StatusCode::METHOD_NOT_ALLOWED,
            [(ALLOW, "GET, HEAD")],
            Json(error),
        )
            .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn metrics(State(app): State<App>) -> Response {
    let render = |snapshot: &Snapshot| {
        let text = metrics::render(snapshot).map_err(|error| error.to_string())?;
        Ok(text.into())
    };
    match app.shared.load().metrics(render) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(error, "cannot render the metrics");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot render the metrics: {error}\n"),
            )
                .into_response()
        }
    }
}

async fn ready(State(app): State<App>) -> (StatusCode, String) {
    let reasons = ready::not_ready_now(&app.shared.load());
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, ready::sentence(&reasons) + "\n")
}

async fn landing(State(app): State<App>) -> Response {
    let snapshot = app.shared.load();
    page::landing(
        &snapshot,
        &ready::not_ready_now(&snapshot),
        &app.telemetry_path,
    )
}

async fn verdict(State(app): State<App>, id: Result<Path<String>, PathRejection>) -> Response {
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    page::verdict(&app.shared.load(), &id, &app.telemetry_path)
}

async fn runbook_index(State(app): State<App>) -> Response {
    runbooks::index(&app.shared.load(), &app.telemetry_path)
}

async fn runbook(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<runbooks::Wanted>, QueryRejection>,
) -> Response {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let Query(wanted) = query.unwrap_or_default();
    runbooks::runbook(&app.shared.load(), &name, &wanted, &app.telemetry_path)
}

async fn not_found(State(app): State<App>) -> (StatusCode, Json<serde_json::Value>) {
    let mut paths: Vec<&str> = PATHS.iter().map(|&(path, _)| path).collect();
    paths.insert(1, &app.telemetry_path);
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": "this path does not exist", "paths": paths})),
    )
}

#[cfg(test)]
mod tests {
    use super::{PATHS, check_telemetry_path};

    #[test]
    fn a_telemetry_path_that_would_hide_another_or_break_the_router_is_refused() {
        for (taken, _) in PATHS {
            assert!(check_telemetry_path(taken).is_err(), "{taken}");
        }
        for bad in [
            "",
            "metrics",
            "//",
            "/metrics/",
            "/a/../b",
            "/{x}",
            "/*x",
            "/a?b",
            "/ä",
            "/a b",
            "/%6d",
            "/verdicts/x",
        ] {
            let error = check_telemetry_path(bad).expect_err(bad).to_string();
            assert!(error.contains("/metrics"), "{error}");
        }
    }

    #[test]
    fn a_plain_telemetry_path_is_taken() {
        for good in ["/metrics", "/node/throttle-metrics", "/apis", "/m.txt"] {
            assert_eq!(check_telemetry_path(good), Ok(()));
        }
    }
}
