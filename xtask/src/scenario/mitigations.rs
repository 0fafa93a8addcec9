//! Mitigations of the livelock across namespaces, and preventions. Nothing is judged here: each
//! scenario plays one action, and its outcome is one line. The daemon does not run.

use guest::{Step, Until, Way};

use super::steps::{
    client, dirty_bytes, disk, load_by, modprobe, mount, nfs_modules, plan, run, serve_in_pod,
    server, set, watch,
};
use super::{Expect, Scenario, livelocks, reclaim};
use crate::kernels::{self, Kernel};

/// How long the effect of an action is watched.
const SECONDS: u64 = 60;

/// Since Linux 6.2 a BDI has `strict_limit`, `max_bytes` and `min_bytes`.
pub const BOUNDED: &[Kernel] = &[Kernel::V6_12, Kernel::Newest];

/// Actions on a stalled loop, and actions before the load.
pub fn all() -> Vec<Scenario> {
    let mut all = limits();
    all.extend(writers());
    all.extend(servers());
    all.extend(others());
    all.extend(before());
    all
}

/// Actions on the dirty limits.
fn limits() -> Vec<Scenario> {
    let everywhere = kernels::ALL;
    let strict = || [client("strict_limit", "1"), client("max_ratio", "1")];
    let [one, two] = strict();
    vec![
        out("mitigation-dirty-bytes", everywhere, [more()]),
        out("mitigation-background", everywhere, [background()]),
        out(
            "mitigation-max-ratio-background",
            everywhere,
            [client("max_ratio", "1"), background()],
        ),
        out(
            "mitigation-max-ratio",
            everywhere,
            [client("max_ratio", "1")],
        ),
        out(
            "mitigation-max-ratio-dirty-bytes",
            everywhere,
            [client("max_ratio", "1"), more()],
        ),
        out(
            "mitigation-strict-max-ratio-dirty-bytes",
            BOUNDED,
            [one, two, more()],
        ),
        out(
            "mitigation-strict-limit",
            BOUNDED,
            [client("strict_limit", "1")],
        ),
        out("mitigation-strict-max-ratio", BOUNDED, strict()),
        out(
            "mitigation-max-bytes",
            BOUNDED,
            [client("max_bytes", "4194304")],
        ),
        out(
            "mitigation-max-ratio-dirty-bytes-undone",
            everywhere,
            [
                client("max_ratio", "1"),
                more(),
                wait(20),
                set("/proc/sys/vm/dirty_ratio", "20"),
            ],
        ),
    ]
}

/// Actions on writers and users.
fn writers() -> Vec<Scenario> {
    let everywhere = kernels::ALL;
    let stop = |number| Step::Signal {
        name: "writer".to_owned(),
        number,
    };
    let beside = |line: &[&str]| Step::Begin {
        pod: None,
        words: words(line),
    };
    vec![
        out(
            "mitigation-sigstop-dirty-bytes",
            everywhere,
            [stop(19), more()],
        ),
        out("mitigation-sync", everywhere, [beside(&["sync"])]),
        out("mitigation-sigkill", everywhere, [stop(9)]),
        out(
            "mitigation-sigkill-dirty-bytes",
            everywhere,
            [stop(9), more()],
        ),
        // The limits are restored, and the load continues.
        out(
            "mitigation-sigstop-dirty-bytes-undone",
            everywhere,
            [
                stop(19),
                more(),
                wait(10),
                set("/proc/sys/vm/dirty_ratio", "20"),
                stop(18),
            ],
        ),
        // The load continues under new limits.
        out(
            "mitigation-sigstop-held",
            everywhere,
            [
                stop(19),
                client("max_ratio", "1"),
                Step::SetIfThere {
                    path: "/sys/class/bdi/CLIENT/strict_limit".to_owned(),
                    value: "1".to_owned(),
                },
                more(),
                wait(10),
                stop(18),
            ],
        ),
        out(
            "mitigation-umount-force",
            everywhere,
            [beside(&["umount-force", "/mnt"])],
        ),
    ]
}

/// Actions on the server.
fn servers() -> Vec<Scenario> {
    let everywhere = kernels::ALL;
    let threads = |value: &str| Step::Begin {
        pod: Some("srv".to_owned()),
        words: words(&["put", "/proc/fs/nfsd/threads", value]),
    };
    vec![
        out("mitigation-nfsd-realtime", everywhere, [real_time()]),
        out(
            "mitigation-server-min-ratio",
            everywhere,
            [server("min_ratio", "50")],
        ),
        out(
            "mitigation-server-strict-limit",
            BOUNDED,
            [server("strict_limit", "1")],
        ),
        out(
            "mitigation-server-strict-min-ratio",
            BOUNDED,
            [server("min_ratio", "50"), server("strict_limit", "1")],
        ),
        // Threads that are in balance_dirty_pages already have read the old strict limit: only a
        // limit above the dirty bytes releases them.
        out(
            "mitigation-server-strict-lift",
            BOUNDED,
            [
                server("strict_limit", "1"),
                more(),
                wait(3),
                set("/proc/sys/vm/dirty_ratio", "20"),
            ],
        ),
        out("mitigation-nfsd-threads-64", everywhere, [threads("64")]),
        out("mitigation-nfsd-stop", everywhere, [threads("0")]),
    ]
}

