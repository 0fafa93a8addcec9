//! Which strategy each signal takes, from the facts of real kernels (`tests/facts`,
//! printed by `./dev vm KERNEL facts`), without root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod plans;

use std::collections::BTreeMap;

use monitor_collector::kernel::{plan, report::Applies};
use monitor_common::Offsets;
use monitor_model::observation::State;

use plans::{KERNELS, attach, facts};

#[test]
fn every_signal_that_a_stock_kernel_has_comes_in_and_loses_nothing() {
    for kernel in ["5.10", "6.1", "6.12", "7.2"] {
        for (name, report) in attach(&facts(kernel), &[]).0 {
            match report.applies {
                // A kernel thread's `kthread` moved in 5.17.
                Applies::Yes if (kernel, name.as_str()) == ("5.10", "task_class") => {
                    assert_eq!(
                        (report.state, report.strategy.as_str()),
                        (State::Attached, "btf-child-tid")
                    );
                }
                // The tracepoint of 5.14 is not there yet.
                Applies::Yes if (kernel, name.as_str()) == ("5.10", "svc_alloc_arg") => {
                    assert_eq!(
                        (report.state, report.strategy.as_str()),
                        (State::Attached, "kprobe")
                    );
                }
                // A page was not a folio yet.
                Applies::Yes if name == "nfs_commit" && matches!(kernel, "5.10" | "6.1") => {
                    assert_eq!(
                        (report.state, report.strategy.as_str()),
                        (State::Attached, "kprobe-page")
                    );
                    assert!(report.why().contains("nfs_wb_folio"), "{}", report.why());
                }
                Applies::Yes => assert_eq!(
                    (report.state, report.rank),
                    (State::Attached, Some(0)),
                    "{kernel} {name}"
                ),
                Applies::No(_) => assert_eq!(report.state, State::Unavailable, "{kernel} {name}"),
                Applies::OnceLoaded(_) => panic!("{kernel} {name}: the modules were loaded"),
            }
        }
    }
}

#[test]
fn the_congestion_sleeps_are_on_old_kernels_and_reclaim_throttle_on_new_ones() {
    for (kernel, _) in KERNELS {
        let (reports, _) = attach(&facts(kernel), &[]);
        let has = |signal: &str| reports[signal].applies == Applies::Yes;
        let old = kernel == "5.10";
        assert_eq!(has("congestion_wait"), old, "{kernel}");
        assert_eq!(has("wait_iff_congested"), old, "{kernel}");
        assert_eq!(has("reclaim_throttle"), !old, "{kernel}");
    }
}

#[test]
fn a_workers_workqueue_is_found_on_every_kernel() {
    for (kernel, _) in KERNELS {
        let offsets = plan::offsets(&facts(kernel)).0;
        let kthread = match kernel {
            "5.10" => offsets.task_old_kthread,
            _ => offsets.task_kthread,
        };
        let strategy = [
            kthread,
            offsets.kthread_data,
            offsets.worker_pwq,
            offsets.pwq_wq,
            offsets.wq_name,
        ];
        assert!(
            strategy.iter().all(|offset| *offset >= 0),
            "{kernel}: {strategy:?}"
        );
    }
    assert_eq!(plan::offsets(&facts("5.10")).0.task_kthread, -1);
}

#[test]
fn where_the_workqueue_of_a_worker_is_not_known_the_report_names_who_is_not_told_apart() {
    let mut facts = facts("6.12");
    facts
        .btf
        .as_mut()
        .unwrap()
        .offsets
        .remove("workqueue_struct.name");
    let (reports, _) = attach(&facts, &[]);
    let report = &reports["task_class"];
    assert_eq!(
        (report.state, report.strategy.as_str()),
        (State::Degraded, "btf-flags")
    );
    assert!(report.limitation.contains("LIO"), "{}", report.limitation);
}

#[test]
fn what_a_kernel_never_had_is_no_loss() {
    let (reports, _) = attach(&facts("6.12"), &[]);
    let report = &reports["wait_iff_congested"];
    assert!(!report.is_lossy());
    assert!(
        report.why().contains("reclaim_throttle"),
        "{}",
        report.why()
    );
}

#[test]
fn a_kernel_without_fentry_and_kprobes_keeps_dirty_throttling_by_tracepoint_and_says_what_is_lost()
{
    let facts = facts("6.18-bare");
    let (reports, kernel) = attach(&facts, &[]);
    let report = &reports["balance_dirty_pages"];
    assert_eq!(
        (report.state, report.strategy.as_str()),
        (State::Degraded, "tracepoint")
    );
    assert!(
        report.limitation.contains("let go"),
        "{}",
        report.limitation
    );
    assert!(
        report.why().contains("Operation not permitted"),
        "the kernel's own words: {}",
        report.why()
    );
    assert!(report.why().contains("without kprobes"), "{}", report.why());
    assert!(report.remedy(&facts).unwrap().contains("CONFIG_KPROBES"));
    assert_eq!(reports["throttle_direct_reclaim"].state, State::Unavailable);
    assert_eq!(reports["direct_reclaim"].state, State::Attached);
    assert!(
        !kernel
            .attached
            .iter()
            .any(|program| program.contains("fentry")),
        "{:?}",
        kernel.attached
    );
}

