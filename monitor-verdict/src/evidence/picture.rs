//! The cycle at a glance: who takes part, what should flow between them, and who waits
//! for whom. `top` and the page draw it, and add nothing.

use std::collections::BTreeSet;

use monitor_common::Class;
use monitor_model::{
    evidence::{Arrow, LoopNumbers, Picture, Station},
    loops::{Loop, NFSD, PathNode},
    observation::{ClientKind, NfsClient, Observation, ServerKind, ThreadState, Waiting},
    verdict::{Signature, Verdict},
};

use super::bounds::{NAME, short};
use super::places::{Place, place};
use super::tasks::server_threads;
use crate::loops::words;
use crate::text::{bytes, percent, rate, span};

/// Who waits at this moment, and what both ends hold.
#[must_use]
pub fn numbers(observation: &Observation, verdict: &Verdict, found: Option<&Loop>) -> LoopNumbers {
    let threads = server_threads(observation, verdict, found);
    let threads: BTreeSet<u32> = threads.iter().map(|thread| thread.tid).collect();
    let waiting = |here: &dyn Fn(&Waiting) -> bool| {
        let waits = observation.waits.iter().filter(|wait| here(wait));
        let since_ns = waits.clone().map(|wait| wait.since_ns).min();
        let age = |since_ns| observation.monotonic_ns.saturating_sub(since_ns) as f64 / 1e9;
        let tids: BTreeSet<u32> = waits.map(|wait| wait.tid).collect();
        (tids.len(), since_ns.map(age))
    };
    let target = is_target(found);
    let by_server =
        |wait: &Waiting| threads.contains(&wait.tid) || target && wait.class == Class::Target;
    let (server_waiting, server_oldest_seconds) = waiting(&by_server);
    let (client_waiting, client_oldest_seconds) =
        waiting(&|wait| wait.bdi == verdict.client_bdi && !by_server(wait));
    let bdi = |name: &str| observation.bdis.iter().find(|bdi| bdi.bdi == name);
    let held = |name: &str| {
        let bdi = bdi(name)?;
        Some(bdi.dirty_bytes?.saturating_add(bdi.writeback_bytes?))
    };
    let mut clients = observation.clients.iter();
    let client = clients.find(|client| client.bdi == verdict.client_bdi);
    LoopNumbers {
        client_waiting,
        client_oldest_seconds,
        server_waiting,
        server_oldest_seconds,
        writes_pending: client
            .map(NfsClient::pending_writes)
            .or_else(|| bdi(&verdict.client_bdi)?.disk_in_flight),
        client_held_bytes: held(&verdict.client_bdi),
        server_held_bytes: verdict.server_bdi.as_deref().and_then(held),
    }
}

/// The picture of a loop with these numbers.
#[must_use]
pub fn picture(
    observation: &Observation,
    verdict: &Verdict,
    found: Option<&Loop>,
    numbers: &LoopNumbers,
) -> Picture {
    let mount = place(observation, found, &verdict.client_bdi);
    let disk = verdict.server_bdi.as_deref();
    let disk = disk.map(|bdi| place(observation, found, bdi));
    let closing = closing(verdict, &mount);
    let age = |seconds: Option<f64>| seconds.map(|seconds| format!("for {}", span(seconds)));
    let held = |held: Option<u64>| match held {
        Some(held) => format!("{} held", bytes(held as f64)),
        None => "size unknown".to_owned(),
    };
    let writers = match numbers.client_waiting {
        0 => "none waits".to_owned(),
        tasks => format!("{tasks} waiting"),
    };
    let is_nfs = found.is_none_or(|found| found.client_kind == ClientKind::Nfs);
    let write = if is_nfs { "WRITE" } else { "request" };
    let open = numbers.writes_pending.map(|open| match open {
        1 => format!("1 {write} open"),
        _ => format!("{open} {write}s open"),
    });
    let (stuck, states) = threads(observation, verdict, found, numbers);
    let server = short(&verdict.server, NAME);
    let server = match found.and_then(|found| found.server_tgid) {
        Some(tgid) => format!("{server}[{tgid}]"),
        None => server.into(),
    };
    let (device, unwritten) = match &disk {
        Some(disk) => (Some(disk.what.to_string()), held(numbers.server_held_bytes)),
        None => (None, "not known yet".to_owned()),
    };
    let oldest = age(numbers.client_oldest_seconds);
    let same = found.filter(|found| found.server == verdict.server);
    let behind = PathNode::servers(same.map_or(&[][..], |found| &found.path));
    let behind = behind.iter().filter(|one| one.name != verdict.server);
    let behind: Vec<_> = behind
        .map(|one| words::process(&one.name, one.tgid))
        .collect();
    let behind = (!behind.is_empty()).then(|| format!("with {}", behind.join(", ")));
    Picture {
        stations: vec![
            station("Writers", None, [Some(writers), oldest, None]),
            station(
                found.map_or("Mount", |found| match found.client_kind {
                    ClientKind::Nfs | ClientKind::Cifs | ClientKind::Fuse => "Mount",
                    _ => "Device",
                }),
                Some(mount),
                [Some(held(numbers.client_held_bytes)), open, None],
            ),
            station(
                &server,
                None,
                [stuck, behind.or(states), age(numbers.server_oldest_seconds)],
            ),
            station("Disk", disk, [Some(unwritten), device, None]),
        ],
        arrows: arrows(verdict),
        closing,
    }
}