/// Livelocks other than the plain load across namespaces.
fn others() -> Vec<Scenario> {
    const LOOP: &[Kernel] = kernels::ALL;
    const RECLAIM: &[Kernel] = &[Kernel::V5_10, Kernel::V6_1];
    let stop = |number| Step::Signal {
        name: "writer".to_owned(),
        number,
    };
    let held = || [client("max_ratio", "1"), more()];
    let strictly = || {
        [
            client("strict_limit", "1"),
            client("max_ratio", "1"),
            more(),
        ]
    };
    let free = || run(&["umount /hog"]);
    vec![
        of(
            livelocks::loop_device(),
            "mitigation-loop-device-dirty-bytes",
            LOOP,
            [more()],
        ),
        of(
            livelocks::loop_device(),
            "mitigation-loop-device-max-ratio-dirty-bytes",
            LOOP,
            held(),
        ),
        of(
            livelocks::loop_device(),
            "mitigation-loop-device-strict-max-ratio-dirty-bytes",
            BOUNDED,
            strictly(),
        ),
        of(
            livelocks::loop_device(),
            "mitigation-loop-device-sigstop-dirty-bytes",
            LOOP,
            [stop(19), more()],
        ),
        of(
            livelocks::ganesha(),
            "mitigation-ganesha-dirty-bytes",
            livelocks::GANESHA,
            [more()],
        ),
        of(
            livelocks::ganesha(),
            "mitigation-ganesha-sigstop-dirty-bytes",
            livelocks::GANESHA,
            [stop(19), more()],
        ),
        of(
            livelocks::ganesha(),
            "mitigation-ganesha-strict-max-ratio-dirty-bytes",
            BOUNDED,
            strictly(),
        ),
        of(
            reclaim::usable(),
            "mitigation-reclaim-sigstop",
            RECLAIM,
            [stop(19)],
        ),
        of(
            reclaim::usable(),
            "mitigation-reclaim-sigkill",
            RECLAIM,
            [stop(9)],
        ),
        of(
            reclaim::usable(),
            "mitigation-reclaim-free",
            RECLAIM,
            [free()],
        ),
        of(
            reclaim::usable(),
            "mitigation-reclaim-sigstop-free",
            RECLAIM,
            [stop(19), free()],
        ),
    ]
}

fn more() -> Step {
    dirty_bytes("100000000")
}

/// Writes the server's dirty pages at once, whatever else is dirty. `balance_dirty_pages` releases
/// a thread whose BDI is clean within the error of its counters.
fn background() -> Step {
    set("/proc/sys/vm/dirty_background_bytes", "65536")
}

fn wait(seconds: u64) -> Step {
    watch(seconds, Until::Over)
}

fn before() -> Vec<Scenario> {
    let everywhere = kernels::ALL;
    let strict = || client("strict_limit", "1");
    let mut all = vec![
        prevent("prevent-max-ratio", everywhere, [client("max_ratio", "1")]),
        prevent("prevent-nfsd-realtime", everywhere, [real_time()]),
        prevent(
            "prevent-strict-max-ratio-10",
            BOUNDED,
            [strict(), client("max_ratio", "10")],
        ),
        prevent(
            "prevent-strict-max-ratio-1",
            BOUNDED,
            [strict(), client("max_ratio", "1")],
        ),
        prevent(
            "prevent-strict-max-bytes",
            BOUNDED,
            [strict(), client("max_bytes", "4194304")],
        ),
        prevent("prevent-strict-limit", BOUNDED, [strict()]),
        prevent(
            "prevent-max-ratio-dirty-bytes",
            everywhere,
            [client("max_ratio", "1"), dirty_bytes("100000000")],
        ),
        prevent(
            "prevent-server-min-ratio",
            everywhere,
            [server("min_ratio", "50")],
        ),
        prevent(
            "prevent-server-strict-limit",
            BOUNDED,
            [server("strict_limit", "1")],
        ),
        prevent(
            "prevent-server-strict-min-ratio",
            BOUNDED,
            [server("min_ratio", "50"), server("strict_limit", "1")],
        ),
        prevent("prevent-background", everywhere, [background()]),
        prevent(
            "prevent-background-bytes",
            everywhere,
            [
                set("/proc/sys/vm/dirty_background_bytes", "1048576"),
                dirty_bytes("50000000"),
            ],
        ),
        prevent(
            "prevent-server-direct",
            // `nfsd.io_cache_write` came with Linux 6.18.
            &[Kernel::Newest],
            [set("/sys/kernel/debug/nfsd/io_cache_write", "2")],
        ),
        same_address(),
        loaded("prevent-direct", everywhere, "", Way::Direct, vec![]),
        loaded("prevent-sync", everywhere, "sync", Way::Buffered, vec![]),
        loaded("prevent-nothing", everywhere, "", Way::Buffered, vec![]),
    ];
    for scenario in &mut all {
        scenario.about = "measures what an action before the load prevents";
    }
    all
}

