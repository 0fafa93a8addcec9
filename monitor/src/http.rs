//! HTTP: serves the newest snapshot to people and to Prometheus.
//!
//! It drives hyper itself. `axum::serve` has no timer, so a client that never ends its headers
//! stays for ever. It also has no limit of connections, and its graceful shutdown may never end.

mod api;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod page;
mod paths;
mod recordings;
mod reload;
mod routes;
mod runbooks;
mod slots;
mod tls_accept;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::access::Web;
use crate::lifecycle::Lifecycle;
use crate::publish::snapshot::Shared;
use crate::recording::RecordingStore;
use events::{Events, Streams};
use slots::{ConnectionSlots, Slot};

pub use routes::{PathError, check_telemetry_path};

/// Number of blocking threads that the runtime needs: those that read recordings, and one that
/// hashes passwords.
pub const BLOCKING_THREADS: usize = recordings::MAX_READERS + 1;

/// The content to serve, and the access control.
#[derive(Clone, Debug)]
pub struct Site {
    /// Path of the metrics.
    pub telemetry_path: String,
    /// The shared snapshots.
    pub shared: Arc<Shared>,
    /// The recordings.
    pub store: Arc<RecordingStore>,
    /// The access control.
    pub web: Arc<Web>,
    /// Who reloads the configuration; `None`: not here.
    pub lifecycle: Option<Lifecycle>,
}

/// Limits for clients.
#[derive(Clone, Copy, Debug)]
struct ConnectionLimits {
    /// Connections of all listeners together. At the limit, a new one replaces an idle one, or
    /// waits if there is none.
    connections: usize,
    /// Time for the request line and headers, from the connection's start or the end of the
    /// previous request; also for the TLS handshake.
    headers: Duration,
    /// Maximum age of a connection, which also ends one whose client no longer reads.
    age: Duration,
    /// Maximum age of an event stream.
    stream: Duration,
    /// Time for the current requests once a connection must end.
    drain: Duration,
    /// Time for the current answer once another client needs the connection.
    hurry: Duration,
    /// Maximum size of request line and headers, bytes.
    buffer: usize,
}

const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 64,
    headers: Duration::from_secs(10),
    age: Duration::from_mins(2),
    stream: Duration::from_hours(1),
    drain: Duration::from_secs(2),
    hurry: Duration::from_millis(50),
    buffer: 16 * 1024,
};

/// Pause after a failed `accept`, mostly caused by a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves on all listeners until `shutdown`, then gives the current requests two seconds.
///
/// # Errors
///
/// When the site's `telemetry_path` cannot be served, before anything is accepted; see
/// [`check_telemetry_path`].
pub async fn serve(
    listeners: Vec<TcpListener>,
    site: Site,
    shutdown: impl Future<Output = ()>,
) -> Result<(), PathError> {
    serve_within(LIMITS, listeners, site, shutdown).await
}

async fn serve_within(
    limits: ConnectionLimits,
    listeners: Vec<TcpListener>,
    site: Site,
    shutdown: impl Future<Output = ()>,
) -> Result<(), PathError> {
    let (stop, stopped) = watch::channel(false);
    let events = Events::new(Arc::clone(&site.shared), stopped.clone(), limits.stream);
    let web = Arc::clone(&site.web);
    let router = routes::router(site, events)?;
    let slots = ConnectionSlots::new(limits.connections);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(listen(
            limits,
            listener,
            router.clone(),
            Arc::clone(&web),
            Arc::clone(&slots),
            stopped.clone(),
        ));
    }
    shutdown.await;
    stop.send_replace(true);
    while accepting.join_next().await.is_some() {}
    Ok(())
}

/// Accepts connections until shutdown, then waits for them to end.
async fn listen(
    limits: ConnectionLimits,
    listener: TcpListener,
    router: Router,
    web: Arc<Web>,
    slots: Arc<ConnectionSlots>,
    stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|&stop| stop) => break,
        };
        let place = tokio::select! {
            place = slots.take() => place,
            _ = stop.wait_for(|&stop| stop) => break,
        };
        let (router, mut stopped) = (router.clone(), stopped.clone());
        let policy = web.policy();
        connections.spawn(async move {
            let Some(config) = policy.tls() else {
                return connection(limits, stream, place, router, stopped).await;
            };
            let shaken = tokio::select! {
                shaken = timeout(limits.headers, tls_accept::accept(stream, config)) => shaken,
                _ = stopped.wait_for(|&stop| stop) => return,
                _ = place.wanted() => return,
            };
            if let Ok(Some(stream)) = shaken {
                connection(limits, stream, place, router, stopped).await;
            }
        });
    }
    drop(listener);
    // Each ends by itself within `drain`; dropping the set ends the rest.
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends, is too old, or the server shuts down.
async fn connection(
    limits: ConnectionLimits,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    place: Arc<Slot>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let streams = Streams::default();
    let inner = TowerToHyperService::new(router);
    let (mark, its) = (streams.clone(), Arc::clone(&place));
    let service = service_fn(move |mut request: Request<Incoming>| {
        its.busy();
        request.extensions_mut().insert(mark.clone());
        let has_body = !request.body().is_end_stream();
        let (answer, mark, its) = (inner.call(request), mark.clone(), Arc::clone(&its));
        async move {
            let mut answer = answer.await;
            if !mark.any() {
                its.idle();
            }
            // No handler reads a body. Bytes after one must not count as a request: hyper would
            // write its refusal into an unfinished answer.
            if let (Ok(answer), true) = (&mut answer, has_body) {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            answer
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let time_left = tokio::select! {
        // A client that hung up or did not speak HTTP needs no report.
        _ = serving.as_mut() => return,
        _ = stopped.wait_for(|&stop| stop) => limits.drain,
        () = too_old(limits, &streams) => limits.drain,
        has_asked = place.wanted() => if has_asked { limits.hurry } else { return },
    };
    serving.as_mut().graceful_shutdown();
    let _ = timeout(time_left, serving).await;
}

/// Ends when a connection is too old. A stream ends earlier by itself, if its client reads.
async fn too_old(limits: ConnectionLimits, streams: &Streams) {
    sleep(limits.age).await;
    if streams.any() {
        sleep(limits.stream).await;
    }
}

#[cfg(test)]
mod tests;
