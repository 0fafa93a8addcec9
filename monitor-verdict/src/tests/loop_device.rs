//! Signature `loop-device`: ext4 on /dev/loop0 whose file lies on the mount.

use monitor_common::{Cause, Class};
use monitor_model::verdict::{
    LivelockState::{Livelock, None as Nothing},
    Signature::{DirtyThrottle, LoopDevice},
};

use super::node::{CLIENT, DISK, Node, Phase, Watched, wait};
use super::reclaim;

const LOOP: &str = "7:0";

/// As `dirty-throttle`, but most of the pages are the loop device's.
const FROZEN: Phase = Phase {
    held: 5000,
    ..Phase::FROZEN_6_12
};

fn with_loop_device(pages: u64) -> Watched {
    let mut node = Node::new(8);
    node.losetup(LOOP, CLIENT, pages);
    Watched::of(node)
}

#[test]
fn a_freeze_whose_pages_are_a_loop_devices_on_the_mount_is_a_livelock() {
    let mut watched = with_loop_device(14_900);
    watched.play(&Phase::HEALTHY, 5);
    assert_eq!(watched.play(&FROZEN, 10), Livelock);
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, LoopDevice);
    assert_eq!(verdict.server_bdi.as_deref(), Some(DISK));
    assert!(
        verdict.reason.starts_with(
            "2 of 8 busy nfsd threads wait in balance_dirty_pages on 254:0 (48 of 10437 setpoint \
             pages dirty, disk 0 % busy) while 0:29 holds 100 % of the dirty pages, 2.6 % over \
             the dirty limit; loop device 7:0 is on 0:29 and holds 75 % of the pages of the two, its \
             worker waits for 0 % of the time; "
        ),
        "{}",
        verdict.reason
    );
}

#[test]
fn over_127_0_0_1_the_same_load_runs_without_a_verdict() {
    let mut watched = with_loop_device(9000);
    for rate in [28_000_000, 44_000_000] {
        let phase = Phase {
            acked: rate,
            served: rate,
            held: 5000,
            ..Phase::HEALTHY
        };
        watched.play(&phase, 90);
    }
    assert_eq!(watched.timeline, []);
}

#[test]
fn a_loop_device_elsewhere_or_nearly_clean_leaves_it_dirty_throttle() {
    for (on, pages) in [(DISK, 14_900), (CLIENT, 300)] {
        let mut node = Node::new(8);
        node.losetup(LOOP, on, pages);
        let mut watched = Watched::of(node);
        assert_eq!(watched.play(&Phase::FROZEN_6_12, 10), Livelock);
        assert_eq!(
            watched.verdict().signature,
            DirtyThrottle,
            "{pages} on {on}"
        );
    }
}

#[test]
fn a_nearly_clean_one_whose_worker_waits_takes_part() {
    for class in [Class::LoopDevice, Class::Kworker] {
        let mut watched = with_loop_device(300);
        watched.play_with(&Phase::FROZEN_6_12, 10, |n, o| {
            let mut pauses = o.dirty_pauses[0].clone();
            (pauses.class, pauses.bdi) = (class, CLIENT.into());
            pauses.events = 5 * (n + 1);
            pauses.pause_ns = 900_000_000 * (n + 1);
            o.dirty_pauses.push(pauses);
        });
        assert_eq!(watched.state(), Livelock);
        let verdict = watched.verdict();
        assert_eq!(
            verdict.signature, LoopDevice,
            "{class:?}: {}",
            verdict.reason
        );
        assert!(
            verdict.reason.contains("worker waits for 90 %"),
            "{}",
            verdict.reason
        );
    }
}

#[test]
fn without_the_pages_of_the_loop_device_the_edge_would_be_open() {
    let mut watched = with_loop_device(14_900);
    watched.node.now.topology = Node::new(8).now.topology;
    watched.play(&FROZEN, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn a_loop_device_on_a_loop_device_is_followed() {
    let mut watched = with_loop_device(100);
    watched.node.losetup("7:1", LOOP, 14_800);
    assert_eq!(watched.play(&FROZEN, 10), Livelock);
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, LoopDevice);
    assert!(
        verdict.reason.contains("loop device 7:1 is on 7:0"),
        "{}",
        verdict.reason
    );
}

#[test]
fn loop_devices_that_lie_on_each_other_are_no_endless_chain() {
    let mut watched = with_loop_device(10);
    watched.node.losetup("7:1", "7:2", 7000);
    watched.node.losetup("7:2", "7:1", 7000);
    watched.play(&FROZEN, 20);
    assert_eq!(watched.first(Livelock), None);
}

#[test]
fn the_pages_of_the_loop_device_are_demand() {
    let mut watched = with_loop_device(14_900);
    watched.play(&Phase::IDLE, 5);
    let demand = watched.verdict().conditions.demand;
    assert_eq!(
        (demand.holds, demand.value),
        (Some(true), Some(14_900.0 * 4096.0))
    );
}

/// nfsd exports a file system on /dev/loop0, whose file lies on a mount of that very server. The
/// device stays busy while a request is stuck in it.
fn exported() -> Watched {
    let mut watched = with_loop_device(11_000);
    watched.node.paused = (Class::Nfsd, LOOP);
    watched.node.writes = vec![(LOOP, 0)];
    watched
}

const EXPORTED: Phase = Phase {
    held: 8000,
    bdi_dirty: 11_000,
    setpoint: 10_000,
    ..Phase::FROZEN_6_12
};

#[test]
fn a_server_on_a_loop_device_on_its_own_client_is_a_livelock() {
    let mut watched = exported();
    watched.play_with(&EXPORTED, 12, |n, o| {
        o.bdis[2].disk_busy_ms = Some(1000 * n);
    });
    assert_eq!(watched.state(), Livelock, "{:?}", watched.verdict());
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, LoopDevice);
    let words = "2 of 8 busy nfsd threads wait in balance_dirty_pages on 7:0, whose file is on 0:29; both hold 95 % of the dirty pages; ";
    assert!(verdict.reason.starts_with(words), "{}", verdict.reason);
}

