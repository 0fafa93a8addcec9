//! Tests of the conditions that all signatures share, number by number.

use monitor_common::{Cause, Class};

use super::node::{CLIENT, DISK, Phase, Watched, lasts};

#[test]
fn demand_begins_at_one_mib_and_holds_on_to_two_thirds_of_it() {
    let mut watched = Watched::new(8);
    let mut holds = |kib: u64| {
        watched.play_with(&Phase::IDLE, 1, |_, o| {
            o.clients[0].writes_sent = o.clients[0].writes_acked;
            o.bdis[0].dirty_bytes = Some(kib << 10);
        });
        watched.verdict().conditions.demand.holds
    };
    assert_eq!(holds(1023), Some(false));
    assert_eq!(holds(1024), Some(true));
    assert_eq!(holds(683), Some(true));
    assert_eq!(holds(682), Some(false));
    assert_eq!(holds(1023), Some(false));
}

#[test]
fn time_in_waits_is_a_share_of_that_of_all_busy_threads() {
    let mut watched = Watched::new(8);
    let phase = Phase {
        throttled: 0,
        blocked: 0,
        running: 4,
        pause_ms: 1000,
        ..Phase::FROZEN_6_12
    };
    watched.play(&phase, 10);
    let blockage = watched.verdict().conditions.blockage;
    assert_eq!((blockage.holds, blockage.value), (Some(false), Some(0.25)));
}

#[test]
fn threads_seen_throttled_count_if_seen_twice_or_if_pauses_say_so() {
    for (seen, pause_ms, holds) in [(1, 100, false), (1, 700, true), (2, 100, true)] {
        let mut watched = Watched::new(8);
        let missed = Phase {
            throttled: 0,
            blocked: 0,
            running: 0,
            pause_ms,
            ..Phase::FROZEN_6_12
        };
        watched.play(&missed, 5);
        let caught = Phase {
            throttled: 2,
            ..missed
        };
        watched.play(&caught, seen);
        let blockage = watched.verdict().conditions.blockage;
        assert_eq!(
            blockage.holds,
            Some(holds),
            "{seen}, {pause_ms} ms: {blockage:?}"
        );
    }
}

#[test]
fn writers_that_wait_for_something_else_wait_not_for_the_client() {
    let mut watched = Watched::new(8);
    watched.node.lasting = vec![
        lasts(700, Class::User, Cause::NfsCommit, CLIENT),
        lasts(701, Class::User, Cause::BalanceDirtyPages, DISK),
    ];
    watched.play(&Phase::FROZEN_6_12, 3);
    let why = watched.verdict().conditions.demand.why;
    assert!(why.contains("writers waiting on it: 4,"), "{why}");
}

#[test]
fn the_bdi_on_which_the_server_is_paused_most_is_its_own() {
    for (other, ms, name) in [
        ("1:0", 900, DISK),
        ("8:0", 900, DISK),
        ("8:0", 2000, DISK),
        ("1:0", 2000, "1:0"),
        ("8:0", 2100, "8:0"),
    ] {
        let mut watched = Watched::new(8);
        watched.play_with(&Phase::FROZEN_6_12, 5, |n, o| {
            let mut pauses = o.dirty_pauses[0].clone();
            pauses.bdi = other.into();
            pauses.pause_ns = ms * 1_000_000 * (n + 1);
            o.dirty_pauses.push(pauses);
        });
        let why = watched.verdict().conditions.closing_edge.why;
        let words = format!("the server's {name} has");
        assert!(why.contains(&words), "{other}, {ms} ms: {why}");
    }
}

#[test]
fn another_mount_on_which_the_server_is_paused_is_not_what_it_writes_to() {
    let mut watched = Watched::new(8);
    watched.node.mount("0:31");
    watched.play_with(&Phase::FROZEN_6_12, 5, |n, o| {
        let mut pauses = o.dirty_pauses[0].clone();
        pauses.bdi = "0:31".into();
        pauses.pause_ns = 4_000_000_000 * (n + 1);
        o.dirty_pauses.push(pauses);
    });
    let why = watched.verdict().conditions.closing_edge.why;
    assert!(why.contains("the server's 254:0 has"), "{why}");
}

#[test]
fn an_open_edge_says_every_number_that_decides() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::SLOW_DISK, 5);
    let why = watched.verdict().conditions.closing_edge.why;
    assert_eq!(
        why,
        "dirty-throttle: open: 18600 dirty pages of limit 18300, the server's 254:0 has 8000 of \
         setpoint 9126, disk 96 % busy, the client's 0:29 holds 99 % of the others, all loops' \
         clients 99 %"
    );
}
