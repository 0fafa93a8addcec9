//! Short forms of steps.

use guest::{Export, Filesystem, Load, Plan, Step, Until, Way};

use super::FORWARDED;

pub fn modprobe(names: &[&str]) -> Step {
    Step::Modprobe(names.iter().map(|&name| name.to_owned()).collect())
}

pub fn nfs_modules() -> Step {
    modprobe(&["virtio_pci", "virtio_blk", "veth", "nfs", "nfsv4", "nfsd"])
}

pub fn daemon() -> Step {
    let args = ["run", "--log.format", "logfmt", "--log.level", "debug"];
    Step::Daemon {
        args: args.map(str::to_owned).to_vec(),
    }
}

/// A daemon that is also reached from the host.
pub fn forwarded_daemon() -> Step {
    let listen = "--web.listen-address";
    let args = ["run", listen, "127.0.0.1:9746", listen, FORWARDED];
    Step::Daemon {
        args: args.map(str::to_owned).to_vec(),
    }
}

pub fn disk() -> Step {
    filesystem(Filesystem::Ext4, "/dev/vda", "/export")
}

pub fn filesystem(kind: Filesystem, device: &str, at: &str) -> Step {
    Step::Disk {
        kind,
        device: device.to_owned(),
        at: at.to_owned(),
    }
}

pub fn run(lines: &[&str]) -> Step {
    Step::Run(lines.iter().map(|&line| line.to_owned()).collect())
}

/// An export whose writes reach the disk late, as in the livelocks.
pub fn export(path: &str) -> Export {
    Export {
        path: path.to_owned(),
        options: "fsid=0,async".to_owned(),
    }
}

pub fn serve(threads: u32) -> Step {
    Step::Serve {
        pod: None,
        threads,
        exports: vec![export("/export")],
        v3: false,
    }
}

pub fn mount(server: &str) -> Step {
    Step::Mount {
        pod: None,
        server: server.to_owned(),
        path: "/".to_owned(),
        at: "/mnt".to_owned(),
        version: "4.2".to_owned(),
        options: String::new(),
    }
}

/// A server in its own pod, at 10.9.0.2 across a veth pair; the root namespace has 10.9.0.1.
pub fn serve_in_pod(threads: u32) -> [Step; 3] {
    let mut serve = serve(threads);
    if let Step::Serve { pod, .. } = &mut serve {
        *pod = Some("srv".to_owned());
    }
    [
        Step::Pod("srv".to_owned()),
        run(&[
            "ip link add v0 type veth peer name v1 netns srv",
            "ip addr add 10.9.0.1/24 dev v0",
            "ip link set v0 up",
            "ip -n srv addr add 10.9.0.2/24 dev v1",
            "ip -n srv link set v1 up",
        ]),
        serve,
    ]
}

pub fn load(dir: &str, megabytes: u64) -> Step {
    load_by(Way::Buffered, dir, megabytes)
}

pub fn load_by(way: Way, dir: &str, megabytes: u64) -> Step {
    Step::Start(Load::Endless {
        dir: dir.to_owned(),
        writers: 4,
        megabytes,
        way,
    })
}

pub fn set(path: &str, value: &str) -> Step {
    Step::Set {
        path: path.to_owned(),
        value: value.to_owned(),
    }
}

/// A limit of the NFS mount's BDI.
pub fn client(file: &str, value: &str) -> Step {
    set(&format!("/sys/class/bdi/CLIENT/{file}"), value)
}

/// A limit of the BDI that the server writes to.
pub fn server(file: &str, value: &str) -> Step {
    set(&format!("/sys/class/bdi/SERVER/{file}"), value)
}

pub fn dirty_bytes(value: &str) -> Step {
    set("/proc/sys/vm/dirty_bytes", value)
}

pub fn watch(seconds: u64, until: Until) -> Step {
    Step::Watch { seconds, until }
}

pub fn plan(steps: impl Into<Vec<Step>>) -> Plan {
    Plan {
        steps: steps.into(),
    }
}

pub fn fetch(path: &str, lines: &[&str]) -> Step {
    Step::Fetch {
        path: path.to_owned(),
        lines: lines.iter().map(|&begin| begin.to_owned()).collect(),
    }
}

pub fn check(args: &[&str], uid: Option<u32>) -> Step {
    Step::Check {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        uid,
    }
}

pub fn reach(address: &str) -> Step {
    Step::Reach(address.to_owned())
}

/// A slow writer without an end.
pub fn write() -> Step {
    Step::Start(Load::AtLeisure {
        pod: None,
        dir: "/mnt".to_owned(),
        seconds: 600,
    })
}

/// Readers of sparse files, which fill the page cache without disk reads.
pub fn read(dir: &str, readers: u32, megabytes: u64, megabytes_per_second: u64) -> Step {
    Step::Start(Load::Read {
        dir: dir.to_owned(),
        readers,
        megabytes,
        megabytes_per_second,
    })
}
