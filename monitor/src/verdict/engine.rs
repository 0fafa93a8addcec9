//! Observations in, transitions and verdicts out: which loops there are, and
//! one state machine for each.

use std::collections::BTreeMap;

use compact_str::{CompactString, format_compact};

use super::conditions::View;
use super::dirty_throttle::{self, Findings};
use super::loops::{Loop, LoopEvent, Loops};
use super::machine::{Machine, Tick};
use super::reduce::Sample;
use super::text::seconds;
use super::thresholds::{Thresholds, nanos};
use super::types::{Conditions, LivelockState, Signature, Transition, Verdict};
use super::window::{Moved, Pushed, Window};
use crate::sample::Observation;

/// Loops watched at most; more NFS client devices are left out until others
/// are forgotten.
pub const MAX_LOOPS: usize = 256;
/// Who serves.
const SERVER: &str = "nfsd";
const NS_PER_MS: u64 = 1_000_000;

/// What changed by an observation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Loops that came and went, in the order of the client devices' names.
    pub loops: Vec<LoopEvent>,
    /// States that were entered, in the same order.
    pub transitions: Vec<Transition>,
}

/// Judges observations, one after the other.
#[derive(Clone, Debug)]
pub struct Engine {
    thresholds: Thresholds,
    window: Window,
    found: Loops,
    loops: BTreeMap<CompactString, Judged>,
}

/// One NFS client device and the kernel's nfsd.
#[derive(Clone, Debug)]
struct Judged {
    machine: Machine,
    verdict: Verdict,
    /// Best bytes a second seen, decayed.
    best: f64,
    /// The last moment with progress or without demand, nanoseconds.
    progress_ns: u64,
    /// The last moment with both ends there, nanoseconds.
    seen_ns: u64,
    /// When the livelock that is or was last was confirmed, nanoseconds.
    confirmed_ns: u64,
    kinship: Kinship,
}

/// Whether the bytes acknowledged to the client are those that this nfsd
/// writes.
#[derive(Clone, Copy, Debug, Default)]
struct Kinship {
    acked: u64,
    served: u64,
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
            thresholds,
            found: Loops::default(),
            loops: BTreeMap::new(),
        }
    }

    /// Takes in the next observation.
    pub fn observe(&mut self, observation: &Observation) -> Changes {
        let loops = self.found.observe(observation);
        Changes {
            transitions: self.judge(observation),
            loops,
        }
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
        let foreign: Vec<CompactString> = self
            .loops
            .iter()
            .filter(|(_, one)| one.kinship.is_foreign(&self.thresholds))
            .map(|(bdi, _)| bdi.clone())
            .collect();
        let mut transitions = Vec::new();
        for one in self.loops.values_mut() {
            if let Some(from) = one.tick(&self.window, &self.thresholds, dt, &foreign) {
                transitions.push(one.transition(from, observation));
            }
        }
        transitions
    }

    /// What is to be said of every loop now, in the order of the client
    /// devices' names.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.loops.values().map(|one| one.verdict.clone()).collect()
    }

    /// The loops of the newest sample come in, those gone for long go out.
    fn find(&mut self, now: u64) {
        let Some(newest) = self.window.newest() else {
            return;
        };
        let patience = nanos(self.thresholds.forget_after);
        self.loops.retain(|bdi, one| {
            if newest.server.is_some() && newest.client(bdi).is_some() {
                one.seen_ns = now;
            }
            one.machine.state() != LivelockState::None || now.saturating_sub(one.seen_ns) < patience
        });
        if newest.server.is_none() {
            return;
        }
        for client in &newest.clients {
            if self.loops.len() < MAX_LOOPS && !self.loops.contains_key(&client.bdi) {
                self.loops
                    .insert(client.bdi.clone(), Judged::new(&client.bdi, now));
            }
        }
    }
}

impl Judged {
    fn new(client: &CompactString, now: u64) -> Self {
        let verdict = Verdict {
            loop_id: format_compact!("{client}-{SERVER}"),
            client_bdi: client.clone(),
            server: CompactString::const_new(SERVER),
            server_bdi: None,
            signature: Signature::DirtyThrottle,
            state: LivelockState::None,
            since_ms: now / NS_PER_MS,
            conditions: Conditions::default(),
            reason: String::new(),
            detections: 0,
            livelock_seconds: 0.0,
        };
        Self {
            machine: Machine::new(now),
            verdict,
            best: 0.0,
            progress_ns: now,
            seen_ns: now,
            confirmed_ns: now,
            kinship: Kinship::default(),
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
        foreign: &[CompactString],
    ) -> Option<LivelockState> {
        let now_ns = window.newest()?.ns;
        let last = LastSecond::of(window, &self.verdict.client_bdi);
        self.kinship.add(&last, thresholds);
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
            thresholds,
            stall_rate,
            stalled_ns: now_ns.saturating_sub(self.progress_ns),
            foreign,
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
        verdict.detections = self.machine.detections();
        verdict.livelock_seconds = (self.machine.livelock_ns() / NS_PER_MS) as f64 / 1000.0;
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
        if findings.server_bdi.is_some() {
            verdict.server_bdi = findings.server_bdi;
        }
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
    fn of(window: &Window, client: &str) -> Self {
        let acked = |sample: &Sample| sample.client(client)?.bytes_acked;
        let served = |sample: &Sample| sample.server?.bytes_written;
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

impl Kinship {
    fn add(&mut self, last: &LastSecond, thresholds: &Thresholds) {
        let (Some(acked), Some(served)) = (last.acked, last.served) else {
            return;
        };
        self.acked = self.acked.saturating_add(acked.bytes);
        self.served = self.served.saturating_add(served.bytes);
        // The device number may be mounted from another host tomorrow.
        if self.acked > thresholds.served_min_bytes.saturating_mul(4) {
            self.acked /= 2;
            self.served /= 2;
        }
    }

    fn is_foreign(&self, thresholds: &Thresholds) -> bool {
        self.acked >= thresholds.served_min_bytes
            && (self.served as f64) < self.acked as f64 * thresholds.served_share
    }
}
