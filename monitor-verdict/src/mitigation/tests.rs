mod writers;

use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::{
    loops::{Exempt, Exemption, Loop, Proof, Scope},
    mitigation::Measure,
    observation::{Bdi, ClientKind, DirtyPauses, Memory, Observation, Waiting},
    testing,
    verdict::Signature,
};
use proptest::prelude::*;

use super::{
    PREVENT_RATIO, Target, ineffective, mitigations, mitigations_at, preventions, preventions_at,
};

const MB: u64 = 1 << 20;

/// A proven loop across network namespaces.
pub(crate) fn the_loop() -> Loop {
    Loop {
        id: "0:29-nfsd".into(),
        client_bdi: "0:29".into(),
        server: "nfsd".into(),
        server_tgid: None,
        server_bdi: Some("254:0".into()),
        server_fstype: "ext4".into(),
        server_device: "/dev/vda".into(),
        proof: Proof::Xid,
        scope: Scope::CrossNetns,
        exempt: Exemption::default(),
        since_ms: 0,
        since_unix_ms: 0,
        became_own_client: false,
        localio: false,
        client_kind: ClientKind::Nfs,
        client_name: "".into(),
        server_kind: monitor_model::observation::ServerKind::default(),
        path: Vec::new(),
        direct: false,
        mounts: Vec::new(),
        version: "4.2".into(),
        server_address: None,
        client_containers: Vec::new(),
        server_container: None,
        client_netns: None,
        server_netns: None,
        rpc_clients: Vec::new(),
        calls: 0,
        calls_served_here: 0,
        risk: Vec::new(),
        recommendations: Vec::new(),
    }
}

fn wait(tgid: u32, class: Class, bdi: &str) -> Waiting {
    Waiting {
        tid: tgid,
        tgid,
        comm: "writer".into(),
        cause: Cause::BalanceDirtyPages,
        class,
        reason: ThrottleReason::None,
        bdi: bdi.into(),
        since_ns: 0,
    }
}

/// A stalled node with 44 MB dirty of 320 MB.
fn node(kernel: &str) -> Observation {
    let has_strict_limit = !kernel.starts_with("5.") && !kernel.starts_with("6.1.");
    Observation {
        monotonic_ns: 60_000_000_000,
        memory: Memory {
            page_size: 4096,
            dirty_bytes: Some(4 * MB),
            writeback_bytes: Some(40 * MB),
            dirty_limit_bytes: Some(30 * MB),
            total_bytes: Some(320 * MB),
            ..Memory::default()
        },
        waits: vec![
            wait(41, Class::User, "0:29"),
            wait(40, Class::User, "0:29"),
            wait(41, Class::User, "0:29"),
            wait(50, Class::User, "8:0"),
            wait(90, Class::Nfsd, "254:0"),
        ],
        bdis: vec![Bdi {
            bdi: "0:29".into(),
            max_ratio: Some(100),
            strict_limit: has_strict_limit.then_some(false),
            ..Bdi::default()
        }],
        kernel: kernel.into(),
        ..Observation::default()
    }
}

fn commands(measures: &[Measure]) -> String {
    let lines = measures
        .iter()
        .flat_map(|one| one.commands.iter().chain(&one.undo));
    let lines: Vec<&str> = lines.map(String::as_str).collect();
    lines.join("\n") + "\n"
}

const KERNELS: [&str; 4] = ["5.10.0-32", "6.1.0-28", "6.12.9", "7.2.1"];

#[test]
fn what_is_offered_was_measured_for_that_very_signature_and_says_what_was_seen() {
    let measured = |signature| {
        !matches!(
            signature,
            Signature::CommitWait | Signature::RequestStarvation
        )
    };
    for kernel in KERNELS {
        for signature in Signature::ALL {
            let out = mitigations(signature, &the_loop(), &node(kernel));
            let before = preventions(signature, &the_loop(), &node(kernel));
            assert_eq!(
                !out.is_empty(),
                measured(signature),
                "{kernel} {signature:?}: {out:?}"
            );
            assert!(before[0].what.contains("different nodes"), "{before:?}");
            let own = signature == Signature::DirtyThrottle;
            assert_eq!(before.len() > 1, own, "{kernel} {signature:?}: {before:?}");
            for measure in out.iter().chain(&before) {
                assert!(
                    !measure.seen.contains("Not measured for"),
                    "{kernel} {signature:?} {measure:?}"
                );
                assert!(
                    measure.seen.len() > 10,
                    "{kernel} {signature:?} {measure:?}"
                );
            }
        }
    }
}

