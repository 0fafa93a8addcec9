//! Alerts: a real Prometheus scrapes the guest's daemon.

use guest::{Step, Until};

use super::livelocks::netns;
use super::steps::{
    client, dirty_bytes, disk, forwarded_daemon, load, modprobe, mount, nfs_modules, plan, run,
    serve_in_pod, set, watch,
};
use super::{Expect, Scenario};
use crate::kernels::Kernel;

/// Number of mounts: more than the map of NFS clients can hold.
const MANY: u32 = 270;

/// All events that must raise an alert, in turn. `crate::alerts` knows the phases by name.
pub fn scenario() -> Scenario {
    let phase = |name: &str| Step::Phase(name.to_owned());
    let mut steps = vec![
        nfs_modules(),
        modprobe(&["virtio_net"]),
        run(&[
            // systemd does the same; otherwise the daemon uses a detached mount.
            "mount -t tracefs none /sys/kernel/tracing",
            "ip addr add 10.0.2.15/24 dev eth0",
            "ip link set eth0 up",
        ]),
        disk(),
    ];
    steps.extend(serve_in_pod(8));
    steps.extend([
        mount("10.9.0.2"),
        Step::Hog { megabytes: 100 },
        forwarded_daemon(),
        phase("loop"),
        watch(25, Until::Over),
        phase("livelock"),
        load("/mnt", 300),
        watch(30, Until::Confirmed(1)),
        watch(15, Until::Over),
        phase("recovered"),
        client("max_ratio", "1"),
        Step::SetIfThere {
            path: "/sys/class/bdi/CLIENT/strict_limit".to_owned(),
            value: "1".to_owned(),
        },
        dirty_bytes("100000000"),
        watch(45, Until::Recovered(1)),
        Step::StopWriters,
        run(&["umount /hog"]),
        watch(20, Until::Over),
        phase("killed"),
        Step::KillDaemon,
        watch(20, Until::Over),
        phase("back"),
        forwarded_daemon(),
        watch(15, Until::Over),
        phase("blind"),
        Step::KillDaemon,
        run(&["mount -t tmpfs none /sys/kernel/tracing/events/nfs"]),
        forwarded_daemon(),
        watch(20, Until::Over),
        phase("seeing"),
        Step::KillDaemon,
        run(&["umount /sys/kernel/tracing/events/nfs"]),
        forwarded_daemon(),
        watch(20, Until::Over),
        phase("full"),
        set("/proc/sys/vm/dirty_bytes", "200000000"),
        Step::ManyMounts {
            server: "10.9.0.2".to_owned(),
            count: MANY,
        },
        watch(20, Until::Over),
        phase("end"),
    ]);
    Scenario {
        name: "alerts",
        about: "what a real Prometheus and Alertmanager tell of it all",
        megabytes: 512,
        plan: plan(steps),
        expect: Expect::Told,
        core: &[Kernel::Newest],
        seconds: 600,
        // This includes its Prometheus and Alertmanager on the host.
        load: 80,
        ..netns()
    }
}
