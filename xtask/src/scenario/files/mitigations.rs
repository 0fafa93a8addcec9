//! Mitigations of these livelocks, and preventions. Nothing is judged here: each scenario plays one
//! action, and its outcome is one line. The daemon does not run.

use guest::{Ganesha, SmbServer, Step, Until};

use super::super::mitigations::BOUNDED;
use super::super::steps::{client, dirty_bytes, load, plan, server, set, watch};
use super::super::{Expect, Scenario};
use super::{crypt, dnat, fuse, ksmbd_mount, samba};
use crate::kernels::{self, Kernel};

/// How long the effect of an action is watched.
const SECONDS: u64 = 30;

/// The scenarios of one kind, by the word for it, its steps before the load, and the directory of
/// the writers.
macro_rules! of {
    ($word:literal, $steps:expr, $dir:literal) => {
        [
            frozen(
                concat!("mitigation-", $word, "-server-strict-limit"),
                BOUNDED,
                ($steps, $dir),
                [server("strict_limit", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-server-strict-min-ratio"),
                BOUNDED,
                ($steps, $dir),
                [server("min_ratio", "50"), server("strict_limit", "1")],
            ),
            // The server's last dirty pages are above its own limit, and too young to be written.
            frozen(
                concat!("mitigation-", $word, "-server-strict-expire"),
                BOUNDED,
                ($steps, $dir),
                [
                    server("strict_limit", "1"),
                    set("/proc/sys/vm/dirty_expire_centisecs", "100"),
                ],
            ),
            frozen(
                concat!("mitigation-", $word, "-server-max-ratio"),
                kernels::ALL,
                ($steps, $dir),
                [server("max_ratio", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-client-strict-max-ratio"),
                BOUNDED,
                ($steps, $dir),
                [client("strict_limit", "1"), client("max_ratio", "1")],
            ),
            frozen(
                concat!("mitigation-", $word, "-client-max-ratio-dirty-bytes"),
                kernels::ALL,
                ($steps, $dir),
                [client("max_ratio", "1"), more()],
            ),
            frozen(
                concat!("mitigation-", $word, "-dirty-bytes"),
                kernels::ALL,
                ($steps, $dir),
                [more()],
            ),
            frozen(
                concat!("mitigation-", $word, "-sigkill"),
                kernels::ALL,
                ($steps, $dir),
                [stop(9)],
            ),
            frozen(
                concat!("mitigation-", $word, "-sigstop-dirty-bytes"),
                kernels::ALL,
                ($steps, $dir),
                [stop(19), more()],
            ),
            before(
                concat!("prevent-", $word, "-server-strict-limit"),
                BOUNDED,
                ($steps, $dir),
                [server("strict_limit", "1")],
            ),
            before(
                concat!("prevent-", $word, "-client-strict-max-ratio"),
                BOUNDED,
                ($steps, $dir),
                [client("strict_limit", "1"), client("max_ratio", "1")],
            ),
        ]
    };
}

pub fn all() -> Vec<Scenario> {
    use SmbServer::{Samba, SambaExempt};
    let mut all: Vec<_> = of!("ganesha-dnat", dnat(Ganesha::SixRefused), "/mnt").into();
    all.extend(of!("samba", samba(Samba, &[]), "/mnt"));
    all.extend(of!("fuse", fuse(false), "/mnt"));
    all.extend(of!("loop-crypt", crypt(), "/upper"));
    // On newer kernels ksmbd goes on.
    all.extend([
        frozen(
            "mitigation-ksmbd-server-strict-limit",
            &[Kernel::V6_12],
            (ksmbd_mount(), "/mnt"),
            [server("strict_limit", "1")],
        ),
        frozen(
            "mitigation-ksmbd-sigstop-dirty-bytes",
            &[Kernel::V6_12],
            (ksmbd_mount(), "/mnt"),
            [stop(19), more()],
        ),
        frozen(
            "mitigation-ksmbd-sigkill",
            &[Kernel::V6_12],
            (ksmbd_mount(), "/mnt"),
            [stop(9)],
        ),
    ]);
    all.extend([
        // The device that the writers see.
        frozen(
            "mitigation-loop-crypt-upper-strict-max-ratio",
            BOUNDED,
            (crypt(), "/upper"),
            [upper("strict_limit", "1"), upper("max_ratio", "1")],
        ),
        exempt("prevent-ganesha-dnat-io-flusher", dnat(Ganesha::Six)),
        exempt("prevent-samba-io-flusher", samba(SambaExempt, &[])),
        exempt("prevent-fuse-io-flusher", fuse(true)),
        exempt(
            "prevent-samba-strict-allocate",
            samba(Samba, &["strict allocate = yes"]),
        ),
        exempt(
            "prevent-samba-sync-always",
            samba(Samba, &["sync always = yes"]),
        ),
        exempt(
            "prevent-samba-no-aio",
            samba(Samba, &["aio write size = 0"]),
        ),
    ]);
    all
}

/// A file of the BDI of the file system at `/upper`.
fn upper(file: &str, value: &str) -> Step {
    set(&format!("/sys/class/bdi/UPPER/{file}"), value)
}

fn more() -> Step {
    dirty_bytes("100000000")
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
    (mut steps, dir): (Vec<Step>, &str),
    actions: [Step; N],
) -> Scenario {
    steps.extend([load(dir, 250), watch(60, Until::Frozen(8)), Step::Stacks]);
    steps.extend(actions);
    steps.extend([Step::HelpedOut, watch(SECONDS, Until::Over)]);
    Scenario {
        name,
        about: "measures what an action does to a loop of file systems that stands still",
        kernels,
        plan: plan(steps),
        ..measured()
    }
}

/// Acts before the load.
fn before<const N: usize>(
    name: &'static str,
    kernels: &'static [Kernel],
    (mut steps, dir): (Vec<Step>, &str),
    actions: [Step; N],
) -> Scenario {
    steps.extend(actions);
    steps.extend([load(dir, 250), watch(SECONDS, Until::Over)]);
    Scenario {
        name,
        about: "measures what an action prevents before the load on a loop of file systems",
        kernels,
        plan: plan(steps),
        ..measured()
    }
}

/// A server that is started in another way.
fn exempt(name: &'static str, steps: Vec<Step>) -> Scenario {
    before(name, kernels::ALL, (steps, "/mnt"), [])
}

fn measured() -> Scenario {
    Scenario {
        megabytes: 512,
        expect: Expect::Measured,
        seconds: 180,
        load: 40,
        ..Scenario::default()
    }
}
