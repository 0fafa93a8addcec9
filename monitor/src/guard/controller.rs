//! The guard in the tick thread: decides the desired state, sends it to the helper, and counts and
//! reports the outcomes.

use std::collections::VecDeque;

use monitor_model::{
    guard::{Action, GuardEvent, Mode, Outcome},
    loops::Loop,
    observation::Observation,
    verdict::Verdict,
};

use monitor_verdict::guard::{Decision, Guard, Policy};

use crate::guard::{Link, Made, Report};

/// A missing helper is only reported after this time: it may be restarting.
const PATIENCE_MS: u64 = 10_000;

/// Maximum number of events kept for the evidence, of all loops.
const MAX_EVENTS: usize = 64;

/// The number of actions by outcome, since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies([[u64; Outcome::COUNTED.len()]; Action::ALL.len()]);

impl Tallies {
    pub(crate) fn count(&mut self, action: Action, result: Outcome) {
        let row = Action::ALL.iter().position(|one| *one == action);
        let column = Outcome::COUNTED.iter().position(|one| *one == result);
        let cell = row
            .zip(column)
            .and_then(|(row, column)| self.0.get_mut(row)?.get_mut(column));
        if let Some(cell) = cell {
            *cell += 1;
        }
    }

    /// All combinations, including those that never happened.
    pub fn all(&self) -> impl Iterator<Item = (Action, Outcome, u64)> + '_ {
        let rows = Action::ALL.into_iter().zip(&self.0);
        rows.flat_map(|(action, row)| {
            let cells = Outcome::COUNTED.into_iter().zip(row);
            cells.map(move |(result, count)| (action, result, *count))
        })
    }
}

/// The state of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardNow {
    /// The permitted actions.
    pub mode: Mode,
    /// The number of actions by outcome.
    pub tallies: Tallies,
    /// The current changes: (loop, measure).
    pub active: Vec<(String, String)>,
    /// Whether a helper is available; `None`: none is needed.
    pub helper_up: Option<bool>,
    /// The number of restarts of the daemon's own helper; `None`: it has none.
    pub helper_restarts: Option<u64>,
}

/// The guard's part of the tick.
#[derive(Debug)]
pub struct Controller {
    guard: Guard,
    link: Option<Link>,
    now: GuardNow,
    /// The recent events.
    recent: VecDeque<GuardEvent>,
    /// Since when no helper is available.
    alone_since_ms: Option<u64>,
    /// Whether that was reported.
    said_alone: bool,
    unix_ms: u64,
    monotonic_ms: u64,
}

impl Default for Controller {
    /// A controller that does nothing.
    fn default() -> Self {
        Self::new(Policy::default(), None)
    }
}

impl Controller {
    /// A controller with a link to the helper, if the mode needs one.
    #[must_use]
    pub fn new(policy: Policy, link: Option<Link>) -> Self {
        let now = GuardNow {
            mode: policy.mode,
            ..GuardNow::default()
        };
        Self {
            guard: Guard::new(policy),
            link,
            now,
            recent: VecDeque::new(),
            alone_since_ms: None,
            said_alone: false,
            unix_ms: 0,
            monotonic_ms: 0,
        }
    }

    /// Uses other settings from the next tick on. `link`: a link to the helper, if there was none.
    pub fn set_policy(&mut self, policy: Policy, link: Option<Link>) {
        self.now.mode = policy.mode;
        self.guard.set_policy(policy);
        if self.link.is_none() {
            self.link = link;
        }
    }

    /// The state of the guard.
    #[must_use]
    pub fn now(&self) -> GuardNow {
        self.now.clone()
    }