#[test]
fn a_kernel_without_strict_limit_is_not_told_to_set_it() {
    for (kernel, has) in [("5.10.0-32", false), ("6.1.0-28", false), ("6.12.9", true)] {
        for signature in Signature::ALL {
            let mut all = mitigations(signature, &the_loop(), &node(kernel));
            all.extend(preventions(signature, &the_loop(), &node(kernel)));
            let failed = ineffective(signature, &Target::of(&the_loop(), &node(kernel)));
            let words: String = failed.iter().map(|one| one.what.as_str()).collect();
            if has {
                continue;
            }
            assert!(!commands(&all).contains("strict_limit"), "{kernel}");
            assert!(
                !words.contains("strict_limit") && !words.contains("max_bytes"),
                "{kernel}"
            );
        }
    }
    // The BDI's files count more than the version: a vendor may backport.
    let mut node = node("5.14.0-503.el9");
    node.bdis[0].strict_limit = Some(false);
    let target = Target::of(&the_loop(), &node);
    assert_eq!(target.offers_strict_limit(), Some(true));
}

#[test]
fn the_commands_name_this_loops_bdi_its_writers_and_a_limit_for_this_node() {
    let out = commands(&mitigations(
        Signature::DirtyThrottle,
        &the_loop(),
        &node("6.12.9"),
    ));
    assert!(
        out.contains("echo 1 > /sys/class/bdi/0:29/strict_limit"),
        "{out}"
    );
    assert!(
        out.contains("kill -STOP 40 41\n") && out.contains("kill -CONT 40 41\n"),
        "{out}"
    );
    // Two and a half times the 42.0 MiB that are dirty.
    assert!(
        out.contains(&format!("sysctl vm.dirty_bytes={}\n", 110 * MB)),
        "{out}"
    );
    assert!(!out.contains('$'), "{out}");
}

#[test]
fn the_limit_that_the_kernel_named_lately_counts_more_than_vmstat_and_an_old_one_does_not() {
    let mut node = node("6.12.9");
    let mut pause = DirtyPauses {
        events: 5,
        last_ns: node.monotonic_ns - 1,
        last_dirty_pages: 14_000,
        last_limit_pages: 50 * MB / 4096,
        ..testing::pauses("254:0", Class::Nfsd)
    };
    node.dirty_pauses = vec![pause.clone()];
    assert_eq!(
        Target::of(&the_loop(), &node).dirty_bytes(),
        Some(136 * MB),
        "of 52.2 MiB"
    );
    pause.last_ns = node.monotonic_ns - 11_000_000_000;
    node.dirty_pauses = vec![pause];
    assert_eq!(Target::of(&the_loop(), &node).dirty_bytes(), Some(110 * MB));
}

#[test]
fn a_cap_at_half_of_the_memory_is_reported() {
    let mut node = node("6.12.9");
    node.memory.writeback_bytes = Some(150 * MB);
    let out = mitigations(Signature::DirtyThrottle, &the_loop(), &node);
    assert!(commands(&out).contains(&format!("vm.dirty_bytes={}\n", 160 * MB)));
    assert!(
        out[0].what.contains("half of the memory"),
        "{}",
        out[0].what
    );
}

