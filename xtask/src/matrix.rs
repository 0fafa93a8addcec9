//! Many scenarios on many kernels, several guests at a time.

use std::{
    cmp::Reverse,
    path::PathBuf,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Result, anyhow};
use clap::Args;

use crate::{
    Files, initramfs,
    judge::{self, Fault},
    kernels::{self, Kernel},
    qemu, report,
    scenario::{self, Scenario},
    table::Table,
};

/// What is played.
#[derive(Args)]
pub struct Choice {
    /// Every scenario on every kernel that it applies to, and those in which
    /// nothing must happen for three minutes
    #[arg(long)]
    all: bool,
    /// Write what came of each into the table in this file
    #[arg(long)]
    table: Option<PathBuf>,
    /// Percent of one processor that guests may keep busy together; by default
    /// 65 for each processor
    #[arg(long)]
    load: Option<usize>,
    /// Only scenarios whose names contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Only these kernels
    #[arg(long = "kernel")]
    kernels: Vec<Kernel>,
}

impl Choice {
    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = scenario::all();
        scenarios.retain(|scenario| scenario.is_test() && scenario.name.contains(&self.only));
        if self.all {
            scenarios.iter_mut().for_each(Scenario::lengthen);
        }
        scenarios
    }

    fn jobs<'a>(&self, scenarios: &'a [Scenario]) -> Vec<Job<'a>> {
        let kernels = kernels::ALL.iter().copied();
        kernels
            .filter(|kernel| self.kernels.is_empty() || self.kernels.contains(kernel))
            .flat_map(|kernel| scenarios.iter().map(move |scenario| (kernel, scenario)))
            .filter(|(kernel, scenario)| {
                let on = if self.all {
                    scenario.kernels
                } else {
                    scenario.core
                };
                on.contains(kernel)
            })
            .collect()
    }

    /// More leaves guests without their time, and what they show is worth less.
    fn load(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        self.load.unwrap_or_else(|| 65 * processors())
    }
}

/// A guest to play.
type Job<'a> = (Kernel, &'a Scenario);

/// Play all; whether all were judged right. The last line counts.
pub fn run(choice: &Choice, files: &Files) -> Result<bool> {
    let mut scenarios = choice.scenarios();
    if files.record {
        scenarios.iter_mut().for_each(Scenario::record);
    }
    let mut jobs = choice.jobs(&scenarios);
    let table = choice.table.as_deref().map(Table::open).transpose()?;
    let table = Mutex::new(table);
    // The long and heavy ones first; the others fit in beside them.
    jobs.sort_by_key(|(_, scenario)| Reverse((scenario.seconds, scenario.weight())));
    let room = Room {
        state: Mutex::new(State { jobs, taken: 0 }),
        changed: Condvar::new(),
        load: choice.load(),
    };
    let play = |(kernel, scenario): Job<'_>| -> Result<bool> {
        // What proves nothing is played once more; what is wrong is wrong.
        for last in [false, true] {
            let base = initramfs::base(kernel, &scenario.parts(), files)?;
            let outcome = qemu::play(kernel, scenario, &base, files, &mut |_, _| {})?;
            let judgement = judge::judge(scenario, &outcome);
            let again = !last && matches!(judgement, Err(Fault::Void(_)));
            report::verdict(kernel, scenario, &outcome, &judgement, again);
            if !again {
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(table) = table.as_mut() {
                    table.set(
                        kernel,
                        scenario,
                        judge::cell(scenario, &outcome, &judgement),
                    )?;
                }
                return Ok(judgement.is_ok());
            }
        }
        Ok(false)
    };
    let results = thread::scope(|scope| {
        let mut guests = Vec::new();
        while let Some(job) = room.enter() {
            let (room, play) = (&room, &play);
            guests.push(scope.spawn(move || {
                let result = play(job);
                room.leave(job.1.weight());
                result
            }));
        }
        guests
            .into_iter()
            .map(|guest| {
                guest
                    .join()
                    .map_err(|_| anyhow!("a guest's thread panicked"))?
            })
            .collect::<Result<Vec<bool>>>()
    })?;
    let passed = results.iter().filter(|&&right| right).count();
    let failed = results.len() - passed;
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Lets in as many guests as the host's processors can bear.
struct Room<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    /// The most that they may take together.
    load: usize,
}

struct State<'a> {
    jobs: Vec<Job<'a>>,
    /// What the guests inside take, in percent of a processor.
    taken: usize,
}

impl<'a> Room<'a> {
    /// The next guest, as soon as there is room for it; none if all went in.
    fn enter(&self) -> Option<Job<'a>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.jobs.is_empty() {
                return None;
            }
            let left = self.load.saturating_sub(state.taken);
            // One that is too heavy for this host at all goes in alone.
            let fits = state.jobs.iter().position(|job| job.1.weight() <= left);
            if let Some(index) = fits.or((state.taken == 0).then_some(0)) {
                let job = state.jobs.remove(index);
                state.taken += job.1.weight();
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, load: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken -= load;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percent-seconds of one processor.
    fn sum(jobs: &[Job<'_>]) -> u64 {
        jobs.iter()
            .map(|(_, scenario)| scenario.usual_seconds() * scenario.weight() as u64)
            .sum()
    }

    #[test]
    fn on_each_kernel_the_core_sees_what_the_daemon_is_for() {
        let choice = Choice {
            all: false,
            table: None,
            load: Some(130),
            only: String::new(),
            kernels: Vec::new(),
        };
        let scenarios = choice.scenarios();
        let jobs = choice.jobs(&scenarios);
        for &kernel in kernels::ALL {
            for name in [
                if kernel == Kernel::Newest {
                    "netns-recovery"
                } else {
                    "netns-drained"
                },
                "loopback-slow-disk",
                "modules-reload",
                "late-modules",
                "lockdown-integrity",
                "lockdown-confidentiality",
            ] {
                let found = jobs.iter().any(|job| job.0 == kernel && job.1.name == name);
                assert!(found, "{name} on {kernel}");
            }
        }
        for scenario in &scenarios {
            assert!(
                scenario
                    .core
                    .iter()
                    .all(|kernel| scenario.kernels.contains(kernel))
            );
        }
        let seconds = sum(&jobs) / choice.load() as u64;
        assert!(
            seconds < 14 * 60,
            "the core takes {seconds} s on two processors"
        );
    }
}
