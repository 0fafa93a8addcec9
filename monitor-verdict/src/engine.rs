//! Observations in, transitions and verdicts out: which loops there are, and
//! one state machine for each.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::conditions::View;
use super::dirty_throttle::{self, Findings};
use super::dossier::{Evidence, Moment, Recorder};
use super::loops::{Loop, LoopEvent, Loops, MAX_LOOPS, NFSD};
use super::machine::{Machine, Tick};
use super::reduce::Sample;
use super::related::{Related, RelatedEvent};
use super::text::seconds;
use super::thresholds::{Thresholds, nanos};
use super::types::{Conditions, Confidence, LivelockState, Signature, Tally, Transition, Verdict};
use super::window::{Moved, Pushed, Window};
use crate::observation::Observation;

/// Verdicts kept at most, of loops that are and of loops that ended.
const MAX_VERDICTS: usize = MAX_LOOPS;
const NS_PER_MS: u64 = 1_000_000;

/// What changed by an observation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Loops that came and went, in the order of the client devices' names.
    pub loops: Vec<LoopEvent>,
    /// Related conditions that began and ended.
    pub related: Vec<RelatedEvent>,
    /// States that were entered, in the order of the loops' ids.
    pub transitions: Vec<Transition>,
    /// What proves a state that was entered just now.
    pub evidence: Vec<Evidence>,
}

/// Judges observations, one after the other.
#[derive(Clone, Debug)]
pub struct Engine {
    thresholds: Thresholds,
    window: Window,
    found: Loops,
    loops: BTreeMap<CompactString, Judged>,
    recorder: Recorder,
}

/// One loop under its signature.
#[derive(Clone, Debug)]
struct Judged {
    machine: Machine,
    verdict: Verdict,
    /// Best bytes a second seen, decayed.
    best: f64,
    /// The last moment with progress or without demand, nanoseconds.
    progress_ns: u64,
    /// The last moment at which it was a loop, nanoseconds.
    seen_ns: u64,
    /// When the livelock that is or was last was confirmed, nanoseconds.
    confirmed_ns: u64,
}

/// What moved within the last second.
#[derive(Clone, Copy, Debug)]
struct LastSecond {
    acked: Option<Moved>,
    served: Option<Moved>,
}

impl Engine {
    /// An engine that has seen nothing. The thresholds are to be checked
    /// before: unreasonable ones give unreasonable verdicts, but no panic.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            window: Window::new(&thresholds),
            found: Loops::new(thresholds.loops.clone()),
            thresholds,
            loops: BTreeMap::new(),
            recorder: Recorder::default(),
        }
    }

    /// Takes in the next observation.
    pub fn observe(&mut self, observation: &Observation) -> Changes {
        let loops = self.found.observe(observation);
        let transitions = self.judge(observation);
        let moment = Moment {
            observation,
            window: &self.window,
            loops: self.found.found(),
            transitions: &transitions,
        };
        let verdicts = self.loops.values().map(|one| &one.verdict);
        Changes {
            evidence: self.recorder.record(moment, &verdicts),
            transitions,
            loops,
            related: Vec::new(),
        }
    }

    /// The related conditions that hold now.
    #[must_use]
    pub fn related(&self) -> &[Related] {
        &[]
    }

    /// The loops now, in the order of the client devices' names.
    #[must_use]
    pub fn loops(&self) -> &[Loop] {
        self.found.found()
    }

    fn judge(&mut self, observation: &Observation) -> Vec<Transition> {
        let now = observation.monotonic_ns;
        let dt = match self.window.push(observation) {
            Pushed::Ignored => return Vec::new(),
            Pushed::Next(dt) => dt,
            Pushed::Restarted => {
                self.loops.values_mut().for_each(|one| one.restart(now));
                0
            }
        };
        self.find(now);
        let clients = self.loops.values().map(|one| &one.verdict.client_bdi);
        let clients: Vec<CompactString> = clients.cloned().collect();
        let mut transitions = Vec::new();
        for one in self.loops.values_mut() {
            if let Some(from) = one.tick(&self.window, &self.thresholds, dt, &clients) {
                transitions.push(one.transition(from, observation));
            }
        }
        transitions
    }

    /// What is to be said of every loop now, in the order of their ids.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.loops.values().map(|one| one.verdict.clone()).collect()
    }

    /// The loops of now come in, those that ended long ago go out.
    fn find(&mut self, now: u64) {
        for found in self.found.found() {
            if let Some(one) = self.loops.get_mut(&found.id) {
                one.seen_ns = now;
                one.follow(found);
            }
        }
        let patience = nanos(self.thresholds.forget_after);
        self.loops.retain(|_, one| {
            one.machine.state() != LivelockState::None || now.saturating_sub(one.seen_ns) < patience
        });
        for found in self.found.found() {
            if self.loops.len() < MAX_VERDICTS && !self.loops.contains_key(&found.id) {
                self.loops.insert(found.id.clone(), Judged::new(found, now));
            }
        }
    }
}

impl Judged {
    fn new(found: &Loop, now: u64) -> Self {
        let verdict = Verdict {
            loop_id: found.id.clone(),
            client_bdi: found.client_bdi.clone(),
            server: found.server.clone(),
            server_bdi: found.server_bdi.clone(),
            signature: Signature::DirtyThrottle,
            state: LivelockState::None,
            since_ms: now / NS_PER_MS,
            conditions: Conditions::default(),
            confidence: Confidence::default(),
            reason: String::new(),
            tallies: Vec::new(),
        };
        Self {
            machine: Machine::new(now),
            verdict,
            best: 0.0,
            progress_ns: now,
            seen_ns: now,
            confirmed_ns: now,
        }
    }

