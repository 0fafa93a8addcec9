//! Tests of the closing edge of `dirty-throttle`, number by number.

use monitor_common::Class;
use monitor_model::verdict::Condition;

use super::node::{Phase, Watched};

fn edge(phase: &Phase) -> Condition {
    let mut watched = Watched::new(8);
    watched.play(phase, 5);
    watched.verdict().conditions.closing_edge
}

/// Five frozen seconds, then five of this phase.
fn then(phase: &Phase) -> Condition {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 5);
    watched.play(phase, 5);
    watched.verdict().conditions.closing_edge
}

#[test]
fn where_every_dirty_page_is_the_server_s_no_client_holds_any() {
    let edge = edge(&Phase {
        dirty: 8000,
        ..Phase::SLOW_DISK
    });
    assert!(edge.why.contains("holds 0 % of the others"), "{}", edge.why);
}

#[test]
fn without_a_limit_it_is_unknown_whether_the_node_is_over_it() {
    let edge = edge(&Phase {
        limit: 0,
        ..Phase::FROZEN_6_12
    });
    assert_eq!(edge.holds, None, "{}", edge.why);
}

#[test]
fn the_server_is_clean_below_half_its_setpoint_and_a_little_above_once_it_was() {
    let of = |bdi_dirty| Phase {
        bdi_dirty,
        setpoint: 10_000,
        dirty: 26_000,
        held: 18_000,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(edge(&of(4999)).holds, Some(true));
    assert_eq!(edge(&of(5000)).holds, Some(false));
    assert_eq!(then(&of(7400)).holds, Some(true));
    assert_eq!(then(&of(7600)).holds, Some(false));
}

#[test]
fn the_clients_hold_half_of_the_others_pages_or_a_third_once_they_did() {
    let of = |held| Phase {
        held,
        ..Phase::FROZEN_6_12
    };
    assert_eq!(edge(&of(8000)).holds, Some(false));
    assert_eq!(then(&of(8000)).holds, Some(true));
    assert_eq!(then(&of(6000)).holds, Some(false));
}

#[test]
fn its_own_client_holds_a_tenth_or_a_little_less_once_it_did() {
    let then = |held| {
        let mut watched = Watched::new(8);
        watched.node.mount("0:31");
        watched.play(&Phase::FROZEN_6_12, 5);
        watched.node.now.bdis[2].dirty_bytes = Some(10_000 * 4096);
        let phase = Phase {
            held,
            ..Phase::FROZEN_6_12
        };
        watched.play(&phase, 5);
        watched.verdict().conditions.closing_edge.holds
    };
    assert_eq!(then(1600), Some(true));
    assert_eq!(then(1200), Some(false));
}

#[test]
fn only_threads_throttled_by_dirty_pages_are_named() {
    let mut watched = Watched::new(8);
    watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
        o.waits
            .retain(|wait| wait.class != Class::Nfsd || wait.tid == 100);
    });
    let reason = watched.verdict().reason;
    assert!(reason.starts_with("1 of 8 busy nfsd threads"), "{reason}");
}

#[test]
fn threads_in_a_pause_that_nothing_is_known_of_leave_the_edge_unknown() {
    let mut watched = Watched::new(8);
    watched.play_with(&Phase::FROZEN_6_12, 5, |_, o| o.dirty_pauses.clear());
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.holds, None, "{}", edge.why);
    let words =
        "the server waits in balance_dirty_pages, but the pause's numbers are not available";
    assert!(edge.why.contains(words), "{}", edge.why);
}

#[test]
fn an_nfsd_that_is_gone_pauses_nowhere() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.play_with(&Phase::FROZEN_6_12, 5, |_, o| {
        o.nfsd = None;
        o.dirty_pauses.clear();
        o.waits.retain(|wait| wait.class != Class::Nfsd);
    });
    let edge = watched.verdict().conditions.closing_edge;
    assert_eq!(edge.holds, Some(false), "{}", edge.why);
    assert!(edge.why.contains("nfsd does not run"), "{}", edge.why);
}
