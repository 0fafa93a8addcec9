//! Tests of signature `reclaim-congestion` and of similar waits.

use monitor_common::{Cause, Class};
use monitor_model::verdict::{
    LivelockState::{Livelock, None as Nothing, Suspected},
    Signature::ReclaimCongestion,
};

use super::node::{CLIENT, DISK, Phase, Watched, lasts};

/// Two nfsd threads in `wait_iff_congested`, 20 sleeps of 100 ms a second, all
/// within direct reclaim; the client is congested.
pub fn frozen() -> Watched {
    let mut watched = Watched::new(2);
    watched.node.in_dirty = false;
    watched.node.congest(true);
    watched.node.spends = vec![
        (Cause::WaitIffCongested, Class::Nfsd, "", 1900),
        (Cause::DirectReclaim, Class::Nfsd, "", 2000),
    ];
    watched
}

#[test]
fn two_threads_that_sleep_in_reclaim_over_a_congested_client_are_a_livelock() {
    let mut watched = frozen();
    watched.play(&Phase::HEALTHY, 5);
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    let verdict = watched.verdict();
    assert_eq!(
        (verdict.state, verdict.signature),
        (Livelock, ReclaimCongestion)
    );
    assert_eq!(
        verdict.reason,
        "nfsd threads spend 100 % of their time in reclaim while 0:29 is congested in 100 % of \
         the samples and the server's disk 0 % busy; 0 B/s acknowledged, no progress for 10.0 s"
    );
    assert!(
        (verdict.confidence.share - 1.0).abs() < 1e-9,
        "{:?}",
        verdict.confidence
    );
    assert!(
        watched.first(Livelock).expect("confirmed") <= 5 + 9,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn an_endless_direct_reclaim_is_seen_while_it_lasts() {
    let mut watched = frozen();
    watched.node.spends.clear();
    watched.play(&Phase::HEALTHY, 5);
    let since = watched.node.now.monotonic_ns;
    for tid in [100, 101] {
        let mut wait = lasts(tid, Class::Nfsd, Cause::DirectReclaim, "");
        wait.since_ns = since;
        watched.node.lasting.push(wait);
    }
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    assert_eq!(watched.verdict().signature, ReclaimCongestion);
}

#[test]
fn a_usable_guest_that_moves_370_kb_a_second_is_a_livelock() {
    let mut watched = frozen();
    // 6-60 sleeps in 39 s, the rest in direct reclaim.
    watched.node.spends = vec![
        (Cause::WaitIffCongested, Class::Nfsd, "", 100),
        (Cause::DirectReclaim, Class::Nfsd, "", 1500),
    ];
    let trickle = Phase {
        acked: 370_000,
        served: 370_000,
        disk_busy_ms: 60,
        ..Phase::FROZEN_RECLAIM
    };
    assert_eq!(watched.play(&trickle, 40), Livelock);
    assert_eq!(watched.timeline.len(), 2, "{:?}", watched.timeline);
}

#[test]
fn a_reclaim_storm_that_works_has_no_verdict() {
    let mut watched = frozen();
    // 421 sleeps of 100 ms in 40 s.
    watched.node.spends = vec![
        (Cause::WaitIffCongested, Class::Nfsd, "", 1050),
        (Cause::DirectReclaim, Class::Nfsd, "", 1400),
    ];
    watched.play(&Phase::STORM, 180);
    assert_eq!(watched.timeline, [], "{:?}", watched.verdict());
    assert_eq!(
        watched.verdict().conditions.closing_edge.holds,
        Some(false),
        "its disk works"
    );
}

#[test]
fn seconds_without_progress_in_a_storm_are_suspected_at_most() {
    let mut watched = frozen();
    for pause in [1, 2, 4, 1, 5, 3] {
        watched.play(&Phase::STORM, 3);
        watched.play(&Phase::FROZEN_RECLAIM, pause);
    }
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn reclaim_over_a_disk_that_writes_does_not_close_the_edge() {
    let mut watched = frozen();
    let slow = Phase {
        disk_busy_ms: 950,
        ..Phase::FROZEN_RECLAIM
    };
    watched.node.writes = vec![(DISK, 5_000_000)];
    watched.play(&slow, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    assert_eq!(watched.verdict().conditions.closing_edge.holds, Some(false));
}

#[test]
fn reclaim_while_the_client_is_neither_congested_nor_full_does_not_close_the_edge() {
    let mut watched = frozen();
    watched.node.congest(false);
    let few = Phase {
        held: 4000,
        ..Phase::FROZEN_RECLAIM
    };
    watched.node.now.memory.dirty_limit_bytes = Some(80_000_000);
    watched.play(&few, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    let edge = watched.verdict().conditions.closing_edge;
    assert!(edge.why.contains("congested in 0 %"), "{edge:?}");
}

#[test]
fn a_client_that_holds_half_the_dirty_limit_is_full_whatever_its_flag_says() {
    for (held, state) in [(9_800, Livelock), (9_700, Nothing)] {
        let mut watched = frozen();
        watched.node.congest(false);
        watched.node.now.memory.dirty_limit_bytes = Some(19_529 * 4096);
        let phase = Phase {
            held,
            ..Phase::FROZEN_RECLAIM
        };
        assert_eq!(watched.play(&phase, 10), state, "{held} pages");
    }
}

#[test]
fn a_dirty_limit_of_nothing_says_nothing_of_who_fills_it() {
    let mut watched = frozen();
    watched.node.congest(false);
    watched.node.now.memory.dirty_limit_bytes = Some(0);
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.holds, Some(false), "{}", edge.why);
}

#[test]
fn a_client_once_congested_is_so_in_a_third_of_the_samples() {
    for (of, times, stays) in [(7, 3, true), (12, 2, false)] {
        let mut watched = frozen();
        watched.play(&Phase::FROZEN_RECLAIM, 5);
        let mut holds = true;
        for n in 0..60 {
            // Observations come four times a second.
            watched.node.congest(n % of < times);
            let mut observation = watched.node.second(&Phase::FROZEN_RECLAIM);
            watched.node.now.monotonic_ns -= 750_000_000;
            observation.monotonic_ns = watched.node.now.monotonic_ns;
            watched.observe(&observation);
            holds &= watched.verdict().conditions.closing_edge.holds == Some(true);
        }
        assert_eq!(holds, stays, "{times} of {of}");
    }
}

#[test]
fn a_client_congested_in_less_than_half_of_the_samples_is_not() {
    let mut watched = frozen();
    for n in 0..40 {
        watched.node.congest(n % 4 == 0);
        watched.play(&Phase::FROZEN_RECLAIM, 1);
    }
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn where_congestion_is_unknown_the_pages_stand_in_and_confidence_is_less() {
    let mut watched = frozen();
    watched.node.now.bdis[0].congestion = None;
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    let confidence = watched.verdict().confidence;
    assert!((confidence.share - 0.8).abs() < 1e-9, "{confidence:?}");
    assert!(
        confidence.missing[0].contains("congested is unknown"),
        "{confidence:?}"
    );
}

#[test]
fn without_congestion_and_without_debugfs_it_is_suspected_at_most() {
    let mut watched = frozen();
    watched.play_with(&Phase::FROZEN_RECLAIM, 60, |_, o| {
        o.bdis[0].congestion = None;
        (o.bdis[0].dirty_bytes, o.bdis[0].writeback_bytes) = (None, None);
    });
    assert_eq!(watched.state(), Suspected);
    assert_eq!(watched.first(Livelock), None);
}

#[test]
fn with_an_unknown_disk_the_loop_is_suspected_at_most() {
    let mut watched = frozen();
    watched.node.now.bdis[1].disk_busy_ms = None;
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 60), Suspected);
    assert_eq!(watched.first(Livelock), None);
    let missing = watched.verdict().confidence.missing;
    assert!(
        missing
            .iter()
            .any(|words| words.contains("disk works is unknown")),
        "{missing:?}"
    );
}

#[test]
fn a_little_reclaim_beside_other_work_does_not_close_the_edge() {
    let mut watched = frozen();
    watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 500)];
    watched.play(&Phase::FROZEN_RECLAIM, 60);
    assert_eq!(
        watched.first(Livelock),
        None,
        "25 %: {:?}",
        watched.timeline
    );
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.value, Some(0.25), "{edge:?}");
}