/// By the path of its place, where that is known.
fn station(name: &str, at: Option<Place>, lines: [Option<String>; 3]) -> Station {
    let path = at.as_ref().map(|at| at.path.clone());
    let lines = lines.into_iter().flatten().filter(|line| !line.is_empty());
    Station {
        name: path
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| name.into()),
        bdi: at.map(|at| at.bdi),
        lines: lines.collect(),
    }
}

/// How many of the server's threads are stuck, and what those do that are not idle.
fn threads(
    observation: &Observation,
    verdict: &Verdict,
    found: Option<&Loop>,
    numbers: &LoopNumbers,
) -> (Option<String>, Option<String>) {
    if is_target(found) {
        // Which of the kernel's workers are idle is unknown.
        return match numbers.server_waiting {
            0 => (Some("none waits".to_owned()), None),
            workers => (Some(format!("{workers} workers stuck")), None),
        };
    }
    let threads = server_threads(observation, verdict, found);
    let count = |state| threads.iter().filter(|one| one.state == state).count();
    let states = [
        (count(ThreadState::Throttled), "throttled"),
        (count(ThreadState::Blocked), "blocked"),
        (count(ThreadState::Running), "running"),
    ];
    let busy: usize = states.iter().map(|(threads, _)| threads).sum();
    // Idle threads of a userspace server are not looked at.
    let all = if verdict.server == NFSD {
        threads.len()
    } else {
        busy
    };
    let stuck = states[0].0 + states[1].0;
    let states = states.into_iter().filter(|(threads, _)| *threads > 0);
    let states: Vec<String> = states.map(|(n, state)| format!("{n} {state}")).collect();
    match (threads.len(), busy) {
        (0, _) => (Some("not seen".to_owned()), None),
        (_, 0) => (Some("all idle".to_owned()), None),
        _ => (
            Some(format!("{stuck} of {all} stuck")),
            Some(states.join(", ")),
        ),
    }
}

/// Whether its server consists of workers of a kernel target.
fn is_target(found: Option<&Loop>) -> bool {
    found.is_some_and(|found| found.server_kind == ServerKind::Target)
}

/// From writers to mount, server and disk; and from the server back to the mount.
fn arrows(verdict: &Verdict) -> Vec<Arrow> {
    type Words = fn(f64) -> String;
    let ways: [(usize, usize, Words, &str); 4] = [
        (0, 1, bytes, "to write"),
        (1, 2, rate, "acknowledged"),
        (2, 3, percent, "waiting"),
        (2, 1, percent, "is the client's"),
    ];
    let all = verdict.conditions.all().into_iter().zip(ways);
    all.map(|((condition, one), (from, to, words, unit))| Arrow {
        from,
        to,
        waits: to < from,
        condition: condition.into(),
        holds: one.holds,
        value: one.value.map_or_else(|| "?".to_owned(), words),
        unit: unit.to_owned(),
    })
    .collect()
}

/// What the server waits for, and why only it can give that.
fn closing(verdict: &Verdict, mount: &Place) -> String {
    let server = &*short(&verdict.server, NAME);
    let (who, what, gives) = match verdict.signature {
        Signature::DirtyThrottle => (server, "pages", "clean"),
        Signature::ReclaimCongestion | Signature::RequestStarvation => {
            (server, "the memory in pages", "clean")
        }
        Signature::CommitWait => (server, "commits", "answer"),
        Signature::LoopDevice => ("a loop device", "pages", "clean"),
    };
    match verdict.conditions.closing_edge.holds {
        Some(true) => {
            format!("Closed: {who} waits for {what} of {mount}; only {server} can {gives} them")
        }
        Some(false) => format!("Open: {who} does not wait for {what} of {mount}"),
        None => format!("Unknown: whether {who} waits for {what} of {mount}"),
    }
}
