//! Against a real listener on the loopback, by a client that can misbehave.

mod api;
pub(super) mod client;
mod contract;
mod events;
mod limits;
mod recordings;
mod reload;
mod web;

use axum::http::StatusCode;
use client::{TestServer, ask, get};

use crate::publish::snapshot::Snapshot;
use crate::publish::testing;
use crate::publish::testing::Exposition;

#[test]
fn the_landing_page_is_html_that_loads_nothing_and_links_to_what_exists() {
    let server = TestServer::start(testing::snapshot());
    let answer = get(&server, "/");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        answer
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none';")
    );
    let footer = answer.body.split("<footer>").nth(1).unwrap();
    let links: Vec<&str> = footer
        .split("href=\"")
        .skip(1)
        .map(|link| link.split('"').next().unwrap())
        .collect();
    // All but the page itself, and the metrics.
    assert_eq!(links.len(), super::paths::PATHS.len());
    for link in links {
        let head = format!("HEAD {link} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_ne!(ask(&server, &head).status, StatusCode::NOT_FOUND, "{link}");
    }
}

#[test]
fn the_metrics_have_their_content_type_and_parse() {
    let server = TestServer::start(testing::snapshot());
    let answer = get(&server, "/metrics");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = Exposition::parse(&answer.body);
    assert_eq!(
        page.get(
            "throttle_livelock_state",
            &[("loop", "0:29-nfsd"), ("signature", "dirty-throttle")]
        ),
        Some(2.0)
    );
}

#[test]
fn the_metrics_are_where_they_were_asked_to_be_and_nowhere_else() {
    let server = TestServer::start_at("/throttle/m", testing::snapshot());
    assert_eq!(get(&server, "/throttle/m").status, StatusCode::OK);
    assert_eq!(get(&server, "/metrics").status, StatusCode::NOT_FOUND);
}

#[test]
fn what_is_published_later_is_served_from_then_on() {
    let server = TestServer::start(Snapshot::before_the_first_tick(testing::daemon()));
    assert!(
        !get(&server, "/metrics")
            .body
            .contains("throttle_dirty_bytes")
    );
    server.shared.publish(testing::snapshot());
    assert!(
        get(&server, "/metrics")
            .body
            .contains("throttle_dirty_bytes 77\n")
    );
}

#[test]
fn healthy_is_the_process_and_ready_the_work() {
    let server = TestServer::start(Snapshot::before_the_first_tick(testing::daemon()));
    assert_eq!(get(&server, "/-/healthy").status, StatusCode::OK);
    let answer = get(&server, "/-/ready");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.body,
        "not ready: the first tick has not finished yet; the probes are not attached yet\n"
    );

    let mut fresh = testing::snapshot();
    fresh.observation.monotonic_ns = client::monotonic_ns();
    server.shared.publish(fresh.clone());
    let answer = get(&server, "/-/ready");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "ready\n")
    );

    fresh.observation.monotonic_ns = 1;
    server.shared.publish(fresh);
    let answer = get(&server, "/-/ready");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.body.starts_with("not ready: the last tick was "),
        "{}",
        answer.body
    );
}

#[test]
fn an_unknown_path_is_told_what_exists() {
    let server = TestServer::start_at("/m", testing::snapshot());
    let answer = get(&server, "/nothing");
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let paths = answer.json()["paths"].clone();
    for path in [
        "/",
        "/m",
        "/-/healthy",
        "/-/ready",
        "/api/v1/verdicts",
        "/api/v1/tasks",
    ] {
        assert!(
            paths.as_array().unwrap().contains(&path.into()),
            "{path} in {paths}"
        );
    }
}

#[test]
fn path_tricks_find_nothing() {
    let server = TestServer::start(testing::snapshot());
    for path in [
        "//metrics",
        "/metrics/",
        "/%6detrics",
        "/metrics%00",
        "/../metrics",
        "/api/../metrics",
        "/..%2fmetrics",
        "/METRICS",
        "/api/v1/",
        "/api/v1/tasks/..",
        "/-/ready;x=1",
    ] {
        assert_eq!(get(&server, path).status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn only_get_and_head_are_allowed() {
    let server = TestServer::start(testing::snapshot());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        for path in ["/", "/metrics", "/nothing"] {
            let answer = ask(
                &server,
                &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            );
            assert_eq!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = TestServer::start(testing::snapshot());
    let answer = ask(
        &server,
        "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("content-length"),
        Some(get(&server, "/metrics").body.len().to_string().as_str())
    );
    assert_eq!(answer.body, "");
}

#[test]
fn every_answer_forbids_to_cache_and_to_guess() {
    let server = TestServer::start(testing::snapshot());
    for path in ["/", "/metrics", "/-/ready", "/api/v1/tasks", "/nothing"] {
        let answer = get(&server, path);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
    }
}

#[test]
fn a_verdict_that_is_not_kept_is_a_page_for_people_whatever_its_name() {
    let server = TestServer::start(testing::snapshot());
    for name in ["20200101T000000Z", "%3Cscript%3E", "%ff", "a%2fb"] {
        let answer = get(&server, &format!("/verdicts/{name}"));
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(answer.body.contains("--evidence.dir DIR"), "{name}");
    }
}
