//! Clients of other kinds than NFS, and paths with several servers.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    loops::PathNode,
    observation::{
        Bdi, ClientKind, Observation, Proof, RestsOn, ServedDevice, ServerKind, ServerProcess,
        ServerRef, ThreadState, Topology, UserServer, WriteBasis, WritesTo,
    },
    related::{Related, RelatedKind},
    testing,
    verdict::{
        LivelockState::{Deadlock, Livelock, None as Nothing, Recovered, Suspected},
        Signature::{DirtyThrottle, LoopDevice},
    },
};

use super::node::{CLIENT, DISK, Node, Phase, Watched, wait};

/// The process of the made-up node's server.
const TGID: u32 = 90;

fn process(name: &str) -> ServerRef {
    ServerRef {
        name: name.into(),
        tgid: Some(TGID),
        kind: ServerKind::Process,
    }
}

fn served(kind: ClientKind, bdi: &str, server: &ServerRef) -> ServedDevice {
    ServedDevice {
        bdi: bdi.into(),
        kind,
        name: "/dev/client".into(),
        server: server.clone(),
        proof: Proof::Kernel,
        address: "".into(),
        client_netns: None,
        server_netns: None,
    }
}

fn writes(server: &ServerRef, bdi: &str) -> WritesTo {
    WritesTo {
        server: server.clone(),
        bdi: bdi.into(),
        device: bdi.into(),
        client: "".into(),
        file: "/export/img".into(),
        basis: WriteBasis::OpenFile,
        direct: false,
    }
}

/// A node whose client is of this kind and served by this server.
fn node(kind: ClientKind, server: &ServerRef) -> Watched {
    let mut node = Node::userspace(8, &server.name);
    if server.kind == ServerKind::Target {
        node.now.user_servers.clear();
        node.paused = (Class::Target, DISK);
    }
    node.now.topology = Arc::new(Topology {
        read_ns: node.now.monotonic_ns,
        served: vec![served(kind, CLIENT, server)],
        writes: vec![writes(server, DISK)],
        server_processes: server
            .tgid
            .map(|tgid| ServerProcess {
                tgid,
                name: server.name.clone(),
                netns: None,
            })
            .into_iter()
            .collect(),
        ..Topology::default()
    });
    Watched::of(node)
}

/// What the made-up NFS client did, as the counters of a block device, and of a BDI.
fn as_device(observation: &mut Observation) {
    for client in std::mem::take(&mut observation.clients) {
        let bdis = observation.bdis.iter_mut();
        for bdi in bdis.filter(|bdi| bdi.bdi == client.bdi) {
            bdi.disk_sectors_written = Some(client.bytes_acked / 512);
            bdi.disk_in_flight = Some(client.pending_writes());
            bdi.disk_requests = Some(client.writes_acked);
            bdi.written_bytes = Some(client.bytes_acked);
        }
    }
}

/// With the waits of a target's workers, which no list of threads has.
fn as_target(observation: &mut Observation) {
    as_device(observation);
    let throttled = observation.dirty_pauses.iter().any(|p| p.events > 0);
    if throttled {
        let waits = (0..2).map(|n| wait(700 + n, Class::Target, DISK));
        observation.waits.extend(waits);
    }
}

fn play(watched: &mut Watched, phase: &Phase, seconds: u64, change: fn(&mut Observation)) {
    watched.play_with(phase, seconds, |_, observation| change(observation));
}

