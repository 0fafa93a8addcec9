//! Problems of operators: a dead server, modules to unload.

use guest::{Plan, Step, Until};

use super::steps::{
    check, daemon, disk, fetch, load, modprobe, mount, nfs_modules, plan, run, serve, serve_in_pod,
    set, watch, write,
};
use super::{Expect, SLOW, Scenario};
use crate::kernels::Kernel;

pub fn hung_server() -> Scenario {
    let statfs = || Step::Statfs("/mnt".to_owned());
    let ask = || {
        [
            check(&["check"], None),
            Step::SecondDaemon(9747),
            fetch("/metrics", &["throttle_loop"]),
            fetch("/api/v1/loops", &[]),
        ]
    };
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        daemon(),
        write(),
        watch(2, Until::Over),
        statfs(),
    ]);
    // A first run shows how long it takes on this host.
    steps.extend(ask());
    steps.extend([
        // These dirty pages will never be written. They must be far below the limit when the server
        // stops. Otherwise its threads are in balance_dirty_pages, which is a livelock, too.
        set("/proc/sys/vm/dirty_ratio", "80"),
        set("/proc/sys/vm/dirty_background_ratio", "5"),
        load("/mnt", 150),
        watch(1, Until::Over),
        run(&["ip link set v0 down"]),
        watch(5, Until::Over),
        statfs(),
    ]);
    steps.extend(ask());
    steps.push(Step::Blocked);
    Scenario {
        name: "hung-server",
        about: "the server is cut off, its mount hangs: the daemon and `check` must not",
        megabytes: 1024,
        plan: plan(steps),
        expect: Expect::HungServer,
        core: &[Kernel::V6_12],
        ..Scenario::default()
    }
}

pub fn modules_reload() -> Scenario {
    let unload = |modules: &[&str], seconds| Step::Unload {
        modules: modules.iter().map(|&name| name.to_owned()).collect(),
        seconds,
    };
    let begin = || {
        [
            serve(8),
            mount("127.0.0.1"),
            write(),
            watch(5, Until::Over),
            Step::Probes,
        ]
    };
    let mut steps = vec![nfs_modules(), disk(), Step::BpfObjects, daemon()];
    steps.extend(begin());
    steps.extend([
        Step::StopWriters,
        Step::Umount("/mnt".to_owned()),
        Step::StopServer,
        Step::BpfObjects,
        // The daemon's tracepoints keep it in use.
        unload(&["nfsd"], 0),
        Step::StopDaemon,
        Step::BpfObjects,
        unload(&["nfsd", "nfsv4", "nfs"], 10),
        modprobe(&["nfs", "nfsv4", "nfsd"]),
        daemon(),
    ]);
    steps.extend(begin());
    Scenario {
        name: "modules-reload",
        about: "stop the daemon, unload nfs and nfsd, load them, start it: all is seen again",
        megabytes: 512,
        plan: plan(steps),
        expect: Expect::ModulesReload,
        core: &[Kernel::Newest],
        ..Scenario::default()
    }
}

pub fn bdi_congested() -> Scenario {
    Scenario {
        name: "bdi-congested",
        about: "a slow disk behind 127.0.0.1: the gauge of congestion follows the kernel's flag",
        megabytes: 512,
        disks: vec![SLOW],
        // The kernel compares with pages, but counts folios since 6.11.
        plan: congestion(256),
        expect: Expect::Congestion,
        core: &[Kernel::V5_10],
        load: 40,
        ..Scenario::default()
    }
}

pub fn nfs_folios() -> Scenario {
    Scenario {
        name: "nfs-folios",
        about: "more bytes under writeback than nfs_congestion_kb, in few folios: the gauge of congestion stays down",
        // These kernels count folios.
        kernels: &[Kernel::V6_12, Kernel::Newest],
        plan: congestion(8192),
        expect: Expect::NoCongestion,
        core: &[],
        ..bdi_congested()
    }
}

/// Writers to an NFS mount with a slow disk, for a while.
fn congestion(kb: u32) -> Plan {
    plan([
        nfs_modules(),
        disk(),
        // Few enough that all are written soon after the writers end.
        set("/proc/sys/vm/dirty_bytes", "30000000"),
        set("/proc/sys/fs/nfs/nfs_congestion_kb", &kb.to_string()),
        serve(8),
        mount("127.0.0.1"),
        daemon(),
        Step::WatchCongestion("/mnt".to_owned()),
        watch(4, Until::Over),
        load("/mnt", 150),
        watch(15, Until::Over),
        Step::StopWriters,
        watch(16, Until::Over),
    ])
}
