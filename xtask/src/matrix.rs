//! Plays many scenarios on many kernels, several guests at a time.

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

/// The plays to run.
#[derive(Args)]
pub struct MatrixArgs {
    /// Every scenario on every kernel that it applies to, and those in which
    /// nothing must happen for three minutes
    #[arg(long)]
    all: bool,
    /// With --all: those for one minute, as the core plays them
    #[arg(long, requires = "all")]
    brief: bool,
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
    /// Only the scenario of this very name; may be given again
    #[arg(long = "scenario", value_name = "NAME")]
    names: Vec<String>,
    /// Only these kernels
    #[arg(long = "kernel")]
    kernels: Vec<Kernel>,
    /// Play each so many times: nine of ten must be right. Those that prove nothing
    /// are played again
    #[arg(long)]
    times: Option<u32>,
}

impl MatrixArgs {
    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = scenario::all();
        scenarios.retain(|scenario| scenario.is_test() && scenario.name.contains(&self.only));
        let wanted = |scenario: &Scenario| self.names.iter().any(|name| name == scenario.name);
        if !self.names.is_empty() {
            scenarios.retain(wanted);
        }
        if self.all && !self.brief {
            scenarios.iter_mut().for_each(Scenario::lengthen);
        }
        scenarios
    }

    fn jobs<'a>(&self, scenarios: &'a [Scenario]) -> Vec<Job<'a>> {
        let kernels = kernels::EVERY.iter().copied();
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

    /// A higher load starves the guests, and their results prove less.
    fn load(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        self.load.unwrap_or_else(|| 70 * processors())
    }
}

/// A guest to play.
type Job<'a> = (Kernel, &'a Scenario);

/// Number of flaky plays with which a run still passes.
const FLAKY_ALLOWED: usize = 1;

/// Plays all jobs. A run passes if all are right and at most one was flaky. The last line counts.
pub fn run(choice: &MatrixArgs, files: &Files) -> Result<bool> {
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
    // Long and heavy plays come first; the others fit in beside them. Three minutes without an
    // event teach little, so those come last.
    jobs.sort_by_key(|(_, scenario)| {
        let is_quiet = choice.all && matches!(scenario.expect, Expect::Nothing(_));
        (is_quiet, Reverse((scenario.seconds, scenario.weight())))
    });
    let room = Room {
        state: Mutex::new(State { jobs, taken: 0 }),
        changed: Condvar::new(),
        load: choice.load(),
    };
    let play = |(kernel, scenario): Job<'_>| -> Result<Played> {
        let mut plays = Plays::default();
        let mut wrong = Vec::new();
        loop {
            let (outcome, judgement) = play::play(kernel, scenario, files, &mut |_, _| {})?;
            plays.count(&judgement);
            let again = plays.right(choice.times).is_none();
            let doubted = again && choice.times.is_none();
            report::verdict(kernel, scenario, &outcome, &judgement, doubted);
            if again {
                match judgement {
                    Ok(_) => fs::remove_dir_all(&outcome.logs)?,
                    Err(Fault::Void(_)) => drop(keep(&outcome.logs, "void")?),
                    Err(Fault::Wrong(why)) => {
                        wrong.push((why, keep(&outcome.logs, &format!("wrong-{}", plays.wrong))?));
                    }
                }
                continue;
            }
            let result = plays.result(choice.times);
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(table) = table.as_mut() {
                table.set(
                    kernel,
                    scenario,
                    cell(&plays, result, judge::cell(scenario, &outcome, &judgement)),
                )?;
            }
            if let Some(times) = choice.times {
                println!(
                    "{kernel} {}: right in {} plays of {times}, {} more proved nothing",
                    scenario.name, plays.right, plays.void
                );
            }
            return Ok(Played {
                name: format!("{kernel} {}", scenario.name),
                result,
                wrong,
            });
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
            .collect::<Result<Vec<Played>>>()
    })?;
    let (lines, passed) = summary(&results);
    for line in lines {
        println!("{line}");
    }
    Ok(passed)
}

