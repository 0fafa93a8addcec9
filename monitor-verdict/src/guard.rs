//! Decides what to change on a node so that a loop cannot stall, or resumes. Pure: the input is the
//! loops and their verdicts, the output is the desired state. The actuator applies it and undoes
//! what is no longer wanted.
//!
//! The guard has two means:
//!
//! - A [`Hold`]: limits of a client's BDI.
//! - Easing: while the dirty pages exceed the dirty limit, the limit follows a little above them.
//!   Writers then enter at a trickle, while the server, whose own BDI is nearly clean, runs at full
//!   speed. So the dirty pages fall, and the limit with them. Writers would fill a limit that is
//!   raised only once.
//!
//! Since Linux 6.2, `strict_limit` of the BDI that the server writes to breaks a livelock: with it
//! `balance_dirty_pages` considers only that BDI's own pages. Threads that already wait there have
//! read the old setting, so the limit is eased until they leave. Without `strict_limit`, or if the
//! server's BDI is unknown, the client is held, dirty pages are written at once, and the limit is
//! eased while writers remain.

mod at;
mod hold;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use compact_str::CompactString;
use monitor_model::{
    guard::{Action, DesiredState, GuardEvent, Mode, Outcome},
    loops::Loop,
    observation::{ClientKind, Observation},
    verdict::{LivelockState, Signature, Verdict},
};

use at::At;
pub use hold::to_break;

use crate::loops::MAX_LOOPS;
use crate::mitigation::{guard_breaks, guard_prevents};
use crate::thresholds::nanos;

/// A loop must be without demand for this long before the guard undoes what broke its livelock.
/// After a shorter pause the writer would freeze it again.
const CALM_NS: u64 = 30_000_000_000;

const HOUR_NS: u64 = 3_600_000_000_000;

/// One decision of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The desired state.
    pub wanted: DesiredState,
    /// The events since the last decision.
    pub events: Vec<GuardEvent>,
}

/// The settings of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The permitted actions.
    pub mode: Mode,
    /// The time between two actions for one loop.
    pub hold_down: Duration,
    /// The number of livelocks that it may break within an hour, on the whole node.
    pub per_hour: u32,
}

/// The desired change for a loop, and its history.
#[derive(Clone, Debug, Default)]
struct Standing {
    prevented: bool,
    broken: Option<Broken>,
    /// The start of the last action.
    acted_ns: Option<u64>,
    /// Whether the refusal to act on the current livelock is reported.
    said: bool,
}

#[derive(Clone, Debug)]
struct Broken {
    action: Action,
    /// The BDI that the loop's server writes to, if it is held.
    server: Option<CompactString>,
    /// The time since which the loop has no demand.
    calm_since_ns: Option<u64>,
}

/// Decides at each tick.
#[derive(Clone, Debug)]
pub struct Guard {
    policy: Policy,
    loops: BTreeMap<CompactString, Standing>,
    /// The livelocks broken within the last hour.
    broke_ns: VecDeque<u64>,
    /// Loops whose limits the new mode does not allow; reported at the next decision.
    released: Vec<CompactString>,
}

