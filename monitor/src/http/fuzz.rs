//! Hostile input: what comes over a connection, and where metrics are to be.

use std::{
    cell::OnceCell,
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::Router;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    join,
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
    task::yield_now,
    time::timeout,
};

use super::slots::ConnectionSlots;
use super::{
    ConnectionLimits, Site, connection as serve_connection,
    events::Events,
    routes::{check_telemetry_path, router},
};
use crate::{
    fuzz_input::{RECORDING, text},
    pipeline::replay_publisher::ReplayPublisher,
    publish::snapshot::Shared,
    recording::{Header, Replayer},
};

/// All of an answer that is looked at, bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// How often the connection is given a chance to answer before the client hangs
/// up: what answers at all answers at once, from memory.
const CHANCES: usize = 64;

/// How long the client waits for the first byte where there must be one: recordings
/// are looked for by another thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// As ever, but that a connection which does not end is told soon.
const LIMITS: ConnectionLimits = ConnectionLimits {
    headers: Duration::from_secs(20),
    age: Duration::from_secs(20),
    stream: Duration::from_secs(20),
    drain: Duration::from_millis(100),
    ..super::LIMITS
};

/// Bytes as they are: whatever they ask for, nothing answers with an error of the
/// server's own, and the connection ends when the client hangs up.
pub fn connection(data: &[u8]) {
    let said = ask(data, Duration::ZERO);
    assert!(
        said.is_empty() || said.starts_with(b"HTTP/1."),
        "{}",
        text(&said)
    );
    assert!(!text(&said).contains("HTTP/1.1 500 "), "{}", text(&said));
}

/// A path with its query, in a request that is right but for that: it has one
/// answer, of a known kind, and JSON is JSON.
pub fn request(data: &[u8]) {
    let path: Vec<u8> = data
        .iter()
        .copied()
        .filter(|byte| !b" \r\n".contains(byte))
        .collect();
    let request = [b"GET /", &path[..], b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let said = ask(&request, PATIENCE);
    let said = text(&said);
    let Some((head, body)) = said.split_once("\r\n\r\n") else {
        panic!("no answer to {:?}: {said:?}", text(&request));
    };
    let status = head.split(' ').nth(1).unwrap_or_default();
    // 503 is /-/ready, of a recording; 414 and 431 are what is too long.
    let known = ["200", "400", "404", "405", "414", "431", "503"];
    assert!(known.contains(&status), "{head}");
    let head = head.to_ascii_lowercase();
    if head.contains("content-type: application/json") {
        let json = serde_json::from_str::<serde_json::Value>(body);
        let json = json.unwrap_or_else(|error| panic!("{error}: {body}"));
        let tasks = json["tasks"].as_array().map_or(0, Vec::len);
        assert!(tasks <= super::api::MAX_TASKS, "{tasks}");
        assert!(status == "200" || json["error"].is_string(), "{body}");
    }
    assert!(
        status == "400"
            || status == "414"
            || status == "431"
            || head.contains("\ncache-control: no-store")
    );
}

/// `--web.telemetry-path`: what is accepted can be served.
pub fn telemetry_path(data: &[u8]) {
    let text = text(data);
    if check_telemetry_path(&text).is_ok() {
        assert!(routed(&text).is_some(), "{text:?}");
    }
}

/// What is answered at `/api/v1/` and this path.
#[cfg(test)]
pub(crate) fn answer(path: &str) -> Vec<u8> {
    let request = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    ask(request.as_bytes(), PATIENCE)
}

/// What a server says to these bytes until it, or the client, hangs up.
fn ask(bytes: &[u8], patience: Duration) -> Vec<u8> {
    thread_local! {
        static ROUTER: OnceCell<Router> = const { OnceCell::new() };
    }
    let made = || match routed("/metrics") {
        Some(router) => router,
        None => panic!("/metrics cannot be served"),
    };
    let router = ROUTER.with(|router| router.get_or_init(made).clone());
    run(exchange(bytes, router, patience))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let built = || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => panic!("no runtime: {error}"),
        };
        runtime.get_or_init(built).block_on(future)
    })
}

async fn exchange(bytes: &[u8], router: Router, patience: Duration) -> Vec<u8> {
    let (client, server) = duplex(64 << 10);
    let (mut read, mut write) = split(client);
    let (first, begun) = oneshot::channel();
    let (_stop, stopped) = watch::channel(false);
    let place = ConnectionSlots::new(1).take().await;
    let serve = async {
        let until_closed = serve_connection(LIMITS, server, place, router, stopped);
        let ended = timeout(LIMITS.age / 2, until_closed).await;
        assert!(
            ended.is_ok(),
            "the client hung up, and the connection goes on"
        );
    };
    let send = async {
        // The server may hang up meanwhile.
        let _ = write.write_all(bytes).await;
        for _ in 0..CHANCES {
            yield_now().await;
        }
        if !patience.is_zero() {
            let _ = timeout(patience, begun).await;
        }
        let _ = write.shutdown().await;
    };
    let mut said = Vec::new();
    let receive = async {
        let _ = read.read_buf(&mut said).await;
        let _ = first.send(());
        let _ = read.take(MAX_ANSWER).read_to_end(&mut said).await;
    };
    join!(serve, send, receive);
    said
}

fn routed(telemetry_path: &str) -> Option<Router> {
    let (_, stopped) = watch::channel(false);
    let site = Site {
        telemetry_path: telemetry_path.to_owned(),
        shared: shared(),
        store: Arc::default(),
        web: Arc::default(),
        lifecycle: None,
    };
    let events = Events::new(shared(), stopped, LIMITS.stream);
    router(site, events).ok()
}

/// What a daemon published in a livelock.
fn shared() -> Arc<Shared> {
    static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();
    let played = || {
        let mut stage = ReplayPublisher::new(&Header::default(), None);
        Replayer::default().play(RECORDING, |observation, changes, engine| {
            stage.tick(observation, changes, engine, observation.unix_ms);
        });
        stage.shared()
    };
    Arc::clone(SHARED.get_or_init(played))
}
