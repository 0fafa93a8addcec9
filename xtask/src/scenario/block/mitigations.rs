//! Mitigations of livelocks of block devices, and preventions. Nothing is judged here: each scenario
//! plays one action, and its outcome is one line. The daemon does not run.

use guest::{BlockServer, BlockWrites, Step, Until};

use super::super::steps::{client, dirty_bytes, load, plan, set, watch};
use super::super::{Expect, Scenario};
use super::{Served, machine};
use crate::kernels::{self, Kernel};

/// How long the effect of an action is watched.
const SECONDS: u64 = 45;

/// Since Linux 6.2 a BDI has `strict_limit`.
const BOUNDED: &[Kernel] = &[Kernel::V6_12, Kernel::Newest];

/// The scenarios of one server, by the word for it.
macro_rules! of {
    ($word:literal, $server:expr) => {
        [
            frozen(
                concat!("mitigation-", $word, "-server-strict-limit"),
                BOUNDED,
                $server,
                [server("strict_limit", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-server-strict-min-ratio"),
                BOUNDED,
                $server,
                [server("min_ratio", "50"), server("strict_limit", "1")],
            ),
            // The server's last dirty pages are above its own limit, and too young to be written.
            frozen(
                concat!("mitigation-", $word, "-server-strict-expire"),
                BOUNDED,
                $server,
                [
                    server("strict_limit", "1"),
                    set("/proc/sys/vm/dirty_expire_centisecs", "100"),
                ],
            ),
            frozen(
                concat!("mitigation-", $word, "-server-max-ratio"),
                kernels::ALL,
                $server,
                [server("max_ratio", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-client-max-ratio"),
                kernels::ALL,
                $server,
                [client("max_ratio", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-client-strict-max-ratio"),
                BOUNDED,
                $server,
                [client("strict_limit", "1"), client("max_ratio", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-dirty-bytes"),
                kernels::ALL,
                $server,
                [dirty_bytes("100000000")],
            ),
            frozen(
                concat!("mitigation-", $word, "-sigstop"),
                kernels::ALL,
                $server,
                [stop(19)],
            ),
            frozen(
                concat!("mitigation-", $word, "-sigkill"),
                kernels::ALL,
                $server,
                [stop(9)],
            ),
            frozen(
                concat!("mitigation-", $word, "-sigstop-dirty-bytes"),
                kernels::ALL,
                $server,
                [stop(19), dirty_bytes("100000000")],
            ),
            before(
                concat!("prevent-", $word, "-server-strict-limit"),
                BOUNDED,
                Served::cached($server),
                [server("strict_limit", "1")],
            ),
            before(
                concat!("prevent-", $word, "-client-max-ratio"),
                kernels::ALL,
                Served::cached($server),
                [client("max_ratio", "1")],
            ),
            before(
                concat!("prevent-", $word, "-client-strict-max-ratio"),
                BOUNDED,
                Served::cached($server),
                [client("strict_limit", "1"), client("max_ratio", "1")],
            ),
        ]
    };
}

pub fn all() -> Vec<Scenario> {
    use BlockServer::{Lio, NbdServer, QemuNbd, Tgtd};
    use BlockWrites::{Direct, Synced};
    let exempt = |name, of| before(name, kernels::ALL, Served::exempt(of), []);
    let by = |name, of, writes| before(name, kernels::ALL, Served::by(of, writes), []);
    let mut all: Vec<_> = of!("qemu-nbd", QemuNbd).into();
    all.extend(of!("nbd-server", NbdServer));
    all.extend(of!("lio", Lio));
    all.extend(of!("tgtd", Tgtd));
    all.extend([
        exempt("prevent-qemu-nbd-io-flusher", QemuNbd),
        exempt("prevent-nbd-server-io-flusher", NbdServer),
        exempt("prevent-tgtd-io-flusher", Tgtd),
        by("prevent-qemu-nbd-direct", QemuNbd, Direct),
        by("prevent-lio-direct", Lio, Direct),
        by("prevent-tgtd-direct", Tgtd, Direct),
        by("prevent-qemu-nbd-synced", QemuNbd, Synced),
        by("prevent-nbd-server-synced", NbdServer, Synced),
        by("prevent-lio-synced", Lio, Synced),
        by("prevent-tgtd-synced", Tgtd, Synced),
    ]);
    all
}

/// A limit of the BDI that the server writes to.
fn server(file: &str, value: &str) -> Step {
    set(&format!("/sys/class/bdi/SERVER/{file}"), value)
}

fn stop(number: i32) -> Step {
    Step::Signal {
        name: "writer".to_owned(),
        number,
    }
}

/// Acts on a stalled loop.
fn frozen<const N: usize>(
    name: &'static str,
    kernels: &'static [Kernel],
    server: BlockServer,
    actions: [Step; N],
) -> Scenario {
    let mut steps = Served::cached(server).steps();
    steps.extend([load("/mnt", 250), watch(60, Until::Frozen(8)), Step::Stacks]);
    steps.extend(actions);
    steps.extend([Step::HelpedOut, watch(SECONDS, Until::Over)]);
    Scenario {
        name,
        about: "measures what an action does to a block device's loop that stands still",
        kernels,
        plan: plan(steps),
        ..measured()
    }
}

/// Acts before the load.
fn before<const N: usize>(
    name: &'static str,
    kernels: &'static [Kernel],
    served: Served,
    actions: [Step; N],
) -> Scenario {
    let mut steps = served.steps();
    steps.extend(actions);
    steps.extend([load("/mnt", 250), watch(SECONDS, Until::Over), Step::Stacks]);
    Scenario {
        name,
        about: "measures what an action before the load prevents",
        kernels,
        plan: plan(steps),
        ..measured()
    }
}

fn measured() -> Scenario {
    Scenario {
        expect: Expect::Measured,
        seconds: 220,
        exempt: None,
        ..machine()
    }
}
