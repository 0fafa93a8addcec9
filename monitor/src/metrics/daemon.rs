//! The daemon's own metrics: version, signals, losses, resource use.

use monitor_model::observation::State;
use prometheus::Result;

use super::family::{Family, MetricsPage};
use crate::publish::process::ProcessStats;
use crate::publish::seconds;
use crate::publish::snapshot::{Snapshot, TICK_BOUNDS};

pub(super) fn write(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    build(snapshot, page)?;
    probes(snapshot, page)?;
    missing(snapshot, page)?;
    costs(snapshot, page)?;
    config(snapshot, page)?;
    if snapshot.ticked() {
        lost(snapshot, page)?;
        ticks(snapshot, page)?;
        evidence(snapshot, page)?;
    }
    match &snapshot.process {
        Some(process) => usage(process, page),
        None => Ok(()),
    }
}

fn build(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let daemon = &snapshot.daemon.info;
    let mut family = Family::gauge(
        "throttle_monitor_build_info",
        "Always 1: version and commit of the daemon, release of the running kernel. Source: the build, uname.",
    );
    let labels = [
        ("version", &*daemon.version),
        ("revision", &daemon.revision),
        ("kernel", &daemon.kernel),
    ];
    family.add(&labels, 1.0);
    page.put(family)
}

fn probes(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let mut family = Family::gauge(
        "throttle_monitor_probe_state",
        "Always 1: how a signal is attached and in which state (attached, degraded, unavailable). Source: the loader.",
    );
    for status in &snapshot.observation.signals {
        let labels = [
            ("signal", &*status.signal),
            ("strategy", &status.strategy),
            ("state", status.state.as_str()),
        ];
        family.add(&labels, 1.0);
    }
    page.put(family)
}

/// A signal that this kernel cannot have (no such wait, or its module is not loaded) is not
/// missing, although it is not attached.
fn missing(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let mut family = Family::gauge(
        "throttle_monitor_probe_missing",
        "Always 1: a signal that could tell something here, and is not attached; needed: no verdict without it. Source: the loader.",
    );
    let signals = snapshot.probes.signals.iter();
    for signal in signals.filter(|one| one.applies && one.state == State::Unavailable) {
        let needed = if signal.needed { "true" } else { "false" };
        family.add(&[("signal", &*signal.signal), ("needed", needed)], 1.0);
    }
    page.put(family)
}

/// Only while the kernel's accounting is on; it is off by default.
fn costs(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let mut runs = Family::counter(
        "throttle_monitor_probe_runs_total",
        "Times that an eBPF program ran while kernel.bpf_stats_enabled was set. Source: the kernel's accounting.",
    );
    let mut time = Family::counter(
        "throttle_monitor_probe_seconds_total",
        "Time that an eBPF program took while kernel.bpf_stats_enabled was set, seconds. Source: the kernel's accounting.",
    );
    for cost in &snapshot.costs {
        let labels = [("program", &*cost.program)];
        runs.add(&labels, cost.runs as f64);
        time.add(&labels, seconds(cost.ns));
    }
    page.put(runs)?;
    page.put(time)
}

fn config(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let mut successful = Family::gauge(
        "throttle_monitor_config_last_reload_successful",
        "Whether the last reload of the configuration succeeded: 0 or 1; before the first, 1. Source: the daemon.",
    );
    let mut last = Family::gauge(
        "throttle_monitor_config_last_reload_success_timestamp_seconds",
        "When the configuration was last reloaded successfully, or read at the start, seconds since 1970. Source: the daemon.",
    );
    if let Some(config) = &snapshot.config {
        successful.add(&[], f64::from(u8::from(config.last_reload_successful)));
        last.add(&[], config.last_reload_success_unix_ms as f64 / 1e3);
    }
    page.put(successful)?;
    page.put(last)
}

fn lost(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let lost = &snapshot.observation.lost;
    let mut family = Family::counter(
        "throttle_monitor_lost_events_total",
        "Records lost: ring buffer full, map full, a wait thrown out whose end was never seen, or no room in a recording. Source: eBPF, the daemon.",
    );
    for (reason, count) in [
        ("ringbuf", lost.ringbuf),
        ("map_full", lost.map_full),
        ("evicted", lost.evicted),
        ("recording", lost.recording),
    ] {
        family.add(&[("reason", reason)], count as f64);
    }
    page.put(family)
}

/// Only with `--evidence.dir`.
fn evidence(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let mut family = Family::counter(
        "throttle_monitor_evidence_documents_total",
        "Documents of evidence written to --evidence.dir; failed: not at once, they are tried again; dropped: not even tried. Source: the daemon.",
    );
    if let Some(results) = snapshot.evidence_results {
        for (result, count) in [
            ("written", results.written),
            ("failed", results.failed),
            ("dropped", results.dropped),
        ] {
            family.add(&[("result", result)], count as f64);
        }
    }
    page.put(family)
}

fn ticks(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    let ticks = &snapshot.tick_duration;
    let mut duration = Family::histogram(
        "throttle_monitor_tick_duration_seconds",
        "Time that reading the maps, /proc and /sys and judging them took, seconds a tick. Source: the daemon.",
    );
    duration.add_histogram(&[], &TICK_BOUNDS, &ticks.buckets, ticks.sum);
    page.put(duration)?;
    let mut last = Family::gauge(
        "throttle_monitor_tick_last_success_timestamp_seconds",
        "When the last tick succeeded, seconds since 1970. Source: the daemon.",
    );
    last.add(&[], snapshot.observation.unix_ms as f64 / 1e3);
    page.put(last)
}

fn usage(process: &ProcessStats, page: &mut MetricsPage) -> Result<()> {
    let cpu = Family::counter(
        "process_cpu_seconds_total",
        "User and system CPU time of the daemon, seconds. Source: CLOCK_PROCESS_CPUTIME_ID.",
    );
    let start = Family::gauge(
        "process_start_time_seconds",
        "Start of the daemon, seconds since 1970. Source: the daemon.",
    );
    let resident = Family::gauge(
        "process_resident_memory_bytes",
        "Resident memory of the daemon, bytes. Source: /proc/self/status.",
    );
    let virt = Family::gauge(
        "process_virtual_memory_bytes",
        "Virtual memory of the daemon, bytes. Source: /proc/self/status.",
    );
    let threads = Family::gauge(
        "process_threads",
        "Threads of the daemon. Source: /proc/self/status.",
    );
    let open = Family::gauge(
        "process_open_fds",
        "Open file descriptors of the daemon. Source: /proc/self/fd.",
    );
    let max = Family::gauge(
        "process_max_fds",
        "Soft limit of open file descriptors. Source: getrlimit.",
    );
    let values = [
        (cpu, Some(process.cpu_seconds)),
        (start, Some(process.start_time)),
        (resident, process.resident_bytes.map(|n| n as f64)),
        (virt, process.virtual_bytes.map(|n| n as f64)),
        (threads, process.threads.map(|n| n as f64)),
        (open, process.open_fds.map(|n| n as f64)),
        (max, process.max_fds.map(|n| n as f64)),
    ];
    for (mut family, value) in values {
        family.add_some(&[], value);
        page.put(family)?;
    }
    Ok(())
}
