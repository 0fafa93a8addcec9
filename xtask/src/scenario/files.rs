//! File systems that a node serves to itself, beside nfsd: SMB, FUSE, a translated address, and
//! devices on files of an NFS mount.
//!
//! The load is the same everywhere: a tmpfs that takes memory, and four buffered writers of 250 MB
//! each. smbd and its libraries are 77 MB in a guest's memory, so its tmpfs is smaller.

use guest::{FilesStep, Filesystem, Ganesha, SmbServer, Step, Until};

use super::livelocks::{DIRTY, netns, until_confirmed};
use super::steps::{
    daemon, disk, export, filesystem, load, modprobe, mount, nfs_modules, plan, run, serve_in_pod,
    watch,
};
use super::{Expect, Scenario, ServedLoop};
use crate::kernels::Kernel;

mod mitigations;
mod quiet;
mod remote;

const GANESHA: ServedLoop = ServedLoop {
    kind: "nfs",
    server: "ganesha.nfsd",
};
const SMBD: ServedLoop = ServedLoop {
    kind: "cifs",
    server: "smbd",
};
const NFSD: ServedLoop = ServedLoop {
    kind: "nfs",
    server: "nfsd",
};

/// Positives, negatives, and measurements.
pub fn all() -> Vec<Scenario> {
    let mut all = livelocks();
    all.extend(quiet::all());
    all.extend(remote::all());
    all.extend(mitigations::all());
    all
}

fn livelocks() -> Vec<Scenario> {
    vec![
        dnat_livelock(),
        samba_livelock(),
        ksmbd_livelock(),
        fuse_livelock(),
        crypt_livelock(),
        elsewhere_livelock(),
    ]
}

/// Names for the guard's plays, and what they have before the daemon and the load at `/mnt`.
pub(super) fn to_break() -> [(&'static str, Vec<Step>); 4] {
    [
        ("guard-break-ganesha-dnat", dnat(Ganesha::SixRefused)),
        ("guard-break-samba", samba(SmbServer::Samba, &[])),
        ("guard-break-ksmbd", ksmbd_mount()),
        ("guard-break-fuse", fuse(false)),
    ]
}

fn dnat_livelock() -> Scenario {
    Scenario {
        exempt: Some("no"),
        served: Some(GANESHA),
        ..livelock(
            "ganesha-dnat-livelock",
            "nfs-ganesha in its own network namespace, behind a service address, without CAP_SYS_RESOURCE",
            dnat(Ganesha::SixRefused),
            "/mnt",
        )
    }
}

fn samba_livelock() -> Scenario {
    Scenario {
        exempt: Some("no"),
        served: Some(SMBD),
        ..livelock(
            "samba-livelock",
            "a CIFS mount of smbd over 127.0.0.1",
            samba(SmbServer::Samba, &[]),
            "/mnt",
        )
    }
}

fn fuse_livelock() -> Scenario {
    Scenario {
        served: Some(NFSD),
        ..livelock(
            "fuse-livelock",
            "nfsd over 127.0.0.1 exports a FUSE file system, whose daemon writes to ext4",
            fuse(false),
            "/mnt",
        )
    }
}

/// An encrypted loop device on the mount of nfsd in a pod.
fn crypt() -> Vec<Step> {
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        modprobe(&["loop", "dm_mod", "dm_crypt"]),
        Step::Files(FilesStep::LoopDevice {
            pod: None,
            file: "/mnt/image".to_owned(),
            megabytes: 1500,
        }),
        Step::Files(FilesStep::Encrypt {
            device: "/dev/loop0".to_owned(),
        }),
        upper("/dev/dm-0"),
        Step::Hog { megabytes: 150 },
    ]);
    steps
}

fn crypt_livelock() -> Scenario {
    Scenario {
        expect: Expect::Livelock(LOOP_DEVICE),
        ..livelock(
            "loop-crypt-livelock",
            "ext4 on dm-crypt on a loop device, whose file lies on the NFS mount of a server in a pod",
            crypt(),
            "/upper",
        )
    }
}

fn elsewhere_livelock() -> Scenario {
    let mut mount = mount("10.10.0.2");
    if let Step::Mount { pod, .. } = &mut mount {
        *pod = Some("user".to_owned());
    }
    let mut steps = vec![nfs_modules(), modprobe(&["loop"]), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        Step::Pod("user".to_owned()),
        run(&[
            "ip -n user link add v2 type veth peer name v3 netns srv",
            "ip -n user addr add 10.10.0.1/24 dev v2",
            "ip -n user link set v2 up",
            "ip -n srv addr add 10.10.0.2/24 dev v3",
            "ip -n srv link set v3 up",
        ]),
        mount,
        Step::Files(FilesStep::LoopDevice {
            pod: Some("user".to_owned()),
            file: "/mnt/image".to_owned(),
            megabytes: 1500,
        }),
        upper("/dev/loop0"),
        Step::Hog { megabytes: 150 },
    ]);
    Scenario {
        expect: Expect::Livelock(LOOP_DEVICE),
        served: Some(ServedLoop {
            kind: "nfs",
            server: "nfsd",
        }),
        ..livelock(
            "loop-elsewhere-livelock",
            "ext4 on a loop device, whose file lies on an NFS mount that only a pod sees",
            steps,
            "/upper",
        )
    }
}

