//! Judges one loop tick by tick: its conditions, its closing edge and its state machine.

use compact_str::CompactString;
use monitor_model::{
    loops::{Loop, NFSD, PathNode, Proof},
    observation::{ClientKind, Observation, ServerKind, ServerRef},
    verdict::{Conditions, Confidence, LivelockState, Signature, Tally, Transition, Verdict},
};

use crate::judge::conditions::condition;
use crate::judge::machine::{Machine, Tick};
use crate::signatures::{Edge, SignatureChooser};
use crate::text::{rate, seconds};
use crate::thresholds::{Thresholds, nanos};
use crate::window::confidence::{MissingInput, confidence};
use crate::window::reduce::Sample;
use crate::window::view::{AllLoops, View};
use crate::window::{Moved, Own, Window};
use crate::{judge::conditions, signatures};

const NS_PER_MS: u64 = 1_000_000;

/// One loop.
#[derive(Clone, Debug)]
pub struct LoopJudge {
    machine: Machine,
    verdict: Verdict,
    choice: SignatureChooser,
    /// The counters by signature.
    counted: [Counted; Signature::ALL.len()],
    localio: bool,
    proof: Proof,
    rpc_clients: Vec<u32>,
    /// Whether not one of its calls was seen at the server, though its sockets prove it.
    unmatched: bool,
    path: Path,
    /// The highest rate seen, bytes a second, decayed.
    best: f64,
    /// The last moment with progress or without demand, nanoseconds.
    progress_ns: u64,
    /// The last moment at which it was a loop, nanoseconds.
    seen_ns: u64,
    /// The confirmation of the current or last livelock, nanoseconds.
    confirmed_ns: u64,
}

/// What a loop's path says to the judge.
#[derive(Clone, Debug, Default)]
struct Path {
    nodes: Vec<PathNode>,
    kind: ClientKind,
    servers: Vec<ServerRef>,
    /// The devices between the client and the last one.
    inner: Vec<CompactString>,
}

impl Path {
    fn of(found: &Loop) -> Self {
        let mut servers = PathNode::servers(&found.path);
        if servers.is_empty() {
            // A recording of an older version lists no path.
            servers.push(ServerRef {
                name: found.server.clone(),
                tgid: found.server_tgid,
                kind: if found.is_nfsd() {
                    ServerKind::Nfsd
                } else {
                    found.server_kind
                },
            });
        }
        let last = found.server_bdi.as_ref();
        let inner = PathNode::bdis(&found.path).skip(1);
        Self {
            nodes: found.path.clone(),
            kind: found.client_kind,
            servers,
            inner: inner.filter(|bdi| Some(*bdi) != last).cloned().collect(),
        }
    }
}

/// The counters of one signature.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    detections: u64,
    livelock_ns: u64,
}

/// The bytes that moved within the last second.
#[derive(Clone, Copy, Debug)]
struct LastSecond {
    acked: Option<Moved>,
    served: Option<Moved>,
    /// Whether nfsd serves. Writes of a userspace server are not visible.
    by_nfsd: bool,
}

fn is_unmatched(found: &Loop) -> bool {
    let by_socket = matches!(found.proof, Proof::Socket | Proof::Stream);
    by_socket && found.calls_served_here == 0
}

impl LoopJudge {
    /// Its client device, and the RPC clients of its mount.
    pub fn client(&self) -> (&CompactString, &[u32]) {
        (&self.verdict.client_bdi, &self.rpc_clients)
    }

