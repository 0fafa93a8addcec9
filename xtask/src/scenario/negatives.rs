//! Negatives: what looks like a livelock, more or less, and is none.

use guest::{Step, Until};

use super::steps::{daemon, disk, load, modprobe, mount, nfs_modules, plan, serve, watch};
use super::{Expect, FAST, SLOW, Scenario};
use crate::kernels;

pub fn loopback_healthy() -> Scenario {
    Scenario {
        name: "loopback-healthy",
        about: "the same load over 127.0.0.1 goes on at disk speed",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![FAST],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            Step::Hog { megabytes: 100 },
            daemon(),
            load("/mnt", 300),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 2_000_000,
        },
        seconds: 210,
        load: 100,
    }
}

pub fn loopback_slow_disk() -> Scenario {
    Scenario {
        name: "loopback-slow-disk",
        about: "127.0.0.1 and a disk of 5 MB/s: looks much like a livelock, and is none",
        kernels: kernels::ALL,
        megabytes: 512,
        disks: vec![SLOW],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            daemon(),
            load("/mnt", 150),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 1_500_000,
        },
        seconds: 210,
        load: 35,
    }
}

pub fn local_slow_disk() -> Scenario {
    Scenario {
        name: "local-slow-disk",
        about: "no NFS at all: ordinary dirty throttling on a disk of 5 MB/s",
        kernels: kernels::ALL,
        megabytes: 320,
        disks: vec![SLOW],
        qemu: &[],
        cmdline: "",
        peer: None,
        plan: plan([
            modprobe(&["virtio_pci", "virtio_blk"]),
            disk(),
            daemon(),
            load("/export", 150),
            watch(120, Until::Over),
        ]),
        expect: Expect::Nothing {
            at_least: 1_500_000,
        },
        seconds: 210,
        load: 20,
    }
}
