//! Which strategy the signals of NFS take: their modules may come late, and which
//! functions those have is not known before one is tried.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod plans;

use monitor_collector::kernel::{facts::Facts, report::Applies};
use monitor_model::observation::State;

use plans::{KERNELS, attach, facts};

#[test]
fn the_flag_of_a_congested_bdi_is_on_old_kernels_and_waits_for_an_nfs_mount_on_new_ones() {
    for (kernel, _) in KERNELS {
        let (reports, _) = attach(&facts(kernel), &[]);
        let has = |signal: &str| reports[signal].applies == Applies::Yes;
        assert_eq!(has("bdi_congestion"), kernel == "5.10", "{kernel}");
        let waits = matches!(kernel, "6.12" | "7.2");
        assert_eq!(has("nfs_congestion"), waits, "{kernel}");
        assert!(!reports["nfs_congestion"].is_lossy(), "{kernel}");
        let flag = matches!(kernel, "6.1" | "6.12" | "7.2");
        assert_eq!(has("nfs_write_congested"), flag, "{kernel}");
        assert!(!reports["nfs_write_congested"].is_lossy(), "{kernel}");
    }
}

#[test]
fn who_waits_for_pages_of_an_nfs_file_is_seen_by_whichever_functions_the_module_has() {
    let mut facts = facts("6.12");
    let refused = |facts: &mut Facts, function: &str| {
        let words = "No such file or directory (os error 2)";
        facts.refuses.insert(function.into(), words.into());
    };
    refused(&mut facts, "nfs_wb_folio");
    let (reports, kernel) = attach(&facts, &[]);
    let report = &reports["nfs_commit"];
    assert_eq!(
        (report.strategy.as_str(), report.is_lossy()),
        ("kprobe-page", false)
    );
    assert!(kernel.attached.contains("nfs_wb_folio_kprobe"));

    refused(&mut facts, "__nfs_commit_inode");
    let (reports, kernel) = attach(&facts, &[]);
    let report = &reports["nfs_commit"];
    assert_eq!(report.state, State::Degraded);
    assert!(
        report.limitation.contains("outside of close and fsync"),
        "{}",
        report.limitation
    );
    assert!(kernel.attached.contains("nfs_file_fsync_kretprobe"));
    assert!(
        !kernel.attached.contains("nfs_wb_folio_kprobe"),
        "of no use alone"
    );

    refused(&mut facts, "nfs_wb_all");
    let (reports, kernel) = attach(&facts, &[]);
    let report = &reports["nfs_commit"];
    assert_eq!(report.state, State::Unavailable);
    assert!(
        report.why().contains("nfs_wb_all: No such file"),
        "{}",
        report.why()
    );
    assert!(
        report.limitation.contains("COMMIT"),
        "{}",
        report.limitation
    );
    assert!(
        !kernel
            .attached
            .iter()
            .any(|program| program.contains("fsync"))
    );
}

#[test]
fn without_btf_the_waits_for_an_nfs_file_lack_their_mount_and_that_is_said() {
    let mut facts = facts("6.12");
    facts.btf = Err("/sys/kernel/btf/vmlinux: No such file or directory".into());
    let (reports, _) = attach(&facts, &[]);
    let report = &reports["nfs_commit"];
    assert_eq!(report.state, State::Degraded);
    assert!(
        report.limitation.contains("for which mount"),
        "{}",
        report.limitation
    );
}

#[test]
fn a_module_that_is_not_loaded_is_waited_for_and_one_that_cannot_be_is_not() {
    let mut stock = facts("6.12");
    stock.modules.clear();
    let formats = stock.formats.as_mut().unwrap();
    formats.retain(|name, _| !name.starts_with("nfs") && !name.starts_with("sunrpc"));
    let (reports, _) = attach(&stock, &[]);
    assert_eq!(
        reports["nfsd_writes"].applies,
        Applies::OnceLoaded("nfsd".into())
    );
    assert!(!reports["nfsd_writes"].is_lossy());

    let (reports, _) = attach(&facts("6.18-bare"), &[]);
    assert!(
        matches!(&reports["nfsd_writes"].applies, Applies::No(why) if why.contains("neither built in"))
    );
}
