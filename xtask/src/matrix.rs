//! Many scenarios on many kernels, several guests at a time.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Result, anyhow};
use clap::Args;

use crate::{
    Files,
    judge::{self, Fault},
    kernels::{self, Kernel},
    play, report,
    scenario::{self, Expect, Scenario},
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
    /// Only what the table knows nothing of: goes on where a run was broken off
    #[arg(long, requires = "table")]
    missing: bool,
    /// Percent of one processor that guests may keep busy together; by default
    /// 70 for each processor
    #[arg(long)]
    load: Option<usize>,
    /// Only scenarios whose names contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Only the scenario of this very name
    #[arg(long)]
    scenario: Option<String>,
    /// Only these kernels
    #[arg(long = "kernel")]
    kernels: Vec<Kernel>,
    /// Play each so many times: nine of ten must be right. Those that prove nothing
    /// are played again
    #[arg(long)]
    times: Option<u32>,
}

impl Choice {
    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = scenario::all();
        scenarios.retain(|scenario| scenario.is_test() && scenario.name.contains(&self.only));
        if let Some(name) = &self.scenario {
            scenarios.retain(|scenario| scenario.name == name);
        }
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
        self.load.unwrap_or_else(|| 70 * processors())
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
    if choice.missing {
        let lacks = |(kernel, scenario): &Job<'_>| {
            let table = table.as_ref();
            table.is_none_or(|table| table.lacks(*kernel, scenario))
        };
        jobs.retain(lacks);
    }
    let table = Mutex::new(table);
    // The long and heavy ones first; the others fit in beside them. Of three
    // minutes in which nothing happens, little is learned: those are last.
    jobs.sort_by_key(|(_, scenario)| {
        let is_quiet = choice.all && matches!(scenario.expect, Expect::Nothing(_));
        (is_quiet, Reverse((scenario.seconds, scenario.weight())))
    });
    let room = Room {
        state: Mutex::new(State { jobs, taken: 0 }),
        changed: Condvar::new(),
        load: choice.load(),
    };
    let play = |(kernel, scenario): Job<'_>| -> Result<Plays> {
        let mut plays = Plays::default();
        loop {
            let (outcome, judgement) = play::play(kernel, scenario, files, &mut |_, _| {})?;
            plays.count(&judgement);
            let again = plays.right(choice.times).is_none();
            let doubted = again && choice.times.is_none();
            report::verdict(kernel, scenario, &outcome, &judgement, doubted);
            if again {
                match judgement {
                    Ok(_) => fs::remove_dir_all(&outcome.logs)?,
                    Err(_) => keep(&outcome.logs)?,
                }
                continue;
            }
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(table) = table.as_mut() {
                table.set(
                    kernel,
                    scenario,
                    judge::cell(scenario, &outcome, &judgement),
                )?;
            }
            if let Some(times) = choice.times {
                println!(
                    "{kernel} {}: right in {} plays of {times}, {} more proved nothing",
                    scenario.name, plays.right, plays.void
                );
            }
            return Ok(plays);
        }
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
            .collect::<Result<Vec<Plays>>>()
    })?;
    let passed = results
        .iter()
        .filter(|plays| plays.right(choice.times) == Some(true))
        .count();
    let failed = results.len() - passed;
    let doubtful = results
        .iter()
        .filter(|plays| plays.right(choice.times) == Some(true) && plays.wrong > 0)
        .count();
    if doubtful > 0 {
        println!("{doubtful} of these passed with a wrong play among the right ones");
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Put the logs of a play aside, for the next writes its own.
fn keep(logs: &Path) -> Result<()> {
    let mut aside = logs.as_os_str().to_owned();
    aside.push(".before");
    let aside = Path::new(&aside);
    if aside.exists() {
        fs::remove_dir_all(aside)?;
    }
    Ok(fs::rename(logs, aside)?)
}

/// How one guest's plays went. What proves nothing is played once more. A single
/// wrong one is played twice more and must be right both times: an emulated
/// machine on a busy host shows now and then what no real one does, and a fault
/// of the daemon's shows again. Each is printed.
#[derive(Default)]
struct Plays {
    right: u32,
    wrong: u32,
    void: u32,
}

impl Plays {
    fn count(&mut self, judgement: &judge::Judgement) {
        match judgement {
            Ok(_) => self.right += 1,
            Err(Fault::Wrong(_)) => self.wrong += 1,
            Err(Fault::Void(_)) => self.void += 1,
        }
    }

    /// What is to be said of them; none while it takes another. So many `times` are
    /// all played, and then nine of ten are enough.
    fn right(&self, times: Option<u32>) -> Option<bool> {
        if let Some(times) = times {
            let counted = self.right + self.wrong;
            return match counted >= times {
                true => Some(self.right * 10 >= counted * 9),
                false if self.void >= times.max(2) => Some(false),
                false => None,
            };
        }
        match *self {
            Self { wrong: 2.., .. } | Self { void: 2.., .. } => Some(false),
            Self { right, wrong, .. } => (right > wrong).then_some(true),
        }
    }
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

    fn plays(letters: &str) -> Plays {
        let mut counted = Plays::default();
        for letter in letters.chars() {
            counted.count(&match letter {
                'r' => Ok(String::new()),
                'w' => Err(Fault::Wrong(String::new())),
                _ => Err(Fault::Void(String::new())),
            });
        }
        counted
    }

    #[test]
    fn of_ten_plays_nine_must_be_right() {
        let after = |letters: &str| plays(letters).right(Some(10));
        assert_eq!(after("rrrrrrrrrr"), Some(true));
        assert_eq!(after("rrwrrvrrrrr"), Some(true));
        assert_eq!(after("rrwrrwrrrr"), Some(false));
        assert_eq!(after("rrrrrrrrrv"), None);
        assert_eq!(after("vvvvvvvvvv"), Some(false));
    }

    #[test]
    fn one_wrong_play_is_outweighed_by_two_right_ones_only() {
        let after = |letters: &str| plays(letters).right(None);
        for right in ["r", "vr", "wrr", "vwrr", "wvrr"] {
            assert_eq!(after(right), Some(true), "{right}");
        }
        for wrong in ["ww", "wrw", "vv", "wvv", "vww"] {
            assert_eq!(after(wrong), Some(false), "{wrong}");
        }
        for open in ["", "w", "v", "wr", "vw", "wv"] {
            assert_eq!(after(open), None, "{open}");
        }
    }

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
            load: Some(140),
            missing: false,
            only: String::new(),
            scenario: None,
            kernels: Vec::new(),
            times: None,
        };
        let scenarios = choice.scenarios();
        let jobs = choice.jobs(&scenarios);
        let is_there = |kernel, name: &str| {
            let mut of_it = jobs.iter().filter(|job| job.0 == kernel);
            of_it.any(|job| job.1.name.starts_with(name))
        };
        for &kernel in kernels::ALL {
            let livelock = match kernel {
                Kernel::V5_10 | Kernel::V6_12 => "netns-no-hog",
                Kernel::V6_1 => "netns-drained",
                Kernel::Newest => "netns-recovery",
            };
            for name in [livelock, "probes", "lockdown-"] {
                assert!(is_there(kernel, name), "{name} on {kernel}");
            }
        }
        // What does not differ from one kernel to the next is seen on one of them; the
        // corpus has it of each.
        for name in ["late-modules", "modules-reload", "loopback-slow-disk"] {
            assert!(jobs.iter().any(|job| job.1.name == name), "{name}");
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
            seconds < 10 * 60,
            "the core takes {seconds} s on two processors"
        );
    }
}