#[test]
fn any_place_has_variables_for_what_is_not_known() {
    let out = commands(&mitigations_at(
        Signature::DirtyThrottle,
        &Target::default(),
    ));
    assert!(out.contains("/sys/class/bdi/$bdi/max_ratio"), "{out}");
    assert!(
        out.contains("held * 5 / 2") && out.contains("limit < most"),
        "{out}"
    );
    assert!(out.contains("kill -STOP $writers"), "{out}");
    let before = preventions_at(Signature::DirtyThrottle, &Target::default());
    assert!(before[0].what.contains("different nodes"), "{before:?}");
    let hold = before
        .iter()
        .find(|one| commands(&[(*one).clone()]).contains("max_ratio"));
    assert!(
        hold.unwrap().what.contains("Linux 6.2 and later"),
        "{before:?}"
    );
}

#[test]
fn what_a_measure_sets_it_also_takes_back() {
    for kernel in KERNELS {
        for signature in Signature::ALL {
            let mut all = mitigations(signature, &the_loop(), &node(kernel));
            all.extend(preventions(signature, &the_loop(), &node(kernel)));
            for measure in all {
                for word in ["max_ratio", "strict_limit"] {
                    let sets = |lines: &[String]| {
                        lines
                            .iter()
                            .any(|line| line.starts_with("echo") && line.ends_with(word))
                    };
                    assert_eq!(sets(&measure.commands), sets(&measure.undo), "{measure:?}");
                }
                let begins = |lines: &[String], word| lines.iter().any(|l| l.starts_with(word));
                let stops = begins(&measure.commands, "kill -STOP");
                let goes_on =
                    begins(&measure.commands, "kill -CONT") || begins(&measure.undo, "kill -CONT");
                assert_eq!(stops, goes_on, "{measure:?}");
                let raises = measure
                    .commands
                    .iter()
                    .any(|line| line.contains("vm.dirty_bytes="));
                assert_eq!(
                    raises,
                    measure
                        .undo
                        .iter()
                        .any(|line| line.contains("vm.dirty_ratio="))
                );
            }
        }
    }
}

#[test]
fn what_did_not_help_on_a_kernel_is_not_recommended_there_but_named() {
    let target = Target::of(&the_loop(), &node("6.12.9"));
    let out = mitigations_at(Signature::DirtyThrottle, &target);
    let alone =
        |one: &Measure| one.commands.len() == 2 && one.commands[1].starts_with("sysctl vm.");
    assert!(
        !out.iter().any(alone),
        "raising the limit alone froze again: {out:?}"
    );
    let failed = ineffective(Signature::DirtyThrottle, &target);
    assert!(
        failed
            .iter()
            .any(|one| one.what.contains("vm.dirty_bytes alone")),
        "{failed:?}"
    );
    assert!(
        failed
            .iter()
            .all(|one| one.seen.starts_with("6.12: ") || one.seen.contains("killed for memory")),
        "{failed:?}"
    );
}

#[test]
fn without_measurements_that_is_reported_or_no_measure_is_listed() {
    let seen = |signature, kernel| -> Vec<String> {
        let all = mitigations(signature, &the_loop(), &node(kernel)).into_iter();
        all.map(|one| one.seen).collect()
    };
    let begin = |all: &[String], words: &str| all.iter().any(|one| one.starts_with(words));
    assert!(seen(Signature::CommitWait, "6.12.9").is_empty());
    let all = seen(Signature::LoopDevice, "6.12.9");
    assert!(
        all.iter()
            .all(|one| one.starts_with("6.12: everything was written")),
        "its own runs, and no others: {all:?}"
    );
    let all = seen(Signature::ReclaimCongestion, "6.12.9");
    assert!(
        all.iter()
            .all(|one| one.starts_with("not measured on 6.12; 5.10: ")),
        "{all:?}"
    );
    let near = &seen(Signature::DirtyThrottle, "6.8.0-41-generic")[0];
    assert!(near.starts_with("6.12, the nearest to 6.8: "), "{near}");
    assert!(!begin(
        &seen(Signature::DirtyThrottle, "6.12.9"),
        "6.12, the nearest"
    ));
}