    /// Decides, sends the desired state, and reports events.
    pub fn tick(
        &mut self,
        node: &Observation,
        loops: &[Loop],
        verdicts: &[Verdict],
        tell: impl Fn(&GuardEvent),
    ) -> Vec<GuardEvent> {
        self.unix_ms = node.unix_ms;
        self.monotonic_ms = node.monotonic_ns / 1_000_000;
        let Decision { wanted, mut events } = self.guard.decide(node, loops, verdicts);
        // Report the decision before it is carried out.
        events.iter().for_each(&tell);
        if let Some(link) = &mut self.link {
            link.want(&wanted);
            let reports = link.reports();
            let is_up = link.is_up();
            self.now.helper_restarts = link.restarts();
            let mut said = self.say(reports);
            if self.now.mode.acts() {
                said.extend(self.alone(is_up, &events));
            } else {
                // It still restores what a former mode changed; after that it is not needed.
                self.now.helper_up = None;
                (self.alone_since_ms, self.said_alone) = (None, false);
            }
            said.iter().for_each(&tell);
            events.extend(said);
        }
        for event in &events {
            self.now.tallies.count(event.action, event.result);
        }
        self.recent.extend(events.iter().cloned());
        let excess = self.recent.len().saturating_sub(MAX_EVENTS);
        self.recent.drain(..excess);
        events
    }

    /// The recent events of this loop, oldest first.
    pub fn about<'a>(&'a self, loop_id: &'a str) -> impl Iterator<Item = &'a GuardEvent> {
        let recent = self.recent.iter();
        recent.filter(move |event| event.loop_id == loop_id)
    }

    /// Restores all settings.
    pub fn finish(mut self, tell: impl Fn(&GuardEvent)) {
        if let Some(link) = self.link.take() {
            let reports = link.finish();
            self.say(reports).iter().for_each(tell);
        }
    }

    fn say(&mut self, reports: Vec<Report>) -> Vec<GuardEvent> {
        let mut events = Vec::new();
        for Report { made, active } in reports {
            events.extend(made.into_iter().map(|made| self.event(made)));
            self.now.active = active;
        }
        events
    }

    fn event(&self, made: Made) -> GuardEvent {
        GuardEvent {
            monotonic_ms: self.monotonic_ms,
            unix_ms: self.unix_ms,
            loop_id: made.loop_id.into(),
            action: made.action,
            result: made.result,
            reason: made.words,
            commands: Vec::new(),
            undo: Vec::new(),
        }
    }

    /// Reports a missing helper once it lasts, and each decision that is not carried out for that
    /// reason.
    fn alone(&mut self, is_up: bool, events: &[GuardEvent]) -> Vec<GuardEvent> {
        self.now.helper_up = Some(is_up);
        if is_up {
            (self.alone_since_ms, self.said_alone) = (None, false);
            return Vec::new();
        }
        let since = *self.alone_since_ms.get_or_insert(self.monotonic_ms);
        let decided = |event: &&GuardEvent| event.result == Outcome::Decided;
        let mut said: Vec<GuardEvent> = events
            .iter()
            .filter(decided)
            .map(|event| self.nobody(event.loop_id.as_str(), event.action))
            .collect();
        if self.monotonic_ms.saturating_sub(since) >= PATIENCE_MS {
            self.now.active.clear();
            if said.is_empty() && !self.said_alone {
                let action = if self.now.mode == Mode::Break {
                    Action::Break
                } else {
                    Action::Prevent
                };
                said.push(self.nobody("", action));
            }
            self.said_alone = true;
        }
        said
    }

    fn nobody(&self, loop_id: &str, action: Action) -> GuardEvent {
        let given_up = self.link.as_ref().is_some_and(Link::has_given_up);
        let words = if given_up {
            "the guard's helper ended repeatedly and is not restarted: no action is taken; restart the daemon, or restore the settings with: throttle-monitor guard undo (see docs/guard.md)"
        } else {
            "the guard's helper does not answer: no action is taken; it has restored what it changed, or does when it starts (see docs/guard.md)"
        };
        self.event(Made {
            loop_id: loop_id.to_owned(),
            action,
            result: Outcome::Failed,
            words: words.to_owned(),
        })
    }
}
