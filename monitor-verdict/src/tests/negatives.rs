//! Tests of cases that only look like a livelock.

use monitor_common::{Cause, Class};
use monitor_model::verdict::LivelockState::{Livelock, None as Nothing, Suspected};

use super::node::{DISK, Phase, Watched, wait};

#[test]
fn a_slow_disk_under_loopback_is_not_even_suspected() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    for stall in [4, 9, 6, 9, 5, 9] {
        watched.play(&Phase::SLOW_DISK, stall);
        let verdict = watched.engine.verdicts().remove(0);
        assert_eq!(
            verdict.conditions.count(),
            3,
            "the picture is the hard one: {verdict:?}"
        );
        assert_eq!(verdict.conditions.closing_edge.holds, Some(false));
        watched.play(&Phase::SLOW_DISK_MOVES, 1);
    }
    assert_eq!(watched.timeline, []);
}

#[test]
fn a_slow_disk_that_completes_nothing_for_a_minute_is_suspected_and_no_more() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    assert_eq!(watched.play(&Phase::SLOW_DISK, 60), Suspected);
    assert_eq!(watched.timeline.len(), 1, "{:?}", watched.timeline);
}

#[test]
fn a_slow_disk_with_unknown_busy_time_is_recognized_by_its_bdi_alone() {
    let mut watched = Watched::new(8);
    watched.node.now.bdis[1].disk_busy_ms = None;
    for _ in 0..4 {
        watched.play(&Phase::SLOW_DISK, 9);
        watched.play(&Phase::SLOW_DISK_MOVES, 1);
    }
    assert_eq!(watched.timeline, []);
}

#[test]
fn a_busy_disk_alone_refutes_a_livelock() {
    let mut watched = Watched::new(8);
    watched.play(
        &Phase {
            disk_busy_ms: 920,
            ..Phase::FROZEN_6_12
        },
        60,
    );
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn a_server_out_of_reach_has_idle_threads_and_no_verdict() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.play(&Phase::SERVER_GONE, 60);
    assert_eq!(watched.timeline, []);
    let verdict = watched.engine.verdicts().remove(0);
    assert_eq!(verdict.conditions.demand.holds, Some(true));
    assert_eq!(verdict.conditions.no_progress.holds, Some(true));
    assert_eq!(verdict.conditions.blockage.holds, Some(false));
}

#[test]
fn heavy_writes_to_a_slow_local_disk_have_no_loop() {
    let mut watched = Watched::new(0);
    watched.node.now.nfsd = None;
    watched.node.now.clients.clear();
    let bdi = watched.node.now.bdis.remove(1);
    for _ in 0..30 {
        watched.node.now.monotonic_ns += 1_000_000_000;
        watched.node.now.bdis = vec![bdi.clone()];
        watched.node.now.waits = vec![wait(7, Class::User, DISK)];
        watched.observe(&watched.node.now.clone());
    }
    assert_eq!(watched.engine.verdicts(), []);
}

#[test]
fn a_client_without_a_server_here_has_no_loop() {
    let mut watched = Watched::new(8);
    watched.node.served_elsewhere();
    watched.node.now.nfsd = None;
    watched.play(&Phase::SERVER_GONE, 30);
    assert_eq!(watched.engine.verdicts(), []);
}

#[test]
fn healthy_loopback_has_no_verdict() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 120);
    assert_eq!(watched.timeline, []);
}

#[test]
fn a_light_load_and_a_cross_namespace_load_below_the_limits_have_no_verdict() {
    let light = Phase {
        acked: 20_000,
        served: 20_000,
        held: 300,
        running: 1,
        ..Phase::IDLE
    };
    let moderate = Phase {
        acked: 9_000_000,
        served: 9_000_000,
        held: 6000,
        ..light
    };
    for phase in [light, moderate] {
        let mut watched = Watched::new(8);
        watched.play(&phase, 60);
        assert_eq!(watched.timeline, []);
    }
}

#[test]
fn one_unlucky_sample_of_a_throttled_thread_is_not_blockage() {
    let mut watched = Watched::new(8);
    let idle = Phase {
        held: 5000,
        ..Phase::IDLE
    };
    for _ in 0..10 {
        watched.play(&idle, 4);
        watched.play(
            &Phase {
                throttled: 1,
                events: 1,
                pause_ms: 20,
                ..Phase::FROZEN_6_12
            },
            1,
        );
        let blockage = watched.engine.verdicts().remove(0).conditions.blockage;
        assert_eq!(blockage.holds, Some(false), "{blockage:?}");
    }
    assert_eq!(watched.first(Livelock), None);
}

#[test]
fn a_short_suspicion_passes_without_a_livelock() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.play(&Phase::FROZEN_6_12, 4);
    watched.play(&Phase::HEALTHY, 20);
    let states: Vec<_> = watched.timeline.iter().map(|&(_, to)| to).collect();
    assert_eq!(states, [Suspected, Nothing]);
}

#[test]
fn the_dirty_pages_of_another_disk_close_no_edge() {
    for held in [900, 5000] {
        let mut watched = Watched::new(8);
        watched.play(
            &Phase {
                held,
                ..Phase::FROZEN_6_12
            },
            60,
        );
        assert_eq!(
            watched.first(Livelock),
            None,
            "{held}: {:?}",
            watched.timeline
        );
    }
}

#[test]
fn below_the_dirty_limit_no_edge_is_closed() {
    let mut watched = Watched::new(8);
    watched.play(
        &Phase {
            dirty: 17_000,
            held: 16_900,
            ..Phase::FROZEN_6_12
        },
        60,
    );
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn a_mount_from_another_host_is_not_a_loop_though_nfsd_stalls_beside_it() {
    let mut watched = Watched::new(8);
    watched.node.served_elsewhere();
    watched.play(&Phase::HEALTHY, 20);
    watched.play(&Phase::FROZEN_6_12, 60);
    assert_eq!(watched.engine.verdicts(), []);
    assert_eq!(watched.engine.loops(), []);
}

#[test]
fn a_memory_storm_beside_a_loop_that_has_nothing_to_write_has_no_verdict() {
    let mut watched = Watched::new(8);
    watched.node.in_dirty = false;
    watched.node.spends = vec![
        (Cause::DirectReclaim, Class::User, "", 9000),
        (Cause::DirectReclaim, Class::Nfsd, "", 1900),
        (Cause::SvcAllocArg, Class::Nfsd, "", 900),
    ];
    let storm = Phase {
        throttled: 2,
        ..Phase::IDLE
    };
    watched.play(&storm, 180);
    assert_eq!(watched.timeline, []);
    let demand = watched.verdict().conditions.demand;
    assert_eq!(demand.holds, Some(false), "{demand:?}");
}

#[test]
fn reads_and_metadata_on_a_busy_disk_have_no_verdict() {
    let mut watched = Watched::new(8);
    let reads = Phase {
        running: 2,
        blocked: 6,
        disk_busy_ms: 990,
        ..Phase::IDLE
    };
    watched.play(&reads, 180);
    assert_eq!(watched.timeline, []);
    assert_eq!(watched.verdict().conditions.blockage.holds, Some(false));
}
