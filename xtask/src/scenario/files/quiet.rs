//! The load of the livelocks, which goes on: exempt servers, slow disks, another kernel.

use guest::{Ganesha, SmbServer, Step, Until};

use super::super::negatives::{SECONDS, writes};
use super::super::steps::{daemon, load, plan, watch};
use super::super::{Disk, Expect, Quiet, SLOW, STEADY, Scenario};
use super::{GANESHA, KSMBD, NFSD, SMBD, dnat, fuse, ksmbd_mount, samba};
use crate::kernels::Kernel;

pub fn all() -> Vec<Scenario> {
    let mut all = vec![ksmbd()];
    all.extend(exempt());
    all.extend(slow());
    all
}

fn ksmbd() -> Scenario {
    Scenario {
        kernels: &[Kernel::Newest],
        served: Some(KSMBD),
        ..goes_on(
            "ksmbd",
            "the load of ksmbd-livelock, which goes on with this kernel",
            ksmbd_mount(),
            STEADY,
        )
    }
}

/// Negatives: the same servers, which the kernel exempts.
fn exempt() -> Vec<Scenario> {
    vec![
        Scenario {
            exempt: Some("yes"),
            served: Some(GANESHA),
            ..goes_on(
                "ganesha-dnat-exempt",
                "nfs-ganesha behind a service address, which the kernel exempts",
                dnat(Ganesha::Six),
                STEADY,
            )
        },
        Scenario {
            exempt: Some("yes"),
            served: Some(SMBD),
            ..goes_on(
                "samba-exempt",
                "a CIFS mount of smbd, started through io-flusher",
                samba(SmbServer::SambaExempt, &[]),
                STEADY,
            )
        },
        Scenario {
            served: Some(NFSD),
            ..goes_on(
                "fuse-exempt",
                "nfsd exports a FUSE file system, whose daemon was started through io-flusher",
                fuse(true),
                STEADY,
            )
        },
    ]
}

/// Negatives: the same on a slow disk, which looks much like a livelock.
fn slow() -> Vec<Scenario> {
    vec![
        Scenario {
            served: Some(GANESHA),
            ..goes_on(
                "ganesha-dnat-slow-disk",
                "nfs-ganesha behind a service address, exempt, on a disk of 5 MB/s",
                dnat(Ganesha::Six),
                SLOW,
            )
        },
        Scenario {
            served: Some(SMBD),
            ..goes_on(
                "samba-slow-disk",
                "a CIFS mount of smbd, exempt, on a disk of 5 MB/s",
                samba(SmbServer::SambaExempt, &[]),
                SLOW,
            )
        },
        Scenario {
            served: Some(NFSD),
            ..goes_on(
                "fuse-slow-disk",
                "nfsd exports a FUSE file system, whose daemon is exempt, on a disk of 5 MB/s",
                fuse(true),
                SLOW,
            )
        },
    ]
}

/// The same load, which goes on.
fn goes_on(name: &'static str, about: &'static str, mut steps: Vec<Step>, disk: Disk) -> Scenario {
    steps.extend([
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 250),
        watch(SECONDS, Until::Over),
        Step::Stacks,
    ]);
    let least = match disk.bytes_per_second {
        Some(rate) if rate <= 5_000_000 => 1_500_000,
        _ => 2_000_000,
    };
    Scenario {
        name,
        about,
        megabytes: 512,
        disks: vec![disk],
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: least,
            acked: least,
            ..Quiet::default()
        }),
        seconds: 200,
        load: 80,
        ..writes(0)
    }
}