#[test]
fn without_fentry_the_next_best_way_loses_next_to_nothing() {
    for kernel in ["5.10", "6.1", "6.12", "7.2"] {
        let (reports, recorded) = attach(&facts(kernel), &["fentry"]);
        assert_eq!(
            reports["balance_dirty_pages"].strategy, "tracepoint+kretprobe",
            "{kernel}"
        );
        assert_eq!(
            reports["balance_dirty_pages"].state,
            State::Attached,
            "{kernel}"
        );
        assert!(
            recorded.attached.contains("balance_dirty_pages_kretprobe"),
            "{kernel}"
        );
        let lossy: Vec<_> = reports
            .values()
            .filter(|report| report.is_lossy())
            .collect();
        assert_eq!(lossy.len(), 1, "{kernel}: {lossy:?}");
        assert!(lossy[0].limitation.contains("return probes"), "{kernel}");
    }
}

#[test]
fn a_way_that_fails_halfway_leaves_nothing_attached_that_no_other_way_uses() {
    let mut facts = facts("6.12");
    facts
        .refuses
        .insert("tracepoint".into(), "Invalid argument".into());
    let (reports, kernel) = attach(&facts, &[]);
    assert_eq!(reports["balance_dirty_pages"].state, State::Unavailable);
    assert!(
        !kernel.attached.contains("balance_dirty_pages_fexit"),
        "{:?}",
        kernel.attached
    );
}

#[test]
fn a_kernel_without_btf_still_shows_everything_by_kprobe_and_tracepoint() {
    for kernel in ["5.10", "6.1", "6.12", "7.2"] {
        let mut facts = facts(kernel);
        facts.kallsyms = Some(facts.btf.clone().unwrap().functions);
        facts.btf = Err("/sys/kernel/btf/vmlinux: No such file or directory".into());
        let (reports, _) = attach(&facts, &[]);
        assert_eq!(
            reports["balance_dirty_pages"].strategy, "tracepoint+kretprobe",
            "{kernel}"
        );
        assert_eq!(reports["direct_reclaim"].strategy, "tracepoint", "{kernel}");
        assert!(reports["balance_dirty_pages"].why().contains("no BTF"));
        assert_eq!(
            plan::offsets(&facts).0.task_flags,
            -1,
            "no offset is invented"
        );
    }
}

#[test]
fn without_tracefs_the_sentence_says_so_and_what_to_do() {
    let mut facts = facts("6.12");
    facts.formats = Err("tracefs is not mounted".into());
    let (reports, _) = attach(&facts, &[]);
    let report = &reports["balance_dirty_pages"];
    assert_eq!(report.state, State::Unavailable);
    assert!(
        report.why().contains("tracefs is not mounted"),
        "{}",
        report.why()
    );
    assert!(report.remedy(&facts).unwrap().contains("mount -t tracefs"));
    assert_eq!(
        reports["direct_reclaim"].strategy, "btf-tracepoint",
        "what needs no tracefs goes on"
    );
}

#[test]
fn under_lockdown_for_confidentiality_the_remedy_names_lockdown() {
    let mut facts = facts("6.12");
    facts.lockdown = Some("confidentiality".into());
    facts.refuses = ["fentry", "kprobe", "tracepoint", "btf-tracepoint"]
        .map(|kind| (kind.to_owned(), "Operation not permitted".to_owned()))
        .into();
    let (reports, _) = attach(&facts, &[]);
    assert!(
        reports["balance_dirty_pages"]
            .remedy(&facts)
            .unwrap()
            .contains("lockdown=integrity")
    );
}

#[test]
fn offsets_come_from_each_kernels_own_format_files_and_btf() {
    let offsets = |kernel| plan::offsets(&facts(kernel)).0;
    // As `kernel/facts` listings of these kernels have them; 7.2 moved all of
    // them and renamed two.
    assert_eq!(offsets("5.10").bdp_limit, 40);
    assert_eq!(offsets("7.2").bdp_limit, 48);
    assert_eq!(
        (offsets("5.10").bdp_bdi_dirty, offsets("7.2").bdp_bdi_dirty),
        (72, 80)
    );
    assert_eq!(
        (offsets("5.10").bdp_paused, offsets("7.2").bdp_paused),
        (104, 104)
    );
    assert_eq!(
        (offsets("5.10").task_flags, offsets("6.1").task_flags),
        (36, 44)
    );
    assert_eq!(
        (
            offsets("5.10").congestion_delayed,
            offsets("6.12").congestion_delayed
        ),
        (12, -1)
    );
    assert_eq!(offsets("6.18-bare").initiate_write_dev, -1);
}

#[test]
fn no_tracepoint_of_a_real_kernel_lacks_a_field_that_is_needed() {
    for (kernel, _) in KERNELS {
        let (offsets, bad) = plan::offsets(&facts(kernel));
        assert_eq!(bad, BTreeMap::new(), "{kernel}");
        assert_ne!(offsets, Offsets::UNKNOWN, "{kernel}");
    }
}

#[test]
fn a_tracepoint_that_lost_a_needed_field_is_not_attached() {
    let mut facts = facts("6.12");
    let formats = facts.formats.as_mut().unwrap();
    let format = formats.get_mut("writeback/balance_dirty_pages").unwrap();
    *format = format.replace("long pause;", "long pause_renamed;");
    let (reports, _) = attach(&facts, &[]);
    let report = &reports["balance_dirty_pages"];
    assert_eq!(report.state, State::Unavailable);
    assert!(
        report.why().contains("has no field pause of 8 bytes"),
        "{}",
        report.why()
    );
}
