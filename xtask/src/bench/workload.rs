//! Measures the slowdown of the watched work, in turns, each in another order.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    BenchArgs,
    load::{Reclaim, Writers},
    observer::Observer,
    report::{Report, mean_and_interval},
};

const PART: &str = "workload";

/// A kind of work, and its amount.
trait Work {
    fn done(&self) -> u64;
}

impl Work for Writers {
    fn done(&self) -> u64 {
        self.written()
    }
}

impl Work for Reclaim {
    fn done(&self) -> u64 {
        self.rounds()
    }
}

/// Measures each kind.
pub fn measure(choice: &BenchArgs, report: &mut Report) -> Result<()> {
    let writers = Writers::start(32)?;
    compare(
        choice,
        report,
        "32 writers over the limit of dirty pages",
        &writers,
        "tracepoint:writeback:balance_dirty_pages { @[comm, args->bdi] = hist(args->pause); }",
    )?;
    drop(writers);
    let reclaim = Reclaim::start(0)?;
    compare(
        choice,
        report,
        "nothing but reclaims in a cgroup",
        &reclaim,
        "tracepoint:vmscan:mm_vmscan_memcg_reclaim_begin { @since[tid] = nsecs; } \
         tracepoint:vmscan:mm_vmscan_memcg_reclaim_end /@since[tid]/ \
         { @[comm] = hist(nsecs - @since[tid]); delete(@since[tid]); }",
    )
}

fn compare(
    choice: &BenchArgs,
    report: &mut Report,
    name: &str,
    work: &dyn Work,
    script: &'static str,
) -> Result<()> {
    let observers = [Observer::Nobody, Observer::Ours, Observer::Bpftrace(script)];
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..choice.rounds {
        for turn in 0..observers.len() {
            let at = (turn + round) % observers.len();
            let watching = observers[at].start(choice)?;
            thread::sleep(Duration::from_secs(1));
            let before = work.done();
            thread::sleep(Duration::from_secs_f64(choice.seconds));
            rates[at].push((work.done() - before) as f64 / choice.seconds);
            drop(watching);
        }
    }
    let slower = |watched: &[f64]| -> Vec<f64> {
        let pairs = watched.iter().zip(&rates[0]);
        pairs
            .map(|(watched, free)| (1.0 - watched / free) * 100.0)
            .collect()
    };
    report.add(
        PART,
        format!("{name}: a second, with nobody"),
        "",
        rates[0].clone(),
    );
    for at in [1, 2] {
        let percents = slower(&rates[at]);
        let (mean, interval) = mean_and_interval(&percents);
        let who = observers[at].name();
        report.add(PART, format!("{name}: slower by {who}"), "%", percents);
        report.one(PART, format!("{name}: slower by {who}, mean"), "%", mean);
        report.one(
            PART,
            format!("{name}: slower by {who}, 95 % within +-"),
            "%",
            interval,
        );
    }
    Ok(())
}