    /// The judge of a new loop.
    #[must_use]
    pub fn new(found: &Loop, now: u64) -> Self {
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
            choice: SignatureChooser::default(),
            counted: Default::default(),
            localio: found.localio,
            proof: found.proof,
            rpc_clients: found.rpc_clients.clone(),
            unmatched: is_unmatched(found),
            path: Path::of(found),
            best: 0.0,
            progress_ns: now,
            seen_ns: now,
            confirmed_ns: now,
        }
    }

    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether it can be dropped: the loop ended long enough ago and is calm.
    #[must_use]
    pub fn is_over(&self, now: u64, patience_ns: u64) -> bool {
        let calm = self.machine.state() == LivelockState::None;
        calm && now.saturating_sub(self.seen_ns) >= patience_ns
    }

    /// The loop exists now. Its server's BDI may become known later, or change.
    pub fn follow(&mut self, found: &Loop, now: u64) {
        self.seen_ns = now;
        self.localio = found.localio;
        self.proof = found.proof;
        self.rpc_clients.clone_from(&found.rpc_clients);
        self.unmatched = is_unmatched(found);
        if self.path.nodes != found.path {
            self.path = Path::of(found);
        }
        if found.server_bdi.is_some() {
            self.verdict.server_bdi.clone_from(&found.server_bdi);
        }
    }

    /// The window starts anew.
    pub fn restart(&mut self, now: u64) {
        self.machine.restart(now);
        self.seen_ns = self.seen_ns.min(now);
        self.confirmed_ns = self.confirmed_ns.min(now);
        self.verdict.conditions = Conditions::default();
        self.choice = SignatureChooser::default();
    }

    /// Judges one tick. Returns the state that was left, if any.
    pub fn tick(
        &mut self,
        window: &Window,
        thresholds: &Thresholds,
        dt_ns: u64,
        loops: &AllLoops,
    ) -> Option<LivelockState> {
        let now_ns = window.newest()?.ns;
        let clients = self.rpc_clients.clone();
        let own = Own {
            clients: &clients,
            of_loops: &loops.rpc_clients,
            has_others: loops.count > 1,
            unmatched: self.unmatched,
        };
        let last = LastSecond::of(window, &self.verdict, own);
        let stall_rate = self.stall_rate(&last, thresholds, dt_ns);
        let progress_now = last.reaches(stall_rate);
        // A client without demand makes no progress and is not stalled.
        let demanded = self.verdict.conditions.demand.holds == Some(true);
        if progress_now != Some(false) || !demanded {
            self.progress_ns = now_ns;
        }
        let view = View {
            window,
            client: &self.verdict.client_bdi,
            kind: self.path.kind,
            server: &self.verdict.server,
            servers: &self.path.servers,
            inner: &self.path.inner,
            server_bdi: self.verdict.server_bdi.as_deref(),
            localio: self.localio,
            proof: self.proof,
            own,
            thresholds,
            stall_rate,
            stalled_ns: now_ns.saturating_sub(self.progress_ns),
            loops,
            before: &self.verdict.conditions,
            held: self.choice.held(),
        };
        let edges = signatures::edges(&view);
        let was = self.machine.state();
        if !was.is_livelock() && was != LivelockState::Suspected {
            self.choice.forget_weights();
        }
        self.choice.add(&edges);
        // A livelock keeps its name until the loop is calm again.
        let fixed = self.machine.was_livelock();
        let fixed = fixed.then_some(self.verdict.signature);
        let active_edge = self.choice.active_edge(&edges, fixed);
        let conditions = conditions(&view, active_edge);
        let reason = reason(&view, &conditions, active_edge);
        let confidence = confidence(gaps(&view, &edges, active_edge));
        let server_bdi = active_edge.and_then(|edge| edge.server_bdi.clone());
        let tick = Tick {
            now_ns,
            conditions: &conditions,
            confirmable: active_edge.is_some_and(|edge| edge.signature.is_reproduced()),
            progress_now,
            nothing_moved: last.nothing(),
            waits: view.waits(),
        };
        let open = active_edge.is_none_or(|edge| edge.holds != Some(true))
            || conditions.blockage.holds != Some(true);
        let now_waits = (open && was.is_livelock()).then(|| waits_for(&view, &conditions));
        let left = self.machine.step(&tick, thresholds);
        let nearest = active_edge.map(|edge| edge.signature);
        let closed = active_edge.filter(|edge| edge.holds == Some(true));
        let unproven = closed.map(|edge| edge.signature);
        let unproven = unproven.filter(|signature| !signature.is_reproduced());
        self.name(fixed, nearest);
        self.count(was, dt_ns, now_ns);
        self.verdict.conditions = conditions;
        self.verdict.confidence = confidence;
        // Without an observed write of the server, use the device it waits for.
        self.verdict.server_bdi = self.verdict.server_bdi.take().or(server_bdi);
        let stays = self.verdict.state.is_livelock() && self.machine.state().is_livelock();
        let reason = now_waits.filter(|_| stays).unwrap_or(reason);
        self.say(reason, unproven, now_ns);
        left
    }

    fn name(&mut self, fixed: Option<Signature>, nearest: Option<Signature>) {
        let confirmed = self.machine.state().is_livelock();
        let free = self.choice.heaviest(confirmed).or(nearest);
        if let Some(signature) = fixed.or(free) {
            self.verdict.signature = signature;
        }
    }

    fn count(&mut self, was: LivelockState, dt_ns: u64, now_ns: u64) {
        let state = self.machine.state();
        let confirmed = state == LivelockState::Livelock && was != state;
        if confirmed {
            self.confirmed_ns = now_ns;
        }
        let Some(counted) = self.counted.get_mut(self.verdict.signature as usize) else {
            return;
        };
        counted.detections = counted.detections.saturating_add(u64::from(confirmed));
        if was.is_livelock() {
            counted.livelock_ns = counted.livelock_ns.saturating_add(dt_ns);
        } else if !confirmed {
            return;
        }
        let all = Signature::ALL.into_iter().zip(&self.counted);
        self.verdict.tallies.clear();
        self.verdict
            .tallies
            .extend(all.filter(|(_, counted)| counted.detections > 0).map(
                |(signature, counted)| Tally {
                    signature,
                    detections: counted.detections,
                    livelock_seconds: (counted.livelock_ns / NS_PER_MS) as f64 / 1000.0,
                },
            ));
    }

    /// The rate, bytes a second, below which the loop counts as stalled: a share of the best
    /// second, with hysteresis.
    fn stall_rate(&mut self, last: &LastSecond, thresholds: &Thresholds, dt_ns: u64) -> f64 {
        let half_lives = dt_ns as f64 / nanos(thresholds.best_half_life).max(1) as f64;
        self.best *= (-half_lives).exp2();
        self.best = self.best.max(last.acked.map_or(0.0, |moved| moved.rate()));
        let floor = thresholds.stall_floor_bytes_per_second as f64;
        let cap = thresholds.stall_cap_bytes_per_second as f64;
        let slack = thresholds.slack(self.verdict.conditions.no_progress.holds == Some(true));
        (self.best * thresholds.stall_share).min(cap).max(floor) * slack
    }

    fn say(&mut self, reason: String, unproven: Option<Signature>, now_ns: u64) {
        let verdict = &mut self.verdict;
        verdict.state = self.machine.state();
        verdict.since_ms = self.machine.since_ns() / NS_PER_MS;
        verdict.reason = match verdict.state {
            LivelockState::Recovered => {
                let stood = self.machine.since_ns().saturating_sub(self.confirmed_ns);
                format!("over after {} of livelock: {reason}", seconds(stood))
            }
            LivelockState::Deadlock => {
                let still = now_ns.saturating_sub(self.progress_ns);
                format!("no byte for {}: {reason}", seconds(still))
            }
            LivelockState::Suspected => match unproven {
                Some(signature) => format!(
                    "{reason}; suspected at most: {} was not reproduced on any kernel",
                    signature.as_str()
                ),
                None => reason,
            },
            _ => reason,
        };
    }

    /// The timeline's line for a state just entered.
    #[must_use]
    pub fn transition(&self, from: LivelockState, observation: &Observation) -> Transition {
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

fn conditions(view: &View<'_>, active_edge: Option<&Edge>) -> Conditions {
    let edge = |edge: &Edge| {
        let why = format!("{}: {}", edge.signature.as_str(), edge.why);
        condition(edge.holds, edge.value, why)
    };
    Conditions {
        demand: conditions::demand(view),
        no_progress: conditions::no_progress(view),
        blockage: conditions::blockage(view),
        closing_edge: active_edge.map(edge).unwrap_or_default(),
    }
}

/// The inputs missing for the conditions and for the edge that holds. If no edge holds, those of
/// all edges.
fn gaps(view: &View<'_>, edges: &[Edge], active_edge: Option<&Edge>) -> Vec<MissingInput> {
    let mut gaps = Vec::new();
    view.gaps(&mut gaps);
    match active_edge.filter(|edge| edge.holds == Some(true)) {
        Some(edge) => gaps.extend(&edge.gaps),
        None => gaps.extend(edges.iter().flat_map(|edge| &edge.gaps)),
    }
    gaps
}

fn reason(view: &View<'_>, conditions: &Conditions, active_edge: Option<&Edge>) -> String {
    let Some(edge) = active_edge.filter(|edge| edge.holds == Some(true)) else {
        return missing(conditions);
    };
    let acked = view.acked();
    format!(
        "{}; {} acknowledged, no progress for {}",
        edge.words,
        acked.map_or_else(|| "unknown bytes".to_owned(), |acked| rate(acked.rate())),
        seconds(view.stalled_ns),
    )
}

/// What a livelock with an open cycle still waits for, as far as visible. Nothing proves that it is
/// over.
fn waits_for(view: &View<'_>, conditions: &Conditions) -> String {
    let client = view.newest().and_then(|sample| sample.client(view.client));
    let calls = client.and_then(|client| client.pending_writes);
    let requests = view.kind.requests();
    let calls = match calls {
        Some(0) => format!("{} has no {requests} in flight", view.client),
        Some(calls) => format!("{calls} {requests} of {} are unanswered", view.client),
        None => format!("the {requests} of {} are not visible", view.client),
    };
    let busy = view.threads().map(|threads| threads.busy);
    let now = match (conditions.blockage.holds, busy) {
        (Some(false), Some(0)) => format!(
            "{calls}, and no {} thread works on them: the calls or their replies are in flight, or the client holds them back",
            view.server
        ),
        (Some(true), _) => format!("{calls}; {}", conditions.closing_edge.why),
        _ => format!("{calls}; {}", conditions.blockage.why),
    };
    let acked = view.acked();
    format!(
        "not over: {} acknowledged, no progress for {}; {}; now {now}",
        acked.map_or_else(|| "unknown bytes".to_owned(), |acked| rate(acked.rate())),
        seconds(view.stalled_ns),
        conditions.demand.why,
    )
}

/// The conditions that do not hold, with their reasons.
fn missing(conditions: &Conditions) -> String {
    let open = conditions
        .all()
        .into_iter()
        .filter(|(_, c)| c.holds != Some(true));
    let open: Vec<String> = open.map(|(name, c)| format!("{name}: {}", c.why)).collect();
    format!(
        "{} of 4 conditions hold; not {}",
        4usize.saturating_sub(open.len()),
        open.join("; not ")
    )
}

impl LastSecond {
    fn of(window: &Window, verdict: &Verdict, own: Own<'_>) -> Self {
        let acked = |sample: &Sample| sample.client(&verdict.client_bdi)?.bytes_acked;
        Self {
            acked: window.moved_last_second(acked),
            served: window.served_last_second(own),
            by_nfsd: verdict.server == NFSD,
        }
    }

    /// Whether either side moves at least this many bytes a second.
    fn reaches(&self, stall_rate: f64) -> Option<bool> {
        let reaches = |moved: Option<Moved>| moved.map(|moved| moved.rate() >= stall_rate);
        let acked = reaches(self.acked);
        match (acked, reaches(self.served)) {
            _ if !self.by_nfsd => acked,
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }

    /// Whether neither side moved a byte.
    fn nothing(&self) -> Option<bool> {
        let acked = self.acked?.bytes == 0;
        if self.by_nfsd {
            Some(acked && self.served?.bytes == 0)
        } else {
            Some(acked)
        }
    }
}
