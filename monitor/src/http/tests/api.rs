use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::Evidence,
    loops::{Loop, LoopEvent},
    observation::{Container, ProcessPlace, Stack, TaskDelay, Topology},
    related::{Related, RelatedEvent},
    verdict::{Transition, Verdict},
};
use monitor_verdict::timeline::time;
use serde_json::{Value, json};

use super::client::{TestServer, get};
use crate::evidence::{Document, MAX_DOCUMENTS, Sink, keep_newest};
use crate::http::api::{MAX_BDIS, MAX_TASKS, MAX_WAITS};
use crate::publish::node::Node;
use crate::publish::snapshot::{Daemon, ProbeReport, Snapshot};
use crate::publish::testing;
use crate::publish::testing::NOW_NS;

fn json(path: &str) -> Value {
    get(&TestServer::start(testing::snapshot()), path).json()
}

const LONG_MATCH: &str = "match=0123456789012345678901234567890123456789012345678901234567890123x";

#[test]
fn every_answer_says_of_which_tick_it_is() {
    let server = TestServer::start(testing::snapshot());
    for path in ["bdis", "loops", "probes", "stalls", "tasks", "verdicts"] {
        let answer = get(&server, &format!("/api/v1/{path}")).json();
        assert_eq!(answer["at"], "2023-11-14T22:13:20.500Z", "{path}");
        assert_eq!(answer["unix_ms"], 1_700_000_000_500_u64, "{path}");
    }
}

#[test]
fn before_the_first_tick_the_lists_are_empty_and_at_no_time() {
    let server = TestServer::start(Snapshot::before_the_first_tick(Daemon::default()));
    for (path, list) in [
        ("bdis", "bdis"),
        ("loops", "loops"),
        ("probes", "signals"),
        ("stalls", "stalls"),
        ("tasks", "tasks"),
        ("verdicts", "verdicts"),
    ] {
        let answer = get(&server, &format!("/api/v1/{path}")).json();
        assert_eq!(answer["at"], Value::Null);
        assert_eq!(answer[list], json!([]));
    }
}

#[test]
fn verdicts_and_timeline_read_back_as_what_they_were() {
    let answer = json("/api/v1/verdicts");
    let snapshot = testing::snapshot();
    let verdicts: Vec<Verdict> = serde_json::from_value(answer["verdicts"].clone()).unwrap();
    assert_eq!(verdicts, snapshot.verdicts);
    let timeline: Vec<Transition> = serde_json::from_value(answer["timeline"].clone()).unwrap();
    assert!(snapshot.timeline.iter().eq(timeline.iter()));
    let verdict = &answer["verdicts"][0];
    assert_eq!(verdict["loop"], "0:29-nfsd");
    assert_eq!(verdict["signature"], "dirty-throttle");
    assert_eq!(verdict["state"], "livelock");
    assert_eq!(verdict["since"], "2023-11-14T22:13:12.500Z");
    assert_eq!(answer["timeline"][0]["at"], "2023-11-14T22:13:20.000Z");
}

/// A server whose snapshot has these documents.
fn with_evidence(count: u32) -> (TestServer, Vec<Arc<Document>>) {
    let evidence: Vec<_> = (0..count).map(testing::evidence).collect();
    let documents = Sink::memory_only().take(&evidence);
    let mut snapshot = testing::snapshot();
    keep_newest(&mut snapshot.evidence, documents.clone());
    (TestServer::start(snapshot), documents)
}

#[test]
fn verdicts_list_the_evidence_and_each_is_served_whole() {
    let (server, documents) = with_evidence(2);
    let listed = get(&server, "/api/v1/verdicts").json()["evidence"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let first = &listed[0];
    let id = "20231114T220000.500Z-0.29-nfsd-dirty-throttle-confirmed";
    assert_eq!(first["id"], id);
    assert_eq!(first["loop"], "0:29-nfsd");
    assert_eq!(first["signature"], "dirty-throttle");
    assert_eq!(first["occasion"], "confirmed");
    assert_eq!(first["at"], "2023-11-14T22:13:20.500Z");
    assert_eq!(first["bytes"], documents[0].json().len());
    assert_eq!(first["file"], Value::Null);
    let answer = get(&server, first["path"].as_str().unwrap());
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.as_bytes(), documents[0].json());
    let back: Evidence = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(back, testing::evidence(0));
}