    /// What the server writes to may be known later, or change.
    fn follow(&mut self, found: &Loop) {
        if found.server_bdi.is_some() {
            self.verdict.server_bdi.clone_from(&found.server_bdi);
        }
    }

    fn restart(&mut self, now: u64) {
        self.machine.restart(now);
        self.seen_ns = self.seen_ns.min(now);
        self.confirmed_ns = self.confirmed_ns.min(now);
        self.verdict.conditions = Conditions::default();
    }

    /// One tick; the state that was left, if one was.
    fn tick(
        &mut self,
        window: &Window,
        thresholds: &Thresholds,
        dt_ns: u64,
        loops: &[CompactString],
    ) -> Option<LivelockState> {
        let now_ns = window.newest()?.ns;
        let last = LastSecond::of(window, &self.verdict);
        let stall_rate = self.stall_rate(&last, thresholds, dt_ns);
        let progress_now = last.reaches(stall_rate);
        // Who has nothing to write makes no progress, and is not held up.
        let demanded = self.verdict.conditions.demand.holds == Some(true);
        if progress_now != Some(false) || !demanded {
            self.progress_ns = now_ns;
        }
        let findings = dirty_throttle::judge(&View {
            window,
            client: &self.verdict.client_bdi,
            server: &self.verdict.server,
            thresholds,
            stall_rate,
            stalled_ns: now_ns.saturating_sub(self.progress_ns),
            loops,
            before: &self.verdict.conditions,
        });
        let tick = Tick {
            now_ns,
            dt_ns,
            conditions: &findings.conditions,
            progress_now,
            nothing_moved: last.nothing(),
        };
        let left = self.machine.step(&tick, thresholds);
        if left.is_some() && self.machine.state() == LivelockState::Livelock {
            self.confirmed_ns = now_ns;
        }
        self.say(findings, now_ns);
        left
    }

    /// Bytes a second under which nothing moves: a share of the best second,
    /// with hysteresis.
    fn stall_rate(&mut self, last: &LastSecond, thresholds: &Thresholds, dt_ns: u64) -> f64 {
        let half_lives = dt_ns as f64 / nanos(thresholds.best_half_life).max(1) as f64;
        self.best *= (-half_lives).exp2();
        self.best = self.best.max(last.acked.map_or(0.0, |moved| moved.rate()));
        let floor = thresholds.stall_floor_bytes_per_second as f64;
        let cap = thresholds.stall_cap_bytes_per_second as f64;
        let slack = thresholds.slack(&self.verdict.conditions.no_progress);
        (self.best * thresholds.stall_share).min(cap).max(floor) * slack
    }

    fn say(&mut self, findings: Findings, now_ns: u64) {
        let verdict = &mut self.verdict;
        verdict.state = self.machine.state();
        verdict.since_ms = self.machine.since_ns() / NS_PER_MS;
        verdict.tallies = vec![Tally {
            signature: verdict.signature,
            detections: self.machine.detections(),
            livelock_seconds: (self.machine.livelock_ns() / NS_PER_MS) as f64 / 1000.0,
        }];
        verdict.conditions = findings.conditions;
        verdict.reason = match verdict.state {
            LivelockState::Recovered => {
                let stood = self.machine.since_ns().saturating_sub(self.confirmed_ns);
                format!(
                    "over after {} of livelock: {}",
                    seconds(stood),
                    findings.reason
                )
            }
            LivelockState::Deadlock => {
                let still = now_ns.saturating_sub(self.progress_ns);
                format!(
                    "nothing moves any more, for {}: {}",
                    seconds(still),
                    findings.reason
                )
            }
            _ => findings.reason,
        };
        // Where no write of the server was seen, what it waits for tells.
        verdict.server_bdi = verdict.server_bdi.take().or(findings.server_bdi);
    }

    fn transition(&self, from: LivelockState, observation: &Observation) -> Transition {
        Transition {
            monotonic_ms: observation.monotonic_ns / NS_PER_MS,
            unix_ms: observation.unix_ms,
            loop_id: self.verdict.loop_id.clone(),
            signature: self.verdict.signature,
            from,
            to: self.verdict.state,
            reason: self.verdict.reason.clone(),
        }
    }
}

impl LastSecond {
    fn of(window: &Window, verdict: &Verdict) -> Self {
        let acked = |sample: &Sample| sample.client(&verdict.client_bdi)?.bytes_acked;
        // What a userspace server writes is not seen.
        let nfsd = verdict.server == NFSD;
        let served = |sample: &Sample| sample.server.filter(|_| nfsd)?.bytes_written;
        Self {
            acked: window.moved_last_second(acked),
            served: window.moved_last_second(served),
        }
    }

    /// Whether either side moves so many bytes a second.
    fn reaches(&self, stall_rate: f64) -> Option<bool> {
        let reaches = |moved: Option<Moved>| moved.map(|moved| moved.rate() >= stall_rate);
        match (reaches(self.acked), reaches(self.served)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }

    /// Whether neither side moved a byte.
    fn nothing(&self) -> Option<bool> {
        Some(self.acked?.bytes == 0 && self.served?.bytes == 0)
    }
}
