//! Negatives: scenarios that look like a livelock but are not one.
//!
//! `./dev test` watches each for a minute, and `--all` for three.

use guest::{Ganesha, Load, Step, Until, Way};

use super::livelocks::on_loop_device;
use super::steps::{
    daemon, disk, load, load_by, modprobe, mount, nfs_modules, plan, read, run, serve,
    serve_in_pod, set, watch,
};
use super::{Expect, Quiet, SLOW, STEADY, Scenario};
use crate::kernels::Kernel;

/// Seconds to watch in `./dev test`.
pub const SECONDS: u64 = 60;

pub fn loopback_healthy() -> Scenario {
    Scenario {
        name: "loopback-healthy",
        about: "the same load over 127.0.0.1 goes on, with a disk that does 30 MB/s and more",
        disks: vec![STEADY],
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            Step::Hog { megabytes: 100 },
            daemon(),
            load("/mnt", 300),
            watch(SECONDS, Until::Over),
        ]),
        core: &[],
        load: 70,
        ..writes(2_000_000)
    }
}

/// A second address in the node's own subnet, as HA agents add it. The kernel then uses the first
/// one as the client's address.
pub fn service_address() -> Scenario {
    Scenario {
        name: "service-address",
        about: "the load of netns-livelock on a mount of a service address of the node's own: it goes on, nfsd is exempt",
        disks: vec![STEADY],
        plan: plan([
            nfs_modules(),
            disk(),
            run(&[
                "ip link add v0 type veth peer name v1",
                "ip addr add 192.168.50.11/24 dev v0",
                "ip addr add 192.168.50.100/24 dev v0",
                "ip link set v0 up",
                "ip link set v1 up",
            ]),
            serve(8),
            mount("192.168.50.100"),
            Step::Hog { megabytes: 100 },
            daemon(),
            load("/mnt", 300),
            watch(30, Until::Over),
        ]),
        exempt: Some("yes"),
        core: &[],
        load: 70,
        ..writes(2_000_000)
    }
}

pub fn loopback_slow_disk() -> Scenario {
    Scenario {
        name: "loopback-slow-disk",
        about: "127.0.0.1 and a disk of 5 MB/s: looks much like a livelock, and is none",
        megabytes: 512,
        disks: vec![SLOW],
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            daemon(),
            load("/mnt", 150),
            watch(SECONDS, Until::Over),
        ]),
        core: &[Kernel::V6_1],
        load: 40,
        ..writes(1_500_000)
    }
}

pub fn loopback_light() -> Scenario {
    Scenario {
        name: "loopback-light",
        about: "a few small files a second over 127.0.0.1",
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            daemon(),
            load_by(Way::Small, "/mnt", 1),
            watch(SECONDS, Until::Over),
        ]),
        expect: Expect::Nothing(Quiet {
            acked: 2_000,
            ..Quiet::default()
        }),
        load: 30,
        ..writes(0)
    }
}

pub fn local_slow_disk() -> Scenario {
    Scenario {
        name: "local-slow-disk",
        about: "no NFS at all: ordinary dirty throttling on a disk of 5 MB/s",
        disks: vec![SLOW],
        plan: plan([
            modprobe(&["virtio_pci", "virtio_blk"]),
            disk(),
            daemon(),
            load("/export", 150),
            watch(SECONDS, Until::Over),
        ]),
        expect: Expect::Nothing(Quiet {
            disk: 1_500_000,
            related: &["dirty-throttling"],
            ..Quiet::default()
        }),
        load: 25,
        ..writes(0)
    }
}

pub fn netns_moderate() -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        daemon(),
        load_by(Way::Moderate, "/mnt", 50),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "netns-moderate",
        about: "the server in a pod, and a load that stays below the limits",
        megabytes: 1024,
        plan: plan(steps),
        load: 40,
        ..writes(1_000_000)
    }
}

pub fn netns_readonly() -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        daemon(),
        read("/mnt", 2, 300, 10),
        load_by(Way::Metadata, "/mnt", 1),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "netns-readonly",
        about: "the server in a pod, whose client reads, and makes, renames and removes empty files",
        plan: plan(steps),
        load: 60,
        ..writes(10_000)
    }
}

pub fn server_gone() -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        daemon(),
        // The pages are sent soon, and never exceed 32 MB, far below the dirty limit. Otherwise the
        // server's threads are in balance_dirty_pages when it stops, which is a livelock, too.
        set("/proc/sys/vm/dirty_background_ratio", "1"),
        watch(2, Until::Over),
        load("/mnt", 8),
        watch(5, Until::Over),
        run(&["ip link set v0 down"]),
        watch(SECONDS, Until::Over),
    ]);
    Scenario {
        name: "server-gone",
        about: "the server is cut off while its client has megabytes under writeback",
        megabytes: 1024,
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            related: &["nfs-server-not-responding"],
            ..Quiet::default()
        }),
        load: 30,
        ..writes(0)
    }
}

