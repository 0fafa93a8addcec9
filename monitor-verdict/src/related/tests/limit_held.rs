//! Tests of `dirty-limit-held`, and of what only looks like it.

use std::sync::Arc;

use monitor_common::Class;
use monitor_model::{
    observation::{
        Container, DirtyPauses, FileSystem, LoopDevice, NfsMount, Observation, ProcessPlace,
    },
    related::RelatedKind::{self, DirtyLimitHeld, DirtyThrottling, NfsServerNotResponding},
    testing::{self, PAGE},
};

use super::scene::{CLIENT, DISK, MB, Scene, answered, bdi, disk_works, unanswered};
use crate::tests::node::wait;
use crate::{Thresholds, signal};

/// The node's dirty limit.
pub(super) const LIMIT: u64 = 60 * MB;
/// A clean local disk beside that of the scene.
const OTHER: &str = "254:16";

/// `balance_dirty_pages` pauses a task for a second at the node's limit.
pub(super) fn paused(now: &mut Observation, class: Class, bdi: &str, dirty: u64, own: u64) {
    let same = |p: &&mut DirtyPauses| p.class == class && p.bdi == bdi;
    if now.dirty_pauses.iter_mut().find(same).is_none() {
        now.dirty_pauses.push(testing::pauses(bdi, class));
    }
    let found = now.dirty_pauses.iter_mut().find(same).expect("pushed");
    found.events += 5;
    found.pause_ns += 1_000_000_000;
    found.dirty_pages += 5 * (dirty / PAGE);
    found.limit_pages += 5 * (LIMIT / PAGE);
    found.bdi_dirty_pages += 5 * (own / PAGE);
}

/// The same for a task in a memory cgroup of its own, of which the event tells the cgroup's pages.
fn paused_in_cgroup(now: &mut Observation, bdi: &str) {
    paused(now, Class::User, bdi, 0, 0);
    let all = now.dirty_pauses.iter_mut();
    for one in all.filter(|one| one.bdi == bdi) {
        one.node_events = Some(0);
        (one.dirty_pages, one.limit_pages) = (0, 0);
    }
}

fn memory(now: &mut Observation, dirty: u64) {
    now.memory.dirty_limit_bytes = Some(LIMIT);
    now.memory.dirty_bytes = Some(dirty);
    now.memory.writeback_bytes = Some(0);
}

fn device<'a>(now: &'a mut Observation, name: &str) -> &'a mut monitor_model::observation::Bdi {
    now.bdis.iter_mut().find(|b| b.bdi == name).expect("there")
}

/// The mount's server is gone while the mount holds this much, and two tasks write to the disk.
pub(super) fn dead_server(now: &mut Observation, held: u64) {
    memory(now, held);
    unanswered(now);
    now.bdis[0].writeback_bytes = Some(held);
    writers(now, held);
}

/// Two tasks write to the clean disk.
fn writers(now: &mut Observation, dirty: u64) {
    for tid in [600, 601] {
        paused(now, Class::User, DISK, dirty, 200_000);
        now.waits.push(wait(tid, Class::User, DISK));
    }
}

fn told(scene: &Scene) -> Vec<String> {
    let holds = scene.holds().into_iter();
    let its = holds.filter(|(kind, _)| *kind == DirtyLimitHeld);
    its.map(|(_, bdi)| bdi).collect()
}

/// The devices that are named after 30 s of this.
fn after(mut happens: impl FnMut(&mut Observation)) -> Vec<String> {
    let mut scene = Scene::new();
    scene.play(30, &mut happens);
    told(&scene)
}

#[test]
fn a_dead_server_that_fills_the_limit_holds_the_writers_of_an_idle_disk() {
    let mut scene = Scene::new();
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.mounts = vec![testing::mount(CLIENT)];
    topology.file_systems = vec![FileSystem {
        device: DISK.into(),
        bdi: DISK.into(),
        mount_point: "/data".into(),
        ..FileSystem::default()
    }];
    topology.processes = vec![ProcessPlace {
        tgid: 600,
        container: Some(Container {
            hostname: "web-0".into(),
            pod_uid: "u".into(),
            ..Container::default()
        }),
    }];
    let dies = |now: &mut Observation| dead_server(now, LIMIT);
    scene.play(10, dies);
    assert_eq!(told(&scene), [""; 0]);
    scene.play(5, dies);
    assert_eq!(scene.times(DirtyLimitHeld), [(13, true)]);
    let its = scene.events.iter();
    let began = its.clone().find(|event| event.kind == DirtyLimitHeld);
    assert_eq!(
        began.expect("told").reason,
        "/mnt (0:29) holds 57.2 MiB, 100 % of the node's dirty limit of 57.2 MiB, and completes 0 \
         B/s; it holds 2.0 tasks on average in balance_dirty_pages on /data (254:0) (holds 192 KiB, \
         its disk is 0 % busy): task[600] of pod web-0, task[601]; they resume once 0:29 writes or \
         drops its pages"
    );
    let kinds = [NfsServerNotResponding, DirtyLimitHeld].map(|kind| (kind, CLIENT.to_owned()));
    assert_eq!(scene.holds(), kinds);
    scene.play(20, |now| {
        memory(now, 0);
        answered(now, 20 * MB);
        now.bdis[0].writeback_bytes = Some(0);
    });
    assert_eq!(scene.times(DirtyLimitHeld).len(), 2);
    assert_eq!(scene.holds(), []);
}

