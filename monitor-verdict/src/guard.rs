//! What is to be changed on a node so that a loop cannot stand still, or goes on
//! again: pure, from the loops and their verdicts. Nothing is changed here, and
//! what was changed before is not known here either: what comes out is what shall
//! hold now. Whoever makes it hold undoes what is no longer wanted.
//!
//! Two things are ever wanted:
//!
//! - A [`Hold`]: limits of a client's BDI.
//! - Easing: while more is dirty than the dirty limit allows, the limit follows, a
//!   little above it. The writers are let in by a trickle then, and the server, whose
//!   own BDI is nearly clean, goes on at full speed: what is dirty falls, and the
//!   limit with it. A limit that is raised once and for all is filled at once.
//!
//! What breaks a livelock is, since Linux 6.2, `strict_limit` of the BDI that the
//! server writes to: under it `balance_dirty_pages` looks at that BDI's own pages and
//! no others. Threads that wait in there have read before that there was none, so
//! the limit is eased until they are out. Where there is no `strict_limit`, or nobody knows
//! what the server writes to, the client is held, what is dirty is written at once, and
//! the limit eased for as long as somebody writes.

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
    observation::Observation,
    verdict::{LivelockState, Signature, Verdict},
};

use at::At;
pub use hold::to_break;

use crate::loops::MAX_LOOPS;
use crate::mitigation::{guard_breaks, guard_prevents};
use crate::thresholds::nanos;

/// For so long nobody must want anything of a loop before what broke its livelock is
/// undone: a writer that only drew breath would freeze it again.
const CALM_NS: u64 = 30_000_000_000;

const HOUR_NS: u64 = 3_600_000_000_000;

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What shall hold now.
    pub wanted: DesiredState,
    /// What is new.
    pub events: Vec<GuardEvent>,
}

/// How the guard is to behave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What it may do.
    pub mode: Mode,
    /// Between two actions for one loop.
    pub hold_down: Duration,
    /// Livelocks that it may break within an hour, on the whole node.
    pub per_hour: u32,
}

/// What is wanted for a loop, and since when.
#[derive(Clone, Debug, Default)]
struct Standing {
    prevented: bool,
    broken: Option<Broken>,
    /// When an action last began.
    acted_ns: Option<u64>,
    /// It was said that nothing is done about the livelock of now.
    said: bool,
}

#[derive(Clone, Debug)]
struct Broken {
    action: Action,
    /// The BDI that its server writes to, where that is held.
    server: Option<CompactString>,
    /// Since when nobody wants anything of the loop.
    calm_since_ns: Option<u64>,
}

/// Decides, tick by tick.
#[derive(Clone, Debug)]
pub struct Guard {
    policy: Policy,
    loops: BTreeMap<CompactString, Standing>,
    /// When livelocks were broken, within the last hour.
    broke_ns: VecDeque<u64>,
}

impl Guard {
    /// One that has decided nothing yet.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            loops: BTreeMap::new(),
            broke_ns: VecDeque::new(),
        }
    }

    /// How it is to behave.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What shall hold, with these loops and verdicts.
    pub fn decide(&mut self, node: &Observation, loops: &[Loop], verdicts: &[Verdict]) -> Decision {
        let mut decision = Decision::default();
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

    /// Loops that ended: what was done for them is undone.
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
            // Mounted anew at once, it is not limited at once again.
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

    /// Before any stall: where the kernel can hold a client's BDI strictly.
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

    /// Once nobody has wanted anything for a while, what broke it is undone.
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

    /// A loop that stands still.
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

    /// Why nothing is done about it now.
    fn refuses(&self, at: &At<'_>, verdict: &Verdict, standing: &Standing) -> Option<String> {
        let (id, signature) = (&at.found.id, verdict.signature);
        if signature != Signature::DirtyThrottle {
            let name = signature.as_str();
            return Some(format!(
                "{id} is stalled by {name}: no limit that can be set here helps (throttle-monitor explain {name})"
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

    /// Whether this verdict is to be acted on, and in whose name.
    fn reacts(&self, at: &At<'_>, verdict: &Verdict) -> Option<Action> {
        match self.policy.mode {
            Mode::Break | Mode::Advise => verdict.state.is_livelock().then_some(Action::Break),
            // What it could not prevent.
            Mode::Prevent if verdict.state.is_livelock() => at.is_proven().then_some(Action::Break),
            // Where the client cannot be held beforehand, at the first sign.
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
