//! The JSON of /api/v1. Each answer says `at` which tick it was so.

mod bdis;
mod evidence;
mod node;
mod tasks;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use compact_str::CompactString;
use monitor_model::{
    guard::{GuardEvent, Mode},
    loops::{Loop, LoopEvent},
    observation::{Container, StalledTask, Waiting},
    related::{Related, RelatedEvent},
    verdict::{Transition, Verdict},
};
use serde::Serialize;

use crate::publish::snapshot::{Shared, Snapshot};
use crate::publish::tasks::containers;

#[cfg(test)]
pub(super) use bdis::MAX_BDIS;
pub(super) use bdis::bdis;
pub(super) use evidence::evidence;
pub(super) use node::{history, node};
#[cfg(any(test, fuzzing))]
pub(super) use tasks::MAX_TASKS;
pub(super) use tasks::{task, tasks};

type App = State<Arc<Shared>>;

/// The most waits in one answer, the oldest ones.
pub(super) const MAX_WAITS: usize = 1000;

/// An answer, with the time of the tick; `null` before the first.
#[derive(Serialize)]
struct Answer<T> {
    at: Option<String>,
    unix_ms: u64,
    #[serde(flatten)]
    body: T,
}

fn answer(snapshot: &Snapshot, body: impl Serialize) -> Response {
    let unix_ms = snapshot.observation.unix_ms;
    let at = snapshot.ticked().then(|| rfc3339(unix_ms));
    Json(Answer { at, unix_ms, body }).into_response()
}

/// RFC 3339 in UTC; the end of the year 9999 for what is later, which cannot
/// be written.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(unix_ms.min(253_402_300_799_999));
    humantime::format_rfc3339_millis(time).to_string()
}

pub(super) async fn probes(State(shared): App) -> Response {
    let snapshot = shared.load();
    answer(&snapshot, &*snapshot.probes)
}

#[derive(Serialize)]
struct Loops<'a> {
    /// Age of the last look at mounts and sockets; `null` before the first.
    topology_age_seconds: Option<f64>,
    /// What that look could not see, each a sentence.
    incomplete: &'a [CompactString],
    #[serde(rename = "loops")]
    found: Vec<LoopSince<'a>>,
    events: Vec<At<&'a LoopEvent>>,
}

#[derive(Serialize)]
struct LoopSince<'a> {
    since: String,
    #[serde(flatten)]
    found: &'a Loop,
}

pub(super) async fn loops(State(shared): App) -> Response {
    let snapshot = shared.load();
    let now_ns = snapshot.observation.monotonic_ns;
    let read_ns = snapshot.observation.topology.read_ns;
    let age = (read_ns > 0).then(|| seconds(now_ns.saturating_sub(read_ns)));
    let since = |found: &'_ Loop| rfc3339(found.since_unix_ms);
    let at = |item: &'_ LoopEvent| rfc3339(item.unix_ms);
    let loops = snapshot.loops.iter().map(|found| LoopSince {
        since: since(found),
        found,
    });
    let events = snapshot.loop_events.iter();
    let body = Loops {
        topology_age_seconds: age,
        incomplete: &snapshot.observation.topology.incomplete,
        found: loops.collect(),
        events: events.map(|item| At { at: at(item), item }).collect(),
    };
    answer(&snapshot, body)
}

#[derive(Serialize)]
struct Guard<'a> {
    mode: Mode,
    active: Vec<Active<'a>>,
    actions: Vec<Actions>,
    events: Vec<At<&'a GuardEvent>>,
}

#[derive(Serialize)]
struct Active<'a> {
    #[serde(rename = "loop")]
    loop_id: &'a str,
    measure: &'a str,
}

#[derive(Serialize)]
struct Actions {
    action: &'static str,
    result: &'static str,
    count: u64,
}

pub(super) async fn guard(State(shared): App) -> Response {
    let snapshot = shared.load();
    let guard = snapshot.guard.clone().unwrap_or_default();
    let happened = guard.tallies.all().filter(|(.., count)| *count > 0);
    let at = |item: &'_ GuardEvent| rfc3339(item.unix_ms);
    let active = guard.active.iter();
    let events = snapshot.guard_events.iter();
    let body = Guard {
        mode: guard.mode,
        active: active
            .map(|(loop_id, measure)| Active { loop_id, measure })
            .collect(),
        actions: happened
            .map(|(action, result, count)| Actions {
                action: action.as_str(),
                result: result.as_str(),
                count,
            })
            .collect(),
        events: events.map(|item| At { at: at(item), item }).collect(),
    };
    answer(&snapshot, body)
}

