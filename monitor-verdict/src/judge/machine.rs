//! The states of one loop, with hysteresis both ways:
//!
//! ```text
//! none <-> suspected -> livelock -> deadlock
//!   ^          ^            |           |
//!   |          |            v           v
//!   +----------+-------- recovered <----+
//! ```

use monitor_model::verdict::{Conditions, LivelockState};

use crate::thresholds::{Thresholds, nanos};
use crate::window::TICK_SLACK_NS;

/// The input of one tick.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Now, `CLOCK_MONOTONIC` nanoseconds.
    pub now_ns: u64,
    /// The four conditions over the window.
    pub conditions: &'a Conditions,
    /// Whether the signature that closes the cycle may be confirmed at all.
    pub confirmable: bool,
    /// Whether the last second alone was progress.
    pub progress_now: Option<bool>,
    /// Whether no byte at all moved since the tick before.
    pub nothing_moved: Option<bool>,
    /// Whether requests to the loop wait without an answer: writers on the client, or more WRITE
    /// calls than were answered over the window.
    pub waits: Option<bool>,
}

/// A state and the clocks that lead out of it. A clock is the start of an uninterrupted period in
/// which something holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    state: LivelockState,
    since_ns: u64,
    all_four: Option<u64>,
    any_three: Option<u64>,
    three_unrefuted: Option<u64>,
    fewer: Option<u64>,
    gone: Option<u64>,
    still: Option<u64>,
    /// Whether it was in `livelock` since it was last in `none`.
    was_livelock: bool,
}

impl Machine {
    /// In `none` since `now_ns`.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self {
            since_ns: now_ns,
            ..Self::default()
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> LivelockState {
        self.state
    }

    /// Since when it is in this state, nanoseconds.
    #[must_use]
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// Whether it was a livelock since it was last calm.
    #[must_use]
    pub const fn was_livelock(&self) -> bool {
        self.was_livelock
    }

    /// The window starts anew, so all clocks do. The state stays: a loop that was frozen before the
    /// gap is mostly still frozen.
    pub fn restart(&mut self, now_ns: u64) {
        (self.all_four, self.any_three, self.three_unrefuted) = (None, None, None);
        (self.fewer, self.gone, self.still) = (None, None, None);
        self.since_ns = self.since_ns.min(now_ns);
    }

    /// Advances by one tick and at most one step. Returns the state that was left, if any.
    pub fn step(&mut self, tick: &Tick<'_>, thresholds: &Thresholds) -> Option<LivelockState> {
        self.clocks(tick);
        let next = self.next(tick.now_ns, thresholds);
        if next == self.state {
            return None;
        }
        self.was_livelock |= next == LivelockState::Livelock;
        self.was_livelock &= next != LivelockState::None;
        self.since_ns = tick.now_ns;
        Some(std::mem::replace(&mut self.state, next))
    }

    fn clocks(&mut self, tick: &Tick<'_>) {
        let conditions = tick.conditions;
        let count = conditions.count();
        let run = |clock: &mut Option<u64>, on: bool| {
            *clock = if on {
                clock.or(Some(tick.now_ns))
            } else {
                None
            };
        };
        run(&mut self.all_four, count == 4 && tick.confirmable);
        run(&mut self.any_three, count >= 3);
        let refuted = conditions.closing_edge.holds == Some(false);
        run(&mut self.three_unrefuted, count >= 3 && !refuted);
        run(&mut self.fewer, count < 3);
        run(&mut self.still, tick.nothing_moved == Some(true));
        // An unknown condition does not end a state. Progress is judged by the last second: over
        // the window one good second would count as three. An open cycle is not an end while
        // requests wait: bytes must move.
        let open = [&conditions.blockage, &conditions.closing_edge];
        let open = open.iter().any(|condition| condition.holds == Some(false));
        let gone = conditions.demand.holds == Some(false) || open && tick.waits == Some(false);
        run(&mut self.gone, gone || tick.progress_now == Some(true));
    }