#[test]
fn a_freeze_of_any_kind_is_a_livelock_then_a_deadlock_and_recovers() {
    let target = ServerRef {
        name: "lio".into(),
        tgid: None,
        kind: ServerKind::Target,
    };
    for (kind, server, change) in [
        (
            ClientKind::Nbd,
            process("qemu-nbd"),
            as_device as fn(&mut _),
        ),
        (ClientKind::Scsi, process("tgtd"), as_device),
        (ClientKind::Scsi, target, as_target),
        (ClientKind::Cifs, process("smbd"), as_device),
        (ClientKind::Fuse, process("bindfs"), as_device),
        (ClientKind::Ublk, process("ublk"), as_device),
    ] {
        let mut watched = node(kind, &server);
        play(&mut watched, &Phase::HEALTHY, 5, as_device);
        play(&mut watched, &Phase::FROZEN_6_12, 45, change);
        let verdict = watched.verdict();
        assert_eq!(verdict.loop_id, format!("0:29-{}", server.name));
        let state = (verdict.state, verdict.signature);
        assert_eq!(
            state,
            (Deadlock, DirtyThrottle),
            "{kind:?} {}",
            verdict.reason
        );
        assert_eq!(verdict.server_bdi.as_deref(), Some(DISK));
        let confirmed = watched.first(Livelock).expect("confirmed");
        assert!(confirmed <= 5 + 9, "{:?}", watched.timeline);
        play(&mut watched, &Phase::HEALTHY, 20, as_device);
        let states: Vec<_> = watched.timeline.iter().map(|&(_, to)| to).collect();
        assert_eq!(states, [Suspected, Livelock, Deadlock, Recovered, Nothing]);
    }
}

#[test]
fn healthy_slow_and_ended_servers_of_any_kind_have_no_verdict() {
    for kind in ClientKind::ALL.into_iter().skip(1) {
        let mut watched = node(kind, &process("server"));
        play(&mut watched, &Phase::HEALTHY, 60, as_device);
        for _ in 0..5 {
            play(&mut watched, &Phase::SLOW_DISK, 9, as_device);
            play(&mut watched, &Phase::SLOW_DISK_MOVES, 1, as_device);
        }
        play(&mut watched, &Phase::SERVER_GONE, 60, as_device);
        assert_eq!(watched.timeline, [], "{kind:?}");
    }
}

#[test]
fn the_path_goes_on_over_the_next_server_to_the_local_disk() {
    let mut node = Node::new(8);
    let daemon = process("bindfs");
    node.now.rpc_clients[0].backing[0].bdi = "0:50".into();
    node.now.topology = Arc::new(Topology {
        read_ns: node.now.monotonic_ns,
        served: vec![served(ClientKind::Fuse, "0:50", &daemon)],
        writes: vec![writes(&daemon, DISK)],
        ..Topology::default()
    });
    // nfsd has one thread that works and seven that wait for the daemon.
    node.in_dirty = false;
    node.paused = (Class::Server, DISK);
    node.lasting = vec![wait(800, Class::Server, DISK)];
    node.lasting[0].tgid = TGID;
    let mut watched = Watched::of(node);
    let fuse = |_: u64, observation: &mut Observation| {
        for rpc in &mut observation.rpc_clients {
            rpc.backing.iter_mut().for_each(|b| b.bdi = "0:50".into());
        }
        let nfsd = observation.nfsd.as_mut().expect("nfsd");
        for thread in &mut nfsd.threads {
            thread.state = ThreadState::Blocked;
        }
        observation.user_servers = vec![UserServer {
            name: "bindfs".into(),
            tgid: TGID,
            ..UserServer::default()
        }];
    };
    watched.play_with(&Phase::FROZEN_6_12, 45, fuse);
    let found = watched.engine.loops().first().expect("a loop").clone();
    let names: Vec<&str> = found
        .path
        .iter()
        .map(|node| match node {
            PathNode::Device { bdi, .. } => bdi.as_str(),
            PathNode::Server { name, .. } => name.as_str(),
        })
        .collect();
    assert_eq!(names, [CLIENT, "nfsd", "0:50", "bindfs", DISK]);
    assert_eq!(found.server_bdi.as_deref(), Some(DISK));
    let verdict = watched.verdict();
    assert_eq!(
        (verdict.state, verdict.signature),
        (Deadlock, DirtyThrottle),
        "{}",
        verdict.reason
    );
    let hung = |one: &Related| one.kind == RelatedKind::HungFileSystem;
    assert!(!watched.engine.related().iter().any(hung));
}