#[test]
fn an_action_that_led_to_kills_for_memory_is_a_mitigation_on_no_kernel_and_is_listed() {
    for kernel in ["5.10.0-32", "6.1.0-28", "6.12.9", "7.2.1", ""] {
        for server in ["nfsd", "ganesha.nfsd"] {
            let mut found = the_loop();
            found.server = server.into();
            let target = Target::of(&found, &node(kernel));
            let mut all = mitigations_at(Signature::DirtyThrottle, &target);
            all.extend(preventions_at(Signature::DirtyThrottle, &target));
            for one in &all {
                assert!(!one.seen.contains("killed for memory"), "{kernel} {one:?}");
            }
            let failed = ineffective(Signature::DirtyThrottle, &target);
            let failed: Vec<_> = failed
                .iter()
                .filter(|one| one.seen.contains("killed for memory"))
                .map(|one| one.what.as_str())
                .collect();
            assert!(
                failed.contains(&"a higher vm.dirty_bytes alone"),
                "{failed:?}"
            );
            let raises_alone = |one: &Measure| {
                let sets = one.commands.iter().filter(|line| line.contains("echo "));
                let held = sets.clone().any(|line| line.contains("strict_limit"));
                let stops = one.commands.iter().any(|line| line.contains("kill -"));
                let raises = one
                    .commands
                    .iter()
                    .any(|line| line.contains("dirty_bytes="));
                raises && !held && !stops
            };
            assert!(!all.iter().any(raises_alone), "{kernel} {server} {all:?}");
        }
    }
}

#[test]
fn since_6_2_the_server_is_freed_and_before_the_client_is_held() {
    let ease = |node: &Observation| {
        let all = mitigations(Signature::DirtyThrottle, &the_loop(), node);
        let all = all.into_iter().flat_map(|one| one.commands);
        let mut all = all.filter(|line| line.contains("guard ease"));
        all.next()
    };
    let mut node = node("6.12.9");
    assert_eq!(ease(&node), None, "what it writes to is not known");
    let mut disk = Bdi {
        bdi: "254:0".into(),
        fstype: "ext4".into(),
        strict_limit: Some(false),
        ..Bdi::default()
    };
    node.bdis.push(disk.clone());
    let command = "throttle-monitor guard ease 0:29 --server-bdi 254:0";
    assert_eq!(ease(&node).as_deref(), Some(command));
    disk.fstype = "nfs4".into();
    node.bdis[1] = disk;
    assert_eq!(ease(&node), None, "a client's itself");
    let old = ease(&self::node("6.1.0-28"));
    assert_eq!(old.as_deref(), Some("throttle-monitor guard ease 0:29"));
}

#[test]
fn one_number_holds_a_client_before_the_load() {
    let target = Target::of(&the_loop(), &node("6.12.9"));
    let held = format!("echo {PREVENT_RATIO} > /sys/class/bdi/0:29/max_ratio");
    let all = preventions_at(Signature::DirtyThrottle, &target);
    let ratios: Vec<_> = all
        .iter()
        .flat_map(|one| &one.commands)
        .filter(|line| line.contains("max_ratio"))
        .collect();
    assert_eq!(ratios, [&held]);
    assert!(super::guard_prevents(&target).commands.contains(&held));
    let words = super::action::Action::HoldClient.words();
    assert!(words.contains(&format!("max_ratio={PREVENT_RATIO} ")));
    let client = |ratio| Bdi {
        strict_limit: Some(true),
        max_ratio: Some(ratio),
        ..Bdi::default()
    };
    assert!(super::is_held(&client(PREVENT_RATIO)));
    assert!(!super::is_held(&client(PREVENT_RATIO + 1)));
}

/// Runs the lines that raise the limit in a shell, on a node with these files.
fn raised(target: &Target, vmstat: &str, meminfo: &str) -> u64 {
    let proc = tempfile::tempdir().unwrap();
    std::fs::write(proc.path().join("vmstat"), vmstat).unwrap();
    std::fs::write(proc.path().join("meminfo"), meminfo).unwrap();
    let lines = super::command::raise(target).join("\n");
    let lines = lines.replace("/proc/", &format!("{}/", proc.path().display()));
    let script = format!("sysctl() {{ echo \"$1\"; }}\n{lines}\n");
    let out = std::process::Command::new("sh")
        .args(["-euc", &script])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let set = text
        .lines()
        .find_map(|line| line.strip_prefix("vm.dirty_bytes="));
    let set = set.unwrap_or_else(|| panic!("{script}\n{text}"));
    set.parse().unwrap()
}

