use std::sync::Arc;

use super::{SCRIPT, STYLE, TEMPLATE, escape, fill, headers, landing, nonce, verdict};
use crate::evidence::Document;
use crate::publish::ready::NotReady;
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;

fn text(answer: axum::response::Response) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX);
    String::from_utf8(runtime.block_on(body).unwrap().to_vec()).unwrap()
}

/// What is there without the script.
fn html(snapshot: &Snapshot, not_ready: &[NotReady]) -> String {
    let page = text(landing(snapshot, not_ready, "/metrics"));
    let main = page.split_once("<main").unwrap().1;
    main.split_once("<script").unwrap().0.to_owned()
}

fn with_evidence() -> (Snapshot, String) {
    let mut snapshot = testing::snapshot();
    let document = Document::new(&testing::evidence(1)).unwrap();
    let id = document.head.id.to_string();
    snapshot.evidence = Arc::new([Arc::new(document)].into());
    (snapshot, id)
}

#[test]
fn a_livelock_is_named_in_words_without_the_script() {
    let page = html(&testing::snapshot(), &[]);
    assert!(page.contains("<h1 id=\"state\">Livelock</h1>"), "{page}");
    let headline = "on /mnt/&lt;a&gt; (loop 0:29-nfsd) since 2023-11-14T22:13:12.500Z: 2 of 3 nfsd threads wait for &lt;dirty&gt; pages.";
    assert!(page.contains(headline), "{page}");
}

#[test]
fn what_comes_from_the_node_is_escaped_wherever_it_stands() {
    let mut snapshot = testing::snapshot();
    let hostile = "\"><script>'&{{script}}";
    let mut daemon = testing::daemon();
    (daemon.info.node, daemon.info.kernel) = (hostile.into(), hostile.into());
    (daemon.info.version, daemon.info.revision) = (hostile.into(), hostile.into());
    snapshot.daemon = Arc::new(daemon);
    snapshot.verdicts[0].loop_id = hostile.into();
    snapshot.loops[0].id = hostile.into();
    let page = text(landing(&snapshot, &[], "/metrics"));
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert_eq!(page.matches(hostile).count(), 0, "{page}");
    assert_eq!(page.matches(&escape(hostile)).count(), 6, "{page}");
    let page = text(verdict(&snapshot, hostile, "/metrics"));
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert!(page.contains(&escape(hostile)), "{page}");
}

#[test]
fn loops_are_a_table_that_does_not_grow_without_end() {
    let mut snapshot = testing::snapshot();
    let page = html(&snapshot, &[]);
    let row = "<tr><td>0:29-nfsd</td><td>10.9.0.2:/ at /mnt/&lt;a&gt;</td><td>xid</td>\
               <td>cross-netns</td><td>no</td><td>nfsd is not exempt</td></tr>";
    assert!(page.contains(row), "{page}");
    snapshot.loops = vec![testing::found_loop(); 25];
    let page = html(&snapshot, &[]);
    assert!(page.contains("<p>and 5 more</p>"), "{page}");
    snapshot.loops.clear();
    assert!(!html(&snapshot, &[]).contains("<table>"));
}

#[test]
fn no_livelock_is_not_claimed_before_anything_was_seen() {
    let nothing = Snapshot::before_the_first_tick(testing::daemon());
    let page = html(&nothing, &[NotReady::NoTick]);
    assert!(page.contains("data-state=\"unknown\""), "{page}");
    assert!(
        page.contains("not ready: the first tick has not finished yet."),
        "{page}"
    );
    assert!(!page.contains("No livelock"), "{page}");
}

#[test]
fn only_what_has_the_number_of_this_answer_may_run() {
    let (first, second) = (nonce().unwrap(), nonce().unwrap());
    assert_ne!(first, second);
    assert_eq!(first.len(), 32);
    let headers = headers(Some(&first));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    for part in [
        &format!("script-src 'nonce-{first}';") as &str,
        &format!("style-src 'nonce-{first}';"),
        "connect-src 'self';",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn the_number_in_the_document_is_that_of_the_policy() {
    let answer = landing(&testing::snapshot(), &[], "/metrics");
    let policy = answer.headers()["content-security-policy"].to_str();
    let policy = policy.unwrap().to_owned();
    let page = text(answer);
    let number = page.split_once("nonce=\"").unwrap().1;
    let number = number.split_once('"').unwrap().0;
    assert_eq!(page.matches(&format!("nonce=\"{number}\"")).count(), 2);
    assert_eq!(policy.matches(&format!("'nonce-{number}'")).count(), 2);
}

#[test]
fn a_verdict_has_a_page_with_its_cycle_and_its_download_without_the_script() {
    let (snapshot, id) = with_evidence();
    let answer = verdict(&snapshot, &id, "/metrics");
    assert_eq!(answer.status(), 200);
    let page = text(answer);
    let link = format!("<a href=\"/api/v1/evidence/{id}\" download=\"{id}.json\">");
    assert!(page.contains(&link), "{page}");
    assert!(page.contains(&format!("data-view=\"verdict\" data-id=\"{id}\"")));
    let drawn = escape(&snapshot.evidence[0].steps[0].text);
    assert!(!drawn.is_empty() && page.contains(&drawn), "{page}");
}

#[test]
fn evidence_that_is_kept_no_more_says_where_it_may_be_and_what_is_kept() {
    let (snapshot, id) = with_evidence();
    let answer = verdict(&snapshot, "20200101T000000Z-gone", "/metrics");
    assert_eq!(answer.status(), 404);
    let page = text(answer);
    assert!(page.contains("<code>--evidence.dir DIR</code>"), "{page}");
    assert!(page.contains("DIR/20200101T000000Z-gone.json"), "{page}");
    assert!(page.contains(&format!("<a href=\"/verdicts/{id}\">")));
}

#[test]
fn slots_are_filled_once_and_unknown_ones_with_nothing() {
    let value = |slot: &str| match slot {
        "a" => "{{b}}".to_owned(),
        "b" => "B".to_owned(),
        _ => String::new(),
    };
    assert_eq!(fill("x{{a}}{{b}}{{c}}y", value), "x{{b}}By");
    assert_eq!(fill("no slot", value), "no slot");
}

#[test]
fn all_of_it_is_small_and_holds_nothing_that_the_policy_would_refuse() {
    let all = TEMPLATE.len() + STYLE.len() + SCRIPT.len();
    assert!(all < 80_000, "{all} bytes");
    for refused in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "http://",
        "https://",
    ] {
        let there = SCRIPT.replace("http://www.w3.org/2000/svg", "");
        assert!(!there.contains(refused), "{refused}");
    }
    assert!(!TEMPLATE.contains("style=") && !STYLE.contains("url("));
}
