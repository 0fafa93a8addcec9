//! The API is a contract: each document is, byte for byte, what it was, and each of its
//! fields is in the documentation.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    api::{
        At, Bdis, ConfigStatus, GuardStatus, Happened, Loops, Node, OfTick, ProbeReport,
        Recordings, Rows, Stalls, Task, Tracks, Verdicts,
    },
    evidence::{Evidence, Pauses, Thread},
    guard::{Action, GuardEvent, Mode, Outcome},
    mitigation::Measure,
    observation::{Container, ProcessPlace, Stack, ThreadState, Topology},
    verdict::Confidence,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::client::{TestServer, get};
use super::events::EventStream;
use crate::cli::generated;
use crate::evidence::Document;
use crate::guard::{GuardNow, Tallies};
use crate::http::paths::PATHS;
use crate::http::{LIMITS, Site};
use crate::publish::snapshot::{Shared, Snapshot};
use crate::publish::testing;
use crate::publish::testing::NOW_NS;
use crate::recording::RecordingStore;

const EVIDENCE: &str = "/api/v1/evidence/20231114T220001.500Z-0.29-nfsd-dirty-throttle-confirmed";

const DOCUMENTS: [&str; 14] = [
    "/-/ready",
    "/api/v1/bdis",
    EVIDENCE,
    "/api/v1/guard",
    "/api/v1/history",
    "/api/v1/loops",
    "/api/v1/node",
    "/api/v1/probes",
    "/api/v1/recordings",
    "/api/v1/stalls",
    "/api/v1/tasks",
    "/api/v1/tasks/11",
    "/api/v1/tasks/99",
    "/api/v1/verdicts",
];

fn container() -> Container {
    Container {
        pod_uid: "uid".into(),
        namespace: "shop".into(),
        pod: "web-0".into(),
        hostname: "web-0".into(),
        ..Container::default()
    }
}

fn guard_event() -> GuardEvent {
    GuardEvent {
        commands: vec!["echo 1".to_owned()],
        undo: vec!["echo 0".to_owned()],
        ..GuardEvent::new(
            &testing::observation(),
            "0:29-nfsd",
            Action::Break,
            Outcome::Done,
            "it stands still".to_owned(),
        )
    }
}

fn evidence() -> Evidence {
    let seen = testing::observation();
    let thread = Thread {
        tid: 11,
        comm: "nfsd".into(),
        state: Some(ThreadState::Throttled),
        waits: seen.waits,
        waiting_seconds: Some(2.5),
        write_seconds: None,
        blocked_in: None,
        behind_throttled: false,
        stack: vec!["balance_dirty_pages".into()],
        container: Some(container()),
    };
    Evidence {
        threads: vec![thread],
        pauses: vec![Pauses {
            bdi: "254:0".into(),
            class: Class::Nfsd,
            events: 3,
            pause_seconds: 0.5,
            dirty_pages: 9.0,
            limit_pages: 10.0,
            bdi_dirty_pages: 1.0,
            bdi_setpoint_pages: 2.0,
        }],
        mitigations: vec![Measure {
            what: "hold it".to_owned(),
            commands: vec!["echo 1".to_owned()],
            undo: vec!["echo 0".to_owned()],
            seen: "on 6.12".to_owned(),
        }],
        guard: vec![guard_event()],
        ..testing::evidence(1)
    }
}

/// A node with something in every list, but for sentences of advice: those may change.
fn everything() -> Snapshot {
    let mut snapshot = testing::snapshot();
    let mut daemon = testing::daemon();
    // A recording is never late.
    daemon.info.recording = Some("night.tmrec".to_owned());
    snapshot.daemon = Arc::new(daemon);
    // Who is not found gets no advice.
    snapshot.loops[0].id = "0:29-other".into();
    snapshot.loops[0].client_containers = vec![container()];
    snapshot.verdicts[0].confidence = Confidence {
        share: 0.75,
        missing: vec!["no stacks".to_owned()],
    };
    snapshot.observation.topology = Arc::new(Topology {
        read_ns: NOW_NS - 2_500_000_000,
        incomplete: vec!["one namespace".into()],
        processes: vec![ProcessPlace {
            tgid: 11,
            container: Some(container()),
        }],
        ..Topology::default()
    });
    snapshot.observation.stacks = vec![Stack {
        tid: 11,
        comm: "nfsd".into(),
        frames: vec!["balance_dirty_pages".into()],
    }];
    let again = testing::wait(21, Cause::BalanceDirtyPages, Class::User, NOW_NS - 1);
    snapshot.observation.waits.push(again);
    let mut tallies = Tallies::default();
    tallies.count(Action::Break, Outcome::Done);
    snapshot.guard = Some(GuardNow {
        mode: Mode::Break,
        tallies,
        active: vec![("0:29-nfsd".to_owned(), "strict_limit".to_owned())],
        ..GuardNow::default()
    });
    snapshot.config = Some(Arc::new(ConfigStatus {
        file: Some("/etc/throttle-monitor/config.toml".to_owned()),
        last_reload_successful: false,
        last_reload_success_unix_ms: 1_700_000_000_000,
        error: Some("config.toml:3: unknown key".to_owned()),
        needs_restart: vec!["web.listen-address".to_owned()],
    }));
    snapshot.guard_events = Arc::new([guard_event()].into());
    Arc::make_mut(&mut snapshot.events)
        .push_back(testing::event(4, Happened::Guard(guard_event())));
    let document = Document::new(&evidence()).unwrap();
    snapshot.evidence = Arc::new([Arc::new(document)].into());
    snapshot
}

