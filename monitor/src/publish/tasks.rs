//! Tasks as people ask for them: what each waited for in all, and what it waits
//! for at this moment, in one row.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use monitor_model::observation::{Container, TaskDelay, Waiting};

pub use monitor_model::api::{MAX_MATCH, Row, Rows, Sort, Task, TaskQuery};

use super::seconds;
use super::snapshot::Snapshot;

/// The rows that are wanted. Takes time in proportion to the tasks, and to sort
/// only what is given out.
#[must_use]
pub fn rows(snapshot: &Snapshot, wanted: &TaskQuery) -> Rows {
    let containers = containers(snapshot);
    let mut found = candidates(snapshot);
    let total = found.len();
    if !wanted.matching.is_empty() {
        let text = wanted.matching.to_lowercase();
        found.retain(|one| one.matches(&text, &containers));
    }
    let matching = found.len();
    let key = |one: &Candidate<'_>| one.key(wanted.sort);
    if wanted.limit < found.len() {
        found.select_nth_unstable_by_key(wanted.limit, key);
        found.truncate(wanted.limit);
    }
    found.sort_unstable_by_key(key);
    let rows = found.into_iter().map(|one| one.row(&containers));
    Rows {
        total,
        matching,
        tasks: rows.collect(),
    }
}

/// What there is to say of a thread: its rows by cause, and its stack.
#[must_use]
pub fn task(snapshot: &Snapshot, tid: u32) -> Task {
    let containers = containers(snapshot);
    let mut found = candidates(snapshot);
    found.retain(|one| one.task.tid == tid);
    found.sort_unstable_by_key(|one| one.key(Sort::Age));
    let rows = found.into_iter().map(|one| one.row(&containers));
    let mut stacks = snapshot.observation.stacks.iter();
    let stack = stacks.find(|stack| stack.tid == tid);
    Task {
        tid,
        causes: rows.collect(),
        stack: stack.map(|stack| stack.frames.clone()),
    }
}

/// In which container each process lives, as far as it was looked up.
#[must_use]
pub fn containers(snapshot: &Snapshot) -> HashMap<u32, &Container> {
    let places = snapshot.observation.topology.processes.iter();
    let known = places.filter_map(|place| Some((place.tgid, place.container.as_ref()?)));
    known.collect()
}

/// A row before it is sorted.
struct Candidate<'a> {
    /// Its finished waits; made up, without any, of a task in its first one.
    task: Cow<'a, TaskDelay>,
    recent_ns: u64,
    age_ns: Option<u64>,
}

fn candidates(snapshot: &Snapshot) -> Vec<Candidate<'_>> {
    let seen = &snapshot.observation;
    let now_ns = seen.monotonic_ns;
    let tick_ns = u64::try_from(snapshot.daemon.interval().as_nanos()).unwrap_or(u64::MAX);
    let tick_ns = tick_ns.max(1);
    let age = |wait: &Waiting| now_ns.saturating_sub(wait.since_ns);
    let mut lasting: HashMap<_, &Waiting> = HashMap::with_capacity(seen.waits.len());
    for wait in &seen.waits {
        lasting.insert((wait.tid, wait.cause), wait);
    }
    let mut all = Vec::with_capacity(snapshot.tasks.len() + lasting.len());
    for task in &snapshot.tasks {
        let age_ns = lasting.remove(&(task.tid, task.cause)).map(age);
        let recent = task.recent_delay_ns.saturating_add(age_ns.unwrap_or(0));
        all.push(Candidate {
            task: Cow::Borrowed(task),
            recent_ns: recent.min(tick_ns),
            age_ns,
        });
    }
    all.extend(lasting.into_values().map(|wait| Candidate {
        task: Cow::Owned(TaskDelay {
            tid: wait.tid,
            tgid: wait.tgid,
            comm: wait.comm.clone(),
            class: wait.class,
            cause: wait.cause,
            bdi: wait.bdi.clone(),
            waits: 0,
            delay_ns: 0,
            recent_delay_ns: 0,
        }),
        recent_ns: age(wait).min(tick_ns),
        age_ns: Some(age(wait)),
    }));
    all
}

impl Candidate<'_> {
    fn key(&self, sort: Sort) -> impl Ord + use<> {
        let task = &self.task;
        let age_ns = self.age_ns.unwrap_or(0);
        let (first, second) = match sort {
            Sort::Recent => (self.recent_ns, age_ns),
            Sort::Delay => (task.delay_ns, age_ns),
            Sort::Waits => (task.waits, age_ns),
            Sort::Age => (age_ns, self.recent_ns),
        };
        (Reverse((first, second)), task.tid, task.cause)
    }

    /// Whether any of what it shows has this text, which is in lower case.
    fn matches(&self, text: &str, containers: &HashMap<u32, &Container>) -> bool {
        let task = &self.task;
        let has = |shown: &str| shown.to_lowercase().contains(text);
        has(&task.comm)
            || has(task.cause.as_str())
            || has(task.class.as_str())
            || has(&task.bdi)
            || [task.tid, task.tgid]
                .iter()
                .any(|id| id.to_string() == text)
            || containers
                .get(&task.tgid)
                .is_some_and(|one| has(&one.words()))
    }

    fn row(self, containers: &HashMap<u32, &Container>) -> Row {
        Row {
            container: containers.get(&self.task.tgid).copied().cloned(),
            throttled_seconds: seconds(self.recent_ns),
            waiting_seconds: self.age_ns.map(seconds),
            task: self.task.into_owned(),
        }
    }
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
