//! smbd on another guest: no loop, whatever happens to it.

use guest::{Plan, SmbServer, Step, Until};

use super::super::pairs::{address, stay};
use super::super::steps::{daemon, disk, load, modprobe, plan, reach, set, watch};
use super::super::{Expect, FAST, Peer, Quiet, SLOW, Scenario, negatives::SECONDS};
use super::{mount_smb, serve_smb};

pub fn all() -> Vec<Scenario> {
    vec![remote(), dead()]
}

/// 10.7.0.1 is the judged client, 10.7.0.2 the server.
fn remote() -> Scenario {
    let mut server = server();
    server.push(stay());
    let mut client = client();
    client.extend([load("/mnt", 250), watch(SECONDS, Until::Over)]);
    Scenario {
        name: "samba-remote",
        about: "a CIFS mount of smbd on another node: no loop",
        expect: Expect::Nothing(Quiet {
            acked: 1_500_000,
            no_loop: true,
            ..Quiet::default()
        }),
        ..pair(plan(client), plan(server))
    }
}

/// Its pages hold the dirty limit, so writers to a local disk stop, too.
fn dead() -> Scenario {
    let mut server = server();
    server.extend([Step::Hear(7000), Step::Die]);
    let mut client = client();
    client.extend([
        set("/proc/sys/vm/dirty_bytes", "60000000"),
        load("/mnt", 250),
        watch(8, Until::Over),
        reach("10.7.0.2:7000"),
        watch(5, Until::Over),
        load("/export", 50),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "samba-dead",
        about: "smbd's node dies under a CIFS mount, whose pages then hold the dirty limit for all",
        megabytes: 768,
        expect: Expect::Nothing(Quiet {
            related: &["dirty-limit-held", "server-not-responding"],
            no_loop: true,
            ..Quiet::default()
        }),
        ..pair(plan(client), plan(server))
    }
}

fn server() -> Vec<Step> {
    vec![
        modprobe(&["virtio_pci", "virtio_blk", "virtio_net"]),
        address("10.7.0.2"),
        disk(),
        serve_smb(SmbServer::Samba, &[]),
    ]
}

fn client() -> Vec<Step> {
    vec![
        modprobe(&["virtio_pci", "virtio_blk", "virtio_net", "cifs"]),
        address("10.7.0.1"),
        disk(),
        reach("10.7.0.2:445"),
        mount_smb("10.7.0.2"),
        daemon(),
        watch(3, Until::Over),
    ]
}

fn pair(client: Plan, server: Plan) -> Scenario {
    Scenario {
        megabytes: 512,
        plan: client,
        peers: vec![Peer {
            megabytes: 512,
            disks: vec![SLOW],
            plan: server,
            daemon: false,
            forward: None,
            load: 40,
        }],
        disks: vec![FAST],
        seconds: 240,
        load: 40,
        ..Scenario::default()
    }
}