/// All documents, by path; of the events each by its kind.
fn documents() -> Vec<(String, String)> {
    let snapshot = everything();
    let shared = Arc::new(Shared::new(snapshot.clone()));
    let history = shared.history();
    history.push(&snapshot.verdicts, snapshot.observation.unix_ms);
    let site = Site {
        telemetry_path: "/metrics".to_owned(),
        shared,
        store: Arc::new(RecordingStore::Files(vec!["/nowhere/night.tmrec".into()])),
        web: Arc::default(),
        lifecycle: None,
    };
    let server = TestServer::start_site(LIMITS, 1, site);
    let answer = |path: &str| (path.to_owned(), get(&server, path).body);
    let mut all = DOCUMENTS.map(answer).to_vec();
    let mut client = EventStream::listen_at(&server, "/api/v1/events?node", "");
    for _ in 0..5 {
        let message = client.next();
        let path = format!("/api/v1/events {} {}", message.event, message.id);
        all.push((path, message.data));
    }
    all
}

#[test]
fn every_document_is_byte_for_byte_what_it_was() {
    let mut text = String::new();
    for (path, body) in documents() {
        writeln!(text, "{path}\n{}\n", body.trim_end()).unwrap();
    }
    for (path, _) in PATHS {
        let is_there = text.contains(&format!("{path}\n")) || text.contains(&format!("{path} "));
        assert!(is_there || !path.starts_with("/api/"), "{path}");
    }
    generated::hold_file("monitor/src/http/tests/contract.txt", &text);
}

fn fields(document: &Value, names: &mut BTreeSet<String>) {
    match document {
        Value::Object(all) => {
            for (name, value) in all {
                names.insert(name.clone());
                fields(value, names);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| fields(one, names)),
        _ => {}
    }
}

#[test]
fn every_field_is_in_the_documentation() {
    let docs = [
        include_str!("../../../../docs/metrics.md"),
        include_str!("../../../../docs/evidence.md"),
    ];
    // What stands between backticks on one line.
    let code = docs.iter().flat_map(|page| page.lines());
    let code = code.flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = code.flat_map(|code| code.split(|c| !is_part(c))).collect();
    for (path, body) in documents() {
        let mut names = BTreeSet::new();
        // /-/ready is text.
        fields(&serde_json::from_str(&body).unwrap_or_default(), &mut names);
        let missing: Vec<_> = names
            .iter()
            .filter(|name| !words.contains(&***name))
            .collect();
        assert!(
            missing.is_empty(),
            "{path}: docs/metrics.md has no {missing:?}"
        );
    }
}

/// A document as a client reads it, written again.
fn again<T: DeserializeOwned + Serialize>(document: &str) -> String {
    let read: T =
        serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    serde_json::to_string(&read).unwrap()
}

#[test]
fn a_client_reads_every_document_as_it_was_written() {
    let read = |path: &str, body: &str| match path {
        "/api/v1/bdis" => Some(again::<OfTick<Bdis>>(body)),
        "/api/v1/guard" => Some(again::<OfTick<GuardStatus<'_>>>(body)),
        "/api/v1/history" => Some(again::<OfTick<Tracks>>(body)),
        "/api/v1/loops" => Some(again::<OfTick<Loops<'_>>>(body)),
        "/api/v1/node" => Some(again::<At<Node>>(body)),
        "/api/v1/probes" => Some(again::<OfTick<ProbeReport>>(body)),
        "/api/v1/recordings" => Some(again::<Recordings>(body)),
        "/api/v1/stalls" => Some(again::<OfTick<Stalls<'_>>>(body)),
        "/api/v1/tasks" => Some(again::<OfTick<Rows>>(body)),
        "/api/v1/tasks/11" => Some(again::<OfTick<Task>>(body)),
        "/api/v1/verdicts" => Some(again::<OfTick<Verdicts<'_>>>(body)),
        "/api/v1/events node " => Some(again::<Node>(body)),
        path if path.starts_with("/api/v1/events ") => Some(again::<At<Happened>>(body)),
        "/-/ready" | EVIDENCE | "/api/v1/tasks/99" => None,
        _ => panic!("{path}"),
    };
    for (path, body) in documents() {
        if let Some(again) = read(&path, &body) {
            assert_eq!(again, body, "{path}");
        }
    }
}
