//! Server-sent events, by clients that stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use monitor_model::{loops::LoopEvent, related::RelatedEvent, verdict::Transition};
use serde_json::Value;

use super::client::{TestServer, ask, get};
use crate::http::events::MAX_LISTENERS;
use crate::http::{ConnectionLimits, LIMITS};
use crate::publish::node::Node;
use crate::publish::snapshot::{Event, Happened, Snapshot};
use crate::publish::testing;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything here lasts, even on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// One message as it is sent, by its fields.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SentEvent {
    pub(super) event: String,
    pub(super) id: String,
    pub(super) data: String,
}

pub(super) struct EventStream(BufReader<TcpStream>);

impl EventStream {
    fn listen(server: &TestServer, last_event_id: &str) -> Self {
        Self::listen_at(server, "/api/v1/events", last_event_id)
    }

    pub(super) fn listen_at(server: &TestServer, path: &str, last_event_id: &str) -> Self {
        let mut stream = server.connect();
        let header = if last_event_id.is_empty() {
            String::new()
        } else {
            format!("Last-Event-ID: {last_event_id}\r\n")
        };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n").unwrap();
        let mut client = Self(BufReader::new(stream));
        let head: Vec<String> = std::iter::from_fn(|| Some(client.line()))
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(
            head.contains(&"content-type: text/event-stream".to_owned()),
            "{head:?}"
        );
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(super) fn next(&mut self) -> SentEvent {
        let mut message = SentEvent::default();
        loop {
            let line = self.line();
            // The lengths of the chunks have no colon.
            match line.split_once(": ") {
                Some(("event", value)) => message.event = value.to_owned(),
                Some(("id", value)) => message.id = value.to_owned(),
                Some(("data", value)) => message.data = value.to_owned(),
                _ if !message.data.is_empty() => return message,
                _ => {}
            }
        }
    }

    fn ids(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().id).collect()
    }

    /// What is left until the server hangs up.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn happened(ids: std::ops::RangeInclusive<u64>) -> Snapshot {
    let mut snapshot = testing::snapshot();
    let event = |id| Event {
        id,
        what: Happened::Verdict(testing::transition_at(id)),
    };
    snapshot.events = Arc::new(ids.map(event).collect());
    snapshot
}

#[test]
fn who_asks_for_the_node_is_sent_it_at_every_tick_after_what_happened() {
    let server = TestServer::start(testing::snapshot());
    let mut client = EventStream::listen_at(&server, "/api/v1/events?node", "");
    assert_eq!(client.ids(3), ["1", "2", "3"]);
    let node = client.next();
    assert_eq!((node.event.as_str(), node.id.as_str()), ("node", ""));
    let node: Node = serde_json::from_str(&node.data).unwrap();
    assert_eq!(node.loops[0].id, "0:29-nfsd");
    let mut next = testing::snapshot();
    next.observation.monotonic_ns += 1_000_000_000;
    next.observation.unix_ms += 1000;
    server.shared.publish(next);
    let later: Node = serde_json::from_str(&client.next().data).unwrap();
    assert_eq!(later.unix_ms, node.unix_ms + 1000);
}

