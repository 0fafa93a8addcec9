//! Tests of recovery: bytes move, or there is no more demand.

use monitor_common::Class;
use monitor_model::{
    related::{Related, RelatedKind},
    verdict::LivelockState::{Livelock, None as Calm, Recovered},
};

use super::node::{Phase, Watched, wait};

/// Measured on 6.12 with 8 GB: after 27 s of livelock nfsd's threads are idle, the
/// client still holds its pages, its writers wait, and no byte moves.
const IDLE_SERVER: Phase = Phase {
    throttled: 0,
    blocked: 0,
    running: 0,
    events: 0,
    pause_ms: 0,
    ..Phase::FROZEN_6_12
};

fn frozen() -> Watched {
    let mut watched = Watched::new(16);
    watched.play(&Phase::FROZEN_6_12, 27);
    assert_eq!(watched.state(), Livelock);
    watched
}

#[test]
fn a_livelock_whose_server_falls_idle_while_writers_wait_is_one_incident() {
    let mut watched = frozen();
    watched.play(&IDLE_SERVER, 14);
    assert_eq!(watched.state(), Livelock, "{:?}", watched.timeline);
    let reason = watched.verdict().reason;
    assert!(reason.starts_with("not over: "), "{reason}");
    assert!(reason.contains("no nfsd thread works on them"), "{reason}");
    let related = watched.engine.related();
    let silent = |one: &Related| one.kind == RelatedKind::NfsServerNotResponding;
    assert!(!related.iter().any(silent), "{related:?}");
    watched.play(&Phase::FROZEN_6_12, 20);
    assert!(watched.first(Recovered).is_none(), "{:?}", watched.timeline);
    assert_eq!(watched.verdict().detections(), 1);
    let reason = watched.verdict().reason;
    assert!(
        !reason.contains("not over: "),
        "the cycle is closed again: {reason}"
    );
    assert_eq!(watched.play(&Phase::HEALTHY, 5), Recovered);
}

#[test]
fn dirty_pages_without_waiting_tasks_do_not_keep_a_livelock() {
    let mut watched = frozen();
    // The flusher writes these pages within half a minute.
    let lies = Phase {
        writers: 0,
        held: 800,
        ..IDLE_SERVER
    };
    watched.play_with(&lies, 8, |_, o| {
        o.clients[0].writes_sent = o.clients[0].writes_acked;
    });
    assert_eq!(watched.state(), Recovered);
}

#[test]
fn a_light_writer_whose_calls_are_answered_does_not_keep_a_livelock() {
    let mut watched = frozen();
    let light = Phase {
        acked: 100_000,
        served: 100_000,
        writers: 0,
        held: 800,
        running: 1,
        ..IDLE_SERVER
    };
    watched.play(&light, 10);
    assert_eq!(watched.state(), Recovered, "{}", watched.verdict().reason);
}

#[test]
fn a_drained_client_ends_a_livelock() {
    let mut watched = frozen();
    assert_eq!(watched.play(&Phase::IDLE, 5), Recovered);
    assert_eq!(watched.play(&Phase::IDLE, 12), Calm);
}

#[test]
fn writers_that_wait_without_any_call_keep_a_livelock_and_that_is_reported() {
    let mut watched = frozen();
    let parked = Phase {
        writers: 0,
        ..IDLE_SERVER
    };
    watched.node.lasting = vec![wait(700, Class::User, super::node::CLIENT)];
    watched.play_with(&parked, 20, |_, o| {
        o.clients[0].writes_sent = o.clients[0].writes_acked;
    });
    assert_eq!(watched.state(), Livelock);
    let reason = watched.verdict().reason;
    assert!(
        reason.contains("0:29 has no WRITE calls in flight"),
        "{reason}"
    );
}
