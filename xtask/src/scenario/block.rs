//! Block devices that the node serves to itself: NBD and SCSI.

use guest::{BlockExport, BlockServer, BlockStep, BlockWrites, Filesystem, Step, Until, Way};

use super::livelocks::{DIRTY, netns, until_confirmed};
use super::negatives::SECONDS;
use super::steps::{daemon, disk, filesystem, load, load_by, modprobe, plan, watch};
use super::{Disk, Expect, Quiet, SLOW, STEADY, Scenario, ServedLoop};

mod mitigations;
mod pairs;

pub fn all() -> Vec<Scenario> {
    let mut all = livelocks();
    all.extend(negatives());
    all.extend(pairs::all());
    all.extend(mitigations::all());
    all
}

/// A file of the disk at `/export` that this node serves to itself.
#[derive(Clone, Copy)]
struct Served {
    server: BlockServer,
    writes: BlockWrites,
    exempt: bool,
}

impl Served {
    fn cached(server: BlockServer) -> Self {
        Self {
            server,
            writes: BlockWrites::Cached,
            exempt: false,
        }
    }

    fn exempt(server: BlockServer) -> Self {
        Self {
            exempt: true,
            ..Self::cached(server)
        }
    }

    fn by(server: BlockServer, writes: BlockWrites) -> Self {
        Self {
            writes,
            ..Self::cached(server)
        }
    }

    /// Everything before the daemon: the device with its file system is at `/mnt`.
    fn steps(self) -> Vec<Step> {
        let mut steps = vec![modprobe(&["virtio_pci", "virtio_blk"]), disk()];
        steps.extend(self.serve());
        steps.extend(attach(self.server, "127.0.0.1"));
        steps.extend([
            filesystem(Filesystem::Ext4, self.server.device(), "/mnt"),
            Step::Hog { megabytes: 150 },
        ]);
        steps
    }

    /// Starts the server; qemu-nbd and the kernel's target attach the device at once.
    fn serve(self) -> Vec<Step> {
        let mut modules = self.server.server_modules().to_vec();
        if self.server.attaches() {
            modules.extend(self.server.client_modules());
        }
        let serve = BlockStep::Serve(BlockExport {
            server: self.server,
            file: "/export/img".to_owned(),
            megabytes: 1500,
            writes: self.writes,
            exempt: self.exempt,
        });
        with(&modules, serve)
    }

    /// With the daemon and the load that freezes a server that is not exempt.
    fn loaded(self) -> Vec<Step> {
        let mut steps = self.steps();
        steps.extend([daemon(), watch(3, Until::Over), load("/mnt", 250)]);
        steps
    }
}

/// Attaches the device; those that the server attaches are only waited for.
fn attach(server: BlockServer, address: &str) -> Vec<Step> {
    let attach = BlockStep::Attach {
        server,
        address: address.to_owned(),
    };
    with(server.client_modules(), attach)
}

fn with(modules: &[&str], step: BlockStep) -> Vec<Step> {
    let mut steps = Vec::new();
    if !modules.is_empty() {
        steps.push(modprobe(modules));
    }
    steps.push(Step::Block(step));
    steps
}

fn livelocks() -> Vec<Scenario> {
    vec![
        livelock(
            "nbd-livelock",
            "ext4 on a device of qemu-nbd, whose image lies on the node's disk",
            BlockServer::QemuNbd,
        ),
        livelock(
            "nbd-server-livelock",
            "the same with nbd-server over 127.0.0.1",
            BlockServer::NbdServer,
        ),
        livelock(
            "nbdkit-livelock",
            "the same with nbdkit over 127.0.0.1",
            BlockServer::Nbdkit,
        ),
        livelock(
            "lio-livelock",
            "ext4 on a SCSI disk of the kernel's own target, whose file is written through the page cache",
            BlockServer::Lio,
        ),
        livelock(
            "tgtd-livelock",
            "ext4 on a SCSI disk of tgtd, by iSCSI over 127.0.0.1",
            BlockServer::Tgtd,
        ),
    ]
}

