use std::sync::Arc;

use monitor_model::verdict::LivelockState;

use super::{MAX_BDIS, MAX_LOOPS, Node};
use crate::evidence::Document;
use crate::publish::ready::NotReady;
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;

fn headline(snapshot: &Snapshot, not_ready: &[NotReady]) -> String {
    snapshot.node(not_ready).headline
}

#[test]
fn a_livelock_is_named_with_its_loop_and_begin() {
    let node = testing::snapshot().node(&[]);
    let expected = "livelock (dirty-throttle) on /mnt/<a> (loop 0:29-nfsd) since 2023-11-14T22:13:12.500Z: \
                    2 of 3 nfsd threads wait for <dirty> pages.";
    assert_eq!(node.headline, expected);
    assert_eq!((node.state, node.ready), (LivelockState::Livelock, true));
}

#[test]
fn no_livelock_is_not_claimed_before_anything_was_seen() {
    let mut nothing = Snapshot::before_the_first_tick(testing::daemon());
    assert_eq!(
        headline(&nothing, &[NotReady::NoTick]),
        "not ready: the first tick has not finished yet."
    );
    assert_eq!(
        headline(&nothing, &[]),
        "The first tick has not finished yet."
    );
    nothing.observation.monotonic_ns = 1;
    assert_eq!(headline(&nothing, &[]), "No livelock: no loop is known.");
}

#[test]
fn an_old_verdict_is_said_to_be_old() {
    let mut snapshot = testing::snapshot();
    snapshot.verdicts = vec![testing::verdict(LivelockState::Recovered)];
    assert_eq!(headline(&snapshot, &[]), "No livelock.");
    let node = snapshot.node(&[NotReady::NoProbes]);
    assert_eq!(
        node.headline,
        "No livelock. As of the last tick; now not ready: the probes are not attached yet."
    );
    assert!(!node.ready);
    assert_eq!(node.not_ready, ["the probes are not attached yet"]);
}

#[test]
fn a_stuck_loop_has_who_waits_and_what_to_type_and_a_quiet_one_what_prevents_it() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.kernel = "6.12.1".into();
    let node = snapshot.node(&[]);
    let one = &node.loops[0];
    assert_eq!(
        (one.numbers.server_waiting, one.numbers.client_waiting),
        (2, 0)
    );
    assert_eq!(one.numbers.server_oldest_seconds, Some(2.5));
    assert_eq!(one.numbers.client_held_bytes, Some(12_288));
    let stuck: Vec<_> = one.measures.iter().map(|m| m.what.clone()).collect();
    let typed = one.measures.iter().flat_map(|m| &m.commands);
    assert!(typed.into_iter().any(|c| c.contains("0:29")), "{one:?}");

    snapshot.verdicts[0].state = LivelockState::None;
    let node = snapshot.node(&[]);
    let quiet: Vec<_> = node.loops[0]
        .measures
        .iter()
        .map(|m| m.what.clone())
        .collect();
    assert!(!quiet.is_empty());
    assert_ne!(stuck, quiet);
    assert!(node.loops[0].ineffective.is_empty());
}

#[test]
fn the_cycle_of_the_newest_document_is_shown_only_while_the_loop_is_stuck() {
    let mut snapshot = testing::snapshot();
    let document = Document::new(&testing::evidence(1)).unwrap();
    let id = document.head.id.clone();
    snapshot.evidence = Arc::new([Arc::new(document)].into());
    let one = snapshot.node(&[]).loops.remove(0);
    assert_eq!(one.evidence, Some(id));
    assert_eq!(one.cycle, ["dd[7] waits", "  -> nfsd[11] waits"]);
    assert_eq!(one.steps.len(), 2);
    snapshot.verdicts[0].state = LivelockState::Recovered;
    let one = snapshot.node(&[]).loops.remove(0);
    assert!(one.cycle.is_empty() && one.steps.is_empty() && one.evidence.is_some());
}

#[test]
fn loops_and_bdis_have_a_most_and_those_that_matter_come_first() {
    let mut snapshot = testing::snapshot();
    snapshot.verdicts = (0..40)
        .map(|number| {
            let mut verdict = testing::verdict(LivelockState::None);
            verdict.loop_id = format!("0:{number}-nfsd").into();
            verdict.client_bdi = format!("0:{number}").into();
            verdict
        })
        .collect();
    snapshot.verdicts[31].state = LivelockState::Deadlock;
    snapshot.observation.bdis = (0..300)
        .map(|number| testing::bdi(&format!("0:{}", 299 - number), "x"))
        .collect();
    let node = snapshot.node(&[]);
    assert_eq!((node.loops.len(), node.loops_total), (MAX_LOOPS, 40));
    assert_eq!(node.loops[0].id, "0:31-nfsd");
    assert_eq!((node.bdis.len(), node.bdis_total), (MAX_BDIS, 300));
    assert!(node.bdis.iter().all(|bdi| bdi.role == "client"));
}

#[test]
fn the_document_is_read_back_as_it_was_written() {
    let node = testing::snapshot().node(&[NotReady::NoProbes]);
    let text = serde_json::to_string(&node).unwrap();
    let read: Node = serde_json::from_str(&text).unwrap();
    assert_eq!(read, node);
}

#[test]
fn a_newer_daemon_s_fields_and_words_leave_the_rest_readable() {
    let mut snapshot = testing::snapshot();
    let mut other = testing::verdict(LivelockState::Suspected);
    other.loop_id = "0:31-nfsd".into();
    snapshot.verdicts.push(other);
    let mut json = serde_json::to_value(snapshot.node(&[])).unwrap();
    json["since_2030"] = true.into();
    json["loops"][0]["verdict"]["signature"] = "found-in-2030".into();
    json["waits"][0]["cause"] = "wait_of_2030".into();
    json["tasks"]["tasks"][0]["class"] = "class-of-2030".into();
    let read: Node = serde_json::from_value(json).unwrap();
    let loops: Vec<_> = read.loops.iter().map(|one| &*one.id).collect();
    assert_eq!((read.loops_total, loops), (2, vec!["0:31-nfsd"]));
    let node = snapshot.node(&[]);
    assert_eq!(read.headline, node.headline);
    assert_eq!(read.waits, node.waits[1..]);
    assert_eq!(read.tasks.tasks, node.tasks.tasks[1..]);
}
