//! Tests that a document is bounded and parses back, for any input.

use compact_str::CompactString;
use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::{
    evidence::{Evidence, MAX_BDIS, MAX_FRAMES, MAX_POINTS, MAX_TASKS, Thread},
    observation::{
        Bdi, Observation, ServerThread, SignalStatus, Stack, State, ThreadState, Waiting,
    },
    verdict::{Conditions, Confidence, LivelockState, Signature, Transition, Verdict},
};
use proptest::prelude::*;
use serde_json::Value;

use super::garbage::{found, name, observation, verdict};
use crate::Thresholds;
use crate::evidence::{JudgedTick, Recorder, is_document};
use crate::window::Window;

/// The maximum size of a document. Serving and writing depend on it.
const MAX_JSON: usize = 1 << 20;

/// The documents of a loop that enters all states with a document, in turn.
fn documents(observation: &Observation, verdict: &Verdict, text: &CompactString) -> Vec<Evidence> {
    let mut window = Window::new(&Thresholds::default());
    let mut recorder = Recorder::default();
    let mut observation = observation.clone();
    let mut documents = Vec::new();
    for to in [
        LivelockState::Livelock,
        LivelockState::Deadlock,
        LivelockState::Recovered,
    ] {
        observation.monotonic_ns = observation.monotonic_ns.wrapping_add(1_000_000_000);
        for pauses in &mut observation.dirty_pauses {
            pauses.events = pauses.events.wrapping_add(3);
        }
        window.push(&observation);
        let transition = Transition {
            monotonic_ms: observation.monotonic_ns / 1_000_000,
            unix_ms: observation.unix_ms,
            loop_id: verdict.loop_id.clone(),
            signature: verdict.signature,
            from: LivelockState::Suspected,
            to,
            reason: verdict.reason.clone(),
        };
        let loops = [found(verdict, text)];
        let moment = JudgedTick {
            observation: &observation,
            window: &window,
            loops: &loops,
            transitions: &[transition],
        };
        documents.extend(recorder.record(moment, &std::iter::once(verdict)));
    }
    documents
}

fn is_bounded(one: &Evidence) -> bool {
    let tasks: Vec<&Thread> = one.threads.iter().chain(&one.writers).collect();
    one.timeline.len() <= MAX_POINTS
        && one.threads.len() <= MAX_TASKS
        && one.writers.len() <= MAX_TASKS
        && one.bdis.len() <= MAX_BDIS
        && one.pauses.len() <= MAX_BDIS
        && tasks.iter().all(|task| task.stack.len() <= MAX_FRAMES)
        && one
            .steps
            .iter()
            .all(|step| step.text.len() <= 1200 && step.tids.len() <= MAX_TASKS)
        && one.cycle.iter().all(|line| line.chars().count() <= 100)
}

fn holds(one: &Evidence) -> Result<(), TestCaseError> {
    prop_assert!(is_document(&one.id), "{}", one.id);
    prop_assert!(is_bounded(one));
    let text = serde_json::to_string(one).expect("serializes");
    prop_assert!(text.len() <= MAX_JSON, "{} bytes", text.len());
    let value = serde_json::to_value(one).expect("serializes");
    prop_assert!(is_plain(&value), "controls in {text}");
    let back: Evidence = serde_json::from_str(&text).expect("parses");
    prop_assert_eq!(&back, one);
    Ok(())
}

/// Whether all its text is printable.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
        Value::Array(all) => all.iter().all(is_plain),
        Value::Object(all) => all.values().all(is_plain),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn garbage_gives_a_bounded_document_that_parses_back(
        observation in observation(),
        verdict in verdict(),
        text in name(),
    ) {
        let documents = documents(&observation, &verdict, &text);
        prop_assert_eq!(documents.len(), 3);
        for one in &documents {
            holds(one)?;
        }
    }
}

#[test]
fn the_largest_document_there_can_be_is_below_its_bound() {
    // A quote takes two bytes in JSON.
    let quotes = |n: usize| CompactString::from("\"".repeat(n));
    let wait = |tid, cause| Waiting {
        tid,
        tgid: tid,
        comm: quotes(5000),
        cause,
        class: Class::User,
        reason: ThrottleReason::NoProgress,
        bdi: quotes(5000),
        since_ns: 0,
    };
    let mut observation = Observation {
        monotonic_ns: u64::MAX / 2,
        unix_ms: u64::MAX,
        kernel: quotes(5000),
        ..Observation::default()
    };
    for tid in 0..500 {
        let causes = Cause::ALL.iter();
        observation
            .waits
            .extend(causes.map(|&cause| wait(tid, cause)));
        observation.stacks.push(Stack {
            tid,
            comm: quotes(5000),
            frames: vec![quotes(5000); 100],
        });
        observation.bdis.push(Bdi {
            bdi: format!("{tid}{}", quotes(5000)).into(),
            fstype: quotes(5000),
            device: quotes(5000),
            ..Bdi::default()
        });
        observation.signals.push(SignalStatus {
            signal: quotes(5000),
            strategy: quotes(5000),
            state: State::Unavailable,
        });
        let threads = &mut observation.nfsd.get_or_insert_default().threads;
        threads.extend((tid < 250).then_some(ServerThread {
            tid,
            state: ThreadState::Blocked,
            write_since_ns: Some(0),
            blocked_in: Some(quotes(5000)),
            behind_throttled: true,
        }));
    }
    let verdict = Verdict {
        loop_id: quotes(5000),
        client_bdi: quotes(5000),
        server: "nfsd".into(),
        server_bdi: Some(quotes(5000)),
        signature: Signature::RequestStarvation,
        state: LivelockState::Livelock,
        confidence: Confidence::default(),
        since_ms: u64::MAX,
        conditions: Conditions::default(),
        reason: quotes(5000).into(),
        tallies: Vec::new(),
    };
    let documents = documents(&observation, &verdict, &quotes(5000));
    let sizes = documents
        .iter()
        .map(|one| serde_json::to_string(one).expect("JSON").len());
    let largest = sizes.max().expect("documents");
    assert!((500_000..MAX_JSON).contains(&largest), "{largest} bytes");
    let said = &documents[0].left_out;
    assert!(
        said.contains(&"threads: 186 of 250 are left out".to_owned()),
        "{said:?}"
    );
}
