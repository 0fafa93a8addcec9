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

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::loops::{Loop, MAX_LOOPS, NFSD, Proof, Scope};
use crate::observation::{Bdi, Observation};
use crate::remedy::{Place, guard_breaks, guard_prevents};
use crate::thresholds::nanos;
use crate::types::{LivelockState, Signature, Verdict};

/// For so long nobody must want anything of a loop before what broke its livelock is
/// undone: a writer that only drew breath would freeze it again.
const CALM_NS: u64 = 30_000_000_000;

/// The client's largest share of the dirty limit, percent, before a load. With
/// `strict_limit` it never froze; with 10 % it was measured to be slower than the same
/// load over 127.0.0.1, with 25 % and 50 % it was not.
const PREVENT_RATIO: u32 = 25;

/// The share of the dirty limit that all clients of loops together may have, percent:
/// the rest is the servers'.
const ALL_RATIO: u32 = 50;

/// The same for a loop that stands still and whose server cannot be freed.
const BREAK_RATIO: u32 = 1;

/// Where it cannot be freed, what the server makes dirty is written at once. Else nobody
/// writes it before as much is dirty as `vm.dirty_background_ratio` says, and all of it
/// counts against the limit meanwhile.
const BACKGROUND_BYTES: u64 = 64 << 10;

const HOUR_NS: u64 = 3_600_000_000_000;

/// What the guard may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// Say what it would do.
    Advise,
    /// Limit the client of a loop before it can stand still; get it going again where that
    /// was in vain.
    Prevent,
    /// Get a loop that stands still going again.
    Break,
}

impl Mode {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Off, Self::Advise, Self::Prevent, Self::Break];

    /// The word of `--guard`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Advise => "advise",
            Self::Prevent => "prevent",
            Self::Break => "break",
        }
    }

    /// The value of `throttle_guard_mode`.
    #[must_use]
    pub const fn metric(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::Advise => 1.0,
            Self::Prevent => 2.0,
            Self::Break => 3.0,
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn acts(self) -> bool {
        matches!(self, Self::Prevent | Self::Break)
    }
}

/// What was done, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Limits before anything stands still.
    Prevent,
    /// Limits, and a limit that follows, for a loop that stands still.
    Break,
    /// What was changed is put back.
    Undo,
}

impl Action {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Prevent, Self::Break, Self::Undo];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prevent => "prevent",
            Self::Break => "break",
            Self::Undo => "undo",
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Said, not done.
    Advised,
    /// Decided; nothing is changed yet.
    Decided,
    /// Not done: too soon or too often, or there is nothing that helps.
    Refused,
    /// Done.
    Done,
    /// The kernel refused it, or there is nobody to do it.
    Failed,
    /// Somebody else changed it meanwhile: theirs stays.
    LeftAlone,
}

impl Outcome {
    /// Every one of them that is counted.
    pub const ALL: [Self; 5] = [
        Self::Advised,
        Self::Refused,
        Self::Done,
        Self::Failed,
        Self::LeftAlone,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advised => "advised",
            Self::Decided => "decided",
            Self::Refused => "refused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::LeftAlone => "left_alone",
        }
    }
}

/// What happened: a line of the log, an event, a part of the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardEvent {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id; empty: the daemon that was there before left it.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// What was, or would be, done.
    pub action: Action,
    /// What came of it.
    pub result: Outcome,
    /// One sentence for people.
    pub reason: String,
    /// What a person would type to do the same.
    pub commands: Vec<String>,
    /// What a person would type to undo it.
    pub undo: Vec<String>,
}

/// Limits of a BDI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// What for.
    pub action: Action,
    /// The client's BDI, or the one that its server writes to, `major:minor`.
    pub bdi: CompactString,
    /// Whether `strict_limit` is to be set; else it stays as it is.
    pub strict_limit: bool,
    /// `max_ratio`, percent; `None`: it stays as it is.
    pub max_ratio: Option<u32>,
    /// `vm.dirty_background_bytes`; `None`: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_bytes: Option<u64>,
}

impl Hold {
    /// What breaks a livelock: the BDI that the server writes to answers for its own
    /// pages only; where there is none such, the client is held.
    #[must_use]
    pub fn to_break(
        loop_id: CompactString,
        action: Action,
        client: CompactString,
        client_strict: bool,
        server: Option<CompactString>,
    ) -> Self {
        let max_ratio = server.is_none().then_some(BREAK_RATIO);
        let background_bytes = server.is_none().then_some(BACKGROUND_BYTES);
        Self {
            loop_id,
            action,
            strict_limit: server.is_some() || client_strict,
            bdi: server.unwrap_or(client),
            max_ratio,
            background_bytes,
        }
    }
}

