//! Every scenario on every kernel, several guests at a time.

use std::{
    cmp::Reverse,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    Files, initramfs,
    judge::{self, Fault},
    kernels::{self, Kernel},
    qemu, report,
    scenario::{self, Scenario},
};

/// A guest to play.
type Job<'a> = (Kernel, &'a Scenario);

/// Play all; whether all were judged right. The last line counts.
pub fn run(load: Option<usize>, only: &str, wanted: &[Kernel], files: &Files) -> Result<bool> {
    let load = load.unwrap_or_else(|| 80 * thread::available_parallelism().map_or(1, usize::from));
    let scenarios = scenario::all();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for &kernel in kernels::ALL {
        if !wanted.is_empty() && !wanted.contains(&kernel) {
            continue;
        }
        jobs.extend(
            scenarios
                .iter()
                .filter(|scenario| scenario.kernels.contains(&kernel))
                .filter(|scenario| scenario.name.contains(only) && scenario.is_test())
                .map(|scenario| (kernel, scenario)),
        );
    }
    // The long and heavy ones first; the others fit in beside them.
    jobs.sort_by_key(|(_, scenario)| Reverse((scenario.seconds, scenario.weight())));
    let room = Room {
        state: Mutex::new(State { jobs, taken: 0 }),
        changed: Condvar::new(),
        load,
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
