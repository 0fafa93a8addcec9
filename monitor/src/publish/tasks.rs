//! Tasks as people ask for them: what each waited for in all, and what it waits
//! for at this moment, in one row.

use std::cmp::Reverse;
use std::collections::HashMap;

use compact_str::CompactString;
use monitor_model::observation::{Container, TaskDelay, Waiting};
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;

/// The longest text to look for, characters.
pub const MAX_MATCH: usize = 64;

/// A task and one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who, why, and its finished waits.
    #[serde(flatten)]
    pub task: TaskDelay,
    /// Time in this cause within the last tick, seconds: the wait that lasts
    /// included, and never more than the tick was long.
    pub throttled_seconds: f64,
    /// How long the wait lasts that it is in; `None`: it is in none.
    pub waiting_seconds: Option<f64>,
    /// In which container it lives; `None`: in none that is known.
    pub container: Option<Container>,
}

/// What rows are sorted by, descending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Time within the last tick.
    #[default]
    Recent,
    /// Finished waits since the daemon started.
    Delay,
    /// Number of finished waits.
    Waits,
    /// Age of the wait that lasts.
    Age,
}

impl Sort {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Recent, Self::Delay, Self::Waits, Self::Age];

    /// The word in a query.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recent => "recent",
            Self::Delay => "delay",
            Self::Waits => "waits",
            Self::Age => "age",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// Which rows, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// By what they are sorted.
    pub sort: Sort,
    /// How many at most.
    pub limit: usize,
    /// A text that a name, id, cause, class, BDI or container has; empty: any.
    pub matching: String,
}

/// Some of the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// All that are known.
    pub total: usize,
    /// Those of them that match.
    pub matching: usize,
    /// The first of those.
    pub tasks: Vec<Row>,
}

/// The rows that are wanted. Takes time in proportion to the tasks, and to sort
/// only what is given out.
#[must_use]
pub fn rows(snapshot: &Snapshot, wanted: &TaskQuery) -> Rows {
    let containers = containers(snapshot);
    let mut lines = lines(snapshot);
    let total = lines.len();
    if !wanted.matching.is_empty() {
        let text = wanted.matching.to_lowercase();
        lines.retain(|line| line.matches(&text, &containers));
    }
    let matching = lines.len();
    let key = |line: &Line<'_>| line.key(wanted.sort);
    if wanted.limit < lines.len() {
        lines.select_nth_unstable_by_key(wanted.limit, key);
        lines.truncate(wanted.limit);
    }
    lines.sort_unstable_by_key(key);
    let rows = lines.iter().map(|line| line.row(&containers));
    Rows {
        total,
        matching,
        tasks: rows.collect(),
    }
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub tid: u32,
    /// A row for each cause; empty: it is not known.
    pub causes: Vec<Row>,
    /// Functions of its kernel stack, innermost first; `None`: not read. Stacks
    /// are read while a loop is, or may be, stuck.
    pub stack: Option<Vec<CompactString>>,
}

/// What there is to say of a thread.
#[must_use]
pub fn task(snapshot: &Snapshot, tid: u32) -> Task {
    let mut stacks = snapshot.observation.stacks.iter();
    let stack = stacks.find(|stack| stack.tid == tid);
    Task {
        tid,
        causes: of(snapshot, tid),
        stack: stack.map(|stack| stack.frames.clone()),
    }
}

/// All rows of a thread, by cause.
fn of(snapshot: &Snapshot, tid: u32) -> Vec<Row> {
    let containers = containers(snapshot);
    let mut lines = lines(snapshot);
    lines.retain(|line| line.who.tid() == tid);
    lines.sort_unstable_by_key(|line| line.key(Sort::Age));
    lines.iter().map(|line| line.row(&containers)).collect()
}

/// In which container each process lives, as far as it was looked up.
#[must_use]
pub fn containers(snapshot: &Snapshot) -> HashMap<u32, &Container> {
    let places = snapshot.observation.topology.processes.iter();
    let known = places.filter_map(|place| Some((place.tgid, place.container.as_ref()?)));
    known.collect()
}