/// What shall hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// At most one for each loop.
    pub holds: Vec<Hold>,
    /// For these loops the dirty limit follows what is dirty.
    pub ease: Vec<(CompactString, Action)>,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What shall hold now.
    pub wanted: Wanted,
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
        share(&mut decision.wanted.holds);
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
                let reason = format!("the loop {id} ended: its limits are put back");
                decision
                    .events
                    .push(event(node, id, Action::Undo, Outcome::Decided, reason));
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
            ..event(
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
                "nobody has written to {} for {} s: its limits and the dirty limit are put back",
                at.found.id,
                CALM_NS / 1_000_000_000
            );
            decision.events.push(event(
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
                let refused = event(at.node, id, action, Outcome::Refused, reason);
                decision.events.push(refused);
            }
            return;
        }
        let server = at.strict_server(verdict);
        standing.broken = Some(Broken {
            action,
            server: server.cloned(),
            calm_since_ns: None,
        });
        standing.acted_ns = Some(at.now);
        self.broke_ns.push_back(at.now);
        let measure = guard_breaks(&at.place().with_strict_server(server));
        decision.events.push(GuardEvent {
            commands: measure.commands,
            undo: measure.undo,
            ..event(at.node, id, action, self.outcome(), verdict.reason.clone())
        });
    }

    /// Why nothing is done about it now.
    fn refuses(&self, at: &At<'_>, verdict: &Verdict, standing: &Standing) -> Option<String> {
        let (id, signature) = (&at.found.id, verdict.signature);
        if signature != Signature::DirtyThrottle {
            let name = signature.as_str();
            return Some(format!(
                "{id} stands still by {name}: no limit that can be set here helps against that (throttle-monitor explain {name})"
            ));
        }
        if !self.policy.mode.acts() {
            return None;
        }
        if self.is_too_soon(at.now, standing) {
            let seconds = self.policy.hold_down.as_secs();
            return Some(format!(
                "{id} stands still again within {seconds} s (--guard-hold-down): nothing is done until then"
            ));
        }
        let broken = self.broke_ns.len();
        (broken >= usize::try_from(self.policy.per_hour).unwrap_or(usize::MAX)).then(|| {
            format!(
                "{broken} livelocks were broken within an hour (--guard-per-hour), and {id} stands still: nothing is done"
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

/// A loop on its node.
struct At<'a> {
    node: &'a Observation,
    found: &'a Loop,
    now: u64,
}

impl At<'_> {
    fn bdi(&self) -> Option<&Bdi> {
        self.node
            .bdis
            .iter()
            .find(|bdi| bdi.bdi == self.found.client_bdi)
    }

    fn place(&self) -> Place {
        Place::of(self.found, self.node)
    }

    /// Since Linux 6.2.
    fn offers_strict_limit(&self) -> Option<bool> {
        self.bdi().map(|bdi| bdi.strict_limit.is_some())
    }

    fn is_proven(&self) -> bool {
        self.found.proof >= Proof::Socket
    }

    /// Whether somebody, maybe this guard, holds it already.
    fn is_held(&self) -> bool {
        let held = |bdi: &Bdi| {
            bdi.strict_limit == Some(true)
                && bdi.max_ratio.is_some_and(|ratio| ratio <= PREVENT_RATIO)
        };
        self.bdi().is_some_and(held)
    }

    /// nfsd goes on beyond the limit for a client that has its own address, which in
    /// one network namespace it has.
    fn is_in_danger(&self) -> bool {
        self.found.server != NFSD || self.found.scope != Scope::SameNetns
    }

    fn want(&self, standing: &Standing, mode: Mode, wanted: &mut Wanted) {
        if !mode.acts() {
            return;
        }
        let action = match (&standing.broken, standing.prevented) {
            (Some(broken), _) => broken.action,
            (None, true) => Action::Prevent,
            (None, false) => return,
        };
        let (id, client) = (self.found.id.clone(), self.found.client_bdi.clone());
        wanted.holds.push(if let Some(broken) = &standing.broken {
            wanted.ease.push((id.clone(), action));
            let strict = self.offers_strict_limit() == Some(true);
            Hold::to_break(id, action, client, strict, broken.server.clone())
        } else {
            Hold {
                loop_id: id,
                action,
                bdi: client,
                strict_limit: true,
                max_ratio: Some(PREVENT_RATIO),
                background_bytes: None,
            }
        });
    }

    /// What the server writes to, if the kernel can hold that strictly. A mount of NFS
    /// that is exported again is a client's itself.
    fn strict_server<'a>(&'a self, verdict: &'a Verdict) -> Option<&'a CompactString> {
        let name = self.found.server_bdi.as_ref();
        let name = name.or(verdict.server_bdi.as_ref())?;
        let bdi = self.node.bdis.iter().find(|bdi| bdi.bdi == *name)?;
        let is_nfs = bdi.fstype.starts_with("nfs");
        (bdi.strict_limit.is_some() && !is_nfs).then_some(name)
    }
}

/// Many clients have less each.
fn share(holds: &mut [Hold]) {
    let ratios = || holds.iter().filter_map(|hold| hold.max_ratio);
    let each = ALL_RATIO / u32::try_from(ratios().count()).unwrap_or(u32::MAX).max(1);
    for ratio in holds.iter_mut().filter_map(|hold| hold.max_ratio.as_mut()) {
        *ratio = (*ratio).min(each.max(1));
    }
}

fn event(
    node: &Observation,
    id: &str,
    action: Action,
    result: Outcome,
    reason: String,
) -> GuardEvent {
    GuardEvent {
        monotonic_ms: node.monotonic_ns / 1_000_000,
        unix_ms: node.unix_ms,
        loop_id: format_compact!("{id}"),
        action,
        result,
        reason,
        commands: Vec::new(),
        undo: Vec::new(),
    }
}
