//! Tests of `dirty-throttling`, `slow-disk`, `disk-saturated`, and of similar cases.

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{Observation, ThreadState},
    related::RelatedKind::{DirtyThrottling, DiskSaturated, SlowDisk},
};

use super::scene::{
    CLIENT, DISK, MB, SECOND, Scene, answered, disk_works, pause, threads, writer_paused,
};
use crate::tests::node::wait;
use crate::window::Window;
use crate::{Thresholds, signal};

#[test]
fn a_writer_held_to_the_speed_of_an_idle_enough_disk_is_dirty_throttling() {
    let mut scene = Scene::new();
    let works = |now: &mut Observation| {
        writer_paused(now);
        disk_works(now, 500, 20 * MB);
    };
    scene.play(6, works);
    assert_eq!(scene.events, []);
    scene.play(2, works);
    assert_eq!(scene.times(DirtyThrottling), [(8, true)]);
    assert_eq!(
        scene.events[0].reason,
        "0.9 tasks on average are paused in balance_dirty_pages on 254:0, which writes 19.1 MiB/s"
    );
    scene.play(30, works);
    assert_eq!(scene.holds(), [(DirtyThrottling, DISK.to_owned())]);
    scene.play(20, |_| {});
    assert_eq!(scene.events.len(), 2);
    assert_eq!(scene.times(DirtyThrottling)[1], (44, false));
    assert_eq!(scene.holds(), []);
}

#[test]
fn writers_to_an_nfs_mount_are_held_to_the_speed_of_its_server() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        pause(now, Class::User, CLIENT, 900);
        answered(now, 9 * MB);
    });
    assert_eq!(scene.holds(), [(DirtyThrottling, CLIENT.to_owned())]);
    let reason = &scene.events[0].reason;
    assert!(
        reason.ends_with("on 0:29, whose server takes 8.6 MiB/s"),
        "{reason}"
    );
}

#[test]
fn where_pauses_are_seen_only_while_they_last_samples_stand_in_for_them() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        now.waits.push(wait(600, Class::User, DISK));
        disk_works(now, 500, 20 * MB);
    });
    assert_eq!(scene.holds(), [(DirtyThrottling, DISK.to_owned())]);
}

/// Pauses for a fifth of the time, which every tick happens to catch.
#[test]
fn short_pauses_caught_by_chance_are_no_task_that_is_paused_all_the_time() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        pause(now, Class::User, DISK, 200);
        now.waits.push(wait(600, Class::User, DISK));
        disk_works(now, 500, 20 * MB);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn half_a_task_paused_is_enough_and_so_is_a_disk_that_is_nine_tenths_busy() {
    let mut scene = Scene::new();
    scene.play(10, |now| {
        pause(now, Class::User, DISK, 500);
        disk_works(now, 500, 20 * MB);
    });
    assert_eq!(scene.holds(), [(DirtyThrottling, DISK.to_owned())]);
    for (paused_ms, busy_ms, told) in [(500, 900, true), (499, 900, false), (500, 899, false)] {
        let mut scene = Scene::new();
        scene.play(10, |now| {
            pause(now, Class::Nfsd, DISK, paused_ms);
            disk_works(now, busy_ms, 5 * MB);
        });
        let holds = scene.times(SlowDisk).len();
        assert_eq!(holds, usize::from(told), "{paused_ms} {busy_ms}");
    }
}

#[test]
fn a_slow_disk_is_one_until_three_quarters_of_what_made_it_one() {
    for (paused_ms, stays) in [(380, true), (370, false)] {
        let mut scene = Scene::new();
        scene.play(10, slow);
        scene.play(30, |now| {
            pause(now, Class::Nfsd, DISK, paused_ms);
            disk_works(now, 940, 5 * MB);
        });
        assert_eq!(scene.holds().len(), usize::from(stays), "{paused_ms}");
    }
}

#[test]
fn some_pauses_are_every_heavy_writer_s() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        pause(now, Class::User, DISK, 400);
        disk_works(now, 500, 20 * MB);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn one_burst_begins_nothing() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.play(1, |now| {
            pause(now, Class::User, DISK, 4000);
            disk_works(now, 1000, 20 * MB);
        });
        scene.play(9, |now| disk_works(now, 100, MB));
    }
    assert_eq!(scene.events, []);
}

#[test]
fn a_pause_without_progress_is_not_ordinary_throttling() {
    let mut scene = Scene::new();
    scene.play(30, writer_paused);
    assert_eq!(scene.times(DirtyThrottling), []);
    let mut scene = Scene::new();
    scene.play(30, |now| {
        writer_paused(now);
        let disk = Scene::disk(now);
        disk.written_bytes = None;
        disk.disk_sectors_written = None;
    });
    assert_eq!(scene.times(DirtyThrottling), [], "unknown is not some");
}

