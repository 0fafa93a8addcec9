//! The parts of the document, each from a snapshot.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use compact_str::format_compact;
use monitor_model::{
    loops::Loop,
    observation::{Bdi, Observation, ServerThread, ThreadState},
    verdict::Verdict,
};
use monitor_verdict::{
    evidence,
    mitigation::{self, Target},
};

use super::{BdiNow, Line, LoopNow, MAX_BDIS, MAX_LINES, MAX_LOOPS, Server, Waits};
use crate::evidence::Document;
use crate::publish::seconds;
use crate::publish::snapshot::{Event, Happened, Snapshot};

/// The worst first; of equals those that a livelock would hit first: the proven
/// and dangerous ones.
pub fn loops(snapshot: &Snapshot) -> Vec<LoopNow> {
    let found: HashMap<&str, &Loop> = snapshot.loops.iter().map(|one| (&*one.id, one)).collect();
    let mut verdicts: Vec<&Verdict> = snapshot.verdicts.iter().collect();
    verdicts.sort_by(|a, b| {
        let worse = b.state.metric().total_cmp(&a.state.metric());
        let there = |v: &Verdict| found.get(&*v.loop_id).map(|one| one.proof);
        worse.then_with(|| there(b).cmp(&there(a)))
    });
    verdicts.truncate(MAX_LOOPS);
    let now = |verdict| loop_now(snapshot, verdict, &found);
    verdicts.into_iter().map(now).collect()
}

fn loop_now(snapshot: &Snapshot, verdict: &Verdict, found: &HashMap<&str, &Loop>) -> LoopNow {
    let seen = &snapshot.observation;
    let found = found.get(&*verdict.loop_id).copied();
    let stuck = verdict.state.metric() > 0.0;
    let place = found.map(|found| Target::of(found, seen));
    let measures = place.as_ref().map(|place| {
        if stuck {
            mitigation::mitigations_at(verdict.signature, place)
        } else {
            mitigation::preventions_at(verdict.signature, place)
        }
    });
    let ineffective = place.as_ref().filter(|_| stuck);
    let ineffective = ineffective.map(|place| mitigation::ineffective(verdict.signature, place));
    let document = document(snapshot, verdict);
    let steps = document
        .filter(|_| verdict.state.is_livelock())
        .map_or_else(Vec::new, |one| one.steps.clone());
    let numbers = evidence::numbers(seen, verdict, found);
    LoopNow {
        id: verdict.loop_id.clone(),
        state: verdict.state,
        since_unix_ms: snapshot.unix_ms(verdict.since_ms.saturating_mul(1_000_000)),
        picture: evidence::picture(seen, verdict, found, &numbers),
        numbers,
        measures: measures.unwrap_or_default(),
        ineffective: ineffective.unwrap_or_default(),
        evidence: document.map(|one| one.head.id.clone()),
        occasion: document.map(|one| one.head.occasion),
        cycle: evidence::lines(&steps, evidence::COLUMNS),
        steps,
        verdict: verdict.clone(),
        found: found.cloned(),
    }
}

/// The newest document of a loop.
fn document<'a>(snapshot: &'a Snapshot, verdict: &Verdict) -> Option<&'a Arc<Document>> {
    let mut newest = snapshot.evidence.iter().rev();
    newest.find(|one| one.head.loop_id == verdict.loop_id)
}

pub fn servers(seen: &Observation) -> Vec<Server> {
    let nfsd = seen.nfsd.as_ref().map(|nfsd| Server {
        name: "nfsd".into(),
        tgid: None,
        idle: Some(count(&nfsd.threads, ThreadState::Idle)),
        ..threads(&nfsd.threads)
    });
    let users = seen.user_servers.iter().map(|one| Server {
        name: one.name.clone(),
        tgid: Some(one.tgid),
        ..threads(&one.threads)
    });
    nfsd.into_iter().chain(users).collect()
}

