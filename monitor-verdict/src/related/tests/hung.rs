//! Tests of `hung-file-system` and of similar cases.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{Backing, Export, NfsMount, Observation, RpcClient, ThreadState},
    related::RelatedKind::{HungFileSystem, SlowDisk},
};

use super::scene::{CLIENT, DISK, MB, SECOND, Scene, bdi, disk_works, pause, threads};
use crate::signal;
use crate::tests::node::wait;

/// Three threads are in a WRITE since the first second, and nothing moves.
fn frozen(now: &mut Observation) {
    threads(now, 3, ThreadState::Blocked, Some(1_001 * SECOND));
}

#[test]
fn threads_asleep_in_a_write_on_an_idle_disk_are_in_a_hung_file_system() {
    let mut scene = Scene::new();
    scene.play(14, frozen);
    assert_eq!(scene.events, []);
    scene.play(6, frozen);
    assert_eq!(scene.times(HungFileSystem), [(16, true)]);
    assert_eq!(
        scene.events[0].reason,
        "3 nfsd threads sleep, the longest for 15.0 s, 3 of them in a WRITE, and none is \
         throttled; nfsd writes nothing, 254:0 wrote 0 bytes within the window and its disk is \
         0 % busy"
    );
    assert_eq!(scene.holds(), [(HungFileSystem, DISK.to_owned())]);
    scene.play(20, |now| {
        threads(now, 3, ThreadState::Running, None);
        now.nfsd.as_mut().expect("runs").bytes_written = Some(now.monotonic_ns);
        disk_works(now, 500, 20 * MB);
    });
    assert_eq!(scene.times(HungFileSystem), [(16, true), (25, false)]);
    assert_eq!(scene.holds(), []);
}

#[test]
fn a_dead_disk_is_busy_and_writes_nothing() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        frozen(now);
        disk_works(now, 1000, 0);
    });
    assert_eq!(scene.holds(), [(HungFileSystem, DISK.to_owned())]);
    assert_eq!(scene.times(SlowDisk), []);
}

#[test]
fn a_disk_whose_other_partitions_write_a_little_does_not_hide_it() {
    let mut scene = Scene::new();
    scene.play(30, |now| {
        frozen(now);
        disk_works(now, 50, MB);
    });
    assert_eq!(scene.holds(), [(HungFileSystem, DISK.to_owned())]);
}

#[test]
fn other_work_may_keep_the_disk_busy_for_three_tenths_and_a_little_more_once_reported() {
    let shared = |busy_ms| {
        move |now: &mut Observation| {
            frozen(now);
            disk_works(now, busy_ms, MB);
        }
    };
    for (busy_ms, told) in [(299, true), (300, false)] {
        let mut scene = Scene::new();
        scene.play(30, shared(busy_ms));
        assert_eq!(scene.times(HungFileSystem).len(), usize::from(told));
    }
    for (busy_ms, stays) in [(390, true), (410, false)] {
        let mut scene = Scene::new();
        scene.play(20, shared(50));
        scene.play(30, shared(busy_ms));
        let holds = scene
            .holds()
            .iter()
            .any(|(kind, _)| *kind == HungFileSystem);
        assert_eq!(holds, stays, "{busy_ms}");
    }
}

#[test]
fn a_slow_disk_that_still_writes_is_not_hung() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        frozen(now);
        disk_works(now, 980, 100_000);
    });
    assert_eq!(scene.times(HungFileSystem), []);
    assert_eq!(scene.holds(), [(SlowDisk, DISK.to_owned())]);
}

#[test]
fn a_commit_that_never_ends_is_a_hang_too() {
    let mut scene = Scene::new();
    scene.play(30, |now| threads(now, 1, ThreadState::Blocked, None));
    assert_eq!(scene.holds(), [(HungFileSystem, DISK.to_owned())]);
}

#[test]
fn threads_that_sleep_now_and_then_are_not_asleep() {
    let mut scene = Scene::new();
    for _ in 0..6 {
        scene.play(8, |now| threads(now, 1, ThreadState::Blocked, None));
        scene.play(1, |now| threads(now, 1, ThreadState::Idle, None));
    }
    assert_eq!(scene.events, []);
}

#[test]
fn a_disk_busy_with_reads_is_not_a_hang() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        threads(now, 8, ThreadState::Blocked, None);
        disk_works(now, 1000, 0);
    });
    assert_eq!(scene.times(HungFileSystem), []);
}

#[test]
fn one_throttled_thread_says_that_the_others_wait_for_it() {
    let throttles: [fn(&mut Observation); 3] = [
        |now| now.waits.push(wait(104, Class::Nfsd, DISK)),
        |now| {
            let mut reclaims = wait(104, Class::Nfsd, "");
            reclaims.cause = Cause::DirectReclaim;
            now.waits.push(reclaims);
        },
        |now| now.nfsd.as_mut().expect("runs").threads[7].state = ThreadState::Throttled,
    ];
    for throttle in throttles {
        let mut scene = Scene::new();
        scene.play(60, |now| {
            frozen(now);
            throttle(now);
        });
        assert_eq!(scene.times(HungFileSystem), []);
    }
}

#[test]
fn threads_behind_a_throttled_one_are_not_asleep_on_their_own() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        frozen(now);
        let threads = &mut now.nfsd.as_mut().expect("runs").threads;
        for thread in threads {
            thread.behind_throttled = true;
        }
    });
    assert_eq!(scene.events, []);
}

