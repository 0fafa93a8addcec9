//! Tests of `server-not-responding` and of similar cases.

use std::sync::Arc;

use monitor_common::Class;
use monitor_model::{
    observation::{
        Bdi, ClientKind, FileSystem, Observation, Proof, RemoteDevice, ServedDevice, ServerExit,
        ServerKind, ServerRef, ThreadState, Topology, UserServer, WriteBasis, WritesTo,
    },
    related::RelatedKind::{self, DirtyLimitHeld, ServerNotResponding, SlowDisk},
    testing,
};

use super::scene::{DISK, MB, Scene, bdi, pause};
use crate::tests::node::wait;

/// The client's device.
const SDA: &str = "8:0";
const SMBD: u32 = 77;

/// A node with one more device of this kind, mounted at `/mnt`.
fn scene(kind: ClientKind, describe: fn(&mut Topology, ClientKind)) -> Scene {
    let mut scene = Scene::new();
    let device = Bdi {
        disk_requests: Some(0),
        disk_in_flight: Some(0),
        ..bdi(SDA, Some(0))
    };
    scene.now.bdis.push(device);
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.file_systems = vec![FileSystem {
        bdi: SDA.into(),
        mount_point: "/mnt".into(),
        ..FileSystem::default()
    }];
    describe(topology, kind);
    scene
}

fn far(topology: &mut Topology, kind: ClientKind) {
    topology.remote = vec![RemoteDevice {
        bdi: SDA.into(),
        kind,
        name: "/dev/sda".into(),
        address: "10.7.0.2:3260".into(),
    }];
}

fn here(topology: &mut Topology, kind: ClientKind) {
    topology.served = vec![ServedDevice {
        bdi: SDA.into(),
        kind,
        name: "//10.7.0.1/x".into(),
        server: ServerRef {
            name: "smbd".into(),
            tgid: Some(SMBD),
            kind: ServerKind::Process,
        },
        proof: Proof::Socket,
        address: "10.7.0.1:445".into(),
        client_netns: None,
        server_netns: None,
    }];
}

/// The server's process, with its only thread in this state.
fn smbd(state: ThreadState) -> UserServer {
    UserServer {
        name: "smbd".into(),
        tgid: SMBD,
        threads: vec![testing::thread(SMBD, state)],
        ..UserServer::default()
    }
}

fn device(now: &mut Observation) -> &mut Bdi {
    let mut bdis = now.bdis.iter_mut();
    bdis.find(|bdi| bdi.bdi == SDA).expect("it is there")
}

/// 30 MB are under writeback in four requests, and two writers wait.
fn waits(now: &mut Observation) {
    let device = device(now);
    device.writeback_bytes = Some(30 * MB);
    device.disk_in_flight = Some(4);
    now.waits.push(wait(500, Class::User, SDA));
    now.waits.push(wait(501, Class::User, SDA));
}

fn moves(now: &mut Observation) {
    waits(now);
    let device = device(now);
    device.disk_requests = device.disk_requests.map(|n| n + 1);
    device.written_bytes = device.written_bytes.map(|n| n + 4096);
}

fn times(scene: &Scene) -> Vec<(u64, bool)> {
    scene.times(ServerNotResponding)
}

fn reason(scene: &Scene) -> String {
    let mut now = scene.engine.related().iter();
    let its = now.find(|one| one.kind == ServerNotResponding);
    its.expect("it holds").reason.clone()
}

#[test]
fn a_dead_target_elsewhere_does_not_respond_until_requests_are_completed() {
    let mut scene = scene(ClientKind::Scsi, far);
    scene.play(5, moves);
    scene.play(9, waits);
    assert_eq!(times(&scene), [], "nine seconds are not ten");
    scene.play(6, waits);
    assert_eq!(times(&scene), [(15, true)]);
    assert_eq!(
        reason(&scene),
        "no answer for 15.0 s: /mnt (8:0), /dev/sda, has 4 requests in flight, 28.6 MiB dirty or in \
         writeback, 2 writers are paused; the other end of its connection to 10.7.0.2:3260 is no \
         known process of this node"
    );
    scene.play(20, moves);
    assert_eq!(times(&scene), [(15, true), (25, false)]);
}