/// nfsd may exceed the dirty limit for a client with one of the server's own addresses
/// (`RQ_LOCAL`), so give each client that address.
fn same_address() -> Scenario {
    let mut scenario = loaded(
        "prevent-same-address",
        kernels::ALL,
        "",
        Way::Buffered,
        vec![],
    );
    let steps = [
        modprobe(&["nft_chain_nat", "nft_nat"]),
        run(&[
            "ip netns exec srv nft add table ip nat",
            "ip netns exec srv nft add chain ip nat in { type nat hook input priority 100 ; }",
            "ip netns exec srv nft add rule ip nat in tcp dport 2049 snat to 10.9.0.2",
        ]),
    ];
    let mount = |step: &Step| matches!(step, Step::Mount { .. });
    let at = scenario.plan.steps.iter().position(mount).unwrap_or(0);
    scenario.plan.steps.splice(at..at, steps);
    scenario
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|&word| word.to_owned()).collect()
}

/// Real-time threads may exceed the dirty limit by a quarter, like those with `PF_LOCAL_THROTTLE`:
/// `domain_dirty_limits` in `mm/page-writeback.c`.
fn real_time() -> Step {
    Step::RealTime("nfsd".to_owned())
}

fn out<const N: usize>(
    name: &'static str,
    kernels: &'static [Kernel],
    actions: [Step; N],
) -> Scenario {
    let mut scenario = loaded(name, kernels, "", Way::Buffered, vec![]);
    let steps = &mut scenario.plan.steps;
    // Watch from the action on, not from the start of the load.
    steps.pop();
    act(steps, actions);
    scenario.about = "measures what an action does to a loop that stands still";
    scenario
}

/// Acts once the loop is stalled, and watches the outcome.
fn act<const N: usize>(steps: &mut Vec<Step>, actions: [Step; N]) {
    steps.push(watch(60, Until::Frozen(8)));
    steps.extend(actions);
    steps.extend([Step::HelpedOut, watch(SECONDS, Until::Over)]);
}

/// An action on another livelock, without the daemon.
fn of<const N: usize>(
    livelock: Scenario,
    name: &'static str,
    kernels: &'static [Kernel],
    actions: [Step; N],
) -> Scenario {
    let confirmed = |step: &Step| {
        matches!(
            step,
            Step::Watch {
                until: Until::Confirmed(_),
                ..
            }
        )
    };
    let mut steps = livelock.plan.steps;
    let end = steps.iter().position(confirmed).unwrap_or(steps.len());
    steps.truncate(end);
    steps.retain(|step| !matches!(step, Step::Daemon { .. }));
    act(&mut steps, actions);
    Scenario {
        name,
        about: "measures what an action does to a loop that stands still",
        kernels,
        plan: plan(steps),
        expect: Expect::Measured,
        core: &[],
        seconds: 220,
        ..livelock
    }
}

fn prevent<const N: usize>(
    name: &'static str,
    kernels: &'static [Kernel],
    actions: [Step; N],
) -> Scenario {
    loaded(name, kernels, "", Way::Buffered, actions.into())
}

/// The livelock across namespaces, with an action before the load.
fn loaded(
    name: &'static str,
    kernels: &'static [Kernel],
    options: &str,
    way: Way,
    actions: Vec<Step>,
) -> Scenario {
    let mut mount = mount("10.9.0.2");
    if let Step::Mount { options: more, .. } = &mut mount {
        options.clone_into(more);
    }
    let mut steps = vec![nfs_modules(), disk()];
    steps.extend(serve_in_pod(8));
    steps.extend([mount, Step::Hog { megabytes: 100 }]);
    steps.extend(actions);
    steps.extend([load_by(way, "/mnt", 300), watch(SECONDS, Until::Over)]);
    Scenario {
        name,
        about: "",
        kernels,
        plan: plan(steps),
        seconds: 200,
        load: 30,
        ..Scenario::default()
    }
}
