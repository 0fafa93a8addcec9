//! `/api/v1/recordings`: what can be played again, and the files themselves.
//!
//! They are read by threads of their own, a few at a time: a disk that hangs
//! keeps nobody else waiting.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use monitor_model::api;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::recording::RecordingStore;

/// Threads that read at most.
pub(super) const MAX_READERS: usize = 2;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a client.
const AHEAD: usize = 2;

/// What the requests share.
#[derive(Clone)]
pub(super) struct Recordings {
    store: Arc<RecordingStore>,
    slots: Arc<Semaphore>,
}

impl Recordings {
    pub(super) fn new(store: Arc<RecordingStore>) -> Self {
        Self {
            store,
            slots: Arc::new(Semaphore::new(MAX_READERS)),
        }
    }

    /// Does something with the store in a thread that may wait for a disk.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RecordingStore) -> io::Result<T> + Send + 'static,
    ) -> Result<(T, OwnedSemaphorePermit), Response> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Err(error(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("{MAX_READERS} recordings are being read, the maximum: try again"),
            ));
        };
        let on = Arc::clone(&self.store);
        match spawn_blocking(move || work(&on)).await {
            Ok(Ok(done)) => Ok((done, slot)),
            Ok(Err(failed)) => {
                let words = format!("the recordings cannot be read: {failed}");
                Err(error(StatusCode::INTERNAL_SERVER_ERROR, &words))
            }
            Err(_) => {
                let words = "the thread that reads ended: this is a bug";
                Err(error(StatusCode::INTERNAL_SERVER_ERROR, words))
            }
        }
    }
}

fn error(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({"error": words}))).into_response()
}

pub(super) async fn list(State(recordings): State<Recordings>) -> Response {
    let why = match &*recordings.store {
        RecordingStore::Empty => {
            Some("nothing is recorded: start the daemon with --record.dir DIR")
        }
        RecordingStore::Window(_) | RecordingStore::Files(_) => None,
    };
    match recordings.with(RecordingStore::sets).await {
        Ok((recordings, _slot)) => Json(api::Recordings {
            recordings,
            why_none: why.map(Cow::Borrowed),
        })
        .into_response(),
        Err(response) => response,
    }
}

/// The bytes of one file, as they are.
pub(super) async fn file(
    State(recordings): State<Recordings>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let unknown = || {
        let words = "no recording of this name: /api/v1/recordings lists them";
        error(StatusCode::NOT_FOUND, words)
    };
    let Ok(Path((set, name))) = path else {
        return unknown();
    };
    let saved = match set.as_str() {
        "now" => name.clone(),
        kept => format!("{kept}-{name}"),
    };
    let opened = recordings.with(move |store| store.open(&set, &name)).await;
    match opened {
        Err(response) => response,
        Ok((None, _slot)) => unknown(),
        Ok((Some(file), slot)) => (headers(&saved), body(file, slot)).into_response(),
    }
}

fn headers(saved: &str) -> HeaderMap {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let saved: String = saved.chars().filter(|&c| plain(c)).collect();
    let mut headers = HeaderMap::new();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, octets);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{saved}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers
}

/// Reads ahead by a little, and stops when the client is gone. What is appended
/// meanwhile is not sent: there is an end.
fn body(file: File, slot: OwnedSemaphorePermit) -> Body {
    let (chunks, received) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    spawn_blocking(move || {
        let _slot = slot;
        let length = file.metadata().map_or(0, |known| known.len());
        let mut file = file.take(length);
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
            let last = !matches!(read, Ok(1..));
            let sent = match read {
                Ok(0) => return,
                Ok(_) => chunks.blocking_send(Ok(chunk.into())),
                Err(failed) => chunks.blocking_send(Err(failed)),
            };
            if last || sent.is_err() {
                return;
            }
        }
    });
    Body::from_stream(unfold(received, async |mut received| {
        Some((received.recv().await?, received))
    }))
}
