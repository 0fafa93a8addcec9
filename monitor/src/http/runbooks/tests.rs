//! Every runbook renders, with the loops of this node filled in, and nothing of the node is markup.

use std::sync::Arc;

use axum::http::StatusCode;
use monitor_model::{
    loops::Mount,
    observation::Export,
    remote::RemoteMount,
    verdict::{LivelockState, Signature},
};

use super::{ACROSS, HELD, RUNBOOKS, encoded};
use crate::http::tests::client::{HttpReply, TestServer, get};
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;

/// A node with one stuck loop, client BDI 0:29, at this mount.
fn stuck(source: &str, mount_point: &str) -> Snapshot {
    let mut snapshot = testing::snapshot();
    snapshot.verdicts = vec![testing::verdict(LivelockState::Livelock)];
    snapshot.loops.truncate(1);
    let found = &mut snapshot.loops[0];
    found.id = "0:29-nfsd".into();
    found.client_bdi = "0:31".into();
    found.mounts = vec![Mount {
        source: source.into(),
        mount_point: mount_point.into(),
    }];
    snapshot
}

fn without_loops() -> Snapshot {
    let mut snapshot = testing::snapshot();
    snapshot.verdicts.clear();
    snapshot.loops.clear();
    snapshot.related.clear();
    snapshot
}

/// Whether its commands are about a loop of this node.
fn of_a_loop(name: &str) -> bool {
    ![HELD, ACROSS].contains(&name)
}

/// The answer, of the body only what is not the same on each page.
fn page(server: &TestServer, name: &str) -> HttpReply {
    let mut answer = get(server, &format!("/runbooks/{name}"));
    let main = answer.body.split("<main ").nth(1);
    let main = main.and_then(|rest| rest.split("</main>").next());
    answer.body = main.unwrap().to_owned();
    answer
}

#[test]
fn every_runbook_is_served_as_html_under_the_policy_of_the_page() {
    let server = TestServer::start(testing::snapshot());
    assert!(RUNBOOKS.len() >= 15);
    for (name, title, _) in RUNBOOKS {
        let answer = page(&server, name);
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{name}");
        assert!(!title.is_empty() && answer.body.contains("<p>"), "{name}");
        for left in ["<!-- ", "](", "```", "\n## "] {
            assert!(!answer.body.contains(left), "{name}: {left}");
        }
    }
    for signature in Signature::ALL {
        let has = |one: &&(&str, &str, &str)| one.0 == signature.as_str();
        assert!(RUNBOOKS.iter().any(|one| has(&one)), "{signature:?}");
    }
}

#[test]
fn every_link_of_a_runbook_leads_to_one_that_exists_and_to_a_heading_in_it() {
    for (name, _, html) in RUNBOOKS {
        for link in html.split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap();
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let there = file.strip_prefix("/runbooks/").unwrap_or(name);
            let there = RUNBOOKS.iter().find(|one| one.0 == there);
            let (_, _, there) = there.unwrap_or_else(|| panic!("{name}: {link}"));
            let has_it = there.contains(&format!(" id=\"{place}\""));
            assert!(place.is_empty() || has_it, "{name}: {link}");
        }
    }
}

#[test]
fn the_values_of_a_loop_are_filled_in_and_no_example_is_left() {
    let server = TestServer::start(stuck("10.0.0.1:/srv", "/mnt/a"));
    for (name, ..) in RUNBOOKS.iter().filter(|one| of_a_loop(one.0)) {
        let body = page(&server, name).body;
        for left in ["bdi=0:29", "$bdi", "mount=/mnt "] {
            assert!(!body.contains(left), "{name}: {left}");
        }
        assert!(body.contains("filled in for the loop"), "{name}");
        assert!(body.contains("10.0.0.1:/srv at /mnt/a"), "{name}");
    }
    let body = page(&server, "dirty-throttle").body;
    assert!(body.contains("bdi=0:31"), "{body}");
    assert!(body.contains("mount=/mnt/a "));
    assert!(body.contains("/sys/class/bdi/0:31/max_ratio"));
    assert!(body.contains("Get out: for this loop and this kernel"));
}

#[test]
fn the_holder_of_the_limit_is_not_taken_from_a_loop() {
    let server = TestServer::start(stuck("10.0.0.1:/srv", "/mnt/a"));
    let body = page(&server, "dirty-limit-held").body;
    assert!(body.contains("bdi=0:29"), "{body}");
}

