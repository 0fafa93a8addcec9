//! What a task does, in words, and tasks grouped by that.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_common::{Cause, ThrottleReason};
use monitor_model::observation::{ThreadState, Waiting};

use crate::evidence::bounds::{NAME, short};
use crate::evidence::places::Place;
use crate::evidence::tasks::Task;

/// Names of a group that are written out.
const MAX_NAMES: usize = 4;

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Is in a watched wait: `balance_dirty_pages on /export (254:0)`.
    Waits(String),
    /// Is throttled and at this moment in none: between two pauses.
    Throttled,
    /// Waits for a lock of one that is throttled, in this function.
    Behind(CompactString),
    /// Sleeps uninterruptibly elsewhere.
    Sleeps(CompactString),
    /// Works.
    Runs,
}

impl Doing {
    pub fn of(task: &Task<'_>, place: &dyn Fn(&str) -> Place) -> Self {
        if !task.waits.is_empty() {
            return Self::Waits(waits(task, place));
        }
        let function = short(task.blocked_in.unwrap_or_default(), NAME);
        match task.state {
            Some(ThreadState::Throttled) => Self::Throttled,
            Some(ThreadState::Blocked) if task.behind_throttled => Self::Behind(function),
            Some(ThreadState::Running | ThreadState::Idle) => Self::Runs,
            Some(ThreadState::Blocked) => Self::Sleeps(function),
            // Of others only the stack is known.
            None => Self::Sleeps(asleep_in(task)),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Waits(_) => 0,
            Self::Throttled => 1,
            Self::Behind(_) => 2,
            Self::Sleeps(_) => 3,
            Self::Runs => 4,
        }
    }

    /// What so many of them do.
    pub fn words(&self, count: usize) -> String {
        let (s, are) = if count == 1 { ("s", "is") } else { ("", "are") };
        match self {
            Self::Waits(where_to) => format!("wait{s} in {where_to}"),
            Self::Throttled => format!("{are} throttled, between two pauses at this moment"),
            Self::Behind(function) if function.is_empty() => {
                format!("wait{s} for a lock behind one that is throttled")
            }
            Self::Behind(function) => {
                format!("wait{s} for a lock behind one that is throttled ({function})")
            }
            Self::Sleeps(function) if function.is_empty() => {
                format!("sleep{s} uninterruptibly in an unknown function")
            }
            Self::Sleeps(function) => format!("sleep{s} in {function}"),
            Self::Runs => format!("run{s}"),
        }
    }
}

/// The innermost function that is not the scheduler's.
fn asleep_in(task: &Task<'_>) -> CompactString {
    let mut frames = task.frames().filter(|frame| !frame.contains("schedule"));
    frames
        .next()
        .map_or_else(CompactString::default, |frame| short(frame, NAME))
}

/// `direct_reclaim > reclaim_throttle (writeback)`, the outermost first.
fn waits(task: &Task<'_>, place: &dyn Fn(&str) -> Place) -> String {
    let one = |wait: &&Waiting| {
        let mut words = wait.cause.as_str().to_owned();
        if wait.reason != ThrottleReason::None {
            words = format!("{words} ({})", wait.reason.as_str());
        }
        if !wait.bdi.is_empty() {
            words = format!("{words} on {}", place(&wait.bdi));
        }
        words
    };
    let words: Vec<String> = task.waits.iter().take(4).map(one).collect();
    words.join(" > ")
}

/// Tasks that do the same together: those that wait for one of `first` before
/// all others, waits before locks before work, large groups before small ones;
/// within a group as they come.
pub fn group<'t, 'a>(
    tasks: &[&'t Task<'a>],
    first: &[Cause],
    doing: &dyn Fn(&Task<'a>) -> Doing,
) -> Vec<(Doing, Vec<&'t Task<'a>>)> {
    let mut groups: BTreeMap<(bool, Doing), Vec<&'t Task<'a>>> = BTreeMap::new();
    for task in tasks {
        let later = task.wait_in(first).is_none();
        groups.entry((later, doing(task))).or_default().push(task);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((later, doing), group)| (*later, doing.rank(), Reverse(group.len())));
    let groups = groups.into_iter();
    groups.map(|((_, doing), group)| (doing, group)).collect()
}

/// `nfsd[301], nfsd[302] ... (6)`.
pub fn names(group: &[&Task<'_>]) -> String {
    let one = |task: &&Task<'_>| format!("{}[{}]", short(task.comm, NAME), task.tid);
    let some: Vec<String> = group.iter().take(MAX_NAMES).map(one).collect();
    if group.len() > MAX_NAMES {
        format!("{} ... ({})", some.join(", "), group.len())
    } else {
        some.join(", ")
    }
}
