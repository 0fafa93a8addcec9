//! Keeps the last minutes of each loop, and makes a document when a state is
//! entered that is worth one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use compact_str::CompactString;
use monitor_model::{
    evidence::{Evidence, MAX_BDIS, MAX_POINTS, MAX_TASKS, Pauses, Point, SCHEMA, Step, Trigger},
    loops::Loop,
    observation::{Bdi, DirtyPauses, NfsClient, Observation, Stack},
    verdict::{Transition, Verdict},
};

use super::bounds::{self, rounded, seconds, short};
use super::cycle::{self, CycleView};
use super::lines::{COLUMNS, lines};
use super::name;
use super::picture::{numbers, picture};
use super::tasks::{Task, Tasks, loop_bdis};
use crate::mitigation;
use crate::text::time;
use crate::window::Window;

/// Loops whose last minutes are kept, 14 KiB each. A loop has some only once
/// its client had something to write.
const MAX_HISTORIES: usize = 64;
/// Documents of one tick: it is not to last the longer the more loops there are.
const MAX_AT_ONCE: usize = 16;

/// How old a kernel stack may be: they are read every other second.
const MAX_STACK_AGE_NS: u64 = 10_000_000_000;

/// One tick, as it was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JudgedTick<'a> {
    pub observation: &'a Observation,
    pub window: &'a Window,
    pub loops: &'a [Loop],
    pub transitions: &'a [Transition],
}

/// Keeps and makes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    histories: BTreeMap<CompactString, History>,
    last_ns: u64,
    /// As they were read last, and when.
    stacks: Vec<Stack>,
    stacks_ns: u64,
}

/// The last minutes of one loop.
#[derive(Clone, Debug, Default)]
struct History {
    points: VecDeque<Point>,
    /// The newest points without demand, in a row.
    quiet: usize,
    confirmed: Option<Confirmed>,
}

/// What is kept of the document of a confirmation.
#[derive(Clone, Debug)]
struct Confirmed {
    id: CompactString,
    at: CompactString,
    steps: Vec<Step>,
}

impl Recorder {
    /// Takes in one tick with the verdicts of all loops; the documents that it
    /// is an occasion for.
    pub fn record<'v>(
        &mut self,
        moment: JudgedTick<'_>,
        verdicts: &(impl Iterator<Item = &'v Verdict> + Clone),
    ) -> Vec<Evidence> {
        let now = moment.observation.monotonic_ns;
        if now < self.last_ns {
            // What was recorded is of another clock.
            for history in self.histories.values_mut() {
                history.points.clear();
            }
        }
        if now != self.last_ns {
            self.keep(moment, verdicts.clone());
        }
        self.last_ns = now;
        self.keep_stacks(moment.observation);
        let mut made = Vec::new();
        let mut more = 0usize;
        for transition in moment.transitions {
            let Some(occasion) = Trigger::of(transition.to) else {
                continue;
            };
            let verdict = verdicts
                .clone()
                .find(|one| one.loop_id == transition.loop_id);
            match verdict {
                Some(verdict) if made.len() < MAX_AT_ONCE => {
                    made.push(self.document(moment, transition, occasion, verdict));
                }
                _ => more += 1,
            }
        }
        if let Some(last) = made.last_mut().filter(|_| more > 0) {
            let words = format!("documents: {more} more loops changed state at this moment");
            last.left_out.push(words);
        }
        made
    }

    /// The newest, while they are of use.
    fn keep_stacks(&mut self, observation: &Observation) {
        let now = observation.monotonic_ns;
        if !observation.stacks.is_empty() {
            self.stacks.clone_from(&observation.stacks);
            self.stacks_ns = now;
        } else if now < self.stacks_ns || now - self.stacks_ns > MAX_STACK_AGE_NS {
            self.stacks.clear();
        }
    }

