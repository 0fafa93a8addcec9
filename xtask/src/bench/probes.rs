//! The cost of an event in the kernel. Compared are an empty program at the same tracepoints (the
//! floor), the daemon's programs, and bpftrace with an equivalent script. They run in turns under
//! one load, and the kernel's own accounting measures them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::processes::usage;

use super::{
    BenchArgs,
    load::{Reclaim, Writers},
    observer::{Cost, Observer, costs, loaded},
    report::Report,
};

const PART: &str = "probes";

/// An event that occurs natively on any machine, and its observers.
struct Event {
    name: &'static str,
    /// The first of them fires once per event.
    tracepoints: &'static [&'static str],
    script: &'static str,
    load: fn() -> Result<Box<dyn std::any::Any>>,
}

const PAUSES: &str =
    "tracepoint:writeback:balance_dirty_pages { @[comm, args->bdi] = hist(args->pause); }";

const EVENTS: &[Event] = &[
    Event {
        name: "a pause in balance_dirty_pages",
        tracepoints: &["balance_dirty_pages"],
        script: PAUSES,
        load: || Ok(Box::new(Writers::start(32)?)),
    },
    Event {
        name: "a pause, of a kernel thread or not",
        tracepoints: &["balance_dirty_pages"],
        script: PAUSES,
        load: || Ok(Box::new(Writers::and_worker(32)?)),
    },
    Event {
        name: "a reclaim in a cgroup, begin and end",
        tracepoints: &[
            "mm_vmscan_memcg_reclaim_begin",
            "mm_vmscan_memcg_reclaim_end",
        ],
        script: "tracepoint:vmscan:mm_vmscan_memcg_reclaim_begin { @since[tid] = nsecs; } \
                 tracepoint:vmscan:mm_vmscan_memcg_reclaim_end /@since[tid]/ \
                 { @[comm] = hist(nsecs - @since[tid]); delete(@since[tid]); }",
        load: || Ok(Box::new(Reclaim::start(2_000)?)),
    },
];

/// Measures each event.
pub fn measure(choice: &BenchArgs, report: &mut Report) -> Result<()> {
    for event in EVENTS {
        let load = (event.load)()?;
        let before = loaded(choice)?;
        let mut rows: [Vec<f64>; 3] = Default::default();
        let mut memory: [Vec<f64>; 2] = Default::default();
        for _ in 0..choice.rounds {
            rows[0].push(each(
                &costs(choice, choice.seconds, event.tracepoints)?,
                &before,
            )?);
            for (at, observer) in [Observer::Ours, Observer::Bpftrace(event.script)]
                .into_iter()
                .enumerate()
            {
                let watching = observer.start(choice)?;
                rows[at + 1].push(each(&costs(choice, choice.seconds, &[])?, &before)?);
                if let Some(pid) = watching.pid {
                    memory[at].push(usage(pid)?.resident);
                }
            }
        }
        drop(load);
        let ratios = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>();
        let name = |what: &str| format!("{}: {what}", event.name);
        report.add(
            PART,
            name("empty programs (the floor)"),
            "ns",
            rows[0].clone(),
        );
        report.add(PART, name("throttle-monitor"), "ns", rows[1].clone());
        report.add(PART, name("bpftrace"), "ns", rows[2].clone());
        report.add(
            PART,
            name("throttle-monitor / floor"),
            "",
            ratios(&rows[1], &rows[0]),
        );
        report.add(
            PART,
            name("throttle-monitor / bpftrace"),
            "",
            ratios(&rows[1], &rows[2]),
        );
        report.add(
            PART,
            name("resident, throttle-monitor / bpftrace"),
            "",
            ratios(&memory[0], &memory[1]),
        );
    }
    Ok(())
}

/// Nanoseconds per event, all programs together.
fn each(costs: &[Cost], before: &BTreeSet<u32>) -> Result<f64> {
    let new: Vec<_> = costs
        .iter()
        .filter(|cost| !before.contains(&cost.id))
        .collect();
    let events = new.iter().map(|cost| cost.runs).max().unwrap_or(0);
    ensure!(
        events > 100,
        "{events} events are too few to say what one costs"
    );
    if std::env::var_os("THROTTLE_MONITOR_BENCH_PROGRAMS").is_some() {
        for cost in new.iter().filter(|cost| cost.runs > 0) {
            println!(
                "    {:<16} {:>8} runs {:>7} ns each",
                cost.name,
                cost.runs,
                cost.ns / cost.runs
            );
        }
    }
    Ok(new.iter().map(|cost| cost.ns).sum::<u64>() as f64 / events as f64)
}