/// A row before anything of it is copied.
struct Line<'a> {
    who: Who<'a>,
    recent_ns: u64,
    age_ns: Option<u64>,
}

#[derive(Clone, Copy)]
enum Who<'a> {
    /// It has finished waits of this cause.
    Known(&'a TaskDelay),
    /// It is in its first one.
    New(&'a Waiting),
}

impl Who<'_> {
    const fn tid(self) -> u32 {
        match self {
            Self::Known(task) => task.tid,
            Self::New(wait) => wait.tid,
        }
    }
}

fn lines(snapshot: &Snapshot) -> Vec<Line<'_>> {
    let seen = &snapshot.observation;
    let now_ns = seen.monotonic_ns;
    let tick_ns = u64::try_from(snapshot.daemon.interval.as_nanos()).unwrap_or(u64::MAX);
    let tick_ns = tick_ns.max(1);
    let age = |wait: &Waiting| now_ns.saturating_sub(wait.since_ns);
    let mut lasting: HashMap<_, &Waiting> = HashMap::with_capacity(seen.waits.len());
    for wait in &seen.waits {
        lasting.insert((wait.tid, wait.cause), wait);
    }
    let mut lines = Vec::with_capacity(snapshot.tasks.len() + lasting.len());
    for task in &snapshot.tasks {
        let age_ns = lasting.remove(&(task.tid, task.cause)).map(age);
        let recent = task.recent_delay_ns.saturating_add(age_ns.unwrap_or(0));
        lines.push(Line {
            who: Who::Known(task),
            recent_ns: recent.min(tick_ns),
            age_ns,
        });
    }
    lines.extend(lasting.into_values().map(|wait| Line {
        who: Who::New(wait),
        recent_ns: age(wait).min(tick_ns),
        age_ns: Some(age(wait)),
    }));
    lines
}