#[test]
fn a_writer_paused_on_the_same_disk_may_hold_the_lock() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        frozen(now);
        pause(now, Class::User, DISK, 100);
    });
    assert_eq!(scene.times(HungFileSystem), []);
}

#[test]
fn a_throttled_worker_may_be_the_loop_device_s_under_the_file_system() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        frozen(now);
        now.waits.push(wait(900, Class::Kworker, CLIENT));
    });
    assert_eq!(scene.times(HungFileSystem), []);
}

#[test]
fn an_nfsd_that_still_writes_somewhere_is_not_hung() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        frozen(now);
        let nfsd = now.nfsd.as_mut().expect("runs");
        nfsd.bytes_written = nfsd.bytes_written.map(|bytes| bytes + 4096);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn what_is_not_seen_makes_no_hang() {
    let blind: [fn(&mut Observation); 4] = [
        |now| now.nfsd.as_mut().expect("runs").bytes_written = None,
        |now| {
            let disk = Scene::disk(now);
            (disk.written_bytes, disk.disk_sectors_written) = (None, None);
        },
        |now| Arc::make_mut(&mut now.topology).exports.clear(),
        |now| now.bdis.clear(),
    ];
    for (n, blind) in blind.into_iter().enumerate() {
        let mut scene = Scene::new();
        scene.play(60, |now| {
            frozen(now);
            blind(now);
        });
        assert_eq!(scene.events, [], "{n}");
    }
    let mut scene = Scene::new();
    scene.lose(signal::BALANCE_DIRTY_PAGES);
    scene.play(60, frozen);
    assert_eq!(scene.events, []);
}

#[test]
fn a_commit_on_a_disk_of_unknown_busy_time_is_not_judged() {
    let mut scene = Scene::new();
    Scene::disk(&mut scene.now).disk_busy_ms = None;
    scene.play(60, |now| threads(now, 1, ThreadState::Blocked, None));
    assert_eq!(scene.events, []);
    scene.play(30, frozen);
    assert_eq!(
        scene.holds(),
        [(HungFileSystem, DISK.to_owned())],
        "a WRITE is"
    );
}

#[test]
fn of_two_exports_it_is_the_one_that_was_written_to_last() {
    let mut scene = Scene::new();
    scene.now.bdis.push(bdi("8:0", Some(0)));
    Arc::make_mut(&mut scene.now.topology).exports.push(Export {
        netns: 1,
        path: "/other".into(),
        bdi: "8:0".into(),
    });
    scene.now.rpc_clients.push(RpcClient {
        backing: [(DISK, 5), ("8:0", 6)]
            .map(|(bdi, last_ns)| Backing {
                bdi: bdi.into(),
                device: bdi.into(),
                writes: 1,
                last_ns,
            })
            .to_vec(),
        ..RpcClient::default()
    });
    scene.play(20, frozen);
    assert_eq!(scene.holds(), [(HungFileSystem, "8:0".to_owned())]);
    scene.now.rpc_clients.clear();
    scene.play(20, frozen);
    assert_eq!(
        scene.holds(),
        [(HungFileSystem, "8:0".to_owned())],
        "and stays it"
    );
}

/// No look-up sees an export of nfsd.
fn without_exports() -> Scene {
    let mut scene = Scene::new();
    Arc::make_mut(&mut scene.now.topology).exports.clear();
    scene
}

#[test]
fn where_no_export_is_seen_it_is_what_nfsd_was_paused_on_and_not_what_others_were() {
    for (class, told) in [(Class::Nfsd, true), (Class::User, false)] {
        let mut scene = without_exports();
        scene.play(5, |now| pause(now, class, DISK, 10));
        scene.play(30, frozen);
        assert_eq!(scene.times(HungFileSystem).len(), usize::from(told));
    }
}

#[test]
fn where_no_export_is_seen_it_is_what_nfsd_serves_a_loop_from_and_not_another_server() {
    for (server, told) in [("nfsd", true), ("ganesha.nfsd", false)] {
        let mut scene = without_exports();
        let topology = Arc::make_mut(&mut scene.now.topology);
        topology.mounts = vec![NfsMount {
            bdi: CLIENT.into(),
            mount_points: vec!["/mnt".into()],
            server: Some(([127, 0, 0, 1], 2049).into()),
            netns: Some(1),
            listener: Some(server.into()),
            ..NfsMount::default()
        }];
        scene.now.rpc_clients = vec![RpcClient {
            bdi: CLIENT.into(),
            backing: vec![Backing {
                bdi: DISK.into(),
                device: DISK.into(),
                writes: 1,
                last_ns: 1,
            }],
            ..RpcClient::default()
        }];
        scene.play(5, |_| {});
        let known = scene
            .engine
            .loops()
            .first()
            .and_then(|one| one.server_bdi.clone());
        assert_eq!(known.as_deref(), Some(DISK), "{server}");
        scene.now.rpc_clients.clear();
        scene.play(30, frozen);
        assert_eq!(
            scene.times(HungFileSystem).len(),
            usize::from(told),
            "{server}"
        );
    }
}

#[test]
fn an_nfs_mount_that_is_exported_again_hangs_by_another_server() {
    let mut scene = Scene::new();
    Arc::make_mut(&mut scene.now.topology).exports[0].bdi = CLIENT.into();
    scene.play(30, frozen);
    assert_eq!(scene.times(HungFileSystem), []);
}