#[test]
fn evidence_that_is_not_kept_is_told_with_what_is() {
    let (server, documents) = with_evidence(u32::try_from(MAX_DOCUMENTS).unwrap() + 1);
    let gone = format!("/api/v1/evidence/{}", documents[0].head.id);
    for path in [
        gone.as_str(),
        "/api/v1/evidence/x",
        "/api/v1/evidence/%ff",
        "/api/v1/evidence/..%2f",
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let kept = answer.json()["kept"].clone();
        assert_eq!(kept.as_array().unwrap().len(), MAX_DOCUMENTS);
        assert_eq!(kept[0], documents[1].head.id.as_str());
    }
}

#[test]
fn bdis_come_by_name_with_their_congestion_and_who_waits() {
    let answer = json("/api/v1/bdis");
    assert_eq!(answer["total"], 2);
    let (client, disk) = (&answer["bdis"][0], &answer["bdis"][1]);
    assert_eq!(client["bdi"], "0:29");
    assert_eq!(client["nfs_client"], true);
    assert_eq!(client["congested"], true);
    assert_eq!(client["congested_by"], "nfs-writeback");
    assert_eq!(client["congested_since"], "2023-11-14T22:13:18.000Z");
    assert_eq!(client["congested_seconds"], 4.5);
    assert_eq!(client["congestion_threshold_bytes"], 7000);
    assert_eq!(client["max_ratio"], 100);
    assert_eq!(client["waiting_tasks"], 0);
    assert_eq!(disk["bdi"], "254:0");
    assert_eq!(disk["device"], "/dev/vda");
    assert_eq!(disk["dirty_bytes"], 4096);
    assert_eq!(disk["waiting_tasks"], 2);
    assert_eq!(disk["nfs_client"], false);
    for unknown in ["congested", "congested_by", "congested_since", "max_ratio"] {
        assert_eq!(disk[unknown], Value::Null, "{unknown}");
    }
}

#[test]
fn thousands_of_bdis_are_counted_and_the_first_of_them_listed() {
    let mut snapshot = testing::snapshot();
    let bdi = |n| testing::bdi(&format!("0:{n}"), "");
    snapshot.observation.bdis = (0..256).rev().map(bdi).collect();
    snapshot.observation.bdis_left_out = 4744;
    let answer = get(&TestServer::start(snapshot), "/api/v1/bdis").json();
    let sentence = answer["incomplete"][0].as_str().unwrap();
    assert!(
        sentence.starts_with("Only 256 of 5000 backing devices are read"),
        "{sentence}"
    );
    assert_eq!(answer["total"], 5000);
    assert_eq!(answer["bdis"].as_array().unwrap().len(), MAX_BDIS);
    assert_eq!(answer["bdis"][0]["bdi"], "0:0");
}

#[test]
fn loops_and_their_events_read_back_as_what_they_were() {
    let answer = json("/api/v1/loops");
    let snapshot = testing::snapshot();
    let loops: Vec<Loop> = serde_json::from_value(answer["loops"].clone()).unwrap();
    assert_eq!(loops, snapshot.loops);
    let events: Vec<LoopEvent> = serde_json::from_value(answer["events"].clone()).unwrap();
    assert!(snapshot.loop_events.iter().eq(events.iter()));
    let one = &answer["loops"][0];
    assert_eq!(one["loop"], "0:29-nfsd");
    assert_eq!(one["proof"], "xid");
    assert_eq!(one["scope"], "cross-netns");
    assert_eq!(one["exempt"]["state"], "no");
    assert_eq!(one["exempt"]["basis"], "observed");
    assert_eq!(
        one["exempt"]["reason"],
        "nfsd served its last WRITEs without PF_LOCAL_THROTTLE"
    );
    assert_eq!(one["since"], "2023-11-14T22:13:20.000Z");
    assert_eq!(answer["events"][0]["change"], "appeared");
    assert_eq!(answer["events"][0]["at"], "2023-11-14T22:13:20.000Z");
}

