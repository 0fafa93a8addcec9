//! Tests with missing inputs and with several client devices.

use monitor_common::Class;
use monitor_model::{
    observation::{SignalStatus, State},
    verdict::LivelockState::{Livelock, Suspected},
};

use super::node::{CLIENT, DISK, Phase, Watched};
use crate::signal;

#[test]
fn a_freeze_on_a_disk_of_unknown_busy_time_is_still_a_livelock() {
    let mut watched = Watched::new(8);
    watched.node.now.bdis[1].disk_busy_ms = None;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
}

#[test]
fn with_a_signal_unavailable_a_freeze_is_at_most_suspected() {
    for name in [signal::BALANCE_DIRTY_PAGES, signal::NFS_CLIENT] {
        let mut watched = Watched::new(8);
        watched.node.now.signals.push(SignalStatus {
            signal: name.into(),
            strategy: "none".into(),
            state: State::Unavailable,
        });
        if name == signal::BALANCE_DIRTY_PAGES {
            watched.play_with(&Phase::FROZEN_6_12, 60, |_, o| {
                o.dirty_pauses.clear();
                o.waits.clear();
            });
            let conditions = &watched.engine.verdicts()[0].conditions;
            assert_eq!(conditions.blockage.holds, None);
            assert_eq!(conditions.closing_edge.holds, None);
        } else {
            assert_eq!(watched.play(&Phase::FROZEN_6_12, 60), Suspected);
            assert_eq!(
                watched.engine.verdicts()[0].conditions.no_progress.holds,
                None
            );
        }
        assert_eq!(
            watched.first(Livelock),
            None,
            "{name}: {:?}",
            watched.timeline
        );
    }
}

#[test]
fn without_the_bytes_that_nfsd_wrote_no_progress_is_unknown_but_progress_is_not() {
    let mut watched = Watched::new(8);
    watched.node.now.nfsd.as_mut().expect("runs").bytes_written = None;
    assert_eq!(watched.play(&Phase::FROZEN_6_12, 60), Suspected);
    assert_eq!(
        watched.engine.verdicts()[0].conditions.no_progress.holds,
        None
    );
    watched.play(&Phase::HEALTHY, 5);
    assert_eq!(
        watched.engine.verdicts()[0].conditions.no_progress.holds,
        Some(false)
    );
}

#[test]
fn without_debugfs_the_clients_pages_come_from_its_own_pauses_or_stay_unknown() {
    for known in [true, false] {
        let mut watched = Watched::new(8);
        watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
            o.bdis[0].dirty_bytes = None;
            o.bdis[0].writeback_bytes = None;
            if known {
                let mut own = o.dirty_pauses[0].clone();
                own.class = Class::User;
                own.bdi = CLIENT.into();
                own.bdi_dirty_pages = own.events * 19000;
                o.dirty_pauses.push(own);
            }
        });
        assert_eq!(
            watched.state(),
            if known { Livelock } else { Suspected },
            "known: {known}"
        );
        let edge = watched.engine.verdicts().remove(0).conditions.closing_edge;
        assert_eq!(edge.holds, known.then_some(true), "{edge:?}");
    }
}

#[test]
fn a_daemon_that_starts_in_the_middle_of_a_freeze_knows_the_loop_by_its_connection() {
    let mut watched = Watched::new(8);
    watched.node.now.rpc_clients.clear();
    watched.play(&Phase::FROZEN_6_12, 3);
    assert_eq!(watched.engine.verdicts(), [], "nothing is known of it yet");
    watched.node.look_up(&[(CLIENT, Some("nfsd"))]);
    watched.play(&Phase::FROZEN_6_12, 7);
    assert_eq!(watched.state(), Livelock, "{:?}", watched.timeline);
    let verdict = watched.engine.verdicts().remove(0);
    assert_eq!(verdict.server_bdi.as_deref(), Some(DISK), "by its pauses");
}

#[test]
fn without_the_size_of_a_page_it_is_not_known_how_many_the_client_holds() {
    let mut watched = Watched::new(8);
    watched.node.now.memory.page_size = 0;
    watched.play(&Phase::FROZEN_6_12, 12);
    let closing_edge = watched.verdict().conditions.closing_edge;
    assert_eq!(closing_edge.holds, None, "{}", closing_edge.why);
    let words = "the client's 0:29 holds an unknown share";
    assert!(closing_edge.why.contains(words), "{}", closing_edge.why);
}

#[test]
fn the_pages_of_a_client_that_is_not_a_loop_close_no_edge() {
    for is_loop in [true, false] {
        let mut watched = Watched::new(8);
        watched.node.mount("0:31");
        watched.node.now.bdis[2].dirty_bytes = Some(12_000 * 4096);
        if !is_loop {
            watched.node.now.rpc_clients[1].served_here = 0;
        }
        let state = watched.play(
            &Phase {
                held: 7900,
                ..Phase::FROZEN_6_12
            },
            20,
        );
        assert_eq!(state == Livelock, is_loop, "{:?}", watched.timeline);
    }
}

#[test]
fn of_two_client_devices_only_the_one_that_holds_the_pages_is_in_livelock() {
    let mut watched = Watched::new(8);
    watched.node.mount("0:31");
    watched.node.now.bdis[2].dirty_bytes = Some(400 * 4096);
    watched.play(&Phase::FROZEN_6_12, 20);
    let states: Vec<_> = watched
        .engine
        .verdicts()
        .into_iter()
        .map(|v| (v.loop_id.to_string(), v.state))
        .collect();
    assert_eq!(states[0], ("0:29-nfsd".to_owned(), Livelock));
    assert_ne!(states[1].1, Livelock);
    let second = watched.engine.verdicts().remove(1).conditions;
    assert_eq!(
        (second.count(), second.closing_edge.holds),
        (3, Some(false))
    );
    assert_eq!(states[1].0, "0:31-nfsd");
}

#[test]
fn two_client_devices_that_share_the_pages_are_both_in_livelock() {
    let mut watched = Watched::new(8);
    watched.node.mount("0:31");
    watched.node.now.bdis[2].dirty_bytes = Some(12_000 * 4096);
    watched.play(
        &Phase {
            held: 7900,
            ..Phase::FROZEN_6_12
        },
        20,
    );
    let states: Vec<_> = watched
        .engine
        .verdicts()
        .into_iter()
        .map(|v| v.state)
        .collect();
    assert_eq!(states, [Livelock, Livelock]);
}