#[test]
fn the_holder_may_be_a_device_of_any_kind() {
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi("8:0", Some(0)));
    scene.play(30, |now| {
        memory(now, LIMIT);
        device(now, "8:0").dirty_bytes = Some(LIMIT);
        writers(now, LIMIT);
    });
    assert_eq!(scene.holds(), [(DirtyLimitHeld, "8:0".to_owned())]);
    // A fuse mount has no disk; its BDI counts what it wrote.
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi("0:77-fuse", None));
    scene.play(30, |now| {
        memory(now, LIMIT);
        device(now, "0:77-fuse").writeback_bytes = Some(LIMIT);
        writers(now, LIMIT);
    });
    assert_eq!(told(&scene), ["0:77-fuse"]);
}

#[test]
fn a_device_whose_pages_move_holds_nobody() {
    let moving: [fn(&mut Observation); 3] = [
        |now| {
            let acked = now.clients[0].bytes_acked;
            now.clients[0].bytes_acked = acked + MB;
        },
        |now| {
            let written = now.bdis[0].written_bytes;
            now.bdis[0].written_bytes = written.map(|bytes| bytes + MB);
        },
        |now| {
            let sectors = now.bdis[0].disk_sectors_written.unwrap_or(0);
            now.bdis[0].disk_sectors_written = Some(sectors + MB / 512);
        },
    ];
    for moves in moving {
        let named = after(|now| {
            dead_server(now, LIMIT);
            moves(now);
        });
        assert_eq!(named, [""; 0]);
    }
    // Less than the crawl of a livelock is no progress.
    let named = after(|now| {
        dead_server(now, LIMIT);
        now.clients[0].bytes_acked += 500_000;
    });
    assert_eq!(named, [CLIENT]);
}

/// A slow disk under a server flushes its cache: nothing for nine seconds in a row.
#[test]
fn a_silence_of_nine_seconds_is_too_short() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.play(9, |now| dead_server(now, LIMIT));
        scene.play(1, |now| {
            dead_server(now, LIMIT);
            answered(now, 30 * MB);
        });
    }
    assert_eq!(scene.times(DirtyLimitHeld), []);
}

#[test]
fn what_is_unknown_of_the_holder_is_not_claimed() {
    let mut scene = Scene::new();
    scene.lose(signal::NFS_CLIENT);
    scene.play(30, |now| {
        dead_server(now, LIMIT);
        now.bdis[0].written_bytes = None;
    });
    let unknown = told(&scene);
    assert_eq!(unknown, [""; 0], "whether its pages move");
    let unknown = after(|now| {
        dead_server(now, LIMIT);
        (now.bdis[0].dirty_bytes, now.bdis[0].writeback_bytes) = (None, None);
    });
    assert_eq!(unknown, [""; 0], "how many pages it has");
    let unknown = after(|now| {
        dead_server(now, LIMIT);
        now.dirty_pauses.clear();
        now.memory.dirty_limit_bytes = None;
    });
    assert_eq!(unknown, [""; 0], "the limit");
    let mut scene = Scene::new();
    scene.lose(signal::BALANCE_DIRTY_PAGES);
    scene.play(30, |now| dead_server(now, LIMIT));
    assert_eq!(told(&scene), [""; 0], "who is paused");
}

#[test]
fn what_the_holder_s_own_writers_are_told_replaces_its_pages() {
    let named = after(|now| {
        dead_server(now, LIMIT);
        (now.bdis[0].dirty_bytes, now.bdis[0].writeback_bytes) = (None, None);
        paused(now, Class::User, CLIENT, LIMIT, LIMIT);
    });
    assert_eq!(named, [CLIENT]);
}

#[test]
fn where_pauses_are_seen_only_while_they_last_samples_stand_in_for_them() {
    let named = after(|now| {
        dead_server(now, LIMIT);
        now.dirty_pauses.clear();
    });
    assert_eq!(named, [CLIENT]);
}