    /// A point for each loop.
    fn keep<'v>(
        &mut self,
        moment: JudgedTick<'_>,
        verdicts: impl Iterator<Item = &'v Verdict> + Clone,
    ) {
        if !self.histories.is_empty() {
            let is_there = |id: &str| verdicts.clone().any(|one| one.loop_id == id);
            self.histories.retain(|id, _| is_there(id));
        }
        for verdict in verdicts {
            let quiet = verdict.conditions.demand.holds == Some(false);
            if !self.histories.contains_key(&verdict.loop_id) {
                if quiet || self.histories.len() >= MAX_HISTORIES {
                    continue;
                }
                self.histories
                    .insert(verdict.loop_id.clone(), History::default());
            }
            if let Some(history) = self.histories.get_mut(&verdict.loop_id) {
                history.push(point(moment, verdict), quiet);
                if history.is_over() {
                    self.histories.remove(&verdict.loop_id);
                }
            }
        }
    }

    fn document(
        &mut self,
        moment: JudgedTick<'_>,
        transition: &Transition,
        occasion: Trigger,
        verdict: &Verdict,
    ) -> Evidence {
        let JudgedTick {
            observation,
            window,
            ..
        } = moment;
        let signature = transition.signature;
        let found = moment.loops.iter().find(|one| one.id == transition.loop_id);
        let tasks = Tasks::of(observation, &self.stacks, verdict, found);
        let id = name::id(transition.unix_ms, &transition.loop_id, signature, occasion);
        let mut left_out = Vec::new();
        if self.stacks.is_empty() {
            left_out.push("kernel stacks: none were read".to_owned());
        }
        let mut before = self.histories.get_mut(&transition.loop_id);
        let timeline = before
            .as_ref()
            .map(|history| history.points.iter().cloned().collect());
        let timeline = timeline.unwrap_or_else(|| {
            left_out.push("timeline: too many loops are busy; only this moment is kept".to_owned());
            vec![point(moment, verdict)]
        });
        let confirmed = before
            .as_ref()
            .and_then(|history| history.confirmed.clone());
        let at = CompactString::from(time(transition.unix_ms));
        let steps = if occasion == Trigger::Ended {
            was(confirmed.as_ref(), &transition.reason)
        } else {
            cycle::steps(CycleView {
                observation,
                window,
                verdict,
                signature,
                found,
                tasks: &tasks,
            })
        };
        if let Some(history) = &mut before {
            history.confirmed = match occasion {
                Trigger::Confirmed => Some(Confirmed {
                    id: id.clone(),
                    at: at.clone(),
                    steps: steps.clone(),
                }),
                Trigger::Deadlock => confirmed.clone(),
                Trigger::Ended => None,
            };
        }
        let follows = confirmed.filter(|_| occasion != Trigger::Confirmed);
        let measures = |of: fn(_, &Loop, &Observation) -> _| {
            bounds::measures(found.map_or_else(Vec::new, |one| of(signature, one, observation)))
        };
        let now_ns = observation.monotonic_ns;
        let mut list = |tasks: &[Task<'_>], what: &str| {
            let mut first: Vec<&Task<'_>> = tasks.iter().collect();
            bounds::keep(&mut first, MAX_TASKS, what, &mut left_out);
            first
                .into_iter()
                .map(|task| task.document(now_ns))
                .collect()
        };
        Evidence {
            schema: SCHEMA,
            id,
            loop_id: short(&transition.loop_id, bounds::NAME),
            signature,
            occasion,
            follows: follows.map(|one| one.id),
            at,
            unix_ms: transition.unix_ms,
            monotonic_ms: transition.monotonic_ms,
            kernel: short(&observation.kernel, bounds::NAME),
            cycle: lines(&steps, COLUMNS),
            steps,
            picture: picture(
                observation,
                verdict,
                found,
                &numbers(observation, verdict, found),
            ),
            verdict: bounds::verdict(verdict),
            found: found.map(bounds::found),
            mitigations: measures(mitigation::mitigations),
            preventions: measures(mitigation::preventions),
            threads: list(&tasks.server, "threads"),
            idle_threads: tasks.idle,
            writers: list(&tasks.others, "writers"),
            client: client(observation, verdict),
            bdis: bdis(observation, verdict, &mut left_out),
            pauses: pauses(moment, verdict, &mut left_out),
            memory: observation.memory,
            signals: bounds::signals(&observation.signals, &mut left_out),
            lost: observation.lost,
            timeline,
            // The guard decides after this.
            guard: Vec::new(),
            left_out,
        }
    }
}