#[test]
fn without_a_loop_the_examples_stay_and_the_page_says_so() {
    let server = TestServer::start(without_loops());
    for (name, ..) in RUNBOOKS.iter().filter(|one| of_a_loop(one.0)) {
        let body = page(&server, name).body;
        assert!(body.contains("No loop is known on this node"), "{name}");
    }
    assert!(page(&server, "dirty-throttle").body.contains("bdi=0:29"));
}

#[test]
fn a_loop_that_is_not_there_is_not_replaced_by_another() {
    let server = TestServer::start(stuck("10.0.0.1:/srv", "/mnt/a"));
    let body = page(&server, "dirty-throttle?loop=%3Cb%3E9:9").body;
    assert!(body.contains("There is no loop <code>&lt;b&gt;9:9</code>"));
    assert!(body.contains("bdi=0:29") && !body.contains("bdi=0:31"));
    let body = page(&server, "dirty-throttle?loop=0:29-nfsd").body;
    assert!(body.contains("bdi=0:31"));
}

#[test]
fn nothing_of_the_node_becomes_markup_or_a_command() {
    let server = TestServer::start(stuck("<script>x</script>", "/m\" onclick=\"$(reboot)"));
    for (name, ..) in RUNBOOKS {
        let body = page(&server, name).body;
        assert!(!body.contains("<script>x"), "{name}");
        assert!(!body.contains("\" onclick"), "{name}");
        assert!(
            !body.contains("mount=/m\"") && !body.contains("mount=/m&quot;"),
            "{name}"
        );
    }
}

#[test]
fn an_unknown_runbook_is_answered_with_the_list() {
    let server = TestServer::start(testing::snapshot());
    for name in ["nothing", "%3Cscript%3E", "..%2f", "%ff"] {
        let answer = page(&server, name);
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
        assert!(answer.body.contains("href=\"/runbooks/dirty-throttle\""));
        assert!(!answer.body.contains("<script>\""), "{name}");
    }
}

#[test]
fn the_index_lists_all_of_them() {
    let server = TestServer::start(testing::snapshot());
    let answer = page(&server, "");
    assert_eq!(answer.status, StatusCode::OK);
    for (name, ..) in RUNBOOKS {
        let link = format!("href=\"/runbooks/{name}\"");
        assert!(answer.body.contains(&link), "{name}");
    }
}

#[test]
fn an_id_in_a_query_is_encoded() {
    assert_eq!(encoded("0:29-nfsd"), "0:29-nfsd");
    assert_eq!(encoded("a b&\"é"), "a%20b%26%22%C3%A9");
}

#[test]
fn other_loops_are_linked_with_their_state() {
    let mut snapshot = stuck("a:/b", "/c");
    snapshot.evidence = Arc::default();
    let server = TestServer::start(snapshot);
    let body = page(&server, "nfs-loop").body;
    assert!(body.contains("href=\"/runbooks/nfs-loop?loop=0:29-nfsd\""));
    assert!(body.contains("<strong>livelock</strong>: see <a href=\"/runbooks/dirty-throttle\">"));
}

#[test]
fn a_ring_of_nodes_is_told_with_what_this_node_mounts_and_exports() {
    let export = |path: &str, bdi: &str| Export {
        netns: 1,
        path: path.into(),
        bdi: bdi.into(),
    };
    let mut snapshot = without_loops();
    snapshot.remote = vec![RemoteMount {
        bdi: "0:52".into(),
        mount: "/mnt".into(),
        export: "10.7.0.2:/<export>".into(),
        server: "10.7.0.2".parse().unwrap(),
        container: None,
        held_bytes: Some(3 << 20),
        blocked: true,
    }];
    let topology = Arc::make_mut(&mut snapshot.observation.topology);
    topology.exports = vec![export("/a", "253:3"), export("/b", "253:3")];
    let answer = page(&TestServer::start(snapshot.clone()), "across-nodes");
    for part in [
        "10.7.0.2:/&lt;export&gt;",
        "holds 3.0 MiB for it: <strong>they hold",
        "export_bdi=253:3 ",
    ] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    // Of several devices none is chosen.
    let topology = Arc::make_mut(&mut snapshot.observation.topology);
    topology.exports.push(export("/c", "253:4"));
    let answer = page(&TestServer::start(snapshot), "across-nodes");
    assert!(answer.body.contains("export_bdi=254:16 "));
    assert!(answer.body.contains("replace it"));
}
