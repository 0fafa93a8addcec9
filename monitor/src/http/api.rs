//! The JSON of /api/v1, each document from the last snapshot.

mod bdis;
mod evidence;
mod node;
mod tasks;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use monitor_model::{
    api::{
        ActionCount, ActiveMeasure, At, Finished, GuardStatus, Lasting, Loops, OfTick, Since,
        Stalls, Verdicts,
    },
    observation::Waiting,
};
use monitor_verdict::timeline::time;
use serde::Serialize;

use crate::publish::seconds;
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

type Latest = State<Arc<Shared>>;

/// The most waits in one answer, the oldest ones.
pub(super) const MAX_WAITS: usize = 1000;

fn answer(snapshot: &Snapshot, body: impl Serialize) -> Response {
    let unix_ms = snapshot.observation.unix_ms;
    let at = snapshot.ticked().then(|| time(unix_ms));
    Json(OfTick { at, unix_ms, body }).into_response()
}

/// With its time.
pub(super) fn at<T: Clone>(unix_ms: u64, item: &T) -> At<Cow<'_, T>> {
    At {
        at: Some(time(unix_ms)),
        item: Cow::Borrowed(item),
    }
}

/// With its begin.
fn since<T: Clone>(unix_ms: u64, item: &T) -> Since<Cow<'_, T>> {
    Since {
        since: time(unix_ms),
        item: Cow::Borrowed(item),
    }
}

pub(super) async fn probes(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    answer(&snapshot, &*snapshot.probes)
}

pub(super) async fn loops(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let seen = &snapshot.observation;
    let read_ns = seen.topology.read_ns;
    let age = seen.monotonic_ns.saturating_sub(read_ns);
    let loops = snapshot.loops.iter();
    let events = snapshot.loop_events.iter();
    let body = Loops {
        topology_age_seconds: (read_ns > 0).then(|| seconds(age)),
        incomplete: Cow::Borrowed(&seen.topology.incomplete),
        loops: loops.map(|one| since(one.since_unix_ms, one)).collect(),
        events: events.map(|one| at(one.unix_ms, one)).collect(),
    };
    answer(&snapshot, body)
}

pub(super) async fn guard(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let guard = snapshot.guard.clone().unwrap_or_default();
    let active = guard.active.into_iter();
    let happened = guard.tallies.all().filter(|(.., count)| *count > 0);
    let events = snapshot.guard_events.iter();
    let body = GuardStatus {
        mode: guard.mode,
        active: active
            .map(|(loop_id, measure)| ActiveMeasure { loop_id, measure })
            .collect(),
        actions: happened
            .map(|(action, result, count)| ActionCount {
                action,
                result,
                count,
            })
            .collect(),
        events: events.map(|one| at(one.unix_ms, one)).collect(),
    };
    answer(&snapshot, body)
}

pub(super) async fn verdicts(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let unix_ms = |since_ms: u64| snapshot.unix_ms(since_ms.saturating_mul(1_000_000));
    let verdicts = snapshot.verdicts.iter();
    let timeline = snapshot.timeline.iter();
    let related = snapshot.related.iter();
    let related_events = snapshot.related_events.iter();
    let body = Verdicts {
        verdicts: verdicts
            .map(|one| since(unix_ms(one.since_ms), one))
            .collect(),
        timeline: timeline.map(|one| at(one.unix_ms, one)).collect(),
        related: related
            .map(|one| since(unix_ms(one.since_ms), one))
            .collect(),
        related_events: related_events.map(|one| at(one.unix_ms, one)).collect(),
        evidence: snapshot.evidence.iter().map(evidence::entry).collect(),
    };
    answer(&snapshot, body)
}

/// `at` of a wait is its begin. The oldest come first, and of the finished
/// ones the newest.
pub(super) async fn stalls(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let mut waits: Vec<&Waiting> = snapshot.observation.waits.iter().collect();
    waits.sort_unstable_by_key(|wait| (wait.since_ns, wait.tid));
    let began = |since_ns| Some(time(snapshot.unix_ms(since_ns)));
    let now_ns = snapshot.observation.monotonic_ns;
    let containers = containers(&snapshot);
    let container = |tgid: &u32| containers.get(tgid).copied().map(Cow::Borrowed);
    let lasting = waits.iter().take(MAX_WAITS).map(|wait| At {
        at: began(wait.since_ns),
        item: Lasting {
            age_seconds: seconds(now_ns.saturating_sub(wait.since_ns)),
            container: container(&wait.tgid),
            wait: Cow::Borrowed(*wait),
        },
    });
    let recent = snapshot.stalls.iter().rev().map(|stall| At {
        at: began(stall.wait.since_ns),
        item: Finished {
            delay_seconds: seconds(stall.delay_ns),
            container: container(&stall.wait.tgid),
            stall: Cow::Borrowed(stall),
        },
    });
    let body = Stalls {
        total: waits.len(),
        stalls: lasting.collect(),
        recent: recent.collect(),
    };
    answer(&snapshot, body)
}
