//! A server on the loopback and a client that sends what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::http::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::http::{ConnectionLimits, LIMITS, Site, serve_within};
use crate::publish::snapshot::{Shared, Snapshot};

/// Serves until it is dropped.
pub(in crate::http) struct TestServer {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(in crate::http) fn start(snapshot: Snapshot) -> Self {
        Self::start_at("/metrics", snapshot)
    }

    pub(super) fn start_at(path: &str, snapshot: Snapshot) -> Self {
        Self::start_with(LIMITS, 1, path, snapshot)
    }

    pub(super) fn start_with(
        limits: ConnectionLimits,
        listeners: usize,
        path: &str,
        snapshot: Snapshot,
    ) -> Self {
        let shared = Arc::new(Shared::new(snapshot));
        Self::start_site(
            limits,
            listeners,
            Site {
                telemetry_path: path.to_owned(),
                shared,
                store: Arc::default(),
                web: Arc::default(),
                lifecycle: None,
            },
        )
    }

    pub(super) fn start_site(limits: ConnectionLimits, listeners: usize, site: Site) -> Self {
        let shared = Arc::clone(&site.shared);
        let (stop, stopped) = oneshot::channel();
        let (tell, addresses) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut bound = Vec::new();
                for _ in 0..listeners {
                    bound.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
                }
                tell.send(bound.iter().map(|l| l.local_addr().unwrap()).collect())
                    .unwrap();
                let stopped = async { drop(stopped.await) };
                serve_within(limits, bound, site, stopped).await.unwrap();
            });
        });
        Self {
            addresses: addresses.recv().unwrap(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    /// Asks it to stop; drop it to wait for that.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "the server panicked");
        }
    }
}

pub(in crate::http) struct HttpReply {
    pub(in crate::http) status: StatusCode,
    headers: Vec<(String, String)>,
    pub(in crate::http) body: String,
}

impl HttpReply {
    pub(in crate::http) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer in {text:?}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let header = |line: &str| {
            line.split_once(": ")
                .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
                .unwrap()
        };
        Self {
            status,
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        }
    }
}

/// Sends a request as it is and reads until the server hangs up.
pub(super) fn ask(server: &TestServer, request: &str) -> HttpReply {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    finish(stream)
}

/// Reads what is left of an answer.
pub(super) fn finish(mut stream: TcpStream) -> HttpReply {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    HttpReply::parse(&text)
}

pub(in crate::http) fn get(server: &TestServer, path: &str) -> HttpReply {
    ask(
        server,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}
