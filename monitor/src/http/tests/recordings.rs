//! Recordings that are listed and downloaded.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;

use super::client::{TestServer, get};
use crate::http::recordings::MAX_READERS;
use crate::http::{LIMITS, Site};
use crate::publish::snapshot::Shared;
use crate::publish::testing;
use crate::recording::RecordingStore;

const NAME: &str = "segment-0000000007.tmrec";

fn server(store: RecordingStore) -> TestServer {
    let site = Site {
        telemetry_path: "/metrics".to_owned(),
        shared: Arc::new(Shared::new(testing::snapshot())),
        store: Arc::new(store),
        web: Arc::default(),
        lifecycle: None,
    };
    TestServer::start_site(LIMITS, 1, site)
}

fn window(dir: &Path) -> RecordingStore {
    RecordingStore::Window(fs::File::open(dir).unwrap().into())
}

#[test]
fn a_recording_is_listed_and_comes_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.path().join(NAME), &bytes).unwrap();
    let server = server(window(dir.path()));
    let list = get(&server, "/api/v1/recordings").json();
    assert_eq!(list["recordings"][0]["name"], "now");
    assert_eq!(list["recordings"][0]["files"][0]["name"], NAME);
    assert_eq!(list["recordings"][0]["files"][0]["bytes"], 300_000);
    assert!(list["why_none"].is_null());

    let mut stream = server.connect();
    write!(
        stream,
        "GET /api/v1/recordings/now/{NAME} HTTP/1.0\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.unwrap() + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    assert!(head.starts_with("http/1.0 200"), "{head}");
    assert!(
        head.contains(&format!("attachment; filename=\"{NAME}\"")),
        "{head}"
    );
    assert_eq!(body, bytes);
}

#[test]
fn without_a_recording_it_is_said_how_to_have_one() {
    let list = get(&server(RecordingStore::Empty), "/api/v1/recordings").json();
    assert_eq!(list["recordings"], serde_json::json!([]));
    assert!(
        list["why_none"]
            .as_str()
            .unwrap()
            .contains("--record.dir DIR")
    );
}

#[test]
fn what_is_no_recording_is_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "s").unwrap();
    let server = server(window(dir.path()));
    for path in [
        "now/secret",
        "now/segment-0000000001.tmrec",
        "now/..%2Fsecret",
        "..%2F/secret",
        "now/%00",
        "%2Fetc/passwd",
    ] {
        let answer = get(&server, &format!("/api/v1/recordings/{path}"));
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn clients_that_do_not_read_take_all_places_and_no_more_and_give_them_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(NAME), vec![0; 64 << 20]).unwrap();
    let server = server(window(dir.path()));
    let path = format!("/api/v1/recordings/now/{NAME}");
    let mut slow: Vec<_> = (0..MAX_READERS)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut first = [0; 16];
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    let list = "/api/v1/recordings";
    assert_eq!(get(&server, list).status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&server, "/metrics").status, StatusCode::OK);
    slow.clear();
    // The reader learns of it at its next chunk.
    while get(&server, list).status != StatusCode::OK {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
