//! The watchers beside the steps: counters, and the daemon's loops and verdicts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use guest::{Event, Loop, Related, Transition};
use rustix::process::configure_io_flusher_behavior;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{counters, http, tell};

/// The watchers' state that a step may wait for.
#[derive(Default)]
pub struct Shared {
    /// The daemon has been ready once.
    pub ready: AtomicBool,
    /// Time of the first livelock or deadlock; 0: none yet.
    pub confirmed_ms: AtomicU64,
    /// Time of the first recovery; 0: none yet.
    pub recovered_ms: AtomicU64,
}

#[derive(Deserialize)]
struct Verdicts {
    timeline: Vec<Transition>,
    /// None: the daemon does not serve them.
    related_events: Option<Vec<Related>>,
}

#[derive(Deserialize)]
struct Loops {
    loops: Vec<Reported>,
}

/// A loop and its risks. Only their kind is a fact, because the text may change with each tick.
#[derive(Deserialize)]
struct Reported {
    #[serde(flatten)]
    found: Loop,
    #[serde(default)]
    risk: Vec<Value>,
}

impl Reported {
    fn fact(self) -> Loop {
        let throttled = |risk: &Value| {
            let words = risk.as_str().unwrap_or_default();
            words.contains("local dirty throttling")
        };
        Loop {
            throttled: self.risk.iter().any(throttled),
            ..self.found
        }
    }
}

/// Starts the watchers. There are two threads, so that a late answer of the daemon does not delay a
/// sample.
pub fn start() -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    thread::spawn(|| {
        // Reading /proc allocates memory, even if there is none left.
        if let Err(error) = configure_io_flusher_behavior(true) {
            tell::event(Event::Failed(format!("PR_SET_IO_FLUSHER: {error}")));
        }
        loop {
            tell::event(Event::Sample(counters::read()));
            thread::sleep(Duration::from_millis(500));
        }
    });
    let watched = Arc::clone(&shared);
    thread::spawn(move || {
        let mut told = Told::default();
        let mut known = BTreeMap::new();
        loop {
            thread::sleep(Duration::from_millis(500));
            if watched.ready.load(Relaxed) {
                verdicts(&watched, &mut told);
                loops(&watched, &mut known);
            } else {
                // The next daemon's reports are all new.
                known.clear();
            }
        }
    });
    shared
}

/// An answer in JSON. An unexpected one is reported and ends the watch, because the next would be
/// the same.
fn ask<T: DeserializeOwned>(shared: &Shared, path: &str) -> Option<T> {
    let body = http::get(path).ok()?;
    serde_json::from_str(&body)
        .inspect_err(|error| {
            shared.ready.store(false, Relaxed);
            tell::event(Event::Failed(format!("{path} is not as agreed: {error}")));
        })
        .ok()
}

/// The facts that were reported already.
#[derive(Default)]
struct Told {
    timeline: Vec<Transition>,
    related: Vec<Related>,
    has_related: bool,
}

fn verdicts(shared: &Shared, told: &mut Told) {
    let Some(verdicts) = ask::<Verdicts>(shared, "/api/v1/verdicts") else {
        return;
    };
    if verdicts.related_events.is_some() && !told.has_related {
        told.has_related = true;
        tell::event(Event::HasRelated);
    }
    for entry in verdicts.related_events.unwrap_or_default() {
        if !told.related.contains(&entry) {
            tell::event(Event::Related(entry.clone()));
            told.related.push(entry);
        }
    }
    for entry in verdicts.timeline {
        if told.timeline.contains(&entry) {
            continue;
        }
        if entry.confirms() && shared.confirmed_ms.load(Relaxed) == 0 {
            shared.confirmed_ms.store(tell::now(), Relaxed);
        }
        if entry.to == "recovered" && shared.recovered_ms.load(Relaxed) == 0 {
            shared.recovered_ms.store(tell::now(), Relaxed);
        }
        tell::event(Event::Verdict(entry.clone()));
        told.timeline.push(entry);
    }
}

fn loops(shared: &Shared, known: &mut BTreeMap<String, Loop>) {
    let Some(Loops { loops }) = ask(shared, "/api/v1/loops") else {
        return;
    };
    let loops: Vec<_> = loops.into_iter().map(Reported::fact).collect();
    known.retain(|name, _| {
        let stays = loops.iter().any(|entry| entry.name == *name);
        if !stays {
            tell::event(Event::LoopGone(name.clone()));
        }
        stays
    });
    for entry in loops {
        if known.get(&entry.name) != Some(&entry) {
            known.insert(entry.name.clone(), entry.clone());
            tell::event(Event::Loop(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_read_whatever_else_is_said_of_them() {
        let body = r#"{"at": 1.5, "unix_ms": 1, "loops": [
            {"loop": "0:29-nfsd", "client_bdi": "0:29", "server": "nfsd", "server_bdi": null,
             "proof": "xid", "scope": "cross-netns", "since_unix_ms": 7, "localio": false,
             "mounts": [{"mount_point": "/mnt", "source": "10.9.0.2:/", "pod": "a"}],
             "server_address": "10.9.0.2:2049", "risk": [{}, "nfsd is not exempt from local dirty throttling"],
             "exempt": {"state": "no", "basis": "observed", "reason": "words"}, "recommendations": ["words"]},
            {"loop": "0:30-nfsd"}]}"#;
        let loops = serde_json::from_str::<Loops>(body).unwrap().loops;
        let loops: Vec<_> = loops.into_iter().map(Reported::fact).collect();
        assert_eq!(loops[0].client_bdi, "0:29");
        assert_eq!(loops[0].server_bdi, None);
        assert_eq!(loops[0].mounts[0].source, "10.9.0.2:/");
        assert_eq!(loops[0].exempt.state, "no");
        assert_eq!(loops[0].exempt.basis.as_deref(), Some("observed"));
        assert!(loops[0].throttled && !loops[1].throttled);
        assert_eq!(loops[1].name, "0:30-nfsd");
    }
}