#[test]
fn such_a_server_whose_device_is_written_to_or_below_the_limit_is_not() {
    let below = Phase {
        dirty: 17_000,
        ..EXPORTED
    };
    for (phase, bytes) in [(EXPORTED, 5_000_000), (below, 0)] {
        let mut watched = exported();
        watched.node.writes = vec![(LOOP, bytes)];
        watched.play(&phase, 60);
        assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
    }
}

#[test]
fn such_a_device_is_still_below_the_floor_and_half_as_much_above_once_it_was() {
    let floor = 768 << 10;
    let played = |first, then: u64| {
        let mut watched = exported();
        for bytes in [first, then] {
            watched.node.writes = vec![(LOOP, bytes)];
            watched.play(&EXPORTED, 8);
        }
        let edge = watched.verdict().conditions.closing_edge;
        edge.holds == Some(true)
    };
    assert!(played(floor - 1, floor - 1));
    assert!(!played(floor, floor));
    assert!(played(0, floor + floor / 3));
    assert!(!played(0, floor + floor * 2 / 3));
}

#[test]
fn reclaim_over_the_pages_of_a_loop_device_is_named_after_it() {
    let mut watched = reclaim::frozen();
    watched.node.losetup(LOOP, CLIENT, 9000);
    assert_eq!(watched.play(&Phase::FROZEN_RECLAIM, 10), Livelock);
    let verdict = watched.verdict();
    assert_eq!(verdict.signature, LoopDevice);
    assert!(
        verdict.reason.starts_with("nfsd threads spend 100 %"),
        "{}",
        verdict.reason
    );
}

#[test]
fn a_worker_that_waits_for_pages_of_an_idle_server_is_not_a_livelock() {
    let mut watched = with_loop_device(14_900);
    watched.node.lasting = vec![wait(70, Class::LoopDevice, CLIENT)];
    assert_eq!(watched.node.lasting[0].cause, Cause::BalanceDirtyPages);
    assert_eq!(watched.play(&Phase::SERVER_GONE, 60), Nothing);
    assert_eq!(watched.timeline, []);
}

#[test]
fn it_goes_before_whichever_of_the_two_explains_more() {
    for (pause_ms, words) in [(1000, "nfsd threads spend"), (6000, "2 of 2 busy")] {
        let mut watched = reclaim::frozen();
        watched.node.in_dirty = true;
        watched.node.losetup(LOOP, CLIENT, 9000);
        let both = Phase {
            blocked: 0,
            pause_ms,
            ..Phase::FROZEN_6_12
        };
        assert_eq!(watched.play(&both, 10), Livelock);
        let verdict = watched.verdict();
        assert_eq!(verdict.signature, LoopDevice, "{}", verdict.reason);
        assert!(verdict.reason.starts_with(words), "{}", verdict.reason);
    }
}

#[test]
fn without_debugfs_the_pages_of_both_come_from_reports_to_their_writers() {
    for (pages, livelock) in [(6000, true), (2000, false)] {
        let mut watched = with_loop_device(0);
        watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
            for (n, bdi) in [(0, CLIENT), (2, LOOP)] {
                (o.bdis[n].dirty_bytes, o.bdis[n].writeback_bytes) = (None, None);
                let mut told = o.dirty_pauses[0].clone();
                (told.class, told.bdi) = (Class::User, bdi.into());
                told.bdi_dirty_pages = told.events * if bdi == CLIENT { 6000 } else { pages };
                o.dirty_pauses.push(told);
            }
        });
        assert_eq!(
            watched.state() == Livelock,
            livelock,
            "{:?}",
            watched.verdict()
        );
    }
}

#[test]
fn of_several_loop_devices_the_one_that_holds_most_is_named() {
    for (second, name) in [(7000, "7:0"), (7400, "7:0"), (7401, "7:1")] {
        let mut watched = with_loop_device(7400);
        watched.node.losetup("7:1", CLIENT, second);
        assert_eq!(watched.play(&FROZEN, 10), Livelock);
        let reason = watched.verdict().reason;
        assert!(
            reason.contains(&format!("loop device {name} is on")),
            "{reason}"
        );
    }
}

#[test]
fn such_a_server_beside_the_pages_of_others_is_not() {
    let mut watched = exported();
    watched.node.now.bdis[2].dirty_bytes = Some(5000 * 4096);
    let others = Phase {
        held: 4000,
        bdi_dirty: 5000,
        setpoint: 5000,
        ..Phase::FROZEN_6_12
    };
    watched.play(&others, 60);
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn such_a_cycle_stays_closed_until_both_hold_less_than_a_third() {
    for (held, closed) in [(2000, true), (1500, false)] {
        let mut watched = exported();
        assert_eq!(watched.play(&EXPORTED, 10), Livelock);
        watched.node.now.bdis[2].dirty_bytes = Some(5000 * 4096);
        let less = Phase {
            held,
            bdi_dirty: 5000,
            ..EXPORTED
        };
        watched.play(&less, 10);
        let edge = watched.verdict().conditions.closing_edge;
        assert_eq!(edge.holds, Some(closed), "{held} pages: {}", edge.why);
    }
}
