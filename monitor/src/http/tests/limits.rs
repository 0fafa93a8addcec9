use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::client::{TestServer, ask, finish, get};
use crate::http::{ConnectionLimits, LIMITS};
use crate::publish::testing;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything here lasts, even on a busy machine.
const LONG: Duration = Duration::from_mins(1);

fn start(limits: ConnectionLimits) -> TestServer {
    TestServer::start_with(limits, 1, "/metrics", testing::snapshot())
}

/// How long the server lets a connection be.
fn hangs_up_after(mut stream: TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    // A reset is a way to hang up as well.
    let _ = stream.read_to_end(&mut rest);
    begin.elapsed()
}

#[test]
fn a_client_that_never_ends_its_headers_is_hung_up_on() {
    let server = start(ConnectionLimits {
        headers: SHORT,
        age: LONG,
        ..LIMITS
    });
    let mut slow = server.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .unwrap();
    let lasted = hangs_up_after(slow);
    assert!(lasted >= SHORT / 2 && lasted < LONG / 4, "{lasted:?}");
}

#[test]
fn a_client_that_sends_nothing_or_idles_after_an_answer_is_hung_up_on() {
    let server = start(ConnectionLimits {
        headers: SHORT,
        age: LONG,
        ..LIMITS
    });
    let lasted = hangs_up_after(server.connect());
    assert!(lasted < LONG / 4, "silent: {lasted:?}");
    let mut idle = server.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let lasted = hangs_up_after(idle);
    assert!(lasted < LONG / 4, "idle: {lasted:?}");
}

#[test]
fn a_client_that_keeps_asking_is_served_on_one_connection_until_it_is_too_old() {
    let server = start(ConnectionLimits {
        headers: LONG,
        age: 3 * SHORT,
        ..LIMITS
    });
    let mut stream = server.connect();
    for _ in 0..2 {
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\nhealthy\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
    let lasted = hangs_up_after(stream);
    assert!(lasted < LONG / 4, "{lasted:?}");
}

/// What asks once and then waits for the answer.
fn ask_healthy(server: &TestServer) -> TcpStream {
    let mut stream = server.connect();
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    stream
}

#[test]
fn a_connection_over_the_cap_has_the_place_of_the_one_that_idles_longest() {
    let server = start(ConnectionLimits {
        connections: 2,
        headers: LONG,
        age: LONG,
        hurry: SHORT,
        ..LIMITS
    });
    let first = server.connect();
    sleep(SHORT);
    let mut second = server.connect();
    sleep(SHORT);
    assert_eq!(finish(ask_healthy(&server)).status, StatusCode::OK);
    assert!(hangs_up_after(first) < LONG / 4, "the first was kept");
    second.set_read_timeout(Some(SHORT)).unwrap();
    assert!(
        second.read(&mut [0]).is_err_and(|error| matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        )),
        "the second was to stay"
    );
}

#[test]
fn thousands_of_idle_connections_keep_nobody_out() {
    // With what the daemon has, and no help from its timeouts.
    let server = start(ConnectionLimits {
        headers: LONG,
        age: LONG,
        ..LIMITS
    });
    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..3000 {
        // A file descriptor is held by both sides here, and of those are 1024.
        if idle.len() == 300 {
            idle.remove(0);
        }
        // A queue that is full makes the kernel wait for a second.
        if number % 50 == 0 {
            sleep(SHORT / 10);
        }
        let mut stream = server.connect();
        if number % 2 == 0 {
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
                .unwrap();
        }
        idle.push(stream);
    }
    let begin = Instant::now();
    assert_eq!(finish(ask_healthy(&server)).status, StatusCode::OK);
    assert!(begin.elapsed() < LONG / 4, "{:?}", begin.elapsed());
}

#[test]
fn headers_longer_than_the_buffer_are_refused() {
    let server = start(LIMITS);
    let long = "x".repeat(2 * LIMITS.buffer);
    let answer = ask(
        &server,
        &format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}"),
    );
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn a_body_is_not_waited_for_and_its_request_is_the_connections_last() {
    let server = start(ConnectionLimits {
        headers: LONG,
        age: LONG,
        ..LIMITS
    });
    let request = "GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    let answer = ask(&server, request);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn what_is_no_http_is_refused_and_the_next_client_is_served() {
    let server = start(LIMITS);
    assert_eq!(
        ask(&server, "\x16\x03\x01 hello\r\n\r\n").status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(get(&server, "/-/healthy").status, StatusCode::OK);
}

#[test]
fn all_listeners_serve() {
    let server = TestServer::start_with(LIMITS, 3, "/metrics", testing::snapshot());
    for address in &server.addresses {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert_eq!(finish(stream).status, StatusCode::OK, "{address}");
    }
}

#[test]
fn an_answer_under_way_at_shutdown_is_finished() {
    let mut snapshot = testing::snapshot();
    // More than the sockets on both sides take before the client reads.
    let mut long = testing::transition_at(1);
    long.reason = "x".repeat(32 << 20);
    snapshot.timeline = Arc::new([long].into());
    let mut server = TestServer::start_with(
        ConnectionLimits {
            drain: LONG,
            ..LIMITS
        },
        1,
        "/metrics",
        snapshot,
    );
    let mut stream = server.connect();
    stream
        .write_all(b"GET /api/v1/verdicts HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream
        .read_exact(&mut [0; "HTTP/1.1 200 OK".len()])
        .unwrap();
    server.stop();
    sleep(SHORT);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(
        rest.len() > 32 << 20 && rest.ends_with(b"}"),
        "{} bytes",
        rest.len()
    );
}

#[test]
fn shutdown_ends_idle_connections_and_outlasts_a_stuck_one_by_no_more_than_the_deadline() {
    let mut server = start(ConnectionLimits {
        headers: LONG,
        age: LONG,
        drain: SHORT,
        ..LIMITS
    });
    let address = server.addresses[0];
    let mut stuck = server.connect();
    stuck
        .write_all(b"GET /metrics HTTP/1.1\r\nX-Half: ")
        .unwrap();
    let idle = server.connect();
    sleep(SHORT);
    let begin = Instant::now();
    server.stop();
    drop(server);
    assert!(begin.elapsed() < LONG / 4, "{:?}", begin.elapsed());
    assert!(hangs_up_after(idle) < LONG / 4);
    assert!(TcpStream::connect(address).is_err(), "still listening");
}