#[test]
fn related_conditions_and_their_events_read_back_as_what_they_were() {
    let answer = json("/api/v1/verdicts");
    let snapshot = testing::snapshot();
    let related: Vec<Related> = serde_json::from_value(answer["related"].clone()).unwrap();
    assert_eq!(related, snapshot.related);
    let events = answer["related_events"].clone();
    let events: Vec<RelatedEvent> = serde_json::from_value(events).unwrap();
    assert!(snapshot.related_events.iter().eq(events.iter()));
    let one = &answer["related"][0];
    assert_eq!(one["kind"], "slow-disk");
    assert_eq!(one["bdi"], "254:0");
    assert_eq!(one["since"], "2023-11-14T22:13:11.500Z");
    let event = &answer["related_events"][0];
    assert_eq!(event["at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(event["began"], true);
}

#[test]
fn the_age_of_the_look_up_is_told_and_null_where_there_was_none() {
    assert_eq!(json("/api/v1/loops")["topology_age_seconds"], Value::Null);
    let mut snapshot = testing::snapshot();
    let topology = Arc::make_mut(&mut snapshot.observation.topology);
    topology.read_ns = NOW_NS - 2_500_000_000;
    let answer = get(&TestServer::start(snapshot), "/api/v1/loops").json();
    assert_eq!(answer["topology_age_seconds"], 2.5);
}

#[test]
fn probes_read_back_as_what_they_were() {
    let report: ProbeReport = serde_json::from_value(json("/api/v1/probes")).unwrap();
    assert_eq!(report, *testing::snapshot().probes);
}

#[test]
fn tasks_and_waits_are_shown_with_their_containers() {
    let mut snapshot = testing::snapshot();
    let pod = Container {
        pod_uid: "uid".into(),
        namespace: "shop".into(),
        pod: "web-0".into(),
        ..Container::default()
    };
    let place = |tgid, container| ProcessPlace { tgid, container };
    let topology = Topology {
        processes: vec![
            place(snapshot.observation.waits[0].tgid, Some(pod)),
            place(snapshot.tasks[0].tgid, None),
        ],
        ..Topology::default()
    };
    let (waits, tasks) = (snapshot.observation.waits[0].tid, snapshot.tasks[0].tid);
    snapshot.observation.topology = Arc::new(topology);
    let server = TestServer::start(snapshot);
    let of = |path: &str, list: &str, tid: u32| {
        let answer = get(&server, path).json();
        let mut all = answer[list].as_array().unwrap().clone().into_iter();
        let one = all.find(|one| one["tid"] == tid).unwrap();
        one["container"].clone()
    };
    let container = of("/api/v1/stalls", "stalls", waits);
    assert_eq!(container["namespace"], "shop");
    assert_eq!(container["pod"], "web-0");
    assert!(of("/api/v1/tasks", "tasks", tasks).is_null());
}

#[test]
fn stalls_are_the_oldest_waits_with_their_age_and_the_newest_finished_ones() {
    let mut snapshot = testing::snapshot();
    snapshot.stalls = Arc::new([testing::stall_since(1), testing::stall_since(2)].into());
    let answer = get(&TestServer::start(snapshot), "/api/v1/stalls").json();
    assert_eq!(answer["total"], 2);
    let oldest = &answer["stalls"][0];
    assert_eq!(oldest["tid"], 11);
    assert_eq!(oldest["age_seconds"], 2.5);
    assert_eq!(oldest["at"], "2023-11-14T22:13:18.000Z");
    assert_eq!(oldest["cause"], "balance_dirty_pages");
    assert_eq!(oldest["class"], "nfsd");
    let recent = &answer["recent"];
    assert_eq!(recent[0]["since_ns"], 2);
    assert_eq!(recent[1]["since_ns"], 1);
    assert_eq!(recent[0]["delay_seconds"], 0.15);
}

#[test]
fn thousands_of_waits_are_counted_and_the_oldest_of_them_listed() {
    let mut snapshot = testing::snapshot();
    let wait = |n| testing::wait(n, Cause::DirectReclaim, Class::User, NOW_NS - u64::from(n));
    snapshot.observation.waits = (0..5000).map(wait).collect();
    let answer = get(&TestServer::start(snapshot), "/api/v1/stalls").json();
    assert_eq!(answer["total"], 5000);
    assert_eq!(answer["stalls"].as_array().unwrap().len(), MAX_WAITS);
    assert_eq!(answer["stalls"][0]["tid"], 4999);
}

#[test]
fn tasks_are_sorted_as_asked_and_cut_to_the_limit() {
    let server = TestServer::start(testing::snapshot());
    let tids = |query: &str| {
        let answer = get(&server, &format!("/api/v1/tasks{query}")).json();
        assert_eq!(answer["total"], 5, "{query}");
        let tasks: Vec<TaskDelay> = serde_json::from_value(answer["tasks"].clone()).unwrap();
        tasks.iter().map(|task| task.tid).collect::<Vec<_>>()
    };
    // 11 and 12 are in their first wait.
    assert_eq!(tids(""), [11, 12, 22, 23, 21]);
    assert_eq!(tids("?sort=recent&limit=1"), [11]);
    assert_eq!(tids("?sort=delay"), [21, 23, 22, 11, 12]);
    assert_eq!(tids("?limit=2&sort=waits"), [21, 22]);
    assert_eq!(tids("?sort=age&limit=2"), [11, 12]);
    assert_eq!(tids("?match=DD&sort=delay"), [21, 23, 22]);
    assert_eq!(tids("?match=0%3A29&limit=1"), [22]);
    assert_eq!(tids(&format!("?limit={MAX_TASKS}")), [11, 12, 22, 23, 21]);
}

#[test]
fn a_bad_query_is_told_what_is_wrong_and_what_is_accepted() {
    let server = TestServer::start(testing::snapshot());
    let cases = [
        ("limit=0", "limit \"0\" is not a number from 1 to 1000"),
        (
            "limit=1001",
            "limit \"1001\" is not a number from 1 to 1000",
        ),
        ("limit=-1", "limit \"-1\" is not a number from 1 to 1000"),
        (
            "limit=99999999999999999999",
            "limit \"99999999999999999999\" is not a number from 1 to 1000",
        ),
        ("limit=", "limit \"\" is not a number from 1 to 1000"),
        ("sort=comm", "sort \"comm\" is unknown"),
        ("sort=delay&sort=waits", "sort is given twice"),
        ("limits=3", "unknown parameter \"limits\""),
        ("match=a&match=b", "match is given twice"),
        (LONG_MATCH, "match has more than 64 characters"),
    ];
    for (query, error) in cases {
        let answer = get(&server, &format!("/api/v1/tasks?{query}"));
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.json()["error"], error, "{query}");
        assert!(
            answer.json()["accepted"]
                .as_str()
                .unwrap()
                .contains("recent, delay, waits or age")
        );
    }
}

#[test]
fn one_task_has_its_causes_and_its_stack_where_one_was_read() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.stacks = vec![Stack {
        tid: 11,
        comm: "nfsd".into(),
        frames: vec!["io_schedule_timeout".into(), "balance_dirty_pages".into()],
    }];
    let server = TestServer::start(snapshot);
    let task = get(&server, "/api/v1/tasks/11").json();
    assert_eq!(task["causes"][0]["cause"], "balance_dirty_pages");
    assert_eq!(task["causes"][0]["waiting_seconds"], 2.5);
    assert_eq!(task["stack"][1], "balance_dirty_pages");
    assert!(get(&server, "/api/v1/tasks/21").json()["stack"].is_null());
    for none in ["/api/v1/tasks/99", "/api/v1/tasks/x", "/api/v1/tasks/-1"] {
        let answer = get(&server, none);
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{none}");
        assert!(answer.json()["error"].is_string());
    }
}

#[test]
fn the_node_is_one_document_and_its_history_another() {
    let server = TestServer::start(testing::snapshot());
    let answer = get(&server, "/api/v1/node");
    let read: Node = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(read.loops_total, 1);
    let node = answer.json();
    assert_eq!(node["state"], "livelock");
    assert_eq!(node["daemon"]["node"], "node-a");
    assert_eq!(node["loops"][0]["loop"], "0:29-nfsd");
    assert_eq!(node["bdis"][0]["role"], "client");
    let history = get(&server, "/api/v1/history").json();
    assert_eq!(history["tracks"], serde_json::json!([]));
}

#[test]
fn a_clock_beyond_the_year_9999_is_written_as_its_end() {
    assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    let soon = time(u64::try_from(Duration::from_hours(24).as_millis()).unwrap());
    assert_eq!(soon, "1970-01-02T00:00:00.000Z");
}
