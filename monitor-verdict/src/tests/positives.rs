//! Tests of livelocks, with the numbers of real ones.

use monitor_model::verdict::LivelockState::{
    Deadlock, Livelock, None as Nothing, Recovered, Suspected,
};

use super::node::{DISK, Node, Phase, Watched};

#[test]
fn a_freeze_of_6_12_is_suspected_within_3_s_and_confirmed_within_10() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 20);
    watched.play(&Phase::FROZEN_6_12, 12);
    let suspected = watched.first(Suspected).expect("suspected");
    assert!((21..=23).contains(&suspected), "{:?}", watched.timeline);
    let livelock = watched.first(Livelock).expect("confirmed");
    assert!((26..=29).contains(&livelock), "{:?}", watched.timeline);
    let verdict = watched.engine.verdicts().remove(0);
    assert_eq!(verdict.loop_id, "0:29-nfsd");
    assert_eq!(verdict.server_bdi.as_deref(), Some(DISK));
    assert_eq!((verdict.detections(), verdict.state), (1, Livelock));
    assert_eq!(
        verdict.reason,
        "2 of 8 busy nfsd threads wait in balance_dirty_pages on 254:0 (48 of 10437 setpoint pages \
         dirty, disk 0 % busy) while 0:29 holds 100 % of the dirty pages, 2.6 % over the dirty limit; 0 B/s \
         acknowledged, no progress for 12.0 s"
    );
}

#[test]
fn a_freeze_of_5_10_with_more_server_pages_is_a_livelock_too() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    assert_eq!(watched.play(&Phase::FROZEN_5_10, 10), Livelock);
}

#[test]
fn a_freeze_in_the_second_second_of_the_load_is_confirmed_in_time() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::IDLE, 5);
    watched.play(
        &Phase {
            acked: 8_000_000,
            served: 8_000_000,
            ..Phase::CRAWL
        },
        1,
    );
    watched.play(&Phase::FROZEN_6_12, 10);
    let livelock = watched.first(Livelock).expect("confirmed");
    assert!(livelock <= 6 + 9, "{:?}", watched.timeline);
}

#[test]
fn the_first_mount_and_its_freeze_may_come_in_one_second() {
    let mut watched = Watched::new(8);
    watched.node.now.clients.clear();
    let bdis = std::mem::take(&mut watched.node.now.bdis);
    watched.observe(&watched.node.now.clone());
    watched.node.now.clients = Node::new(8).now.clients;
    watched.node.now.bdis = bdis;
    watched.play(&Phase::FROZEN_6_12, 10);
    assert!(
        watched.first(Livelock).expect("confirmed") <= 9,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn a_crawl_of_6_1_before_the_freeze_is_not_progress_and_confirmed_within_20_s() {
    let mut watched = Watched::new(8);
    watched.play(
        &Phase {
            acked: 20_000_000,
            served: 20_000_000,
            ..Phase::CRAWL
        },
        2,
    );
    for lump in [500_000, 0, 100_000, 500_000, 0, 0, 300_000] {
        watched.play(
            &Phase {
                acked: lump,
                served: lump,
                ..Phase::CRAWL
            },
            1,
        );
    }
    watched.play(&Phase::FROZEN_6_12, 12);
    let livelock = watched.first(Livelock).expect("confirmed");
    assert!(livelock <= 11, "{:?}", watched.timeline);
    assert_eq!(watched.timeline.len(), 2, "{:?}", watched.timeline);
}

#[test]
fn a_one_thread_server_that_is_often_sampled_idle_is_still_blocked() {
    let mut watched = Watched::new(1);
    watched.play(&Phase::HEALTHY, 5);
    let caught = Phase {
        throttled: 1,
        blocked: 0,
        events: 5,
        pause_ms: 950,
        ..Phase::FROZEN_6_12
    };
    let missed = Phase {
        throttled: 0,
        ..caught
    };
    for _ in 0..4 {
        watched.play(&missed, 2);
        watched.play(&caught, 1);
    }
    assert_eq!(watched.state(), Livelock);
    assert_eq!(watched.timeline.len(), 2, "{:?}", watched.timeline);
}

#[test]
fn not_a_byte_for_half_a_minute_more_is_a_deadlock_and_a_crawl_is_not() {
    let mut frozen = Watched::new(8);
    frozen.play(&Phase::FROZEN_6_12, 60);
    let (livelock, deadlock) = (frozen.first(Livelock), frozen.first(Deadlock));
    assert_eq!(
        deadlock,
        livelock.map(|at| at + 30),
        "{:?}",
        frozen.timeline
    );
    let mut crawling = Watched::new(8);
    assert_eq!(crawling.play(&Phase::CRAWL, 120), Livelock);
}

#[test]
fn recovery_is_seen_within_10_s_and_ends_in_none() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 60);
    assert_eq!(watched.state(), Deadlock);
    watched.play(&Phase::HEALTHY, 30);
    let states: Vec<_> = watched.timeline.iter().map(|&(_, to)| to).collect();
    assert_eq!(states, [Suspected, Livelock, Deadlock, Recovered, Nothing]);
    assert!(
        watched.first(Recovered).expect("seen") <= 60 + 5,
        "{:?}",
        watched.timeline
    );
    let verdict = watched.engine.verdicts().remove(0);
    let stood = watched.first(Recovered).zip(watched.first(Livelock));
    let stood = stood.map(|(to, from)| to - from).expect("both");
    assert!(
        (verdict.livelock_seconds() - stood as f64).abs() < 0.01,
        "{verdict:?}"
    );
    assert_eq!(verdict.detections(), 1);
}