#[test]
fn pages_of_a_device_that_rests_on_the_client_are_the_clients() {
    let mut watched = node(ClientKind::Nbd, &process("qemu-nbd"));
    let topology = Arc::make_mut(&mut watched.node.now.topology);
    topology.rests_on = vec![RestsOn {
        bdi: "253:0".into(),
        on: CLIENT.into(),
    }];
    // dm-crypt: all pages are the upper device's, and the writers wait there.
    let crypt = |_: u64, observation: &mut Observation| {
        as_device(observation);
        let mut upper = observation.bdis[0].clone();
        upper.bdi = "253:0".into();
        observation.bdis[0].dirty_bytes = Some(0);
        observation.bdis[0].writeback_bytes = Some(0);
        observation.bdis.push(upper);
        for wait in &mut observation.waits {
            if wait.bdi == CLIENT {
                wait.bdi = "253:0".into();
            }
        }
    };
    watched.play_with(&Phase::HEALTHY, 5, crypt);
    watched.play_with(&Phase::FROZEN_6_12, 45, crypt);
    assert_eq!(
        watched.verdict().state,
        Deadlock,
        "{}",
        watched.verdict().reason
    );
    assert_eq!(watched.verdict().signature, DirtyThrottle);
}

#[test]
fn dm_on_a_loop_device_on_the_mount_is_part_of_the_cycle() {
    let mut node = Node::new(8);
    node.losetup("7:0", CLIENT, 0);
    Arc::make_mut(&mut node.now.topology).rests_on = vec![RestsOn {
        bdi: "253:0".into(),
        on: "7:0".into(),
    }];
    node.now.bdis.push(Bdi {
        bdi: "253:0".into(),
        dirty_bytes: Some(14_800 * testing::PAGE),
        writeback_bytes: Some(0),
        ..Bdi::default()
    });
    let mut watched = Watched::of(node);
    let frozen = Phase {
        held: 500,
        ..Phase::FROZEN_6_12
    };
    watched.play(&frozen, 45);
    let verdict = watched.verdict();
    let state = (verdict.state, verdict.signature);
    assert_eq!(state, (Deadlock, LoopDevice), "{}", verdict.reason);
}

#[test]
fn of_several_places_of_a_loop_devices_file_its_workers_pauses_name_the_one() {
    let mut node = Node::new(8);
    node.losetup("7:0", "", 14_800);
    let topology = Arc::make_mut(&mut node.now.topology);
    topology.loop_devices[0].maybe_on = vec!["254:9".into(), CLIENT.into()];
    let mut watched = Watched::of(node);
    let frozen = Phase {
        held: 500,
        ..Phase::FROZEN_6_12
    };
    watched.play(&frozen, 10);
    assert_eq!(
        watched.first(Livelock),
        None,
        "nothing names the file system"
    );
    let worker = |_: u64, observation: &mut Observation| {
        let mut pauses = testing::pauses(CLIENT, Class::LoopDevice);
        pauses.events = 5;
        observation.dirty_pauses.push(pauses);
    };
    watched.play_with(&frozen, 10, worker);
    let verdict = watched.verdict();
    let state = (verdict.state, verdict.signature);
    assert_eq!(state, (Livelock, LoopDevice), "{}", verdict.reason);
}

#[test]
fn a_server_that_writes_past_the_page_cache_is_no_risk() {
    let mut watched = node(ClientKind::Nbd, &process("qemu-nbd"));
    Arc::make_mut(&mut watched.node.now.topology).writes[0].direct = true;
    play(&mut watched, &Phase::IDLE, 3, as_device);
    let found = watched.engine.loops().first().expect("a loop");
    assert!(found.direct);
    let throttled = |words: &String| words.contains("only it can clean");
    assert!(!found.risk.iter().any(throttled), "{:?}", found.risk);
}

