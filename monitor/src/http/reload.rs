//! `POST /-/reload`, the only request that changes something; off unless `--web.enable-lifecycle`.

use axum::extract::State;
use axum::http::header::{ALLOW, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::lifecycle::Lifecycle;

/// Where it is.
pub(super) const PATH: &str = "/-/reload";

/// The permitted methods.
pub(super) const METHODS: &str = "POST, PUT";

/// Sent by browsers with every request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The methods and words of Prometheus. A page in a browser could send it with the credentials of
/// its user, who knows nothing of it; so what comes from a browser is refused.
pub(super) async fn reload(
    State(lifecycle): State<Option<Lifecycle>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if !matches!(method, Method::POST | Method::PUT) {
        let words = "use POST or PUT to reload the configuration\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, METHODS)], words).into_response();
    }
    let Some(lifecycle) = lifecycle else {
        let words = "Lifecycle API is not enabled: start the daemon with --web.enable-lifecycle, or send it SIGHUP.\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    };
    if headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE) {
        let words = "a browser may not reload the configuration: use curl -X POST\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    match lifecycle.reload().await {
        Ok(needs_restart) if needs_restart.is_empty() => StatusCode::OK.into_response(),
        Ok(needs_restart) => {
            let words = format!("needs a restart: {}\n", needs_restart.join(", "));
            (StatusCode::OK, words).into_response()
        }
        Err(error) => {
            let words = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
        }
    }
}
