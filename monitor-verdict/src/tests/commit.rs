//! Signature `commit-wait`.

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::Waiting,
    verdict::{
        LivelockState::Livelock,
        Signature::{CommitWait, ReclaimCongestion},
    },
};

use super::node::{CLIENT, DISK, Phase, Watched, lasts};

/// A wait that began just now.
fn fresh(watched: &Watched, tid: usize, class: Class, cause: Cause, bdi: &str) -> Waiting {
    Waiting {
        since_ns: watched.node.now.monotonic_ns,
        ..lasts(tid, class, cause, bdi)
    }
}

fn calm() -> Watched {
    let mut watched = Watched::new(2);
    watched.node.in_dirty = false;
    watched.play(&Phase::HEALTHY, 5);
    watched
}

#[test]
fn a_server_thread_that_waits_for_a_commit_of_its_own_is_a_livelock() {
    let mut watched = calm();
    for (tid, cause, bdi) in [
        (100, Cause::NfsCommit, CLIENT),
        (100, Cause::DirectReclaim, ""),
        (101, Cause::NfsCommit, CLIENT),
        (101, Cause::DirectReclaim, ""),
    ] {
        let wait = fresh(&watched, tid, Class::Nfsd, cause, bdi);
        watched.node.lasting.push(wait);
    }
    watched.node.congest(true);
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, CommitWait, "reclaim is where it waits");
    assert!(
        verdict.reason.starts_with(
            "nfsd waits for the COMMIT of pages of 0:29 for 100 % of the time while the server's \
             disk 0 % busy; "
        ),
        "{}",
        verdict.reason
    );
}

#[test]
fn a_commit_to_another_server_is_none_of_the_loops() {
    let mut watched = calm();
    let wait = fresh(&watched, 100, Class::Nfsd, Cause::NfsCommit, "0:77");
    watched.node.lasting.push(wait);
    watched.play(&Phase::FROZEN_RECLAIM, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn commits_that_take_milliseconds_are_no_closed_edge() {
    let mut watched = calm();
    watched.node.spends = vec![(Cause::NfsCommit, Class::Nfsd, CLIENT, 250)];
    watched.play(&Phase::FROZEN_RECLAIM, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.value, Some(0.25), "{edge:?}");
    watched.node.spends[0].3 = 350;
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 9), Livelock);
}

#[test]
fn a_server_whose_disk_works_waits_for_that() {
    let mut watched = calm();
    watched.node.spends = vec![(Cause::NfsCommit, Class::Nfsd, CLIENT, 900)];
    let slow = Phase {
        disk_busy_ms: 970,
        ..Phase::FROZEN_RECLAIM
    };
    watched.play(&slow, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn kswapd_in_commit_counts_only_while_the_server_gets_no_memory() {
    for helper in [Class::Kswapd, Class::Kthread] {
        for starved in [false, true] {
            let mut watched = calm();
            watched.node.congest(true);
            let wait = fresh(&watched, 40, helper, Cause::NfsCommit, CLIENT);
            watched.node.lasting.push(wait);
            if starved {
                watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 1500)];
            }
            watched.play(&Phase::FROZEN_RECLAIM, 12);
            assert_eq!(watched.state() == Livelock, starved, "{helper:?}");
            let edge = watched.verdict().conditions.closing_edge;
            if starved {
                assert_eq!(watched.verdict().signature, CommitWait, "{edge:?}");
                assert!(
                    edge.why.contains("nfsd reclaims memory for 100 %"),
                    "{edge:?}"
                );
            }
        }
    }
}

#[test]
fn kswapd_in_commit_beside_a_little_reclaim_does_not_close_the_edge() {
    let mut watched = calm();
    watched.node.now.memory.dirty_limit_bytes = Some(1 << 40);
    watched.node.congest(false);
    let wait = fresh(&watched, 40, Class::Kswapd, Cause::NfsCommit, CLIENT);
    watched.node.lasting.push(wait);
    watched.node.spends = vec![(Cause::DirectReclaim, Class::Nfsd, "", 250)];
    watched.play(&Phase::FROZEN_RECLAIM, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn reclaim_with_a_few_commits_in_it_stays_reclaim() {
    let mut watched = calm();
    watched.node.congest(true);
    watched.node.spends = vec![
        (Cause::DirectReclaim, Class::Nfsd, "", 1900),
        (Cause::NfsCommit, Class::Nfsd, CLIENT, 400),
    ];
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    assert_eq!(watched.verdict().signature, ReclaimCongestion);
}

#[test]
fn a_commit_wait_needs_no_known_disk() {
    let mut watched = calm();
    watched.node.now.bdis.retain(|bdi| bdi.bdi != DISK);
    watched
        .node
        .now
        .bdis
        .push(monitor_model::observation::Bdi::default());
    watched.node.spends = vec![(Cause::NfsCommit, Class::Nfsd, CLIENT, 1900)];
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    let confidence = watched.verdict().confidence;
    assert!((confidence.share - 0.8).abs() < 1e-9, "{confidence:?}");
}
