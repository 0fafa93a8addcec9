//! Every scenario on every kernel, several guests at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    Files, initramfs, judge,
    kernels::{self, Kernel},
    qemu, report,
    scenario::{self, Scenario},
};

/// Play all; whether all were judged right. The last line counts.
pub fn run(jobs: usize, only: &str, wanted: &[Kernel], files: &Files) -> Result<bool> {
    let scenarios = scenario::all();
    let mut queue: Vec<(Kernel, &Scenario)> = Vec::new();
    let mut bases = BTreeMap::new();
    for &kernel in kernels::ALL {
        if !wanted.is_empty() && !wanted.contains(&kernel) {
            continue;
        }
        bases.insert(kernel, initramfs::base(kernel, files)?);
        queue.extend(
            scenarios
                .iter()
                .filter(|scenario| scenario.kernels.contains(&kernel))
                .filter(|scenario| scenario.name.contains(only))
                .map(|scenario| (kernel, scenario)),
        );
    }
    // The long ones first, so that no long one is left alone at the end.
    queue.sort_by_key(|(_, scenario)| std::cmp::Reverse(scenario.seconds));
    let queue = Mutex::new(VecDeque::from(queue));
    let counts = Mutex::new((0_usize, 0_usize));
    let broken = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((kernel, scenario)) = take(&queue) {
                    match qemu::play(kernel, scenario, &bases[&kernel], files, &mut |_| {}) {
                        Ok(outcome) => {
                            let judgement = judge::judge(scenario, &outcome);
                            report::verdict(kernel, scenario, &outcome, &judgement);
                            if let Ok(mut counts) = counts.lock() {
                                counts.0 += usize::from(judgement.is_ok());
                                counts.1 += usize::from(judgement.is_err());
                            }
                        }
                        Err(error) => {
                            if let Ok(mut broken) = broken.lock() {
                                *broken = Some(error);
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Ok(Some(error)) = broken.into_inner() {
        return Err(error);
    }
    let (passed, failed) = counts
        .into_inner()
        .map_err(|_| anyhow!("a thread of the matrix panicked"))?;
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn take<'a>(queue: &Mutex<VecDeque<(Kernel, &'a Scenario)>>) -> Option<(Kernel, &'a Scenario)> {
    queue.lock().ok()?.pop_front()
}