/// The result of a guest's plays.
struct Played {
    /// Its kernel and scenario.
    name: String,
    result: PlayResult,
    /// For each wrong play except the last: the reason and the directory of its logs.
    wrong: Vec<(String, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlayResult {
    Right,
    /// Wrong once, then right twice.
    Flaky,
    Wrong,
}

/// The last lines of a run, and whether it passed. Each flaky play is listed with the reason and
/// the logs of its wrong play. Beyond [`FLAKY_ALLOWED`], all of them count as failed.
fn summary(results: &[Played]) -> (Vec<String>, bool) {
    let of = |result| results.iter().filter(move |one| one.result == result);
    let flaky = of(PlayResult::Flaky).count();
    let mut lines = Vec::new();
    for one in of(PlayResult::Flaky) {
        for (why, logs) in &one.wrong {
            lines.push(format!(
                "FLAKY {}: {why}\n      logs: {}",
                one.name,
                logs.display()
            ));
        }
    }
    if flaky > FLAKY_ALLOWED {
        lines.push(format!(
            "{flaky} are flaky, at most {FLAKY_ALLOWED} may be: they count as failed"
        ));
    }
    let tolerated = if flaky > FLAKY_ALLOWED { 0 } else { flaky };
    let passed = of(PlayResult::Right).count() + tolerated;
    let failed = results.len() - passed;
    lines.push(format!("{passed} passed, {failed} failed"));
    (lines, failed == 0)
}

/// The cell of the table. It mentions an earlier wrong play.
fn cell(plays: &Plays, result: PlayResult, words: String) -> String {
    match result {
        PlayResult::Flaky => format!(
            "{words}, **flaky** ({} of {} wrong)",
            plays.wrong,
            plays.wrong + plays.right
        ),
        PlayResult::Right | PlayResult::Wrong => words,
    }
}

/// Moves the logs of a play away, because the next one overwrites them. Returns their new path.
fn keep(logs: &Path, what: &str) -> Result<PathBuf> {
    let mut aside = logs.as_os_str().to_owned();
    aside.push(format!(".{what}"));
    let aside = PathBuf::from(aside);
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(logs, &aside)?;
    Ok(aside)
}

/// The results of one guest's plays. A void play is repeated up to twice. A single wrong play is repeated
/// twice, and both must be right: then it is flaky. An emulated machine on a busy host may fail
/// where no real one does, but a bug that shows one time in three looks the same. So each is
/// printed.
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

    /// The overall result, once there is no repetition left.
    fn result(&self, times: Option<u32>) -> PlayResult {
        match self.right(times) {
            Some(true) if times.is_none() && self.wrong > 0 => PlayResult::Flaky,
            Some(true) => PlayResult::Right,
            Some(false) | None => PlayResult::Wrong,
        }
    }

    /// The overall judgement; `None`: another play follows. With `times`, that many are played, and
    /// nine of ten must be right.
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
            Self { wrong: 2.., .. } | Self { void: 3.., .. } => Some(false),
            Self { right, wrong, .. } => (right > wrong).then_some(true),
        }
    }
}

/// Admits as many guests as the host's processors can run.
struct Room<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    /// The maximum total load.
    load: usize,
}

struct State<'a> {
    jobs: Vec<Job<'a>>,
    /// The load of the running guests, in percent of a processor.
    taken: usize,
}

impl<'a> Room<'a> {
    /// The next guest, as soon as it fits; `None`: all have run.
    fn enter(&self) -> Option<Job<'a>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.jobs.is_empty() {
                return None;
            }
            let left = self.load.saturating_sub(state.taken);
            // A guest that is too heavy for this host runs alone.
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
        for right in ["r", "vr", "vvr", "wrr", "vwrr", "wvrr"] {
            assert_eq!(after(right), Some(true), "{right}");
        }
        for wrong in ["ww", "wrw", "vvv", "wvvv", "vww"] {
            assert_eq!(after(wrong), Some(false), "{wrong}");
        }
        for open in ["", "w", "v", "vv", "wr", "vw", "wvv"] {
            assert_eq!(after(open), None, "{open}");
        }
    }

    fn played(letters: &str) -> Played {
        let result = plays(letters).result(None);
        let wrong = (result == PlayResult::Flaky).then(|| {
            let why = "confirmed after 12 s".to_owned();
            (why, PathBuf::from(format!("vm/{letters}.wrong-1")))
        });
        Played {
            name: format!("6.1 {letters}"),
            result,
            wrong: wrong.into_iter().collect(),
        }
    }

    #[test]
    fn a_wrong_play_before_right_ones_is_flaky_and_named_with_its_logs() {
        for (letters, result) in [
            ("r", PlayResult::Right),
            ("vr", PlayResult::Right),
            ("wrr", PlayResult::Flaky),
            ("vwrr", PlayResult::Flaky),
            ("wrw", PlayResult::Wrong),
            ("vvv", PlayResult::Wrong),
        ] {
            assert_eq!(plays(letters).result(None), result, "{letters}");
        }
        let (lines, passed) = summary(&["r", "wrr", "vr"].map(played));
        assert!(passed, "one is let through");
        assert_eq!(
            lines,
            [
                "FLAKY 6.1 wrr: confirmed after 12 s\n      logs: vm/wrr.wrong-1",
                "3 passed, 0 failed"
            ]
        );
        let words = cell(&plays("wrr"), PlayResult::Flaky, "right".to_owned());
        assert_eq!(words, "right, **flaky** (1 of 3 wrong)");
    }

    #[test]
    fn more_than_one_flaky_play_fails_the_run() {
        let (lines, passed) = summary(&["r", "wrr", "vwrr"].map(played));
        assert!(!passed);
        assert_eq!(
            lines[2],
            "2 are flaky, at most 1 may be: they count as failed"
        );
        assert_eq!(lines[3], "1 passed, 2 failed");
        let (lines, passed) = summary(&["r", "ww", "wrr"].map(played));
        assert!(!passed);
        assert_eq!(lines.last().map(String::as_str), Some("2 passed, 1 failed"));
    }

    /// Percent-seconds of one processor.
    fn sum(jobs: &[Job<'_>]) -> u64 {
        jobs.iter()
            .map(|(_, scenario)| scenario.usual_seconds() * scenario.weight() as u64)
            .sum()
    }

    #[test]
    fn on_each_kernel_the_core_sees_what_the_daemon_is_for() {
        let choice = MatrixArgs {
            all: false,
            brief: false,
            table: None,
            load: Some(140),
            missing: false,
            only: String::new(),
            names: Vec::new(),
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
                Kernel::Newest | Kernel::V6_12_43 => "netns-recovery",
            };
            for name in [livelock, "probes", "lockdown-"] {
                assert!(is_there(kernel, name), "{name} on {kernel}");
            }
        }
        // Scenarios that do not differ between kernels are tested on one of them; the corpus has
        // all.
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