#[test]
fn a_shell_that_finds_out_the_limit_has_the_same_cap_as_the_daemon() {
    let pages = |dirty: u64, limit: u64| {
        format!("nr_free_pages 7\nnr_dirty {dirty}\nnr_writeback 2\nnr_dirty_threshold {limit}\n")
    };
    let memory = |kib: u64| format!("MemTotal:       {kib} kB\nMemFree: 1000 B\n");
    let page = page_size();
    let any = Target::default();
    // Two and a half times the dirty bytes or the limit, whichever is more.
    assert_eq!(
        raised(&any, &pages(998, 500), &memory(1 << 20)),
        2500 * page
    );
    assert_eq!(
        raised(&any, &pages(98, 1000), &memory(1 << 20)),
        2500 * page
    );
    // Most of 16 TiB: the cap counts, and no awk writes 1e+13.
    let (all, huge) = ((1 << 44) / page, memory(1 << 34));
    assert_eq!(raised(&any, &pages(all - 2, 9), &huge), 1 << 43);
    // The daemon's own number is below the same cap.
    let mut node = node("6.12.9");
    node.memory.dirty_bytes = Some(1 << 44);
    node.memory.total_bytes = Some(1 << 44);
    let target = Target::of(&the_loop(), &node);
    assert_eq!(raised(&target, "", ""), 1 << 43);
    // If the size of the memory is unknown, the shell reads it.
    node.memory.total_bytes = None;
    let target = Target::of(&the_loop(), &node);
    assert_eq!(raised(&target, &pages(all - 2, 9), &huge), 1 << 43);
}

