//! What every eBPF program that is loaded costs for a while, by the kernel's own
//! accounting (`BPF_ENABLE_STATS`, Linux 5.8), as JSON.
//!
//! At each tracepoint that is named an empty program is put: two instructions. What
//! the kernel accounts for it is the floor: no program at that tracepoint can cost
//! less. It is one static file, so that it runs in a guest as well.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use clap::Parser;
use serde::Serialize;

mod empty;

/// What every loaded eBPF program costs, beside one that does nothing.
#[derive(Parser)]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Tracepoints at which an empty program is put, without their groups, by comma
    #[arg(long, value_delimiter = ',')]
    empty: Vec<String>,
}

/// A program, and what it cost.
#[derive(Serialize)]
struct Cost {
    id: u32,
    /// As the kernel keeps it: at most 15 letters.
    name: String,
    runs: u64,
    ns: u64,
    /// Instructions after the verifier's changes, and bytes of machine code.
    instructions: u32,
    jited: u32,
    /// Where it is the empty one.
    tracepoint: Option<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut empty = Vec::new();
    for name in &args.empty {
        empty.push(empty::Empty::put(name).with_context(|| format!("an empty program at {name}"))?);
    }
    let stats = enable_stats(Stats::RunTime).context("BPF_ENABLE_STATS")?;
    let before = all()?;
    thread::sleep(Duration::from_secs_f64(args.seconds));
    let after = all()?;
    drop(stats);
    let costs = after.into_iter().map(|(id, mut cost)| {
        if let Some(before) = before.get(&id) {
            cost.runs -= before.runs;
            cost.ns -= before.ns;
        }
        let is_it = |empty: &&empty::Empty| empty.id() == Some(id);
        cost.tracepoint = empty
            .iter()
            .find(is_it)
            .map(|empty| empty.tracepoint.clone());
        cost
    });
    let costs: Vec<_> = costs.collect();
    println!("{}", serde_json::to_string(&costs)?);
    Ok(())
}

/// Every program by its id.
fn all() -> Result<BTreeMap<u32, Cost>> {
    let mut costs = BTreeMap::new();
    for info in loaded_programs() {
        // One may be unloaded between being listed and being looked at.
        let Ok(info) = info else { continue };
        let cost = Cost {
            id: info.id(),
            name: String::from_utf8_lossy(info.name()).into_owned(),
            runs: info.run_count(),
            ns: u64::try_from(info.run_time().as_nanos())?,
            instructions: info.size_translated().unwrap_or(0) / 8,
            jited: info.size_jitted(),
            tracepoint: None,
        };
        costs.insert(cost.id, cost);
    }
    Ok(costs)
}