#[test]
fn writers_killed_and_pages_gone_are_a_recovery_too() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 20);
    watched.play(&Phase::IDLE, 10);
    assert!(
        watched.first(Recovered).expect("seen") <= 25,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn a_move_of_two_seconds_after_raising_dirty_bytes_is_not_a_recovery() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 15);
    watched.play(
        &Phase {
            acked: 30_000_000,
            served: 30_000_000,
            ..Phase::FROZEN_6_12
        },
        2,
    );
    watched.play(&Phase::FROZEN_6_12, 15);
    assert_eq!(watched.state(), Livelock);
    assert_eq!(
        watched.engine.verdicts()[0].detections(),
        1,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn a_relapse_is_a_second_detection() {
    let mut watched = Watched::new(8);
    for _ in 0..2 {
        watched.play(&Phase::FROZEN_6_12, 20);
        watched.play(&Phase::HEALTHY, 7);
    }
    assert_eq!(watched.state(), Recovered);
    assert_eq!(
        watched.engine.verdicts()[0].detections(),
        2,
        "{:?}",
        watched.timeline
    );
}

#[test]
fn a_one_thread_server_that_no_sample_catches_is_known_by_its_pauses() {
    let mut watched = Watched::new(1);
    let missed = Phase {
        throttled: 0,
        blocked: 0,
        events: 5,
        pause_ms: 950,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&missed, 10), Livelock);
}

#[test]
fn progress_alone_is_a_recovery_though_the_rest_of_the_picture_stays() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 15);
    watched.play(
        &Phase {
            acked: 9_000_000,
            served: 9_000_000,
            ..Phase::FROZEN_6_12
        },
        5,
    );
    assert_eq!(watched.state(), Recovered, "{:?}", watched.timeline);
}

#[test]
fn the_progress_threshold_depends_on_the_loop_s_best_rate() {
    let trickle = Phase {
        acked: 2_000_000,
        served: 2_000_000,
        ..Phase::FROZEN_6_12
    };
    for (best, state) in [(30_000_000, Suspected), (400_000_000, Livelock)] {
        let mut watched = Watched::new(8);
        watched.play(
            &Phase {
                acked: best,
                served: best,
                ..Phase::HEALTHY
            },
            5,
        );
        assert_eq!(watched.play(&trickle, 12), state, "after {best} B/s");
    }
}

#[test]
fn what_the_loop_has_shown_is_forgotten_after_hours() {
    let mut watched = Watched::new(8);
    watched.play(
        &Phase {
            acked: 400_000_000,
            served: 400_000_000,
            ..Phase::HEALTHY
        },
        5,
    );
    watched.play(&Phase::IDLE, 2 * 3600);
    let trickle = Phase {
        acked: 2_000_000,
        served: 2_000_000,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(watched.play(&trickle, 12), Suspected);
}

#[test]
fn threads_between_two_pauses_are_counted_by_their_state() {
    let mut watched = Watched::new(8);
    watched.node.in_dirty = false;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
    let reason = watched.verdict().reason;
    assert!(reason.starts_with("2 of 8 busy nfsd threads"), "{reason}");
}

#[test]
fn a_client_that_gets_nothing_while_nfsd_still_trickles_is_not_a_deadlock() {
    for (acked, served) in [(0, 100_000), (100_000, 0)] {
        let mut watched = Watched::new(8);
        let trickle = Phase {
            acked,
            served,
            ..Phase::FROZEN_6_12
        };
        assert_eq!(watched.play(&trickle, 60), Livelock);
        assert_eq!(watched.first(Deadlock), None);
    }
}

#[test]
fn what_is_not_a_livelock_says_how_many_conditions_hold_and_why_the_others_do_not() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::SERVER_GONE, 5);
    let reason = watched.verdict().reason;
    let words = "2 of 4 conditions hold; not blockage: 0 % of the busy nfsd threads' time is spent \
                 throttled or behind a throttled one (most at once: 0 busy, 0 throttled); not \
                 closing_edge: dirty-throttle: the server was not paused";
    assert_eq!(reason, words);
}

#[test]
fn a_recovery_says_how_long_it_stood_and_a_transition_when_it_was() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 20);
    watched.play(&Phase::HEALTHY, 6);
    let over = watched.transitions.last().expect("recovered");
    assert_eq!(over.to, Recovered);
    let stood = watched.first(Recovered).zip(watched.first(Livelock));
    let (to, from) = stood.expect("both");
    let words = format!("over after {}.0 s of livelock: ", to - from);
    assert!(over.reason.starts_with(&words), "{}", over.reason);
    assert_eq!(over.monotonic_ms, 1_000_000 + to * 1000);
    assert_eq!(over.unix_ms, 1_760_000_000_000 + to * 1000);
}
