//! Variations of the livelock: file systems, versions of NFS, threads, ways to write.

use guest::{Filesystem, Step, Until, Way};

use crate::kernels::Kernel;

use super::livelocks::{netns, until_confirmed};
use super::negatives::{SECONDS, writes};
use super::steps::{
    daemon, filesystem, load_by, modprobe, mount, nfs_modules, plan, serve, serve_in_pod, watch,
};
use super::{Disk, Expect, FAST, Quiet, SLOW, Scenario};

pub fn all() -> Vec<Scenario> {
    let mut all = across_namespaces();
    all.extend(slow_disks());
    all
}

fn across_namespaces() -> Vec<Scenario> {
    vec![
        livelock(
            "netns-xfs",
            "the livelock, over an export of xfs",
            |clothes| {
                clothes.filesystem = Filesystem::Xfs;
            },
        ),
        livelock("netns-v3", "the livelock, by NFSv3", |clothes| {
            clothes.version = "3";
        }),
        livelock(
            "netns-one-thread",
            "the livelock of a server with one thread",
            |clothes| {
                clothes.threads = 1;
            },
        ),
        livelock(
            "netns-many-threads",
            "the livelock of a server with 64 threads",
            |clothes| {
                clothes.threads = 64;
            },
        ),
        livelock(
            "netns-btrfs",
            "the livelock, over an export of btrfs",
            |clothes| {
                clothes.filesystem = Filesystem::Btrfs;
            },
        ),
        livelock("netns-v40", "the livelock, by NFSv4.0", |clothes| {
            clothes.version = "4.0";
        }),
        livelock(
            "netns-slow-disk",
            "the livelock, over a disk of 5 MB/s",
            |clothes| {
                clothes.disk = SLOW;
            },
        ),
        goes_on(
            "netns-mapped",
            "the server in a pod, and writers through mappings: goes on",
            |clothes| {
                clothes.way = Way::Mapped;
            },
        ),
    ]
}

fn slow_disks() -> Vec<Scenario> {
    vec![
        Scenario {
            // On 7.2 the first writes stall for half a minute: a livelock.
            kernels: &[Kernel::V5_10, Kernel::V6_1, Kernel::V6_12],
            ..slow(
                "loopback-slow-xfs",
                "a slow disk with xfs behind 127.0.0.1",
                |clothes| {
                    clothes.filesystem = Filesystem::Xfs;
                },
            )
        },
        slow(
            "loopback-slow-btrfs",
            "a slow disk with btrfs behind 127.0.0.1",
            |clothes| {
                clothes.filesystem = Filesystem::Btrfs;
            },
        ),
        slow(
            "loopback-slower",
            "a disk of 1.5 MB/s behind 127.0.0.1",
            |clothes| {
                clothes.disk.bytes_per_second = Some(1_500_000);
            },
        ),
        slow(
            "loopback-slow-v3",
            "a slow disk behind 127.0.0.1 and NFSv3",
            |clothes| {
                clothes.version = "3";
            },
        ),
        slow(
            "loopback-slow-one-thread",
            "a slow disk and one nfsd behind 127.0.0.1",
            |clothes| {
                clothes.threads = 1;
            },
        ),
        slow(
            "loopback-slow-fsync",
            "a slow disk behind 127.0.0.1, and an fsync after each 4 MiB",
            |clothes| {
                clothes.way = Way::Fsync;
            },
        ),
        slow(
            "loopback-slow-direct",
            "a slow disk behind 127.0.0.1, past the client's page cache",
            |clothes| {
                clothes.way = Way::Direct;
            },
        ),
        slow(
            "loopback-slow-mapped",
            "a slow disk behind 127.0.0.1, by writers through mappings",
            |clothes| {
                clothes.way = Way::Mapped;
            },
        ),
    ]
}

struct Clothes {
    filesystem: Filesystem,
    version: &'static str,
    threads: u32,
    way: Way,
    disk: Disk,
}

impl Clothes {
    fn new(disk: Disk, change: fn(&mut Self)) -> Self {
        let mut clothes = Self {
            filesystem: Filesystem::Ext4,
            version: "4.2",
            threads: 8,
            way: Way::Buffered,
            disk,
        };
        change(&mut clothes);
        clothes
    }

    /// Loads the modules and prepares the disk.
    fn begin(&self) -> Vec<Step> {
        vec![
            nfs_modules(),
            modprobe(&["xfs", "btrfs", "nfsv3"]),
            filesystem(self.filesystem, "/dev/vda", "/export"),
        ]
    }

    fn dress(&self, mut step: Step) -> Step {
        match &mut step {
            Step::Serve { v3, .. } => *v3 = self.version == "3",
            Step::Mount { version, path, .. } => {
                self.version.clone_into(version);
                // NFSv3 has no root of all exports.
                if self.version == "3" {
                    "/export".clone_into(path);
                }
            }
            _ => {}
        }
        step
    }
}

fn livelock(name: &'static str, about: &'static str, change: fn(&mut Clothes)) -> Scenario {
    let clothes = Clothes::new(FAST, change);
    let mut steps = clothes.begin();
    steps.extend(serve_in_pod(clothes.threads).map(|step| clothes.dress(step)));
    steps.extend([
        clothes.dress(mount("10.9.0.2")),
        daemon(),
        watch(3, Until::Over),
        load_by(clothes.way, "/mnt", 150),
    ]);
    steps.extend(until_confirmed());
    Scenario {
        name,
        about,
        megabytes: 512,
        disks: vec![clothes.disk],
        plan: plan(steps),
        ..netns()
    }
}

/// The same load without a stall.
fn goes_on(name: &'static str, about: &'static str, change: fn(&mut Clothes)) -> Scenario {
    let mut scenario = livelock(name, about, change);
    let steps = &mut scenario.plan.steps;
    let confirmed = until_confirmed().len();
    steps.truncate(steps.len().saturating_sub(confirmed));
    steps.push(watch(SECONDS, Until::Over));
    Scenario {
        expect: Expect::Nothing(Quiet {
            acked: 1_000_000,
            ..Quiet::default()
        }),
        load: 50,
        ..scenario
    }
}

fn slow(name: &'static str, about: &'static str, change: fn(&mut Clothes)) -> Scenario {
    let clothes = Clothes::new(SLOW, change);
    let mut steps = clothes.begin();
    steps.extend([
        clothes.dress(serve(clothes.threads)),
        clothes.dress(mount("127.0.0.1")),
        daemon(),
        load_by(clothes.way, "/mnt", 150),
        watch(60, Until::Over),
    ]);
    Scenario {
        name,
        about,
        megabytes: 512,
        disks: vec![clothes.disk],
        plan: plan(steps),
        load: 40,
        ..writes(500_000)
    }
}
