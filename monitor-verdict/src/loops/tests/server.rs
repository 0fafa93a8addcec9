//! Tests of the server's location and of the BDI that it writes to.

use monitor_common::Class;
use monitor_model::{
    loops::Scope,
    observation::{Bdi, DirtyPauses, Export, FileSystem},
};

use super::host::{BDI, DISK, Host, SERVER_NS, backing, connection, peer};

fn server_bdi(host: &Host) -> Option<&str> {
    host.found()?.server_bdi.as_deref()
}

fn export(netns: u64, bdi: &str) -> Export {
    Export {
        netns,
        path: "/srv".into(),
        bdi: bdi.into(),
    }
}

pub fn pauses(class: Class, bdi: &str) -> DirtyPauses {
    DirtyPauses {
        bdi: bdi.into(),
        class,
        events: 1,
        node_events: None,
        pause_ns: 1,
        dirty_pages: 1,
        limit_pages: 1,
        bdi_dirty_pages: 1,
        bdi_setpoint_pages: 1,
        task_ratelimit: 1,
        last_ns: 1,
        last_dirty_pages: 1,
        last_limit_pages: 1,
    }
}

#[test]
fn the_peer_that_the_server_saw_shows_its_namespace_better_than_the_connection() {
    let mut host = Host::new();
    host.now.rpc_clients[0].peer = Some(([10, 0, 0, 1], 801).into());
    host.second(5, 5);
    assert_eq!(host.found().expect("a loop").scope, Scope::Unknown);
    host.look_up(|t| t.connections = vec![connection("nfsd")])
        .second(0, 0);
    let one = host.found().expect("a loop");
    assert_eq!(one.scope, Scope::CrossNetns);
    assert_eq!(one.server_netns, Some(SERVER_NS));
    host.look_up(|t| {
        t.connections = vec![connection("nfsd")];
        t.peers = vec![peer("10.0.0.1:801", "10.0.0.1:2049", 11)];
    });
    host.second(0, 0);
    let one = host.found().expect("a loop");
    assert_eq!((one.scope, one.server_netns), (Scope::SameNetns, Some(11)));
}

#[test]
fn what_was_known_of_the_server_stays_known_while_it_is_idle() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("nfsd")])
        .second(5, 5);
    host.look_up(|_| ()).seconds(60, 0, 0);
    assert_eq!(host.found().expect("a loop").scope, Scope::CrossNetns);
}

#[test]
fn who_listens_at_the_address_is_in_the_clients_own_namespace() {
    let mut host = Host::new();
    host.look_up(|t| t.mounts[0].listener = Some("unfsd".into()))
        .second(0, 0);
    assert_eq!(host.found().expect("a loop").scope, Scope::SameNetns);
}

#[test]
fn the_server_writes_to_what_it_wrote_to_lately() {
    let mut host = Host::new();
    let at = host.now.monotonic_ns;
    host.now.rpc_clients[0].backing = vec![backing("8:0", "8:1", 1_000_000, at)];
    host.second(5, 5);
    assert_eq!(server_bdi(&host), Some("8:0"));
    let moved = backing(DISK, "254:1", 0, at);
    host.now.rpc_clients[0].backing.push(moved);
    for _ in 0..300 {
        host.now.rpc_clients[0].backing[1].writes += 10;
        host.second(10, 10);
    }
    assert_eq!(server_bdi(&host), Some(DISK), "and not to what it did once");
    host.seconds(100_000, 0, 0);
    assert_eq!(server_bdi(&host), Some(DISK));
}

#[test]
fn of_two_devices_it_is_the_one_with_the_most_recent_writes_and_its_own_file_system() {
    let mut host = Host::new();
    let at = host.now.monotonic_ns;
    host.look_up(|t| {
        let fs = |device: &str, fstype: &str| FileSystem {
            device: device.into(),
            fstype: fstype.into(),
            ..FileSystem::default()
        };
        t.file_systems = vec![fs("8:1", "ext4"), fs("254:1", "xfs")];
    });
    // A hundred writes at once, and then one each second.
    host.now.rpc_clients[0].backing = vec![
        backing("8:0", "8:1", 100, at),
        backing(DISK, "254:1", 1, at),
    ];
    for _ in 0..5 {
        host.second(5, 5);
        host.now.rpc_clients[0].backing[1].writes += 1;
        let one = host.found().expect("a loop");
        let server = (one.server_bdi.as_deref(), one.server_fstype.as_str());
        assert_eq!(server, (Some("8:0"), "ext4"));
    }
}