/// The output of `getconf PAGESIZE`.
fn page_size() -> u64 {
    let out = std::process::Command::new("getconf")
        .arg("PAGESIZE")
        .output()
        .unwrap();
    String::from_utf8(out.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn what_did_not_help_a_loop_device_is_not_recommended_for_one_though_it_helps_elsewhere() {
    let target = Target::of(&the_loop(), &node("6.12.9"));
    let strict = |signature| {
        let all = mitigations_at(signature, &target);
        all.iter().any(|one| {
            let commands = one.commands.join("\n");
            commands.contains("strict_limit") && !commands.contains("STOP")
        })
    };
    assert!(strict(Signature::DirtyThrottle));
    assert!(!strict(Signature::LoopDevice));
    let failed = ineffective(Signature::LoopDevice, &target);
    assert!(
        failed.iter().any(|one| one.what.contains("strict_limit=1")),
        "{failed:?}"
    );
}

#[test]
fn the_servers_own_address_is_for_nfsd_across_namespaces_and_dirty_throttling_only() {
    let mut found = the_loop();
    found.server_address = Some("10.9.0.2:2049".into());
    let has = |found: &Loop, signature| {
        let all = preventions(signature, found, &node("5.10.0-32"));
        commands(&all).contains("snat to 10.9.0.2\n")
    };
    assert!(has(&found, Signature::DirtyThrottle));
    assert!(!has(&found, Signature::ReclaimCongestion));
    found.server_address = Some("[fd00::2]:2049".into());
    assert!(
        !has(&found, Signature::DirtyThrottle),
        "measured with IPv4 only"
    );
    found.server_address = Some("10.9.0.2:2049".into());
    found.exempt.state = Exempt::Yes;
    assert!(
        !has(&found, Signature::DirtyThrottle),
        "nfsd is exempt already"
    );
    found.exempt.state = Exempt::No;
    found.server = "ganesha.nfsd".into();
    assert!(
        !has(&found, Signature::DirtyThrottle),
        "no process asks for the address"
    );
}

#[test]
fn without_a_kernel_each_list_names_its_kernels_and_the_others() {
    let any = Target::default();
    let out = mitigations_at(Signature::DirtyThrottle, &any);
    let both = out.iter().find(|one| one.seen.contains("does not help on"));
    let both = both.expect("writers stopped and held");
    assert!(!both.seen.contains("stalled for"), "{both:?}");
    let failed = ineffective(Signature::DirtyThrottle, &any);
    let failed = failed
        .iter()
        .find(|one| one.seen.contains("; helps on"))
        .expect("the same");
    assert!(failed.seen.contains("then stalled for 57 s"), "{failed:?}");
}

#[test]
fn of_two_runs_the_worse_one_counts_and_both_are_reported() {
    let target = Target::of(&the_loop(), &node("6.12.9"));
    let out = mitigations_at(Signature::DirtyThrottle, &target);
    let both = out.iter().find(|one| one.seen.contains("in another run:"));
    assert!(both.is_some(), "writers stopped, twice: {out:?}");
    let target = Target::of(&the_loop(), &node("5.10.0-32"));
    let failed = ineffective(Signature::DirtyThrottle, &target);
    let alone = failed
        .iter()
        .find(|one| one.what.contains("vm.dirty_bytes alone"));
    let alone = alone.expect("it went on once, and did not another time");
    assert!(alone.seen.contains("in another run: resumed"), "{alone:?}");
}

#[test]
fn memory_signatures_never_raise_the_dirty_limit() {
    for signature in [
        Signature::ReclaimCongestion,
        Signature::CommitWait,
        Signature::RequestStarvation,
    ] {
        let out = commands(&mitigations(signature, &the_loop(), &node("5.10.0-32")));
        assert!(!out.contains("dirty_bytes"), "{out}");
    }
}

proptest! {
    #[test]
    fn a_name_that_is_no_bdi_never_gets_into_a_command(name in "\\PC{0,20}") {
        let mut found = the_loop();
        found.client_bdi = name.as_str().into();
        let target = Target::of(&found, &node("6.12.9"));
        let is_bdi = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit() || b == b':');
        prop_assert!(target.bdi.is_none() || is_bdi, "{name}");
    }

    #[test]
    fn the_dirty_limit_is_never_set_beyond_half_of_the_memory(
        dirty in proptest::option::of(0..u64::MAX),
        writeback in proptest::option::of(0..u64::MAX),
        limit in proptest::option::of(0..u64::MAX),
        total in 4 * MB..1 << 50,
    ) {
        let mut node = node("6.12.9");
        node.memory.dirty_bytes = dirty;
        node.memory.writeback_bytes = writeback;
        node.memory.dirty_limit_bytes = limit;
        node.memory.total_bytes = Some(total);
        let target = Target::of(&the_loop(), &node);
        if let Some(bytes) = target.dirty_bytes() {
            prop_assert!(bytes <= total / 2 && bytes > 0);
        }
        for signature in Signature::ALL {
            let _ = mitigations_at(signature, &target);
        }
    }
}

#[test]
fn what_prevents_it_follows_whether_the_server_is_exempt() {
    let of = |server: &str, state, signature| {
        let mut found = the_loop();
        found.server = server.into();
        found.exempt.state = state;
        preventions(signature, &found, &node("6.12.9"))
    };
    let dirty = Signature::DirtyThrottle;
    for server in ["nfsd", "ganesha.nfsd"] {
        assert!(of(server, Exempt::Yes, dirty).is_empty(), "{server}");
        let reclaim = of(server, Exempt::Yes, Signature::ReclaimCongestion);
        assert!(!reclaim.is_empty(), "another edge than the exemption's");
    }
    let asks = |all: &[Measure]| all.iter().any(|one| one.what.contains("CAP_SYS_RESOURCE"));
    for state in [Exempt::No, Exempt::Partly] {
        assert!(asks(&of("ganesha.nfsd", state, dirty)));
        assert!(!asks(&of("nfsd", state, dirty)));
    }
    assert!(!asks(&of("ganesha.nfsd", Exempt::Unknown, dirty)));
    assert!(!asks(&preventions_at(dirty, &Target::default())));
}
