//! Block devices of another guest: 10.7.0.1 is the client, 10.7.0.2 the server.

use guest::{BlockServer, Filesystem, Step, Until};

use super::super::negatives::SECONDS;
use super::super::steps::{
    daemon, dirty_bytes, disk, filesystem, load, modprobe, plan, reach, run, watch,
};
use super::super::{Expect, FAST, Peer, Quiet, Scenario};
use super::{Served, attach};

pub fn all() -> Vec<Scenario> {
    use BlockServer::{LioIscsi, NbdServer, QemuNbdTcp, Tgtd};
    vec![
        remote("nbd-remote", QemuNbdTcp),
        remote("nbd-server-remote", NbdServer),
        remote("lio-iscsi-remote", LioIscsi),
        remote("tgtd-remote", Tgtd),
        gone("nbd-server-gone", NbdServer),
        gone("tgtd-gone", Tgtd),
    ]
}

/// The server's guest, up to its end.
fn serve(server: BlockServer, end: impl IntoIterator<Item = Step>) -> Peer {
    let mut steps = vec![
        modprobe(&["virtio_pci", "virtio_blk", "virtio_net"]),
        address("10.7.0.2"),
        disk(),
    ];
    steps.extend(Served::cached(server).serve());
    steps.extend(end);
    Peer {
        megabytes: 512,
        disks: vec![FAST],
        plan: plan(steps),
        daemon: false,
        forward: None,
        load: 60,
    }
}

/// The client's guest, up to the mount.
fn mounted(server: BlockServer) -> Vec<Step> {
    let mut steps = vec![
        modprobe(&["virtio_pci", "virtio_blk", "virtio_net"]),
        address("10.7.0.1"),
        disk(),
        reach(&format!("10.7.0.2:{}", server.port())),
    ];
    steps.extend(attach(server, "10.7.0.2"));
    steps.push(filesystem(Filesystem::Ext4, server.device(), "/mnt"));
    steps
}

fn remote(name: &'static str, server: BlockServer) -> Scenario {
    let mut steps = mounted(server);
    steps.extend([
        Step::Hog { megabytes: 150 },
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 250),
        watch(SECONDS, Until::Over),
    ]);
    let stay = watch(600, Until::Over);
    Scenario {
        name,
        about: "a block device whose server is on another node: no loop",
        megabytes: 512,
        plan: plan(steps),
        peers: vec![serve(server, [stay])],
        expect: Expect::Nothing(Quiet {
            acked: 1_000_000,
            no_loop: true,
            ..Quiet::default()
        }),
        seconds: 240,
        ..Scenario::default()
    }
}

/// The server dies under load. Then writers to a clean local disk are held, too.
fn gone(name: &'static str, server: BlockServer) -> Scenario {
    let mut steps = mounted(server);
    steps.extend([
        dirty_bytes("60000000"),
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 250),
        watch(5, Until::Over),
        reach("10.7.0.2:7000"),
        Step::Gone(format!("10.7.0.2:{}", server.port())),
        load("/export", 250),
        watch(SECONDS, Until::Over),
        Step::Stacks,
    ]);
    Scenario {
        name,
        about: "another node dies with its block device: the dirty pages of that hold writers to a clean local disk",
        megabytes: 768,
        plan: plan(steps),
        peers: vec![serve(server, [Step::Hear(7000), Step::Die])],
        expect: Expect::Nothing(Quiet {
            related: &["dirty-limit-held", "server-not-responding"],
            no_loop: true,
            ..Quiet::default()
        }),
        seconds: 240,
        ..Scenario::default()
    }
}

fn address(own: &str) -> Step {
    run(&[
        &format!("ip addr add {own}/24 dev eth0"),
        "ip link set eth0 up",
    ])
}
