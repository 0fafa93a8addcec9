//! Signature `request-starvation`.

use monitor_common::{Cause, Class};
use monitor_model::verdict::{
    LivelockState::{Livelock, Suspected},
    Signature::RequestStarvation,
};

use super::node::{Phase, Watched, lasts};

/// Threads that wait for pages are in no request.
const STARVED: Phase = Phase {
    throttled: 2,
    ..Phase::FROZEN_RECLAIM
};

fn calm() -> Watched {
    let mut watched = Watched::new(2);
    watched.node.in_dirty = false;
    watched.node.congest(true);
    watched.node.now.svc_alloc_arg_retries = Some(0);
    watched.play(&Phase::HEALTHY, 5);
    watched
}

#[test]
fn nfsd_without_pages_over_a_congested_client_is_suspected_and_no_more() {
    let mut watched = calm();
    for tid in [100, 101] {
        let mut wait = lasts(tid, Class::Nfsd, Cause::SvcAllocArg, "");
        wait.since_ns = watched.node.now.monotonic_ns;
        watched.node.lasting.push(wait);
    }
    assert_eq!(watched.play(&STARVED, 60), Suspected);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    let verdict = watched.verdict();
    assert_eq!(verdict.conditions.count(), 4);
    assert_eq!(verdict.signature, RequestStarvation);
    assert!(
        verdict
            .reason
            .ends_with("; suspected at most: request-starvation was not reproduced on any kernel"),
        "{}",
        verdict.reason
    );
    assert!(
        verdict.reason.starts_with(
            "nfsd has no pages for a request for 100 % of the time while 0:29 is congested in \
             100 % of the samples and the server's disk 0 % busy; "
        ),
        "{}",
        verdict.reason
    );
}

/// As on 6.12 with HZ=250, where each retry sleeps one jiffy.
#[test]
fn retries_that_sleep_a_jiffy_each_are_no_starvation() {
    for retries in [1, 5] {
        let mut watched = calm();
        watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 4 * retries)];
        let retried = |n: u64, o: &mut monitor_model::observation::Observation| {
            o.svc_alloc_arg_retries = Some(retries * (n + 1));
        };
        watched.play_with(&STARVED, 60, retried);
        let edge = watched.verdict().conditions.closing_edge;
        assert_ne!(edge.holds, Some(true), "{edge:?}");
    }
}

/// As on 5.10, where each retry sleeps for 500 ms, which the kernel announces.
#[test]
fn retries_that_sleep_for_half_a_second_each_are_starvation() {
    let mut watched = calm();
    watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 1000)];
    let retried = |n: u64, o: &mut monitor_model::observation::Observation| {
        o.svc_alloc_arg_retries = Some(2 * (n + 1));
    };
    watched.play_with(&STARVED, 12, retried);
    assert_eq!(watched.state(), Suspected);
    assert_eq!(watched.verdict().conditions.count(), 4);
}

#[test]
fn the_time_of_a_row_is_not_counted_twice() {
    let mut watched = calm();
    // The wait is counted by retry and as a whole. The client is calm, so that this number decides.
    watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 200)];
    let wait = lasts(100, Class::Nfsd, Cause::SvcAllocArg, "");
    watched.play_with(&STARVED, 20, |_, o| {
        let mut wait = wait.clone();
        wait.since_ns = o.monotonic_ns - 200_000_000;
        o.waits.push(wait);
    });
    assert_eq!(watched.verdict().conditions.closing_edge.value, Some(0.2));
    assert_eq!(watched.first(Livelock), None);
}

#[test]
fn starvation_beside_a_client_that_is_free_is_another_kind_of_trouble() {
    let mut watched = calm();
    watched.node.congest(false);
    watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 2000)];
    watched.node.now.memory.dirty_limit_bytes = Some(1 << 40);
    watched.play(&STARVED, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn starvation_beside_a_disk_that_works_does_not_close_the_edge() {
    let mut watched = calm();
    watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 2000)];
    let slow = Phase {
        disk_busy_ms: 950,
        ..STARVED
    };
    watched.play(&slow, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}