fn threads(all: &[ServerThread]) -> Server {
    Server {
        running: count(all, ThreadState::Running),
        throttled: count(all, ThreadState::Throttled),
        blocked: count(all, ThreadState::Blocked),
        ..Server::default()
    }
}

fn count(threads: &[ServerThread], state: ThreadState) -> usize {
    threads
        .iter()
        .filter(|thread| thread.state == state)
        .count()
}

/// By the age of the oldest.
pub fn waits(seen: &Observation) -> Vec<Waits> {
    let mut by = BTreeMap::new();
    for wait in &seen.waits {
        let (tasks, since_ns) = by.entry((wait.cause, wait.class)).or_insert((0, u64::MAX));
        *tasks += 1;
        *since_ns = wait.since_ns.min(*since_ns);
    }
    let mut all: Vec<_> = by.into_iter().collect();
    all.sort_by_key(|&(_, (_, since_ns))| since_ns);
    let waits = all
        .into_iter()
        .map(|((cause, class), (tasks, since_ns))| Waits {
            cause,
            class,
            tasks,
            oldest_seconds: seconds(seen.monotonic_ns.saturating_sub(since_ns)),
        });
    waits.collect()
}

pub fn bdis(snapshot: &Snapshot) -> Vec<BdiNow> {
    let seen = &snapshot.observation;
    let role = |name: &str| {
        let verdicts = || snapshot.verdicts.iter();
        if verdicts().any(|verdict| verdict.client_bdi == name) {
            "client"
        } else if verdicts().any(|verdict| verdict.server_bdi.as_deref() == Some(name)) {
            "server"
        } else {
            ""
        }
    };
    let mut all: Vec<(&str, &Bdi)> = seen.bdis.iter().map(|bdi| (role(&bdi.bdi), bdi)).collect();
    let held = |bdi: &Bdi| {
        let dirty = bdi.dirty_bytes.unwrap_or(0);
        dirty.saturating_add(bdi.writeback_bytes.unwrap_or(0))
    };
    all.sort_by_key(|(role, bdi)| (role.is_empty(), *role, Reverse(held(bdi))));
    all.truncate(MAX_BDIS);
    let waiting = waiting_by_bdi(seen);
    let now = |(role, bdi): (&str, &Bdi)| BdiNow {
        bdi: bdi.clone(),
        congested_since_unix_ms: bdi
            .congestion
            .and_then(|c| c.since_ns)
            .map(|since_ns| snapshot.unix_ms(since_ns)),
        waiting_tasks: waiting.get(&*bdi.bdi).copied().unwrap_or(0),
        role: role.into(),
    };
    all.into_iter().map(now).collect()
}

/// How many tasks wait because of each BDI's pages.
#[must_use]
pub fn waiting_by_bdi(seen: &Observation) -> HashMap<&str, usize> {
    let mut waiting = HashMap::new();
    for wait in &seen.waits {
        *waiting.entry(&*wait.bdi).or_default() += 1;
    }
    waiting
}

/// The newest first.
pub fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let newest = snapshot.events.iter().rev().take(MAX_LINES);
    newest.map(line).collect()
}

fn line(event: &Event) -> Line {
    let (of, what, signature, why) = match &event.what {
        Happened::Loop(one) => (&one.loop_id, one.change.as_str().into(), None, &one.message),
        Happened::Related(one) => {
            let what = if one.began { "began" } else { "ended" };
            let what = format_compact!("{} {what}", one.kind.as_str());
            (&one.bdi, what, None, &one.reason)
        }
        Happened::Guard(one) => {
            let what = format_compact!("{} {}", one.action.as_str(), one.result.as_str());
            (&one.loop_id, what, None, &one.reason)
        }
        Happened::Verdict(one) => {
            let what = one.to.as_str().into();
            (&one.loop_id, what, Some(one.signature), &one.reason)
        }
    };
    Line {
        unix_ms: event.what.unix_ms(),
        kind: event.what.kind().into(),
        of: of.clone(),
        what,
        signature,
        why: why.clone(),
    }
}
