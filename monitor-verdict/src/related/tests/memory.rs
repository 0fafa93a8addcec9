//! Tests of `memory-starvation` and of similar cases.

use monitor_common::{Cause, Class};
use monitor_model::{observation::Observation, related::RelatedKind::MemoryStarvation};

use super::scene::{DISK, MB, SECOND, Scene, spend};
use crate::tests::node::wait;

fn short(now: &mut Observation) {
    now.memory.available_bytes = Some(30 * MB);
}

/// Almost no memory is available, and tasks reclaim for `ms` a second.
fn reclaiming(ms: u64) -> impl FnMut(&mut Observation) {
    move |now| {
        short(now);
        spend(now, Cause::DirectReclaim, Class::User, ms);
    }
}

fn times(scene: &Scene) -> Vec<(u64, bool)> {
    scene.times(MemoryStarvation)
}

#[test]
fn tasks_that_do_nothing_but_reclaim_starve() {
    let mut scene = Scene::new();
    scene.play(7, reclaiming(1800));
    assert_eq!(times(&scene), []);
    scene.play(3, reclaiming(1800));
    assert_eq!(times(&scene), [(8, true)]);
    assert_eq!(
        scene.events[0].reason,
        "1.8 tasks on average are in reclaim or compaction, 3 % of the memory is available \
         without writing, 0 OOM kills"
    );
    assert_eq!(scene.holds(), [(MemoryStarvation, String::new())]);
    scene.play(20, |_| {});
    assert_eq!(times(&scene), [(8, true), (17, false)]);
}

#[test]
fn a_reclaim_that_never_ends_counts_while_it_lasts() {
    let mut scene = Scene::new();
    let since_ns = scene.now.monotonic_ns;
    scene.play(15, |now| {
        short(now);
        let mut endless = wait(600, Class::User, "");
        (endless.cause, endless.since_ns) = (Cause::DirectReclaim, since_ns);
        now.waits.push(endless);
    });
    assert_eq!(scene.holds(), [(MemoryStarvation, String::new())]);
}

#[test]
fn a_wait_that_goes_over_into_the_finished_ones_counts_once() {
    let mut scene = Scene::new();
    // Three tenths of the time, in waits of three seconds.
    let mut n = 0;
    scene.play(60, |now| {
        short(now);
        n += 1;
        let age = n % 10;
        if age < 3 {
            let mut lasts = wait(600, Class::User, "");
            lasts.cause = Cause::DirectReclaim;
            lasts.since_ns = now.monotonic_ns - age * SECOND;
            now.waits.push(lasts);
        } else if age == 3 {
            spend(now, Cause::DirectReclaim, Class::User, 3000);
        }
    });
    assert_eq!(times(&scene), []);
}

#[test]
fn every_brake_of_an_allocation_counts() {
    for cause in [
        Cause::DirectReclaim,
        Cause::ThrottleDirectReclaim,
        Cause::Compaction,
    ] {
        let mut scene = Scene::new();
        scene.play(15, |now| {
            short(now);
            spend(now, cause, Class::User, 900);
        });
        assert_eq!(times(&scene).len(), 1, "{cause:?}");
    }
}

#[test]
fn the_sleeps_within_a_direct_reclaim_count_in_its_place_and_not_beside_it() {
    let sleeps = [
        Cause::CongestionWait,
        Cause::WaitIffCongested,
        Cause::ReclaimThrottle,
    ];
    for seen in [true, false] {
        let mut scene = Scene::new();
        if !seen {
            scene.lose("direct_reclaim");
        }
        scene.play(15, |now| {
            short(now);
            for cause in sleeps {
                spend(now, cause, Class::User, 400);
            }
        });
        assert_eq!(times(&scene).len(), usize::from(!seen), "{seen}");
    }
    let mut scene = Scene::new();
    for cause in sleeps {
        scene.lose(cause.as_str());
    }
    scene.lose("direct_reclaim");
    scene.play(15, reclaiming(2000));
    assert_eq!(scene.events, [], "nothing is seen");
}

#[test]
fn the_whole_of_a_direct_reclaim_is_enough_without_its_sleeps() {
    let mut scene = Scene::new();
    for sleep in ["congestion_wait", "wait_iff_congested", "reclaim_throttle"] {
        scene.lose(sleep);
    }
    scene.play(15, reclaiming(1800));
    assert_eq!(times(&scene), [(8, true)]);
}

