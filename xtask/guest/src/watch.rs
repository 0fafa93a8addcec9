//! What goes on beside the steps: counters, and the daemon's verdicts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use guest::{Event, Loop, Transition};
use serde::Deserialize;

use crate::{counters, http, tell};

/// What the watchers know that a step may wait for.
#[derive(Default)]
pub struct Shared {
    /// The daemon has been ready once.
    pub ready: AtomicBool,
    /// When the first livelock or deadlock was seen; 0 for not yet.
    pub confirmed_ms: AtomicU64,
}

#[derive(Deserialize)]
struct Verdicts {
    timeline: Vec<Transition>,
}

#[derive(Deserialize)]
struct Loops {
    loops: Vec<Loop>,
}

/// Start watching. Two threads: an answer of the daemon that is late must not
/// make a sample late.
pub fn start() -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    thread::spawn(|| {
        loop {
            tell::event(Event::Sample(counters::read()));
            thread::sleep(Duration::from_millis(500));
        }
    });
    let watched = Arc::clone(&shared);
    thread::spawn(move || {
        let mut told: Vec<Transition> = Vec::new();
        let mut loops = None;
        loop {
            thread::sleep(Duration::from_millis(500));
            if watched.ready.load(Relaxed) {
                verdicts(&watched, &mut told);
                loops_now(&mut loops);
            } else {
                // The next daemon is heard anew.
                loops = None;
            }
        }
    });
    shared
}

fn verdicts(shared: &Shared, told: &mut Vec<Transition>) {
    let Ok(body) = http::get("/api/v1/verdicts") else {
        return;
    };
    match serde_json::from_str::<Verdicts>(&body) {
        Ok(verdicts) => {
            for entry in verdicts.timeline {
                if told.contains(&entry) {
                    continue;
                }
                if entry.confirms() && shared.confirmed_ms.load(Relaxed) == 0 {
                    shared.confirmed_ms.store(tell::now(), Relaxed);
                }
                tell::event(Event::Verdict(entry.clone()));
                told.push(entry);
            }
        }
        Err(error) => {
            shared.ready.store(false, Relaxed);
            tell::event(Event::Failed(format!(
                "/api/v1/verdicts is not as agreed: {error}"
            )));
        }
    }
}

/// Tell the loops, at first and whenever they change.
fn loops_now(told: &mut Option<Vec<Loop>>) {
    let answer = http::get("/api/v1/loops").ok();
    let Some(answer) = answer.and_then(|body| serde_json::from_str::<Loops>(&body).ok()) else {
        return;
    };
    if told.as_ref() != Some(&answer.loops) {
        tell::event(Event::Loops(answer.loops.clone()));
        *told = Some(answer.loops);
    }
}
