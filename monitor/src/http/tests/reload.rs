//! `POST /-/reload`: off unless enabled, and never from a browser.

use std::path::Path;
use std::sync::{Arc, mpsc::Receiver};
use std::thread;

use axum::http::StatusCode;

use super::client::{HttpReply, TestServer, ask};
use crate::access::Web;
use crate::http::{LIMITS, Site};
use crate::lifecycle::{Lifecycle, Outcome, Request};
use crate::publish::snapshot::Shared;
use crate::publish::testing;

fn server(lifecycle: Option<Lifecycle>) -> TestServer {
    let site = Site {
        telemetry_path: "/metrics".to_owned(),
        shared: Arc::new(Shared::new(testing::snapshot())),
        store: Arc::default(),
        web: Arc::default(),
        lifecycle,
    };
    TestServer::start_site(LIMITS, 1, site)
}

/// A server whose reloads have this outcome.
fn reloading(outcome: Outcome) -> TestServer {
    let (lifecycle, requests): (_, Receiver<Request>) = Lifecycle::new();
    thread::spawn(move || {
        for request in requests {
            request.answer(outcome.clone());
        }
    });
    server(Some(lifecycle))
}

fn send(server: &TestServer, method: &str, headers: &str) -> HttpReply {
    let text =
        format!("{method} /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    ask(server, &text)
}

#[test]
fn a_reload_succeeds_with_post_and_put_and_an_empty_answer() {
    let server = reloading(Ok(Vec::new()));
    for method in ["POST", "PUT"] {
        let answer = send(&server, method, "");
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    }
}

#[test]
fn keys_that_need_a_restart_are_named() {
    let keys = ["web.listen-address", "interval"].map(str::to_owned);
    let answer = send(&reloading(Ok(keys.to_vec())), "POST", "");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        "needs a restart: web.listen-address, interval\n"
    );
}

#[test]
fn a_bad_file_is_answered_with_500_and_the_reason() {
    let answer = send(&reloading(Err("FILE:3: is bad".to_owned())), "POST", "");
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body, "failed to reload config: FILE:3: is bad\n");
}

#[test]
fn without_the_flag_it_is_forbidden_and_the_answer_names_the_flag() {
    let answer = send(&server(None), "POST", "");
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.starts_with("Lifecycle API is not enabled"));
    assert!(answer.body.contains("--web.enable-lifecycle"));
}

#[test]
fn other_methods_reload_nothing() {
    let (lifecycle, requests) = Lifecycle::new();
    let server = server(Some(lifecycle));
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"] {
        let answer = send(&server, method, "");
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), Some("POST, PUT"), "{method}");
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_browser_reloads_nothing() {
    let (lifecycle, requests) = Lifecycle::new();
    let server = server(Some(lifecycle));
    for header in [
        "Origin: http://x\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
    ] {
        let answer = send(&server, "POST", header);
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{header}");
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn no_other_path_takes_a_post() {
    let server = reloading(Ok(Vec::new()));
    for path in ["/-/reload/", "/-/RELOAD", "/-/healthy", "//-/reload"] {
        let text = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(
            ask(&server, &text).status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{path}"
        );
    }
}

#[test]
fn it_asks_for_the_same_password_as_any_other_path() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("web.yml");
    let hash = bcrypt::hash("right", 4).unwrap();
    std::fs::write(&config, format!("basic_auth_users:\n  one: {hash}\n")).unwrap();
    let (lifecycle, requests) = Lifecycle::new();
    let site = Site {
        telemetry_path: "/metrics".to_owned(),
        shared: Arc::new(Shared::new(testing::snapshot())),
        store: Arc::default(),
        web: Web::of_file(Path::new("/proc"), &config).unwrap(),
        lifecycle: Some(lifecycle),
    };
    let server = TestServer::start_site(LIMITS, 1, site);
    let authorization = |password: &str| {
        let pair = data_encoding::BASE64.encode(format!("one:{password}").as_bytes());
        format!("Authorization: Basic {pair}\r\n")
    };
    for header in [String::new(), authorization("wrong")] {
        let answer = send(&server, "POST", &header);
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{header}");
    }
    assert!(requests.try_recv().is_err());
    thread::spawn(move || {
        for request in requests {
            request.answer(Ok(Vec::new()));
        }
    });
    let answer = send(&server, "POST", &authorization("right"));
    assert_eq!(answer.status, StatusCode::OK);
}