#[test]
fn kswapd_s_and_kcompactd_s_work_does_not_count_as_a_wait() {
    for (cause, class) in [
        (Cause::Compaction, Class::Kswapd),
        (Cause::Compaction, Class::Kthread),
        (Cause::ReclaimThrottle, Class::Kswapd),
    ] {
        let mut scene = Scene::new();
        if cause == Cause::ReclaimThrottle {
            scene.lose("direct_reclaim");
        }
        scene.play(20, |now| {
            short(now);
            spend(now, cause, class, 1000);
        });
        assert_eq!(scene.events, [], "{cause:?} {class:?}");
    }
}

#[test]
fn a_memory_cgroup_starves_by_itself() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        short(now);
        spend(now, Cause::MemcgReclaim, Class::User, 3000);
    });
    assert_eq!(scene.events, []);
    let mut scene = Scene::new();
    scene.play(30, |now| {
        spend(now, Cause::MemcgReclaim, Class::User, 3000);
        now.memory.oom_kills = now.memory.oom_kills.map(|kills| kills + 1);
    });
    assert_eq!(scene.events, [], "its OOM kills are its own");
}

#[test]
fn reclaim_with_plenty_available_is_a_node_at_work() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        spend(now, Cause::DirectReclaim, Class::User, 3000);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn a_tenth_available_is_enough_and_two_fifteenths_once_it_starves() {
    let with = |available_mb| {
        move |now: &mut Observation| {
            now.memory.available_bytes = Some(available_mb * MB);
            spend(now, Cause::DirectReclaim, Class::User, 3000);
        }
    };
    for (available_mb, starves) in [(99, true), (100, false)] {
        let mut scene = Scene::new();
        scene.play(15, with(available_mb));
        assert_eq!(times(&scene).len(), usize::from(starves), "{available_mb}");
    }
    for (available_mb, stays) in [(130, true), (140, false)] {
        let mut scene = Scene::new();
        scene.play(15, with(30));
        scene.play(30, with(available_mb));
        assert_eq!(scene.holds().len(), usize::from(stays), "{available_mb}");
    }
}

#[test]
fn dirty_pages_are_not_available() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        now.memory.dirty_bytes = Some(400 * MB);
        now.memory.writeback_bytes = Some(150 * MB);
        spend(now, Cause::DirectReclaim, Class::User, 3000);
    });
    assert_eq!(scene.holds(), [(MemoryStarvation, String::new())]);
}

#[test]
fn short_memory_without_reclaim_is_not_starvation() {
    let mut scene = Scene::new();
    scene.play(30, reclaiming(300));
    assert_eq!(scene.events, []);
}

#[test]
fn where_available_memory_is_unknown_reclaim_alone_decides() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        now.memory.available_bytes = None;
        spend(now, Cause::DirectReclaim, Class::User, 900);
    });
    assert_eq!(scene.holds(), [(MemoryStarvation, String::new())]);
    assert!(
        scene.events[0]
            .reason
            .contains("an unknown share of the memory")
    );
}

#[test]
fn of_no_memory_at_all_no_share_is_known() {
    let mut scene = Scene::new();
    scene.now.memory.total_bytes = Some(0);
    scene.play(15, reclaiming(900));
    let reason = &scene.events[0].reason;
    assert!(
        reason.contains("an unknown share of the memory"),
        "{reason}"
    );
}

#[test]
fn an_oom_kill_begins_it_at_once() {
    let kill = |now: &mut Observation| now.memory.oom_kills = Some(4);
    let mut scene = Scene::new();
    scene.play(5, short);
    scene.play(1, |now| {
        short(now);
        kill(now);
    });
    assert_eq!(times(&scene), [(6, true)]);
    assert!(scene.events[0].reason.ends_with("1 OOM kills"));
    // The killed process's memory is available again.
    let mut scene = Scene::new();
    scene.play(5, |_| {});
    scene.play(1, |now| {
        spend(now, Cause::DirectReclaim, Class::User, 100);
        kill(now);
    });
    assert_eq!(times(&scene), [(6, true)]);
    scene.play(20, |_| {});
    assert_eq!(times(&scene).len(), 2);
    let mut scene = Scene::new();
    scene.play(5, |_| {});
    scene.play(20, kill);
    assert_eq!(scene.events, [], "a cgroup's, or nobody knows");
}

#[test]
fn reclaim_is_not_reported_of_a_device() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        reclaiming(2000)(now);
        now.waits.push(wait(600, Class::User, DISK));
        now.waits[0].cause = Cause::DirectReclaim;
    });
    assert_eq!(scene.holds(), [(MemoryStarvation, String::new())]);
}