impl History {
    fn push(&mut self, point: Point, quiet: bool) {
        if self.points.len() >= MAX_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.quiet = if quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether nothing in it is worth to be kept.
    const fn is_over(&self) -> bool {
        self.quiet >= MAX_POINTS && self.confirmed.is_none()
    }
}

fn point(moment: JudgedTick<'_>, verdict: &Verdict) -> Point {
    let conditions = &verdict.conditions;
    let disk_busy = || moment.window.disk_busy(verdict.server_bdi.as_deref()?);
    Point {
        monotonic_ms: moment.observation.monotonic_ns / 1_000_000,
        state: verdict.state,
        demand_bytes: conditions.demand.value.and_then(rounded),
        progress_bytes_per_second: conditions.no_progress.value.and_then(rounded),
        blockage_ratio: conditions.blockage.value.and_then(rounded),
        edge_ratio: conditions.closing_edge.value.and_then(rounded),
        disk_busy_ratio: disk_busy().and_then(rounded),
        holds: conditions.all().map(|(_, condition)| condition.holds),
    }
}

/// The steps of a document of the end: why, and the cycle that was.
fn was(confirmed: Option<&Confirmed>, reason: &str) -> Vec<Step> {
    let mut steps = vec![cycle::aside(reason)];
    if let Some(Confirmed {
        at, steps: then, ..
    }) = confirmed
    {
        steps.push(cycle::aside(&format!("when it was confirmed, at {at}:")));
        steps.extend(then.iter().cloned());
    }
    steps
}

fn client(observation: &Observation, verdict: &Verdict) -> Option<NfsClient> {
    let mut clients = observation.clients.iter();
    let client = clients.find(|client| client.bdi == verdict.client_bdi);
    client.map(bounds::client)
}

/// Those of the loop first, then the dirtiest.
fn bdis(observation: &Observation, verdict: &Verdict, left_out: &mut Vec<String>) -> Vec<Bdi> {
    let loops = loop_bdis(observation, verdict);
    let held = |bdi: &Bdi| {
        let (dirty, writeback) = (bdi.dirty_bytes, bdi.writeback_bytes);
        dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0))
    };
    let mut bdis: Vec<&Bdi> = observation.bdis.iter().collect();
    bdis.sort_by_key(|bdi| (!loops.contains(&*bdi.bdi), Reverse(held(bdi)), &bdi.bdi));
    bounds::keep(&mut bdis, MAX_BDIS, "bdis", left_out);
    bdis.into_iter().map(bounds::bdi).collect()
}

/// Those of the loop first, then the most paused.
fn pauses(moment: JudgedTick<'_>, verdict: &Verdict, left_out: &mut Vec<String>) -> Vec<Pauses> {
    let loops = loop_bdis(moment.observation, verdict);
    let newest = moment.window.newest();
    let known = newest.map_or(&[][..], |sample| &sample.pauses);
    let means = |one: &DirtyPauses| {
        let means = moment.window.pauses(&one.bdi, one.class)?;
        Some(Pauses {
            bdi: short(&one.bdi, bounds::NAME),
            class: one.class,
            events: means.events,
            pause_seconds: seconds(means.pause_ns),
            dirty_pages: rounded(means.dirty)?,
            limit_pages: rounded(means.limit)?,
            bdi_dirty_pages: rounded(means.bdi_dirty)?,
            bdi_setpoint_pages: rounded(means.bdi_setpoint)?,
        })
    };
    let mut order: Vec<&DirtyPauses> = known.iter().collect();
    order.sort_by_key(|one| (!loops.contains(&*one.bdi), Reverse(one.pause_ns)));
    let mut pauses: Vec<Pauses> = order.into_iter().filter_map(means).collect();
    bounds::keep(&mut pauses, MAX_BDIS, "pauses", left_out);
    pauses
}
