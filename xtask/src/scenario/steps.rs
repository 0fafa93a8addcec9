//! Steps in short.

use guest::{Plan, Step, Until};

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

pub fn disk() -> Step {
    Step::Disk {
        device: "/dev/vda".to_owned(),
        at: "/export".to_owned(),
    }
}

pub fn serve(namespaced: bool, threads: u32) -> Step {
    Step::Serve {
        namespaced,
        threads,
    }
}

pub fn mount(server: &str) -> Step {
    Step::Mount {
        server: server.to_owned(),
        at: "/mnt".to_owned(),
    }
}

pub fn load(dir: &str, megabytes: u64) -> Step {
    Step::Load {
        dir: dir.to_owned(),
        writers: 4,
        megabytes,
    }
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

pub fn run(lines: &[&str]) -> Step {
    Step::Run(lines.iter().map(|&line| line.to_owned()).collect())
}

pub fn reach(address: &str) -> Step {
    Step::Reach(address.to_owned())
}

pub fn pace(kilobytes: u64) -> Step {
    Step::Pace {
        dir: "/mnt".to_owned(),
        kilobytes,
    }
}