#[test]
fn a_single_answer_does_not_end_it() {
    let mut scene = scene(ClientKind::Nbd, far);
    scene.play(20, waits);
    scene.play(1, moves);
    scene.play(20, waits);
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn a_slow_device_that_completes_a_request_every_nine_seconds_responds() {
    for kind in [ClientKind::Scsi, ClientKind::Fuse] {
        let mut scene = scene(kind, far);
        for _ in 0..10 {
            scene.play(1, moves);
            scene.play(8, waits);
        }
        assert_eq!(times(&scene), [], "{kind:?}");
    }
}

#[test]
fn a_device_that_nothing_waits_for_is_only_idle() {
    let mut scene = scene(ClientKind::Nbd, far);
    scene.play(60, |now| device(now).dirty_bytes = Some(30 * MB));
    assert_eq!(scene.events, []);
}

#[test]
fn paused_writers_wait_if_the_device_holds_enough() {
    for (dirty, silent) in [(30 * MB, true), (4096, false)] {
        let mut scene = scene(ClientKind::Cifs, far);
        scene.play(30, |now| {
            device(now).dirty_bytes = Some(dirty);
            now.waits.push(wait(500, Class::User, SDA));
        });
        assert_eq!(!times(&scene).is_empty(), silent, "{dirty}");
    }
}

#[test]
fn a_device_whose_connection_is_gone_while_it_waits_is_still_watched() {
    let mut scene = scene(ClientKind::Scsi, far);
    scene.play(5, waits);
    Arc::make_mut(&mut scene.now.topology).remote.clear();
    scene.play(10, waits);
    assert_eq!(times(&scene), [(11, true)]);
    let words = reason(&scene);
    assert!(
        words.ends_with(
            "its connection to 10.7.0.2:3260, whose other end was no known process of this node, is \
             gone"
        ),
        "{words}"
    );
    // Its requests ended with errors.
    scene.play(10, |now| {
        let device = device(now);
        device.writeback_bytes = Some(0);
        device.disk_in_flight = Some(0);
    });
    assert_eq!(times(&scene), [(11, true), (20, false)]);
    scene.play(30, waits);
    assert_eq!(times(&scene).len(), 2, "whose device it is now is unknown");
}

#[test]
fn a_stopped_server_of_this_node_is_named() {
    for kind in [
        ClientKind::Cifs,
        ClientKind::Fuse,
        ClientKind::Nbd,
        ClientKind::Ublk,
    ] {
        let mut scene = scene(kind, here);
        scene.now.user_servers = vec![UserServer {
            stopped: true,
            ..smbd(ThreadState::Blocked)
        }];
        scene.play(15, waits);
        assert_eq!(times(&scene), [(11, true)], "{kind:?}");
        let words = reason(&scene);
        let end = "; its server smbd[77] here is stopped (SIGSTOP or a debugger)";
        assert!(words.ends_with(end), "{words}");
    }
}

#[test]
fn a_server_of_this_node_that_ended_is_named_even_after_the_record_of_that() {
    let mut scene = scene(ClientKind::Cifs, here);
    scene.now.user_servers = vec![smbd(ThreadState::Idle)];
    scene.play(5, moves);
    scene.now.user_servers.clear();
    scene.now.server_exits = vec![ServerExit {
        name: "smbd".into(),
        tgid: SMBD,
        gone_ns: scene.now.monotonic_ns,
        ..ServerExit::default()
    }];
    Arc::make_mut(&mut scene.now.topology).served.clear();
    scene.play(15, waits);
    assert_eq!(times(&scene), [(15, true)]);
    let words = reason(&scene);
    let end = "; its server on this node, smbd[77], is gone for 15.0 s";
    assert!(words.ends_with(end), "{words}");
    scene.now.server_exits.clear();
    scene.play(15, waits);
    assert_eq!(times(&scene), [(15, true)]);
    let words = reason(&scene);
    let end = "; its server on this node, smbd[77], has ended";
    assert!(words.ends_with(end), "{words}");
}

#[test]
fn a_throttled_or_blocked_server_of_this_node_is_its_loops_affair() {
    for state in [ThreadState::Throttled, ThreadState::Blocked] {
        let mut scene = scene(ClientKind::Cifs, here);
        scene.now.user_servers = vec![smbd(state)];
        scene.play(60, waits);
        assert_eq!(times(&scene), [], "{state:?}");
    }
    let mut free = scene(ClientKind::Cifs, here);
    free.now.user_servers = vec![smbd(ThreadState::Idle)];
    free.play(15, waits);
    assert_eq!(times(&free), [(11, true)]);
    let words = reason(&free);
    let end = "; its server smbd[77] here is not waiting";
    assert!(words.ends_with(end), "{words}");
}

#[test]
fn a_loop_in_livelock_has_no_silent_server_beside_it() {
    let mut scene = scene(ClientKind::Cifs, here);
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.writes = vec![WritesTo {
        server: topology.served[0].server.clone(),
        bdi: DISK.into(),
        device: DISK.into(),
        client: "".into(),
        file: "/export/img".into(),
        basis: WriteBasis::OpenFile,
        direct: false,
    }];
    scene.now.user_servers = vec![smbd(ThreadState::Throttled)];
    scene.play(60, |now| {
        waits(now);
        pause(now, Class::Server, DISK, 950);
        let mut throttled = wait(SMBD as usize, Class::Server, DISK);
        throttled.tgid = SMBD;
        now.waits.push(throttled);
    });
    assert_eq!(times(&scene), []);
}

#[test]
fn an_unseen_server_and_one_of_the_kernel_are_not_judged() {
    let mut unseen = scene(ClientKind::Cifs, here);
    unseen.play(60, waits);
    assert_eq!(times(&unseen), []);
    let mut target = scene(ClientKind::Scsi, here);
    let topology = Arc::make_mut(&mut target.now.topology);
    topology.served[0].server.kind = ServerKind::Target;
    topology.served[0].server.tgid = None;
    target.play(60, waits);
    assert_eq!(times(&target), []);
}

#[test]
fn without_a_counter_of_what_is_completed_nothing_is_claimed() {
    type Without = fn(&mut Observation);
    let requests: Without = |now| device(now).disk_requests = None;
    let written: Without = |now| device(now).written_bytes = None;
    for (kind, without, silent) in [
        (ClientKind::Nbd, requests, false),
        (ClientKind::Nbd, written, true),
        (ClientKind::Fuse, written, false),
        (ClientKind::Fuse, requests, true),
    ] {
        let mut scene = scene(kind, far);
        without(&mut scene.now);
        scene.play(30, waits);
        assert_eq!(!times(&scene).is_empty(), silent, "{kind:?}");
    }
    let mut blind = scene(ClientKind::Nbd, far);
    blind.play(30, |now| {
        waits(now);
        let device = device(now);
        device.writeback_bytes = None;
        device.disk_in_flight = None;
    });
    assert_eq!(times(&blind), []);
}

#[test]
fn the_acknowledged_bytes_of_an_smb_mount_are_progress() {
    let mut scene = scene(ClientKind::Cifs, far);
    device(&mut scene.now).acked_bytes = Some(0);
    scene.play(60, |now| {
        waits(now);
        let device = device(now);
        device.acked_bytes = device.acked_bytes.map(|bytes| bytes + 4096);
    });
    assert_eq!(times(&scene), []);
}

#[test]
fn a_device_that_completes_nothing_is_not_a_slow_disk() {
    let mut scene = scene(ClientKind::Scsi, far);
    let busy = |now: &mut Observation| {
        waits(now);
        pause(now, Class::User, SDA, 950);
        let device = device(now);
        device.disk_busy_ms = device.disk_busy_ms.map(|ms| ms + 1000);
    };
    scene.play(20, |now| {
        busy(now);
        let device = device(now);
        device.disk_requests = device.disk_requests.map(|n| n + 1);
        device.disk_sectors_written = device.disk_sectors_written.map(|n| n + 8);
        device.written_bytes = device.written_bytes.map(|n| n + 4096);
    });
    let kinds = |scene: &Scene| -> Vec<RelatedKind> {
        let now = scene.engine.related().iter();
        let its = now.filter(|one| one.bdi == SDA && one.kind != DirtyLimitHeld);
        its.map(|one| one.kind).collect()
    };
    assert!(kinds(&scene).contains(&SlowDisk), "{:?}", scene.events);
    scene.play(30, busy);
    assert_eq!(kinds(&scene), [ServerNotResponding]);
}