/// A kernel target that does not tell what it writes to (ksmbd).
fn hidden() -> Watched {
    let target = ServerRef {
        name: "ksmbd".into(),
        tgid: None,
        kind: ServerKind::Target,
    };
    let mut watched = node(ClientKind::Cifs, &target);
    let topology = Arc::make_mut(&mut watched.node.now.topology);
    topology.writes = vec![WritesTo {
        basis: WriteBasis::Hidden,
        client: CLIENT.into(),
        file: "".into(),
        ..writes(&target, "")
    }];
    watched
}

#[test]
fn a_target_that_hides_its_files_is_a_loop_and_its_workers_waits_name_the_device() {
    let mut watched = hidden();
    play(&mut watched, &Phase::HEALTHY, 5, as_device);
    let found = watched.engine.loops().first().expect("a loop");
    assert_eq!(found.server_bdi, None);
    play(&mut watched, &Phase::FROZEN_6_12, 45, as_target);
    let found = watched.engine.loops().first().expect("a loop");
    assert_eq!(found.server_bdi.as_deref(), Some(DISK));
    let verdict = watched.verdict();
    let state = (verdict.state, verdict.signature);
    assert_eq!(state, (Deadlock, DirtyThrottle), "{}", verdict.reason);
}

#[test]
fn beside_another_target_the_waits_of_workers_name_nobodys_device() {
    let mut watched = hidden();
    let topology = Arc::make_mut(&mut watched.node.now.topology);
    let lio = ServerRef {
        name: "lio".into(),
        ..topology.served[0].server.clone()
    };
    topology.writes.push(writes(&lio, "254:9"));
    play(&mut watched, &Phase::FROZEN_6_12, 10, as_target);
    let found = watched.engine.loops().first().expect("a loop");
    assert_eq!(found.server_bdi, None);
}

#[test]
fn the_clients_own_device_is_not_what_its_server_writes_to() {
    let server = process("qemu-nbd");
    let mut watched = node(ClientKind::Nbd, &server);
    let topology = Arc::make_mut(&mut watched.node.now.topology);
    topology.writes[0].direct = true;
    topology.writes.insert(0, writes(&server, CLIENT));
    play(&mut watched, &Phase::IDLE, 3, as_device);
    let found = watched.engine.loops().first().expect("a loop");
    assert_eq!(found.server_bdi.as_deref(), Some(DISK));
    assert!(found.direct);
}

#[test]
fn a_fuse_mount_without_pages_of_its_own_is_no_loop() {
    let mut watched = node(ClientKind::Fuse, &process("bindfs"));
    play(&mut watched, &Phase::IDLE, 5, as_device);
    assert_eq!(watched.engine.loops(), []);
}

#[test]
fn the_wait_of_another_process_does_not_block_this_server() {
    let mut watched = node(ClientKind::Nbd, &process("qemu-nbd"));
    let other = |_: u64, observation: &mut Observation| {
        as_device(observation);
        for server in &mut observation.user_servers {
            server.threads.clear();
        }
        for wait in &mut observation.waits {
            if wait.class == Class::Server && wait.cause == Cause::BalanceDirtyPages {
                wait.tgid = 4000;
            }
        }
    };
    watched.play_with(&Phase::FROZEN_6_12, 45, other);
    assert_eq!(
        watched.first(Livelock),
        None,
        "{}",
        watched.verdict().reason
    );
}

#[test]
fn the_client_device_of_a_loop_is_never_a_slow_disk() {
    let mut watched = node(ClientKind::Nbd, &process("qemu-nbd"));
    let busy = |n: u64, observation: &mut Observation| {
        as_device(observation);
        observation.bdis[0].disk_busy_ms = Some(n * 1000);
    };
    watched.play_with(&Phase::SLOW_DISK, 60, busy);
    let slow = watched.engine.related().iter().filter(|one| {
        matches!(one.kind, RelatedKind::SlowDisk | RelatedKind::DiskSaturated) && one.bdi == CLIENT
    });
    assert_eq!(slow.count(), 0);
}