#[derive(Serialize)]
struct Verdicts<'a> {
    #[serde(rename = "verdicts")]
    judged: Vec<Since<'a>>,
    timeline: Vec<At<&'a Transition>>,
    related: Vec<RelatedSince<'a>>,
    related_events: Vec<At<&'a RelatedEvent>>,
    evidence: Vec<evidence::Kept<'a>>,
}

#[derive(Serialize)]
struct RelatedSince<'a> {
    since: String,
    #[serde(flatten)]
    related: &'a Related,
}

#[derive(Serialize)]
struct Since<'a> {
    since: String,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

#[derive(Serialize)]
pub(super) struct At<T> {
    pub(super) at: String,
    #[serde(flatten)]
    pub(super) item: T,
}

pub(super) async fn verdicts(State(shared): App) -> Response {
    let snapshot = shared.load();
    let since = |verdict| Since {
        since: rfc3339(snapshot.unix_ms(since_ns(verdict))),
        verdict,
    };
    let at = |item: &'_ Transition| rfc3339(item.unix_ms);
    let related = |related| RelatedSince {
        since: rfc3339(snapshot.unix_ms(began_ns(related))),
        related,
    };
    let events = snapshot.related_events.iter().map(|item| At {
        at: rfc3339(item.unix_ms),
        item,
    });
    let body = Verdicts {
        judged: snapshot.verdicts.iter().map(since).collect(),
        timeline: snapshot
            .timeline
            .iter()
            .map(|item| At { at: at(item), item })
            .collect(),
        related: snapshot.related.iter().map(related).collect(),
        related_events: events.collect(),
        evidence: snapshot.evidence.iter().map(evidence::Kept::of).collect(),
    };
    answer(&snapshot, body)
}

const fn since_ns(verdict: &Verdict) -> u64 {
    verdict.since_ms.saturating_mul(1_000_000)
}

const fn began_ns(related: &Related) -> u64 {
    related.since_ms.saturating_mul(1_000_000)
}

#[derive(Serialize)]
struct Stalls<'a> {
    /// All waits that last; `stalls` are at most [`MAX_WAITS`] of them.
    total: usize,
    #[serde(rename = "stalls")]
    lasting: Vec<At<Lasting<'a>>>,
    recent: Vec<At<Finished<'a>>>,
}

#[derive(Serialize)]
struct Lasting<'a> {
    age_seconds: f64,
    container: Option<&'a Container>,
    #[serde(flatten)]
    wait: &'a Waiting,
}

#[derive(Serialize)]
struct Finished<'a> {
    delay_seconds: f64,
    container: Option<&'a Container>,
    #[serde(flatten)]
    stall: &'a StalledTask,
}

/// `at` of a wait is its begin. The oldest come first, and of the finished
/// ones the newest.
pub(super) async fn stalls(State(shared): App) -> Response {
    let snapshot = shared.load();
    let mut waits: Vec<&Waiting> = snapshot.observation.waits.iter().collect();
    waits.sort_unstable_by_key(|wait| (wait.since_ns, wait.tid));
    let began = |since_ns| rfc3339(snapshot.unix_ms(since_ns));
    let now_ns = snapshot.observation.monotonic_ns;
    let containers = containers(&snapshot);
    let lasting = waits.iter().take(MAX_WAITS).map(|wait| {
        let age_seconds = seconds(now_ns.saturating_sub(wait.since_ns));
        At {
            at: began(wait.since_ns),
            item: Lasting {
                age_seconds,
                container: containers.get(&wait.tgid).copied(),
                wait,
            },
        }
    });
    let recent = snapshot.stalls.iter().rev().map(|stall| {
        let item = Finished {
            delay_seconds: seconds(stall.delay_ns),
            container: containers.get(&stall.wait.tgid).copied(),
            stall,
        };
        At {
            at: began(stall.wait.since_ns),
            item,
        }
    });
    let body = Stalls {
        total: waits.len(),
        lasting: lasting.collect(),
        recent: recent.collect(),
    };
    answer(&snapshot, body)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