#[test]
fn a_parameter_that_is_not_known_is_refused() {
    let answer = get(
        &TestServer::start(testing::snapshot()),
        "/api/v1/events?nodes",
    );
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[test]
fn who_connects_is_told_what_happened_lately_by_kind() {
    let server = TestServer::start(testing::snapshot());
    let mut client = EventStream::listen(&server, "");
    let (first, second) = (client.next(), client.next());
    assert_eq!((first.event.as_str(), first.id.as_str()), ("loop", "1"));
    let event: LoopEvent = serde_json::from_str(&first.data).unwrap();
    assert_eq!(event, testing::loop_event());
    assert_eq!(
        (second.event.as_str(), second.id.as_str()),
        ("verdict", "2")
    );
    let transition: Transition = serde_json::from_str(&second.data).unwrap();
    assert_eq!(transition, testing::transition_at(92_000));
    let json: Value = serde_json::from_str(&second.data).unwrap();
    assert_eq!(json["at"], "2023-11-14T22:13:20.000Z");
    let third = client.next();
    assert_eq!((third.event.as_str(), third.id.as_str()), ("related", "3"));
    let event: RelatedEvent = serde_json::from_str(&third.data).unwrap();
    assert_eq!(event, testing::related_event(true));
}

#[test]
fn what_happens_later_comes_when_it_is_published_and_once() {
    let server = TestServer::start(happened(1..=2));
    let mut client = EventStream::listen(&server, "");
    assert_eq!(client.ids(2), ["1", "2"]);
    server.shared.publish(happened(1..=2));
    server.shared.publish(happened(1..=4));
    assert_eq!(client.ids(2), ["3", "4"]);
    server.shared.publish(happened(4..=5));
    assert_eq!(client.ids(1), ["5"]);
}

#[test]
fn who_comes_back_is_told_what_it_missed_and_all_of_it_where_its_number_is_unknown() {
    let server = TestServer::start(happened(5..=7));
    assert_eq!(EventStream::listen(&server, "6").ids(1), ["7"]);
    for unknown in ["2", "99", "x", "-1"] {
        let ids = EventStream::listen(&server, unknown).ids(3);
        assert_eq!(ids, ["5", "6", "7"], "{unknown}");
    }
    let mut client = EventStream::listen(&server, "7");
    server.shared.publish(happened(5..=8));
    assert_eq!(client.ids(1), ["8"]);
}

#[test]
fn who_lags_behind_what_is_kept_goes_on_with_the_oldest_that_is() {
    let server = TestServer::start(happened(1..=1));
    let mut client = EventStream::listen(&server, "");
    assert_eq!(client.ids(1), ["1"]);
    server.shared.publish(happened(500..=501));
    assert_eq!(client.ids(2), ["500", "501"]);
}

#[test]
fn listeners_beyond_the_cap_are_refused_and_others_are_served() {
    let server = TestServer::start(happened(1..=1));
    let mut listening: Vec<EventStream> = (0..MAX_LISTENERS)
        .map(|_| EventStream::listen(&server, ""))
        .collect();
    let answer = get(&server, "/api/v1/events");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("16 clients listen to events"), "{error}");
    assert_eq!(get(&server, "/metrics").status, StatusCode::OK);
    drop(listening.pop());
    // That it is gone is found when the next event is sent to it.
    let start = Instant::now();
    for id in 2.. {
        server.shared.publish(happened(1..=id));
        let head = "HEAD /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        if ask(&server, head).status == StatusCode::OK {
            break;
        }
        assert!(start.elapsed() < LONG / 2, "its place is not given back");
        std::thread::sleep(SHORT / 10);
    }
}

#[test]
fn shutdown_ends_the_streams_and_is_not_held_up() {
    let mut server = TestServer::start_with(
        ConnectionLimits {
            drain: LONG,
            ..LIMITS
        },
        1,
        "/metrics",
        happened(1..=1),
    );
    let mut client = EventStream::listen(&server, "");
    assert_eq!(client.ids(1), ["1"]);
    let begin = Instant::now();
    server.stop();
    drop(server);
    assert!(begin.elapsed() < LONG / 4, "{:?}", begin.elapsed());
    assert!(client.rest().ends_with("0\r\n\r\n"), "the last chunk");
}

#[test]
fn a_stream_outlives_other_connections_and_ends_whole_at_its_own_age() {
    let limits = ConnectionLimits {
        age: SHORT,
        stream: 5 * SHORT,
        drain: SHORT / 10,
        ..LIMITS
    };
    let server = TestServer::start_with(limits, 1, "/metrics", happened(1..=1));
    let begin = Instant::now();
    let client = EventStream::listen(&server, "1");
    let rest = client.rest();
    assert!(begin.elapsed() >= limits.stream, "{:?}", begin.elapsed());
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