impl Guard {
    /// A guard that has made no decision yet.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            loops: BTreeMap::new(),
            broke_ns: VecDeque::new(),
            released: Vec::new(),
        }
    }

    /// Uses other settings from the next decision on. What the new mode allows stays in force; the
    /// rest is undone. What was only advised is forgotten.
    pub fn set_policy(&mut self, policy: Policy) {
        let acted = self.policy.mode.acts();
        let breaks = matches!(policy.mode, Mode::Prevent | Mode::Break);
        let prevents = policy.mode == Mode::Prevent;
        if policy.mode != self.policy.mode {
            for (id, standing) in &mut self.loops {
                if !acted {
                    *standing = Standing::default();
                    continue;
                }
                let held = standing.prevented || standing.broken.is_some();
                standing.prevented &= prevents;
                if !breaks {
                    standing.broken = None;
                }
                standing.said = false;
                if held && !standing.prevented && standing.broken.is_none() {
                    self.released.push(id.clone());
                }
            }
        }
        self.policy = policy;
    }

    /// The events of loops whose limits the new mode does not allow.
    fn release(&mut self, node: &Observation) -> Vec<GuardEvent> {
        let mode = self.policy.mode.as_str();
        let released = std::mem::take(&mut self.released).into_iter();
        let event = |id: CompactString| {
            let reason =
                format!("the guard's mode is {mode} now (reload): the limits of {id} are restored");
            GuardEvent::new(node, &id, Action::Undo, Outcome::Decided, reason)
        };
        released.map(event).collect()
    }

    /// The settings of the guard.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides the desired state for these loops and verdicts.
    pub fn decide(&mut self, node: &Observation, loops: &[Loop], verdicts: &[Verdict]) -> Decision {
        let mut decision = Decision {
            events: self.release(node),
            ..Decision::default()
        };
        if self.policy.mode == Mode::Off {
            return decision;
        }
        let now = node.monotonic_ns;
        self.forget(now, node, loops, &mut decision);
        for found in loops {
            let verdict = verdicts.iter().find(|verdict| verdict.loop_id == found.id);
            let mut standing = self.loops.remove(&found.id).unwrap_or_default();
            let at = At { node, found, now };
            self.prevent(&at, &mut standing, &mut decision);
            if let Some(verdict) = verdict {
                self.calm(&at, verdict, &mut standing, &mut decision);
                self.break_up(&at, verdict, &mut standing, &mut decision);
            }
            at.want(&standing, self.policy.mode, &mut decision.wanted);
            if self.loops.len() < MAX_LOOPS {
                self.loops.insert(found.id.clone(), standing);
            }
        }
        hold::share(&mut decision.wanted.holds);
        decision
    }

    /// Drops loops that ended, which undoes their changes.
    fn forget(&mut self, now: u64, node: &Observation, loops: &[Loop], decision: &mut Decision) {
        let hold_down = nanos(self.policy.hold_down);
        let acts = self.policy.mode.acts();
        self.loops.retain(|id, standing| {
            if loops.iter().any(|found| found.id == *id) {
                return true;
            }
            if acts && (standing.prevented || standing.broken.is_some()) {
                let reason = format!("the loop {id} ended: its limits are restored");
                decision.events.push(GuardEvent::new(
                    node,
                    id,
                    Action::Undo,
                    Outcome::Decided,
                    reason,
                ));
            }
            standing.prevented = false;
            standing.broken = None;
            standing.said = false;
            // A loop that is mounted again at once stays unlimited at first.
            standing
                .acted_ns
                .is_some_and(|at| now.saturating_sub(at) < hold_down)
        });
        while self
            .broke_ns
            .front()
            .is_some_and(|at| now.saturating_sub(*at) >= HOUR_NS)
        {
            self.broke_ns.pop_front();
        }
    }

    /// Limits the client before any stall, if the kernel can limit its BDI strictly.
    fn prevent(&self, at: &At<'_>, standing: &mut Standing, decision: &mut Decision) {
        if standing.prevented && !at.is_in_danger() {
            standing.prevented = false;
            if self.policy.mode.acts() {
                let reason = format!(
                    "the server of {} is exempt from local dirty throttling ({}): its limits are restored",
                    at.found.id,
                    at.found.exempt.why()
                );
                let (node, id) = (at.node, &at.found.id);
                let undone = GuardEvent::new(node, id, Action::Undo, Outcome::Decided, reason);
                decision.events.push(undone);
            }
        }
        let may = matches!(self.policy.mode, Mode::Advise | Mode::Prevent);
        if !may || standing.prevented || !at.is_in_danger() || !at.is_proven() {
            return;
        }
        let (Some(_), Some(true)) = (at.bdi(), at.offers_strict_limit()) else {
            return;
        };
        if at.is_held() || self.is_too_soon(at.now, standing) {
            return;
        }
        standing.prevented = true;
        standing.acted_ns = Some(at.now);
        let measure = guard_prevents(&at.place());
        let reason = format!(
            "{} is served by this node ({}): its client may fill the whole dirty limit that the server needs",
            at.found.id,
            at.found.proof.as_str()
        );
        decision.events.push(GuardEvent {
            commands: measure.commands,
            undo: measure.undo,
            ..GuardEvent::new(
                at.node,
                &at.found.id,
                Action::Prevent,
                self.outcome(),
                reason,
            )
        });
    }

    /// Undoes what broke the livelock once the loop has had no demand for a while.
    fn calm(
        &self,
        at: &At<'_>,
        verdict: &Verdict,
        standing: &mut Standing,
        decision: &mut Decision,
    ) {
        if !verdict.state.is_livelock() {
            standing.said = false;
        }
        let Some(broken) = &mut standing.broken else {
            return;
        };
        let wanted = verdict.conditions.demand.holds != Some(false);
        if wanted || verdict.state.is_livelock() {
            broken.calm_since_ns = None;
            return;
        }
        let since = *broken.calm_since_ns.get_or_insert(at.now);
        if at.now.saturating_sub(since) < CALM_NS {
            return;
        }
        standing.broken = None;
        if self.policy.mode.acts() {
            let reason = format!(
                "{} was not written to for {} s: its limits and the dirty limit are restored",
                at.found.id,
                CALM_NS / 1_000_000_000
            );
            decision.events.push(GuardEvent::new(
                at.node,
                &at.found.id,
                Action::Undo,
                Outcome::Decided,
                reason,
            ));
        }
    }

    /// Acts on a stalled loop.
    fn break_up(
        &mut self,
        at: &At<'_>,
        verdict: &Verdict,
        standing: &mut Standing,
        decision: &mut Decision,
    ) {
        let Some(action) = self.reacts(at, verdict) else {
            return;
        };
        if standing.broken.is_some() {
            return;
        }
        let id = &at.found.id;
        if let Some(reason) = self.refuses(at, verdict, standing) {
            if !standing.said {
                standing.said = true;
                let refused = GuardEvent::new(at.node, id, action, Outcome::Refused, reason);
                decision.events.push(refused);
            }
            return;
        }
        let server = at.strict_server(verdict);
        standing.broken = Some(Broken {
            action,
            server: server.clone(),
            calm_since_ns: None,
        });
        standing.acted_ns = Some(at.now);
        self.broke_ns.push_back(at.now);
        let measure = guard_breaks(&at.place().with_strict_server(server.as_ref()));
        decision.events.push(GuardEvent {
            commands: measure.commands,
            undo: measure.undo,
            ..GuardEvent::new(at.node, id, action, self.outcome(), verdict.reason.clone())
        });
    }

    /// The reason not to act on the livelock now.
    fn refuses(&self, at: &At<'_>, verdict: &Verdict, standing: &Standing) -> Option<String> {
        let (id, signature) = (&at.found.id, verdict.signature);
        if signature != Signature::DirtyThrottle {
            let name = signature.as_str();
            return Some(format!(
                "{id} is stalled by {name}: no limit that can be set here helps (throttle-monitor explain {name})"
            ));
        }
        let is_nfs = at.found.client_kind == ClientKind::Nfs;
        if !is_nfs && at.strict_server(verdict).is_none() {
            return Some(format!(
                "{id} is stalled: what frees a server of another client than NFS, strict_limit of the device that it writes to, is not in this kernel (Linux 6.2 and later), or that device is unknown"
            ));
        }
        if !self.policy.mode.acts() {
            return None;
        }
        if self.is_too_soon(at.now, standing) {
            let seconds = self.policy.hold_down.as_secs();
            return Some(format!(
                "{id} stalled again within {seconds} s (--guard.hold-down): no action until then"
            ));
        }
        let broken = self.broke_ns.len();
        (broken >= usize::try_from(self.policy.per_hour).unwrap_or(usize::MAX)).then(|| {
            format!(
                "{broken} livelocks were broken within an hour (--guard.per-hour), and {id} is stalled: no action"
            )
        })
    }

    /// The action for this verdict, if any.
    fn reacts(&self, at: &At<'_>, verdict: &Verdict) -> Option<Action> {
        match self.policy.mode {
            Mode::Break | Mode::Advise => verdict.state.is_livelock().then_some(Action::Break),
            // Prevention failed, so break the livelock.
            Mode::Prevent if verdict.state.is_livelock() => at.is_proven().then_some(Action::Break),
            // Without a strict limit beforehand, act at the first sign.
            Mode::Prevent => {
                let all = verdict.conditions.count() == verdict.conditions.all().len();
                let begins = verdict.state != LivelockState::None
                    && all
                    && verdict.signature == Signature::DirtyThrottle;
                (begins && at.is_proven() && at.offers_strict_limit() != Some(true))
                    .then_some(Action::Prevent)
            }
            Mode::Off => None,
        }
    }

    fn is_too_soon(&self, now: u64, standing: &Standing) -> bool {
        let hold_down = nanos(self.policy.hold_down);
        standing
            .acted_ns
            .is_some_and(|at| now.saturating_sub(at) < hold_down)
    }

    const fn outcome(&self) -> Outcome {
        if self.policy.mode.acts() {
            Outcome::Decided
        } else {
            Outcome::Advised
        }
    }
}
