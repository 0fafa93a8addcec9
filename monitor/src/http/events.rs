//! Server-sent events: what happened lately, and then what happens; with `?node`
//! also the node at a glance, at every tick.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::api::at;
use crate::publish::ready;
use crate::publish::snapshot::{Event, Shared, Snapshot};

/// Clients that listen at most: the rest of the connections is for others.
pub(super) const MAX_LISTENERS: usize = 16;
/// A comment so often keeps middleboxes from closing the connection, and finds
/// clients that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the listeners share.
#[derive(Clone)]
pub(super) struct Events {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
    /// After so long a stream ends, and the client comes back with the number
    /// of the last event that it has.
    age: Duration,
}

/// Set by a connection that carries a stream, which may live longer.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<AtomicBool>);

impl Streams {
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>, stopped: watch::Receiver<bool>, age: Duration) -> Self {
        Self {
            shared,
            slots: Arc::new(Semaphore::new(MAX_LISTENERS)),
            stopped,
            age,
        }
    }
}

pub(super) async fn events(
    State(events): State<Events>,
    Extension(streams): Extension<Streams>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let with_node = match query.as_deref() {
        None | Some("") => false,
        Some("node") => true,
        Some(_) => {
            let error = json!({"error": "unknown parameter", "accepted": "node"});
            return (StatusCode::BAD_REQUEST, Json(error)).into_response();
        }
    };
    let Ok(slot) = Arc::clone(&events.slots).try_acquire_owned() else {
        let error = format!(
            "{MAX_LISTENERS} clients listen to events, the maximum: close one, or read \
             /api/v1/loops and /api/v1/verdicts"
        );
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"error": error})),
        )
            .into_response();
    };
    streams.0.store(true, Ordering::Relaxed);
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let listener = Listener {
        seen: events.since(seen),
        published: events.shared.subscribe(),
        shared: events.shared,
        stopped: events.stopped,
        with_node,
        node_sent: None,
        end: Instant::now() + events.age,
        _slot: slot,
    };
    let stream = unfold(listener, async |mut listener| {
        let message = listener.next().await?;
        Some((Ok::<_, Infallible>(message), listener))
    });
    Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Events {
    /// The number after which to begin. One that was never given is of a
    /// daemon whose clock was ahead: everything is new to that client.
    fn since(&self, seen: Option<u64>) -> u64 {
        let newest = self.shared.load().events.back().map_or(0, |event| event.id);
        seen.filter(|&id| id <= newest).unwrap_or(0)
    }
}

/// One client that listens.
struct Listener {
    shared: Arc<Shared>,
    published: watch::Receiver<()>,
    stopped: watch::Receiver<bool>,
    /// The number of the last event sent.
    seen: u64,
    /// Whether it wants the node, too.
    with_node: bool,
    /// The tick of the last node sent.
    node_sent: Option<u64>,
    end: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Listener {
    /// The next event, once there is one; `None`: the stream ends. Who reads
    /// too slowly misses what is no longer kept.
    async fn next(&mut self) -> Option<Message> {
        loop {
            self.published.mark_unchanged();
            if *self.stopped.borrow() {
                return None;
            }
            if let Some(event) = self.after_seen() {
                self.seen = event.id;
                if let Some(message) = message(&event) {
                    return Some(message);
                }
                continue;
            }
            if let Some(message) = self.node() {
                return Some(message);
            }
            tokio::select! {
                changed = self.published.changed() => changed.ok()?,
                _ = self.stopped.wait_for(|&stop| stop) => return None,
                () = sleep_until(self.end) => return None,
            }
        }
    }

    /// The node of a tick that was not sent yet. Who reads too slowly misses ticks.
    fn node(&mut self) -> Option<Message> {
        let snapshot = self.shared.load();
        let tick = Some(snapshot.observation.monotonic_ns);
        if !self.with_node || self.node_sent == tick {
            return None;
        }
        self.node_sent = tick;
        let render = |snapshot: &Snapshot| {
            let node = snapshot.node(&ready::not_ready_now(snapshot));
            let json = serde_json::to_vec(&node).map_err(|error| error.to_string())?;
            Ok(json.into())
        };
        let json = snapshot.node_json(render).ok()?;
        let text = str::from_utf8(&json).ok()?;
        Some(Message::default().event("node").data(text))
    }

    fn after_seen(&self) -> Option<Event> {
        let snapshot = self.shared.load();
        let at = snapshot
            .events
            .partition_point(|event| event.id <= self.seen);
        snapshot.events.get(at).cloned()
    }
}

/// `None` for what is no JSON, which none of these is.
fn message(event: &Event) -> Option<Message> {
    let what = &event.what;
    let message = Message::default().id(event.id.to_string());
    let message = message.event(what.kind());
    message.json_data(at(what.unix_ms(), what)).ok()
}