#[test]
fn a_server_s_own_pauses_are_not_those_of_writers() {
    for class in [Class::Nfsd, Class::Server] {
        let mut scene = Scene::new();
        scene.play(30, |now| {
            pause(now, class, DISK, 900);
            disk_works(now, 500, 20 * MB);
        });
        assert_eq!(scene.events, [], "{class:?}");
    }
}

#[test]
fn without_balance_dirty_pages_no_throttling_is_claimed() {
    let mut scene = Scene::new();
    scene.lose(signal::BALANCE_DIRTY_PAGES);
    scene.play(30, |now| {
        writer_paused(now);
        disk_works(now, 980, 5 * MB);
    });
    assert_eq!(scene.events, []);
}

/// Loopback at 5 MB/s: nfsd paused 5 times a second, the disk 92-100 % busy.
fn slow(now: &mut Observation) {
    pause(now, Class::Nfsd, DISK, 1000);
    now.waits.push(wait(100, Class::Nfsd, DISK));
    disk_works(now, 940, 5 * MB);
}

#[test]
fn a_busy_disk_under_a_paused_nfsd_is_slow() {
    let mut scene = Scene::new();
    scene.play(8, slow);
    assert_eq!(scene.times(SlowDisk), [(8, true)]);
    assert_eq!(
        scene.events[0].reason,
        "the disk of 254:0 is 94 % busy and moves 5.1 MiB/s in its busy time while on average 1.0 \
         tasks are paused in balance_dirty_pages on it and 0.0 nfsd threads sleep"
    );
    scene.play(60, slow);
    assert_eq!(scene.holds(), [(SlowDisk, DISK.to_owned())]);
    scene.play(15, |now| disk_works(now, 300, 5 * MB));
    assert_eq!(scene.holds(), []);
    assert_eq!(scene.times(SlowDisk).len(), 2);
}

#[test]
fn a_slow_disk_that_pauses_writers_is_both() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        writer_paused(now);
        disk_works(now, 970, 5 * MB);
    });
    let both = [DirtyThrottling, SlowDisk].map(|kind| (kind, DISK.to_owned()));
    assert_eq!(scene.holds(), both);
}

/// The disk is busy for a second and completes `requests` writes of `each` microseconds, `bytes` in
/// all.
fn busy(now: &mut Observation, bytes: u64, requests: u64, each_us: u64) {
    pause(now, Class::Nfsd, DISK, 1000);
    disk_works(now, 990, bytes);
    let disk = Scene::disk(now);
    let took = requests * each_us / 1000;
    disk.disk_requests = Some(disk.disk_requests.unwrap_or(0) + requests);
    disk.disk_request_ms = Some(disk.disk_request_ms.unwrap_or(0) + took);
}

fn told(
    bytes: u64,
    requests: u64,
    each_us: u64,
) -> Vec<(monitor_model::related::RelatedKind, String)> {
    let mut scene = Scene::new();
    scene.play(15, |now| busy(now, bytes, requests, each_us));
    scene.holds()
}

#[test]
fn a_disk_that_does_what_it_can_is_saturated_and_not_slow() {
    let slow = [(SlowDisk, DISK.to_owned())];
    let saturated = [(DiskSaturated, DISK.to_owned())];
    assert_eq!(told(5 * MB, 10, 400_000), slow);
    assert_eq!(told(106 * MB, 106, 300_000), saturated);
    // A rotating disk with random small writes.
    assert_eq!(told(MB, 120, 8_000), slow);
    // A flash disk with one small synchronous write after the other.
    assert_eq!(told(5 * MB, 1200, 800), []);
    // Many at once: the requests queue for long, but the disk moves much.
    assert_eq!(told(90 * MB, 22_000, 45_000), saturated);
}

#[test]
fn where_the_latency_of_a_disk_is_unknown_its_bytes_decide() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        pause(now, Class::Nfsd, DISK, 1000);
        disk_works(now, 990, 106 * MB);
    });
    assert_eq!(scene.holds(), [(DiskSaturated, DISK.to_owned())]);
    assert_eq!(
        scene.events[0].reason,
        "the disk of 254:0 is 99 % busy and moves 102 MiB/s in its busy time while on average 1.0 \
         tasks are paused in balance_dirty_pages on it and 0.0 nfsd threads sleep"
    );
}

#[test]
fn what_a_disk_reads_counts_as_well() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        busy(now, MB, 400, 50_000);
        let disk = Scene::disk(now);
        disk.disk_sectors_read = Some(disk.disk_sectors_read.unwrap_or(0) + 200 * MB / 512);
    });
    assert_eq!(scene.holds(), [(DiskSaturated, DISK.to_owned())]);
}