/// The signature of a loop device's worker that waits for an NFS mount's server.
const LOOP_DEVICE: super::Signatures = &["loop-device"];

const KSMBD: ServedLoop = ServedLoop {
    kind: "cifs",
    server: "ksmbd",
};

fn ksmbd_mount() -> Vec<Step> {
    let mut steps = vec![
        modprobe(&["virtio_pci", "virtio_blk", "cifs", "ksmbd"]),
        disk(),
    ];
    steps.extend(smb(SmbServer::Ksmbd, &[]));
    steps.push(Step::Hog { megabytes: 150 });
    steps
}

/// Linux 5.10 has no ksmbd, and that of Debian's 6.1.192 breaks down when a guest opens a file.
fn ksmbd_livelock() -> Scenario {
    Scenario {
        kernels: &[Kernel::V6_12],
        served: Some(KSMBD),
        ..livelock(
            "ksmbd-livelock",
            "a CIFS mount of the kernel's SMB server over 127.0.0.1",
            ksmbd_mount(),
            "/mnt",
        )
    }
}

/// A livelock under the load in this directory.
fn livelock(name: &'static str, about: &'static str, mut steps: Vec<Step>, dir: &str) -> Scenario {
    steps.extend([daemon(), watch(3, Until::Over), load(dir, 250)]);
    steps.extend(until_confirmed());
    steps.push(Step::Stacks);
    Scenario {
        name,
        about,
        megabytes: 512,
        plan: plan(steps),
        expect: Expect::Livelock(DIRTY),
        core: &[],
        seconds: 200,
        ..netns()
    }
}

/// nfs-ganesha in a pod. Clients use a service address, as in a cluster.
fn dnat(kind: Ganesha) -> Vec<Step> {
    let [pod, cable, _] = serve_in_pod(0);
    vec![
        nfs_modules(),
        modprobe(&["nft_chain_nat", "nft_nat"]),
        disk(),
        pod,
        cable,
        Step::Ganesha {
            pod: Some("srv".to_owned()),
            path: "/export".to_owned(),
            kind,
        },
        run(&[
            "ip route add 10.96.0.0/12 dev v0",
            "nft add table ip nat",
            "nft add chain ip nat out { type nat hook output priority -100 ; }",
            "nft add rule ip nat out ip daddr 10.96.7.7 tcp dport 2049 dnat to 10.9.0.2:2049",
        ]),
        mount("10.96.7.7"),
        Step::Hog { megabytes: 150 },
    ]
}

/// smbd and its mount.
fn samba(server: SmbServer, options: &[&str]) -> Vec<Step> {
    let mut steps = vec![modprobe(&["virtio_pci", "virtio_blk", "cifs"]), disk()];
    steps.extend(smb(server, options));
    steps.push(Step::Hog { megabytes: 80 });
    steps
}

fn smb(server: SmbServer, options: &[&str]) -> [Step; 2] {
    [serve_smb(server, options), mount_smb("127.0.0.1")]
}

fn serve_smb(server: SmbServer, options: &[&str]) -> Step {
    Step::Files(FilesStep::ServeSmb {
        path: "/export".to_owned(),
        server,
        options: options.iter().map(|&line| line.to_owned()).collect(),
    })
}

fn mount_smb(server: &str) -> Step {
    Step::Files(FilesStep::MountSmb {
        server: server.to_owned(),
        at: "/mnt".to_owned(),
    })
}

/// nfsd, exporting a FUSE file system.
fn fuse(exempt: bool) -> Vec<Step> {
    vec![
        nfs_modules(),
        modprobe(&["fuse"]),
        disk(),
        Step::Files(FilesStep::Fuse {
            path: "/export".to_owned(),
            at: "/upper".to_owned(),
            exempt,
        }),
        Step::Serve {
            pod: None,
            threads: 8,
            exports: vec![export("/upper")],
            v3: false,
        },
        mount("127.0.0.1"),
        Step::Hog { megabytes: 150 },
    ]
}

/// An ext4 on a device that rests on the NFS mount.
fn upper(device: &str) -> Step {
    filesystem(Filesystem::Ext4, device, "/upper")
}
