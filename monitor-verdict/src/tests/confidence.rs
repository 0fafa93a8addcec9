//! Tests of the inputs that a verdict reports as missing.

use monitor_model::{
    observation::{SignalStatus, State},
    verdict::{Confidence, LivelockState::Livelock},
};

use super::node::{Phase, Watched};
use super::reclaim;
use crate::signal;

fn with(signal: &str, state: State) -> Watched {
    let mut watched = Watched::new(8);
    watched.node.now.signals.push(SignalStatus {
        signal: signal.into(),
        strategy: "tracepoint".into(),
        state,
    });
    watched
}

fn says(confidence: &Confidence, words: &str) -> bool {
    confidence.missing.iter().any(|one| one.contains(words))
}

#[test]
fn with_every_input_there_it_is_whole() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    assert_eq!(watched.verdict().confidence, Confidence::default());
    watched.play(&Phase::FROZEN_6_12, 12);
    assert_eq!(watched.verdict().confidence, Confidence::default());
}

#[test]
fn each_signal_that_is_missing_is_named() {
    for (name, state, share) in [
        (signal::BALANCE_DIRTY_PAGES, State::Unavailable, 0.5),
        (signal::BALANCE_DIRTY_PAGES, State::Degraded, 0.95),
        (signal::NFS_CLIENT, State::Unavailable, 0.7),
        (signal::DIRECT_RECLAIM, State::Unavailable, 0.8),
        (signal::NFS_COMMIT, State::Unavailable, 0.9),
        (signal::SVC_ALLOC_ARG, State::Unavailable, 0.9),
        (signal::SVC_ALLOC_ARG, State::Degraded, 1.0),
    ] {
        let mut watched = with(name, state);
        watched.play(&Phase::IDLE, 5);
        let confidence = watched.verdict().confidence;
        assert!(
            (confidence.share - share).abs() < 1e-9,
            "{name}: {confidence:?}"
        );
        assert_eq!(
            confidence.missing.is_empty(),
            share > 0.99,
            "{confidence:?}"
        );
    }
}

#[test]
fn a_kernel_has_one_kind_of_sleep_in_reclaim_and_lacks_nothing() {
    for (there, missing) in [(1, 0), (0, 1)] {
        let mut watched = with("congestion_wait", State::Unavailable);
        for (name, state) in [
            ("wait_iff_congested", State::Unavailable),
            (
                "reclaim_throttle",
                [State::Unavailable, State::Attached][there],
            ),
        ] {
            watched.node.now.signals.push(SignalStatus {
                signal: name.into(),
                strategy: "none".into(),
                state,
            });
        }
        watched.play(&Phase::IDLE, 5);
        let confidence = watched.verdict().confidence;
        assert_eq!(confidence.missing.len(), missing, "{confidence:?}");
    }
}

#[test]
fn an_edge_that_holds_is_not_weakened_by_what_others_would_ask_for() {
    let mut watched = with(signal::NFS_COMMIT, State::Unavailable);
    watched.play(&Phase::FROZEN_6_12, 10);
    assert_eq!(watched.state(), Livelock);
    assert_eq!(watched.verdict().confidence, Confidence::default());
}

#[test]
fn what_nfsd_wrote_is_missed() {
    let mut watched = Watched::new(8);
    watched.node.now.nfsd.as_mut().expect("runs").bytes_written = None;
    watched.play(&Phase::FROZEN_6_12, 10);
    let confidence = watched.verdict().confidence;
    assert!(
        says(&confidence, "nfsd_writes is missing"),
        "{confidence:?}"
    );
    assert!((confidence.share - 0.7).abs() < 1e-9, "{confidence:?}");
}

#[test]
fn a_full_map_is_missed_waits_until_it_has_left_the_window() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.node.now.lost.map_full = 3;
    watched.play(&Phase::HEALTHY, 2);
    assert!(says(&watched.verdict().confidence, "map"));
    watched.play(&Phase::HEALTHY, 4);
    assert_eq!(watched.verdict().confidence, Confidence::default());
}

#[test]
fn pages_reported_to_writers_give_less_confidence_than_debugfs() {
    use monitor_common::Class;
    let mut watched = Watched::new(8);
    watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
        (o.bdis[0].dirty_bytes, o.bdis[0].writeback_bytes) = (None, None);
        let mut own = o.dirty_pauses[0].clone();
        (own.class, own.bdi) = (Class::User, super::node::CLIENT.into());
        own.bdi_dirty_pages = own.events * 19_000;
        o.dirty_pauses.push(own);
    });
    assert_eq!(watched.state(), Livelock);
    let confidence = watched.verdict().confidence;
    assert!(says(&confidence, "debugfs is not read"), "{confidence:?}");
    assert!((confidence.share - 0.9).abs() < 1e-9, "{confidence:?}");
}

#[test]
fn derived_congestion_is_a_little_less_than_the_kernels_flag() {
    use monitor_model::observation::CongestionBy;
    let mut watched = reclaim::frozen();
    if let Some(congestion) = &mut watched.node.now.bdis[0].congestion {
        congestion.by = CongestionBy::NfsWriteback;
    }
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    assert_eq!(watched.state(), Livelock);
    let confidence = watched.verdict().confidence;
    assert!((confidence.share - 0.95).abs() < 1e-9, "{confidence:?}");
}