#[test]
fn three_quarters_of_a_limit_that_is_nine_tenths_full_hold_it() {
    let named = |held: u64, dirty: u64| {
        after(|now| {
            dead_server(now, held);
            now.dirty_pauses.clear();
            memory(now, dirty);
            writers(now, dirty);
        })
    };
    assert_eq!(named(46 * MB, 55 * MB), [CLIENT]);
    assert_eq!(named(44 * MB, 55 * MB), [""; 0]);
    assert_eq!(named(46 * MB, 53 * MB), [""; 0]);
}

#[test]
fn a_device_that_is_throttled_for_its_own_pages_is_not_held() {
    let named = after(|now| {
        dead_server(now, LIMIT);
        Scene::disk(now).dirty_bytes = Some(7 * MB);
    });
    assert_eq!(named, [""; 0], "it is not clean");
    let named = after(|now| {
        dead_server(now, LIMIT);
        disk_works(now, 400, 20 * MB);
    });
    assert_eq!(named, [""; 0], "its disk is not idle");
}

/// Another mount whose server works has no disk here.
#[test]
fn a_mount_without_a_disk_is_held_unless_its_server_takes_bytes() {
    for (bytes, expected) in [(0, vec![CLIENT]), (5 * MB, vec![])] {
        let mut scene = Scene::new();
        scene.now.bdis.push(bdi("0:40", None));
        scene.play(30, |now| {
            dead_server(now, LIMIT);
            now.waits.retain(|wait| wait.bdi != DISK);
            now.dirty_pauses.retain(|one| one.bdi != DISK);
            paused(now, Class::User, "0:40", LIMIT, 100_000);
            let other = device(now, "0:40");
            other.written_bytes = other.written_bytes.map(|all| all + bytes);
        });
        assert_eq!(told(&scene), expected, "{bytes}");
    }
}

#[test]
fn a_memory_cgroup_s_own_limit_is_not_the_node_s() {
    let in_pod = |dirty: u64| {
        after(|now| {
            memory(now, dirty);
            unanswered(now);
            now.bdis[0].writeback_bytes = Some(dirty);
            paused_in_cgroup(now, DISK);
            now.waits.push(wait(600, Class::User, DISK));
        })
    };
    assert_eq!(in_pod(57 * MB), [""; 0]);
    // At the node's limit no task may write, whatever its cgroup allows.
    assert_eq!(in_pod(61 * MB), [CLIENT]);
}

#[test]
fn a_device_with_a_strict_limit_waits_for_its_own_pages_below_the_node_s_limit() {
    let strict = |dirty: u64| {
        after(|now| {
            dead_server(now, dirty);
            Scene::disk(now).strict_limit = Some(true);
        })
    };
    assert_eq!(strict(57 * MB), [""; 0]);
    assert_eq!(strict(61 * MB), [CLIENT]);
}

#[test]
fn a_device_that_can_be_exempt_by_a_strict_limit_is_named_with_it() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        dead_server(now, LIMIT);
        Scene::disk(now).strict_limit = Some(false);
    });
    let now = scene.engine.related().iter();
    let mut now = now.filter(|one| one.kind == DirtyLimitHeld);
    let reason = &now.next().expect("told").reason;
    let words = "writes or drops its pages, or with strict_limit of 254:0";
    assert!(reason.ends_with(words), "{reason}");
}

#[test]
fn a_kernel_s_worker_is_not_a_held_task() {
    for class in [Class::Kworker, Class::LoopDevice, Class::Kthread] {
        let named = after(|now| {
            memory(now, LIMIT);
            unanswered(now);
            now.bdis[0].writeback_bytes = Some(LIMIT);
            paused(now, class, DISK, LIMIT, 0);
            now.waits.push(wait(700, class, DISK));
        });
        assert_eq!(named, [""; 0], "{class:?}");
    }
}

#[test]
fn a_server_s_thread_is_held_by_a_mount_that_it_does_not_serve() {
    for class in [Class::Nfsd, Class::Server] {
        let named = after(|now| {
            memory(now, LIMIT);
            unanswered(now);
            now.bdis[0].writeback_bytes = Some(LIMIT);
            paused(now, class, DISK, LIMIT, 0);
            now.waits.push(wait(100, class, DISK));
        });
        assert_eq!(named, [CLIENT], "{class:?}");
    }
}

#[test]
fn ordinary_throttling_ends_at_once_when_another_device_holds_the_writers() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        memory(now, LIMIT);
        Scene::disk(now).dirty_bytes = Some(LIMIT);
        paused(now, Class::User, DISK, LIMIT, LIMIT);
        disk_works(now, 800, 20 * MB);
    });
    assert_eq!(scene.holds(), [(DirtyThrottling, DISK.to_owned())]);
    // The disk's journal still writes a little.
    scene.play(20, |now| {
        Scene::disk(now).dirty_bytes = Some(0);
        dead_server(now, LIMIT);
        disk_works(now, 1, 4096);
    });
    assert_eq!(told(&scene), [CLIENT]);
    let times = scene.times(DirtyThrottling);
    assert!(times.len() == 2 && times[1].0 < 20, "{times:?}");
    let mut events = scene.events.iter().filter(|e| e.kind == DirtyThrottling);
    let reason = &events.next_back().expect("ended").reason;
    assert!(
        reason.ends_with("its writers are held by 0:29, which fills the dirty limit"),
        "{reason}"
    );
}

