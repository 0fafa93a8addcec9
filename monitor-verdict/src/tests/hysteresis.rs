//! Tests of each edge's hysteresis: a threshold is looser once its condition holds.

use monitor_common::{Cause, Class};
use monitor_model::verdict::LivelockState::{Livelock, Suspected};

use super::node::{CLIENT, Node, Phase, Watched};
use super::reclaim;

/// Whether the cycle is closed. An open cycle alone does not end a livelock.
fn is_closed(watched: &Watched) -> bool {
    watched.verdict().conditions.closing_edge.holds == Some(true)
}

/// Two threads wait `ms` milliseconds a second after a livelock. Returns whether the cycle stays
/// closed, and whether a fresh loop with the same waits becomes a livelock.
fn less(cause: Cause, bdi: &'static str, ms: u64) -> (bool, Option<u64>) {
    let mut closed = Vec::new();
    let mut fresh = None;
    for before in [true, false] {
        let mut watched = Watched::new(2);
        watched.node.in_dirty = false;
        watched.node.congest(true);
        watched.node.spends = vec![(cause, Class::Nfsd, bdi, 1900)];
        if before {
            watched.play(&Phase::FROZEN_RECLAIM, 10);
            assert_eq!(watched.state(), Livelock, "{cause:?}");
        }
        watched.node.spends[0].3 = ms;
        watched.play(&Phase::FROZEN_RECLAIM, 20);
        closed.push(is_closed(&watched));
        fresh = watched.first(Livelock);
    }
    (closed[0], fresh)
}

#[test]
fn a_wait_that_confirmed_a_livelock_keeps_it_at_two_thirds_of_its_share() {
    for (cause, bdi, keeps, ends) in [
        (Cause::DirectReclaim, "", 410, 390),
        (Cause::NfsCommit, CLIENT, 210, 190),
    ] {
        assert_eq!(less(cause, bdi, keeps), (true, None), "{cause:?}");
        assert_eq!(less(cause, bdi, ends), (false, None), "{cause:?}");
    }
}

/// For an unconfirmable signature: whether its edge is still closed.
#[test]
fn a_wait_of_a_suspected_signature_is_one_at_two_thirds_of_its_share() {
    for (ms, closed) in [(210, true), (190, false)] {
        let mut watched = Watched::new(2);
        watched.node.in_dirty = false;
        watched.node.congest(true);
        watched.node.spends = vec![(Cause::SvcAllocArg, Class::Nfsd, "", 1900)];
        assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Suspected);
        watched.node.spends[0].3 = ms;
        watched.play(&Phase::FROZEN_RECLAIM, 5);
        assert_eq!(watched.verdict().conditions.count() == 4, closed, "{ms} ms");
    }
}

#[test]
fn a_client_that_was_full_is_so_down_to_a_third_of_the_limit() {
    for (held, closed) in [(6600, true), (6400, false)] {
        let mut watched = reclaim::frozen();
        watched.node.congest(false);
        watched.node.now.memory.dirty_limit_bytes = Some(19_529 * 4096);
        assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
        let phase = Phase {
            held,
            ..Phase::FROZEN_RECLAIM
        };
        watched.play(&phase, 10);
        assert_eq!(is_closed(&watched), closed, "{held} pages");
    }
}

#[test]
fn a_loop_device_that_took_part_does_so_down_to_a_fifteenth() {
    for (pages, speaks) in [(1500, true), (1200, false)] {
        let mut node = Node::new(8);
        node.losetup("7:0", CLIENT, 6000);
        let mut watched = Watched::of(node);
        assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
        watched.node.now.bdis[2].dirty_bytes = Some(pages * 4096);
        watched.play(&Phase::FROZEN_6_12, 3);
        let why = watched.verdict().conditions.closing_edge.why;
        assert_eq!(why.starts_with("loop-device: "), speaks, "{pages}: {why}");
    }
}

#[test]
fn a_server_that_was_clean_is_so_up_to_three_quarters_of_the_clients_pages() {
    for (pages, closed) in [(8800, true), (9100, false)] {
        let mut watched = reclaim::frozen();
        assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
        watched.node.now.bdis[1].dirty_bytes = Some(pages * 4096);
        watched.play(&Phase::FROZEN_RECLAIM, 10);
        assert_eq!(is_closed(&watched), closed, "{pages} pages");
    }
    let mut fresh = reclaim::frozen();
    fresh.node.now.bdis[1].dirty_bytes = Some(6100 * 4096);
    fresh.play(&Phase::FROZEN_RECLAIM, 30);
    assert_eq!(fresh.first(Livelock), None);
}

#[test]
fn pages_that_stand_in_for_congestion_do_so_down_to_two_thirds_of_one_mib() {
    for (held, closed) in [(172, true), (168, false)] {
        let mut watched = reclaim::frozen();
        watched.node.now.bdis[0].congestion = None;
        assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
        let phase = Phase {
            held,
            ..Phase::FROZEN_RECLAIM
        };
        watched.play(&phase, 10);
        assert_eq!(is_closed(&watched), closed, "{held} pages");
    }
}
