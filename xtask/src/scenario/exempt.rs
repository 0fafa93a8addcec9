//! Userspace servers with and without the exemption from local throttling: the effect of
//! `PR_SET_IO_FLUSHER` on a loop.

use guest::{Ganesha, Step, Until};

use super::livelocks::{DIRTY, netns, until_confirmed};
use super::negatives::{SECONDS, writes};
use super::steps::{check, daemon, disk, load, mount, nfs_modules, plan, watch};
use super::{Expect, Quiet, STEADY, Scenario};

pub fn all() -> Vec<Scenario> {
    vec![
        goes_on(
            "ganesha-exempt",
            "nfs-ganesha 6, which asks to be exempt, under the load that freezes one that is not",
            Ganesha::Six,
        ),
        refused(),
        goes_on(
            "ganesha-io-flusher",
            "nfs-ganesha 4, which does not ask, started through io-flusher, under the same load",
            Ganesha::FourExempt,
        ),
        io_flusher(),
    ]
}

/// The load of `ganesha-livelock`.
fn loaded(kind: Ganesha) -> Vec<Step> {
    vec![
        nfs_modules(),
        disk(),
        Step::Ganesha {
            pod: None,
            path: "/export".to_owned(),
            kind,
        },
        mount("127.0.0.1"),
        Step::Hog { megabytes: 200 },
        daemon(),
        watch(3, Until::Over),
        load("/mnt", 150),
    ]
}

fn goes_on(name: &'static str, about: &'static str, kind: Ganesha) -> Scenario {
    let mut steps = loaded(kind);
    steps.push(watch(SECONDS, Until::Over));
    Scenario {
        name,
        about,
        megabytes: 512,
        disks: vec![STEADY],
        plan: plan(steps),
        expect: Expect::Nothing(Quiet {
            disk: 2_000_000,
            acked: 2_000_000,
            ..Quiet::default()
        }),
        exempt: Some("yes"),
        load: 80,
        ..writes(0)
    }
}

fn refused() -> Scenario {
    let mut steps = loaded(Ganesha::SixRefused);
    steps.extend(until_confirmed());
    Scenario {
        name: "ganesha-refused",
        about: "nfs-ganesha 6 without CAP_SYS_RESOURCE, as in most containers: the kernel does not exempt it",
        megabytes: 512,
        plan: plan(steps),
        expect: Expect::Livelock(DIRTY),
        exempt: Some("no"),
        ..netns()
    }
}

fn io_flusher() -> Scenario {
    const COMMAND: &[&str] = &["io-flusher", "--", "/init", "exempt"];
    const TRY: &[&str] = &["io-flusher", "--try", "--", "/init", "exempt"];
    const NONE: &[&str] = &["io-flusher", "--", "/no-such-command"];
    // The exit code of this start shows whether the kernel has exempted it.
    Scenario {
        name: "io-flusher",
        about: "io-flusher as root and as an ordinary user, whom the kernel refuses",
        disks: vec![],
        plan: plan([
            check(COMMAND, None),
            check(COMMAND, Some(65534)),
            check(TRY, Some(65534)),
            check(NONE, None),
        ]),
        expect: Expect::ExitCodes(&[&[0], &[1], &[NOT_EXEMPT], &[127]]),
        seconds: 60,
        load: 20,
        ..Scenario::default()
    }
}

/// The exit code of `/init exempt` if its thread is not exempt.
const NOT_EXEMPT: i32 = 3;