/// Names for the guard's plays, and what they have before the daemon and the load at `/mnt`.
pub(super) fn to_break() -> [(&'static str, Vec<Step>); 4] {
    use BlockServer::{Lio, NbdServer, QemuNbd, Tgtd};
    let steps = |server| Served::cached(server).steps();
    [
        ("guard-break-nbd", steps(QemuNbd)),
        ("guard-break-nbd-server", steps(NbdServer)),
        ("guard-break-lio", steps(Lio)),
        ("guard-break-tgtd", steps(Tgtd)),
    ]
}

fn livelock(name: &'static str, about: &'static str, server: BlockServer) -> Scenario {
    let mut steps = Served::cached(server).loaded();
    steps.extend(until_confirmed());
    steps.push(Step::Stacks);
    Scenario {
        name,
        about,
        plan: plan(steps),
        expect: Expect::Livelock(DIRTY),
        exempt: observed(server),
        served: Some(reported(server)),
        ..machine()
    }
}

/// The exemption that the daemon must observe. That of kernel workers is known without a look.
fn observed(server: BlockServer) -> Option<&'static str> {
    let is_kernel = matches!(server, BlockServer::Lio | BlockServer::LioIscsi);
    (!is_kernel).then_some("no")
}

/// The daemon's names.
fn reported(server: BlockServer) -> ServedLoop {
    let (kind, server) = match server {
        BlockServer::QemuNbd | BlockServer::QemuNbdTcp => ("nbd", "qemu-nbd"),
        BlockServer::NbdServer => ("nbd", "nbd-server"),
        BlockServer::Nbdkit => ("nbd", "nbdkit"),
        BlockServer::Lio | BlockServer::LioIscsi => ("scsi", "lio"),
        BlockServer::Tgtd => ("scsi", "tgtd"),
    };
    ServedLoop { kind, server }
}

fn machine() -> Scenario {
    Scenario {
        megabytes: 512,
        seconds: 180,
        ..netns()
    }
}

fn negatives() -> Vec<Scenario> {
    use BlockServer::{Lio, NbdServer, Nbdkit, QemuNbd, Tgtd};
    use BlockWrites::Direct;
    let exempt = "a server that io-flusher started goes on, under the load that freezes another";
    let direct = "a server that writes past the page cache goes on, under the same load";
    let slow = "the same over a disk of 5 MB/s: everything waits, and moves";
    let moderate = "a server that is not exempt, under a load that stays below the dirty limit";
    vec![
        goes_on("nbd-exempt", exempt, Served::exempt(QemuNbd), STEADY),
        goes_on(
            "nbd-server-exempt",
            exempt,
            Served::exempt(NbdServer),
            STEADY,
        ),
        goes_on("nbdkit-exempt", exempt, Served::exempt(Nbdkit), STEADY),
        goes_on("tgtd-exempt", exempt, Served::exempt(Tgtd), STEADY),
        goes_on("nbd-direct", direct, Served::by(QemuNbd, Direct), STEADY),
        goes_on("lio-direct", direct, Served::by(Lio, Direct), STEADY),
        goes_on("tgtd-direct", direct, Served::by(Tgtd, Direct), STEADY),
        goes_on("nbd-slow-disk", slow, Served::exempt(QemuNbd), SLOW),
        goes_on(
            "nbd-server-slow-disk",
            slow,
            Served::exempt(NbdServer),
            SLOW,
        ),
        goes_on("tgtd-slow-disk", slow, Served::exempt(Tgtd), SLOW),
        goes_on("lio-slow-disk", slow, Served::by(Lio, Direct), SLOW),
        calm("nbd-moderate", moderate, QemuNbd),
        calm("lio-moderate", moderate, Lio),
        calm("tgtd-moderate", moderate, Tgtd),
    ]
}

fn goes_on(name: &'static str, about: &'static str, served: Served, disk: Disk) -> Scenario {
    let mut steps = served.loaded();
    steps.push(watch(SECONDS, Until::Over));
    let rate = if disk.bytes_per_second == SLOW.bytes_per_second {
        1_500_000
    } else {
        2_000_000
    };
    Scenario {
        name,
        about,
        disks: vec![disk],
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: rate,
            acked: rate,
            ..Quiet::default()
        }),
        exempt: served.exempt.then_some("yes"),
        served: Some(reported(served.server)),
        load: 80,
        seconds: 200,
        ..machine()
    }
}

fn calm(name: &'static str, about: &'static str, server: BlockServer) -> Scenario {
    let mut steps = Served::cached(server).steps();
    steps.retain(|step| !matches!(step, Step::Hog { .. }));
    steps.extend([
        daemon(),
        watch(3, Until::Over),
        load_by(Way::Moderate, "/mnt", 100),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name,
        about,
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: 1_000_000,
            acked: 1_000_000,
            ..Quiet::default()
        }),
        exempt: observed(server),
        served: Some(reported(server)),
        seconds: 200,
        ..machine()
    }
}