#[test]
fn two_holders_are_named_and_a_small_one_beside_a_large_one_is_not() {
    let with = |first: u64, second: u64| {
        let mut scene = Scene::new();
        scene.now.bdis.push(bdi("8:0", Some(0)));
        scene.play(30, |now| {
            dead_server(now, LIMIT);
            now.bdis[0].writeback_bytes = Some(first);
            device(now, "8:0").dirty_bytes = Some(second);
        });
        let told = told(&scene);
        let now = scene.engine.related().iter();
        let now = now.filter(|one| one.kind == DirtyLimitHeld);
        (told, now.map(|one| one.reason.clone()).collect::<Vec<_>>())
    };
    let (two, reasons) = with(30 * MB, 28 * MB);
    assert_eq!(two, [CLIENT, "8:0"]);
    assert!(
        reasons[0].contains("(with 8:0: 97 % of the limit)"),
        "{reasons:?}"
    );
    let (one, _) = with(50 * MB, 9 * MB);
    assert_eq!(one, [CLIENT]);
}

#[test]
fn many_tasks_and_devices_are_counted_and_a_reason_stays_short() {
    let mut scene = Scene::new();
    let name = |n: usize| format!("8:{n}");
    let others = (0..40).map(|n| bdi(&name(n), Some(0)));
    scene.now.bdis.extend(others);
    let topology = Arc::make_mut(&mut scene.now.topology);
    let long = "/a".repeat(500);
    topology.mounts = vec![NfsMount {
        mount_points: vec![long.as_str().into()],
        ..testing::mount(CLIENT)
    }];
    topology.file_systems = (0..40)
        .map(|n| FileSystem {
            bdi: name(n).into(),
            mount_point: long.as_str().into(),
            ..FileSystem::default()
        })
        .collect();
    scene.play(20, |now| {
        dead_server(now, LIMIT);
        for n in 0..40 {
            paused(now, Class::User, &name(n), LIMIT, 0);
            now.waits.push(wait(2000 + n, Class::User, &name(n)));
        }
    });
    let now = scene.engine.related().iter();
    let mut now = now.filter(|one| one.kind == DirtyLimitHeld);
    let reason = &now.next().expect("told").reason;
    assert!(reason.contains("and 37 more devices"), "{reason}");
    assert!(reason.contains("and 38 more; they resume"), "{reason}");
    assert!(reason.chars().count() < 900, "{reason}");
}

/// The pages of a loop device whose file lies on a mount are cleaned through that mount.
#[test]
fn a_loop_device_on_the_dead_mount_holds_it_too() {
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi("7:0", Some(0)));
    Arc::make_mut(&mut scene.now.topology).loop_devices = vec![LoopDevice {
        bdi: "7:0".into(),
        file: "/mnt/img".into(),
        on: CLIENT.into(),
        ..LoopDevice::default()
    }];
    scene.play(30, |now| {
        dead_server(now, LIMIT);
        now.bdis[0].writeback_bytes = Some(10 * MB);
        device(now, "7:0").dirty_bytes = Some(48 * MB);
    });
    assert_eq!(told(&scene), ["7:0"]);
}

#[test]
fn a_healthy_node_at_its_limit_says_nothing_of_it() {
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi(OTHER, Some(0)));
    scene.play(60, |now| {
        memory(now, LIMIT);
        Scene::disk(now).dirty_bytes = Some(LIMIT * 9 / 10);
        paused(now, Class::User, DISK, LIMIT, LIMIT);
        paused(now, Class::User, OTHER, LIMIT, MB);
        disk_works(now, 900, 30 * MB);
    });
    assert_eq!(scene.times(DirtyLimitHeld), []);
    let kinds = scene.holds().into_iter().map(|(kind, _)| kind);
    assert!(kinds.eq([DirtyThrottling, RelatedKind::DiskSaturated]));
}

#[test]
fn its_thresholds_are_the_configuration_s() {
    let mut scene = Scene::with(Thresholds::default());
    scene.play(30, |now| dead_server(now, LIMIT));
    assert_eq!(told(&scene), [CLIENT]);
    let mut patient = Thresholds::default();
    patient.related.silence = std::time::Duration::from_secs(40);
    let mut scene = Scene::with(patient);
    scene.play(30, |now| dead_server(now, LIMIT));
    assert_eq!(told(&scene), [""; 0]);
}