#[test]
fn a_disk_that_falls_to_a_tenth_of_what_it_has_shown_is_slow() {
    let mut scene = Scene::new();
    scene.play(20, |now| busy(now, 400 * MB, 400, 80_000));
    assert_eq!(scene.holds(), [(DiskSaturated, DISK.to_owned())]);
    scene.play(20, |now| busy(now, 40 * MB, 40, 800_000));
    assert_eq!(scene.holds(), [(SlowDisk, DISK.to_owned())]);
    let began = scene.events.iter().rfind(|event| event.began);
    let reason = &began.expect("one").reason;
    assert!(reason.contains("(it has shown 385 MiB/s)"), "{reason}");
    // Different requests at the highest rate so far are different work.
    let mut scene = Scene::new();
    scene.play(20, |now| busy(now, 400 * MB, 400, 80_000));
    scene.play(20, |now| busy(now, 40 * MB, 10_000, 80_000));
    assert_eq!(scene.holds(), [(DiskSaturated, DISK.to_owned())]);
}

#[test]
fn a_burst_that_a_cache_takes_shows_nothing() {
    let mut scene = Scene::new();
    scene.play(20, |now| disk_works(now, 300, 400 * MB));
    scene.play(20, |now| busy(now, 60 * MB, 60, 500_000));
    assert_eq!(scene.holds(), [(DiskSaturated, DISK.to_owned())]);
}

#[test]
fn nfsd_threads_that_sleep_wait_for_the_busy_disk_that_they_serve_and_for_no_other() {
    for bdi in [DISK, "8:0"] {
        let mut scene = Scene::new();
        let topology = std::sync::Arc::make_mut(&mut scene.now.topology);
        topology.exports[0].bdi = bdi.into();
        scene.play(15, |now| {
            threads(now, 3, ThreadState::Blocked, None);
            disk_works(now, 1000, 5 * MB);
        });
        assert_eq!(
            scene.times(SlowDisk).len(),
            usize::from(bdi == DISK),
            "{bdi}"
        );
    }
}

#[test]
fn a_busy_disk_without_waiting_tasks_is_just_busy() {
    let mut scene = Scene::new();
    scene.play(30, |now| disk_works(now, 1000, 100 * MB));
    assert_eq!(scene.events, []);
}

#[test]
fn a_disk_that_wavers_around_the_threshold_stays_slow_once_it_is() {
    let wavers = |now: &mut Observation| {
        pause(now, Class::Nfsd, DISK, 1000);
        disk_works(now, 800, 5 * MB);
    };
    let mut scene = Scene::new();
    scene.play(30, wavers);
    assert_eq!(scene.times(SlowDisk), []);
    scene.play(10, slow);
    scene.play(30, wavers);
    assert_eq!(scene.holds(), [(SlowDisk, DISK.to_owned())]);
    assert_eq!(scene.times(SlowDisk).len(), 1);
}

#[test]
fn a_flush_of_four_seconds_does_not_end_a_slow_disk() {
    let mut scene = Scene::new();
    scene.play(20, slow);
    for _ in 0..5 {
        scene.play(4, |now| {
            pause(now, Class::Nfsd, DISK, 1000);
            disk_works(now, 1000, 0);
        });
        scene.play(4, slow);
    }
    assert_eq!(scene.times(SlowDisk).len(), 1);
}

#[test]
fn a_busy_disk_that_writes_nothing_for_its_writers_is_not_slow() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        writer_paused(now);
        disk_works(now, 1000, 0);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn a_disk_that_only_reads_may_be_slow() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        threads(now, 4, ThreadState::Blocked, None);
        disk_works(now, 1000, 0);
    });
    assert_eq!(scene.holds(), [(SlowDisk, DISK.to_owned())]);
}

#[test]
fn a_disk_whose_busy_time_is_unknown_is_not_called_slow() {
    let mut scene = Scene::new();
    Scene::disk(&mut scene.now).disk_busy_ms = None;
    scene.play(30, slow);
    assert_eq!(scene.events, []);
}

#[test]
fn only_the_wait_for_dirty_pages_is_one_for_a_device() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        let mut other = wait(600, Class::User, DISK);
        other.cause = Cause::NfsCongestion;
        now.waits.push(other);
        disk_works(now, 1000, 5 * MB);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn what_a_device_wrote_is_what_its_disk_says_or_its_bdi_where_that_is_more() {
    for (sectors, pages, bytes) in [
        (Some(2), Some(0), 1024),
        (Some(2), Some(4096), 4096),
        (Some(2), None, 1024),
        (None, Some(4096), 4096),
    ] {
        let mut scene = Scene::new();
        let mut window = Window::new(&Thresholds::default());
        for n in 0..4 {
            scene.now.monotonic_ns += SECOND;
            let disk = Scene::disk(&mut scene.now);
            disk.disk_sectors_written = sectors.map(|each: u64| each * n);
            disk.written_bytes = pages.map(|each: u64| each * n);
            window.push(&scene.now);
        }
        let wrote = window.wrote(DISK).map(|moved| moved.bytes);
        assert_eq!(wrote, Some(3 * bytes), "{sectors:?} {pages:?}");
    }
}