#[test]
fn the_reclaim_of_programs_and_kswapd_is_not_the_servers() {
    let mut watched = frozen();
    for spend in &mut watched.node.spends {
        spend.1 = Class::Kswapd;
    }
    watched
        .node
        .spends
        .push((Cause::DirectReclaim, Class::User, "", 9000));
    let idle = Phase {
        throttled: 0,
        ..Phase::FROZEN_RECLAIM
    };
    watched.play(&idle, 60);
    assert_eq!(watched.timeline, []);
}

#[test]
fn threads_that_queue_behind_the_one_in_reclaim_do_not_dilute_it() {
    let mut watched = frozen();
    watched.node.now.nfsd = super::node::Node::new(8).now.nfsd;
    watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 950)];
    let phase = Phase {
        throttled: 1,
        blocked: 7,
        ..Phase::FROZEN_RECLAIM
    };
    assert_eq!(watched.play(&phase, 10), Livelock);
    let value = watched.verdict().conditions.closing_edge.value;
    assert_eq!(value, Some(0.95));
}

#[test]
fn a_loop_whose_server_bdi_is_not_known_is_suspected_at_most() {
    let mut watched = frozen();
    watched.node.now.rpc_clients.clear();
    watched.node.look_up(&[(CLIENT, Some("nfsd"))]);
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 60), Suspected);
    assert_eq!(watched.verdict().server_bdi, None);
    assert_eq!(watched.first(Livelock), None);
}