#[test]
fn its_file_system_is_found_by_the_device_before_the_bdi() {
    let mut host = Host::new();
    let at = host.now.monotonic_ns;
    host.now.rpc_clients[0].backing = vec![backing(DISK, "254:2", 5, at)];
    let fs = |device: &str, fstype: &str, source: &str| FileSystem {
        device: device.into(),
        bdi: DISK.into(),
        fstype: fstype.into(),
        source: source.into(),
        mount_point: "/".into(),
    };
    host.look_up(|t| {
        t.file_systems = vec![
            fs("254:1", "ext4", "/dev/vda1"),
            fs("254:2", "xfs", "/dev/vda2"),
        ];
    });
    host.second(5, 5);
    let one = host.found().expect("a loop");
    assert_eq!(
        (one.server_fstype.as_str(), one.server_device.as_str()),
        ("xfs", "/dev/vda2")
    );
}

#[test]
fn its_file_system_is_found_by_the_bdi_where_no_device_is_known() {
    let mut host = Host::new();
    let at = host.now.monotonic_ns;
    host.now.rpc_clients[0].backing = vec![backing(DISK, "254:9", 5, at)];
    let of = |bdi: &str, fstype: &str| Bdi {
        bdi: bdi.into(),
        fstype: fstype.into(),
        ..Bdi::default()
    };
    host.now.bdis = vec![of("8:0", "btrfs"), of(DISK, "ext4")];
    host.second(5, 5);
    assert_eq!(host.found().expect("a loop").server_fstype, "ext4");
    let fs = |bdi: &str, fstype: &str| FileSystem {
        bdi: bdi.into(),
        fstype: fstype.into(),
        ..FileSystem::default()
    };
    host.look_up(|t| t.file_systems = vec![fs("8:0", "btrfs"), fs(DISK, "xfs")]);
    host.second(0, 0);
    assert_eq!(host.found().expect("a loop").server_fstype, "xfs");
}

#[test]
fn before_a_write_is_seen_the_only_export_counts() {
    for (exports, known) in [
        (vec![export(SERVER_NS, DISK), export(99, "8:0")], true),
        (vec![export(SERVER_NS, DISK), export(SERVER_NS, DISK)], true),
        (
            vec![export(SERVER_NS, DISK), export(SERVER_NS, "8:0")],
            false,
        ),
        (vec![export(SERVER_NS, DISK), export(SERVER_NS, "")], false),
        (vec![export(99, DISK)], false),
    ] {
        let mut host = Host::new();
        host.look_up(|t| {
            t.connections = vec![connection("nfsd")];
            t.exports.clone_from(&exports);
        });
        host.second(0, 0);
        assert_eq!(server_bdi(&host), known.then_some(DISK), "{exports:?}");
    }
}

#[test]
fn a_userspace_server_is_known_by_the_one_bdi_on_which_it_was_paused() {
    for (owner, bdis, known) in [
        ("ganesha.nfsd", vec![DISK], true),
        ("ganesha.nfsd", vec![DISK, "8:0"], false),
        ("nfsd", vec![DISK], false),
    ] {
        let mut host = Host::new();
        host.now.dirty_pauses = bdis.iter().map(|b| pauses(Class::Server, b)).collect();
        host.now.dirty_pauses.push(pauses(Class::User, BDI));
        let never = DirtyPauses {
            events: 0,
            ..pauses(Class::Server, "8:16")
        };
        host.now.dirty_pauses.push(never);
        host.look_up(|t| t.connections = vec![connection(owner)]);
        host.second(0, 0);
        assert_eq!(server_bdi(&host), known.then_some(DISK), "{owner} {bdis:?}");
    }
}

#[test]
fn writes_that_become_no_calls_are_localio() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("nfsd")]);
    host.now.clients[0].writes_by_rpc = Some(0);
    host.second(0, 0);
    host.now.clients[0].writes_sent += 7;
    host.second(0, 0);
    assert!(!host.found().expect("a loop").localio, "seven are too few");
    host.now.clients[0].writes_sent += 7;
    host.second(0, 0);
    assert!(host.found().expect("a loop").localio);
    host.seconds(60, 0, 0);
    assert!(host.found().expect("a loop").localio, "idle");
    host.now.clients[0].writes_sent += 50;
    host.now.clients[0].writes_by_rpc = Some(50);
    host.second(0, 0);
    assert!(!host.found().expect("a loop").localio);
}

#[test]
fn half_of_the_writes_by_rpc_are_no_localio_and_what_was_long_ago_is_forgotten() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("nfsd")]);
    host.now.clients[0].writes_by_rpc = Some(0);
    host.second(0, 0);
    host.now.clients[0].writes_sent += 8;
    host.now.clients[0].writes_by_rpc = Some(4);
    host.second(0, 0);
    assert!(!host.found().expect("a loop").localio);
    for by_rpc in [100, 0] {
        for _ in 0..30 {
            let client = &mut host.now.clients[0];
            client.writes_sent += 100;
            client.writes_by_rpc = client.writes_by_rpc.map(|before| before + by_rpc);
            host.second(0, 0);
        }
        assert_eq!(host.found().expect("a loop").localio, by_rpc == 0);
    }
}