impl Line<'_> {
    fn key(&self, sort: Sort) -> impl Ord + use<> {
        let (tid, cause, delay_ns, waits) = match self.who {
            Who::Known(task) => (task.tid, task.cause, task.delay_ns, task.waits),
            Who::New(wait) => (wait.tid, wait.cause, 0, 0),
        };
        let age_ns = self.age_ns.unwrap_or(0);
        let (first, second) = match sort {
            Sort::Recent => (self.recent_ns, age_ns),
            Sort::Delay => (delay_ns, age_ns),
            Sort::Waits => (waits, age_ns),
            Sort::Age => (age_ns, self.recent_ns),
        };
        (Reverse((first, second)), tid, cause)
    }

    /// Whether any of what it shows has this text, which is in lower case.
    fn matches(&self, text: &str, containers: &HashMap<u32, &Container>) -> bool {
        let (ids, comm, class, cause, bdi) = match self.who {
            Who::Known(t) => ([t.tid, t.tgid], &t.comm, t.class, t.cause, &t.bdi),
            Who::New(w) => ([w.tid, w.tgid], &w.comm, w.class, w.cause, &w.bdi),
        };
        let has = |shown: &str| shown.to_lowercase().contains(text);
        has(comm)
            || has(cause.as_str())
            || has(class.as_str())
            || has(bdi)
            || ids.iter().any(|id| id.to_string() == text)
            || containers.get(&ids[1]).is_some_and(|one| has(&one.words()))
    }

    fn row(&self, containers: &HashMap<u32, &Container>) -> Row {
        let task = match self.who {
            Who::Known(task) => task.clone(),
            Who::New(wait) => TaskDelay {
                tid: wait.tid,
                tgid: wait.tgid,
                comm: wait.comm.clone(),
                class: wait.class,
                cause: wait.cause,
                bdi: wait.bdi.clone(),
                waits: 0,
                delay_ns: 0,
                recent_delay_ns: 0,
            },
        };
        Row {
            container: containers.get(&task.tgid).copied().cloned(),
            throttled_seconds: seconds(self.recent_ns),
            waiting_seconds: self.age_ns.map(seconds),
            task,
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class};

    use super::{Sort, TaskQuery, rows};
    use crate::publish::snapshot::Snapshot;
    use crate::publish::testing;
    use crate::publish::testing::NOW_NS;

    fn wanted(sort: Sort, limit: usize, matching: &str) -> TaskQuery {
        TaskQuery {
            sort,
            limit,
            matching: matching.to_owned(),
        }
    }

    fn tids(snapshot: &Snapshot, wanted: &TaskQuery) -> Vec<u32> {
        let rows = rows(snapshot, wanted);
        rows.tasks.iter().map(|row| row.task.tid).collect()
    }

    #[test]
    fn a_task_in_its_first_wait_is_there_and_one_that_waits_again_is_one_row() {
        let mut snapshot = testing::snapshot();
        let since = NOW_NS - 300_000_000;
        let again = testing::wait(21, Cause::BalanceDirtyPages, Class::User, since);
        snapshot.observation.waits.push(again);
        let all = rows(&snapshot, &wanted(Sort::Age, 10, ""));
        assert_eq!((all.total, all.matching), (5, 5));
        let shown: Vec<_> = all.tasks.iter().map(|row| row.task.tid).collect();
        assert_eq!(shown, [11, 12, 21, 22, 23]);
        assert_eq!(all.tasks[0].waiting_seconds, Some(2.5));
        assert_eq!(all.tasks[0].task.waits, 0);
        let again = &all.tasks[2];
        assert_eq!((again.task.waits, again.waiting_seconds), (1, Some(0.3)));
    }

    #[test]
    fn time_within_the_tick_counts_what_lasts_and_is_no_longer_than_the_tick() {
        let all = rows(&testing::snapshot(), &wanted(Sort::Recent, 10, ""));
        let times: Vec<_> = all.tasks.iter().map(|row| row.throttled_seconds).collect();
        assert_eq!(times[..2], [1.0, 0.5]);
        assert_eq!(all.tasks[2].task.tid, 22, "of the rest the one of 50 ns");
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for_and_no_more_are_given_than_that() {
        let snapshot = testing::snapshot();
        assert_eq!(tids(&snapshot, &wanted(Sort::Delay, 2, "")), [21, 23]);
        assert_eq!(tids(&snapshot, &wanted(Sort::Waits, 1, "")), [21]);
        assert!(tids(&snapshot, &wanted(Sort::Recent, 0, "")).is_empty());
        for sort in Sort::ALL {
            assert_eq!(Sort::from_word(sort.as_str()), Some(sort));
        }
    }

    #[test]
    fn a_text_is_looked_for_in_names_ids_causes_and_bdis_in_any_case() {
        let snapshot = testing::snapshot();
        let found = |text: &str| tids(&snapshot, &wanted(Sort::Age, 10, text));
        assert_eq!(found("NFSD"), [11, 12]);
        assert_eq!(found("22"), [22]);
        assert_eq!(found("254:0"), [11, 12]);
        assert_eq!(found("dirty_pages").len(), 5);
        assert_eq!(found("no such").len(), 0);
        let none = rows(&snapshot, &wanted(Sort::Age, 10, "no such"));
        assert_eq!((none.total, none.matching), (5, 0));
    }

    #[test]
    fn ten_thousand_tasks_give_the_rows_that_a_whole_sort_would() {
        let mut snapshot = testing::snapshot();
        snapshot.tasks = (0..10_000)
            .map(|tid| testing::task(tid, u64::from(tid * 7919 % 10_007), 0))
            .collect();
        let first = tids(&snapshot, &wanted(Sort::Delay, 50, ""));
        let all = tids(&snapshot, &wanted(Sort::Delay, 20_000, ""));
        assert_eq!(first, all[..50]);
    }
}