    fn next(&self, now_ns: u64, thresholds: &Thresholds) -> LivelockState {
        let lasted = |clock: Option<u64>, duration| {
            let enough = nanos(duration);
            clock.is_some_and(|since| {
                now_ns.saturating_sub(since).saturating_add(TICK_SLACK_NS) >= enough
            })
        };
        match self.state {
            LivelockState::None
                if self.three_unrefuted.is_some()
                    || lasted(self.any_three, thresholds.suspect_without_edge) =>
            {
                LivelockState::Suspected
            }
            LivelockState::Suspected if lasted(self.all_four, thresholds.confirm) => {
                LivelockState::Livelock
            }
            LivelockState::Suspected if lasted(self.fewer, thresholds.calm) => LivelockState::None,
            LivelockState::Livelock | LivelockState::Deadlock
                if lasted(self.gone, thresholds.recover) =>
            {
                LivelockState::Recovered
            }
            LivelockState::Livelock
                if lasted(self.still, thresholds.deadlock_after)
                    && lasted(Some(self.since_ns), thresholds.deadlock_after)
                    && self.all_four.is_some() =>
            {
                LivelockState::Deadlock
            }
            LivelockState::Recovered if self.all_four.is_some() => LivelockState::Suspected,
            LivelockState::Recovered if lasted(Some(self.since_ns), thresholds.recovered_hold) => {
                LivelockState::None
            }
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_model::verdict::{
        Condition, Conditions,
        LivelockState::{self, Deadlock, Livelock, Recovered, Suspected},
    };

    use super::{Machine, Tick};
    use crate::Thresholds;

    const SECOND: u64 = 1_000_000_000;

    fn conditions(holds: [Option<bool>; 4]) -> Conditions {
        let [demand, no_progress, blockage, closing_edge] = holds.map(|holds| Condition {
            holds,
            ..Condition::default()
        });
        Conditions {
            demand,
            no_progress,
            blockage,
            closing_edge,
        }
    }

    /// Plays seconds of the same conditions; returns the states entered, with their second.
    fn play(
        machine: &mut Machine,
        from: u64,
        seconds: u64,
        holds: [Option<bool>; 4],
        progress: Option<bool>,
    ) -> Vec<(u64, LivelockState)> {
        let conditions = conditions(holds);
        let mut entered = Vec::new();
        for second in from..from + seconds {
            let tick = Tick {
                now_ns: second * SECOND,
                conditions: &conditions,
                confirmable: true,
                progress_now: progress,
                nothing_moved: progress.map(|progress| !progress),
                waits: progress.map(|progress| !progress),
            };
            if machine.step(&tick, &Thresholds::default()).is_some() {
                entered.push((second, machine.state()));
            }
        }
        entered
    }

    const ALL: [Option<bool>; 4] = [Some(true); 4];

    #[test]
    fn four_conditions_go_through_every_state_in_its_time() {
        let mut machine = Machine::new(0);
        let entered = play(&mut machine, 1, 50, ALL, Some(false));
        assert_eq!(entered, [(1, Suspected), (6, Livelock), (36, Deadlock)]);
        let over = [Some(true), Some(false), Some(true), Some(false)];
        let entered = play(&mut machine, 51, 30, over, Some(true));
        assert_eq!(entered, [(54, Recovered), (64, LivelockState::None)]);
    }

    #[test]
    fn an_unknown_condition_never_confirms_and_never_ends_a_livelock() {
        for unknown in 0..4 {
            let mut holds = ALL;
            holds[unknown] = None;
            let mut machine = Machine::new(0);
            let entered = play(&mut machine, 1, 100, holds, None);
            assert_eq!(entered, [(1, Suspected)], "condition {unknown}");
            let mut machine = Machine::new(0);
            play(&mut machine, 1, 10, ALL, Some(false));
            play(&mut machine, 11, 100, holds, None);
            assert_eq!(machine.state(), Livelock, "condition {unknown}");
        }
    }

    /// One livelock, then some seconds with an open cycle.
    fn opened(waits: Option<bool>, demand: Option<bool>, progress: Option<bool>) -> Machine {
        let mut machine = Machine::new(0);
        play(&mut machine, 1, 10, ALL, Some(false));
        let conditions = conditions([demand, Some(true), Some(false), Some(false)]);
        for second in 11..60 {
            let tick = Tick {
                now_ns: second * SECOND,
                conditions: &conditions,
                confirmable: true,
                progress_now: progress,
                nothing_moved: progress.map(|progress| !progress),
                waits,
            };
            machine.step(&tick, &Thresholds::default());
        }
        machine
    }

    #[test]
    fn an_open_cycle_is_not_a_recovery_while_requests_wait_and_nothing_moves() {
        let state = |waits, demand, progress| opened(waits, demand, progress).state();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(state(yes, yes, no), Livelock);
        assert_eq!(state(None, yes, no), Livelock, "unknown is not gone");
        assert_eq!(state(None, None, None), Livelock);
        // No request waits, there is no demand, or bytes move.
        assert_eq!(state(no, yes, no), LivelockState::None);
        assert_eq!(state(yes, no, no), LivelockState::None);
        assert_eq!(state(yes, yes, yes), LivelockState::None);
    }

    #[test]
    fn a_moment_of_progress_is_not_a_recovery() {
        let mut machine = Machine::new(0);
        play(&mut machine, 1, 10, ALL, Some(false));
        let open = [Some(true), Some(true), Some(false), Some(false)];
        for second in (11..60).step_by(4) {
            assert_eq!(play(&mut machine, second, 2, open, Some(true)), []);
            assert_eq!(play(&mut machine, second + 2, 2, open, Some(false)), []);
        }
        let entered = play(&mut machine, 60, 5, open, Some(true));
        assert_eq!(entered, [(63, Recovered)]);
    }

    #[test]
    fn what_may_not_be_confirmed_stays_suspected() {
        let conditions = conditions(ALL);
        let mut machine = Machine::new(0);
        for second in 1..100 {
            let tick = Tick {
                now_ns: second * SECOND,
                conditions: &conditions,
                confirmable: false,
                progress_now: Some(false),
                nothing_moved: Some(true),
                waits: Some(true),
            };
            machine.step(&tick, &Thresholds::default());
            assert_eq!(machine.state(), Suspected, "after {second} s");
        }
    }

    #[test]
    fn a_break_of_one_tick_starts_the_confirmation_anew() {
        let mut machine = Machine::new(0);
        play(&mut machine, 1, 5, ALL, Some(false));
        play(
            &mut machine,
            6,
            1,
            [Some(true), Some(false), Some(true), Some(true)],
            Some(true),
        );
        let entered = play(&mut machine, 7, 10, ALL, Some(false));
        assert_eq!(entered, [(12, Livelock)]);
    }
}