/// nfs-ganesha over 127.0.0.1, and a fault of it once its client works.
fn halted(
    name: &'static str,
    about: &'static str,
    ganesha: Vec<Step>,
    happens: Vec<Step>,
) -> Scenario {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(ganesha);
    steps.extend([
        mount("127.0.0.1"),
        daemon(),
        watch(3, Until::Over),
        // With small files an OPEN or a GETATTR waits, not a WRITE.
        load_by(Way::Small, "/mnt", 1),
        watch(10, Until::Over),
    ]);
    steps.extend(happens);
    Scenario {
        name,
        about,
        megabytes: 512,
        plan: plan(steps),
        load: 40,
        ..writes(0)
    }
}

fn ganesha() -> Step {
    Step::Ganesha {
        pod: None,
        path: "/export".to_owned(),
        kind: Ganesha::Four,
    }
}

pub fn ganesha_stopped() -> Scenario {
    let signal = |number| Step::Signal {
        name: "ganesha.nfsd".to_owned(),
        number,
    };
    let happens = vec![
        signal(19),
        watch(30, Until::Over),
        signal(18),
        watch(15, Until::Over),
    ];
    Scenario {
        expect: Expect::Nothing(Quiet {
            related: &["nfs-server-not-responding"],
            says: &["is stopped (SIGSTOP or a debugger)"],
            ..Quiet::default()
        }),
        ..halted(
            "ganesha-stopped",
            "nfs-ganesha gets a SIGSTOP: nothing but small calls waits for it",
            vec![ganesha()],
            happens,
        )
    }
}

pub fn ganesha_oom() -> Scenario {
    let inside = vec![
        Step::MemoryCgroup {
            name: "server".to_owned(),
            megabytes: 160,
        },
        ganesha(),
        Step::LeaveMemoryCgroup {
            victim: "ganesha.nfsd".to_owned(),
        },
    ];
    let happens = vec![
        set("/sys/fs/cgroup/server/memory.max", "4194304"),
        watch(SECONDS, Until::Over),
    ];
    Scenario {
        expect: Expect::Nothing(Quiet {
            oom: true,
            related: &["nfs-server-not-responding"],
            says: &["is gone for", "the OOM killer of its memory cgroup killed"],
            ..Quiet::default()
        }),
        ..halted(
            "ganesha-oom",
            "the OOM killer of its memory cgroup takes nfs-ganesha while its client works",
            inside,
            happens,
        )
    }
}

pub fn hung_fs() -> Scenario {
    Scenario {
        name: "hung-fs",
        about: "the exported file system is frozen under nfsd: its threads hang, and nothing throttles them",
        megabytes: 512,
        plan: plan([
            nfs_modules(),
            disk(),
            serve(8),
            mount("127.0.0.1"),
            // The loop must move before.
            set("/proc/sys/vm/dirty_background_ratio", "1"),
            daemon(),
            load_by(Way::Moderate, "/mnt", 150),
            watch(10, Until::Over),
            run(&["fsfreeze -f /export"]),
            watch(SECONDS, Until::Over),
            run(&["fsfreeze -u /export"]),
            watch(15, Until::Over),
        ]),
        expect: Expect::Nothing(Quiet {
            related: &["hung-file-system"],
            ..Quiet::default()
        }),
        load: 30,
        ..writes(0)
    }
}

pub fn memory_storm() -> Scenario {
    Scenario {
        name: "memory-storm",
        about: "no NFS: memory is taken and lost to the OOM killer all the time, beside readers",
        plan: plan([
            modprobe(&["virtio_pci", "virtio_blk"]),
            disk(),
            daemon(),
            Step::Hog { megabytes: 100 },
            read("/export", 2, 400, 20),
            load_by(Way::Moderate, "/export", 50),
            Step::Start(Load::Gobble {
                processes: 3,
                megabytes: 70,
                again: true,
            }),
            watch(SECONDS, Until::Over),
        ]),
        expect: Expect::Nothing(Quiet {
            oom: true,
            related: &["memory-starvation"],
            ..Quiet::default()
        }),
        load: 100,
        ..writes(0)
    }
}

pub fn loop_device_loopback() -> Scenario {
    let mut steps = vec![
        nfs_modules(),
        modprobe(&["loop"]),
        disk(),
        serve(8),
        mount("127.0.0.1"),
    ];
    steps.extend(on_loop_device());
    steps.push(watch(SECONDS, Until::Over));
    Scenario {
        name: "loop-device-loopback",
        about: "ext4 on a loop device whose file lies on a mount over 127.0.0.1: goes on",
        megabytes: 512,
        disks: vec![STEADY],
        plan: plan(steps),
        load: 80,
        ..writes(2_000_000)
    }
}

/// The disk must write this many bytes a second.
pub fn writes(disk: u64) -> Scenario {
    Scenario {
        expect: Expect::Nothing(Quiet {
            disk,
            ..Quiet::default()
        }),
        ..Scenario::default()
    }
}
