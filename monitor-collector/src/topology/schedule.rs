//! Decides when to read again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::LookupRequest;

/// Time between two rounds without requests.
const ROUTINE: Duration = Duration::from_secs(5);
/// Maximum time between two rounds, however expensive they are.
const ROUTINE_MAX: Duration = Duration::from_mins(2);
/// Seconds between two rounds for the same request.
const BACKOFF: [u64; 4] = [1, 1, 2, 4];
/// The pause after a round, as a multiple of its CPU time: 0.05 % of a core without requests, 1 %
/// with them.
const ROUTINE_SHARE: u32 = 2000;
const ASKED_SHARE: u32 = 100;
/// Rounds per minute that may skip this pause. A request is mostly for a mount that writes for the
/// first time, and the result is wanted soon.
const PROMPT: usize = 6;
const MINUTE: Duration = Duration::from_mins(1);

/// Schedules the rounds.
#[derive(Debug)]
pub struct Schedule {
    ended: Instant,
    /// CPU time of the last round.
    cost: Duration,
    /// The requests that it left unanswered.
    unanswered: LookupRequest,
    /// Consecutive rounds that left them unanswered.
    tries: usize,
    /// The ends of the last rounds, at most [`PROMPT`].
    last: VecDeque<Instant>,
}

impl Schedule {
    /// A schedule before the first round.
    pub fn new(now: Instant) -> Self {
        Self {
            ended: now,
            cost: Duration::ZERO,
            unanswered: LookupRequest::default(),
            tries: 0,
            last: VecDeque::with_capacity(PROMPT),
        }
    }

    /// Records the end of a round.
    pub fn ended(&mut self, now: Instant, cost: Duration, unanswered: LookupRequest) {
        let nothing_new = unanswered.is_within(&self.unanswered);
        self.tries = if nothing_new { self.tries + 1 } else { 1 };
        if self.last.len() == PROMPT {
            self.last.pop_front();
        }
        self.last.push_back(now);
        self.ended = now;
        self.cost = cost;
        self.unanswered = unanswered;
    }

    /// The time of the next round, given the requests that the last one left unanswered.
    pub fn due(&self, unanswered: &LookupRequest) -> Instant {
        let routine = (self.cost * ROUTINE_SHARE).clamp(ROUTINE, ROUTINE_MAX);
        if unanswered.is_empty() {
            return self.ended + routine;
        }
        let tries = if unanswered.is_within(&self.unanswered) {
            self.tries
        } else {
            0
        };
        // After several rounds there is most likely no answer.
        let backoff = BACKOFF
            .get(tries)
            .map_or(routine, |&s| Duration::from_secs(s));
        let spared = self.ended + (self.cost * ASKED_SHARE).min(routine);
        let prompt = match self.last.front() {
            Some(&first) if self.last.len() == PROMPT => spared.min(first + MINUTE),
            _ => self.ended,
        };
        (self.ended + backoff).max(prompt)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LookupRequest, Schedule};

    fn clients(ids: &[u32]) -> LookupRequest {
        LookupRequest {
            rpc_clients: ids.iter().copied().collect(),
            ..LookupRequest::default()
        }
    }

    fn wait(schedule: &Schedule, now: Instant, unanswered: &LookupRequest) -> u64 {
        (schedule.due(unanswered) - now).as_secs()
    }

    const CHEAP: Duration = Duration::from_millis(2);

    #[test]
    fn what_stays_unanswered_is_asked_less_and_less_often() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        let mut waits = vec![wait(&schedule, now, &clients(&[7]))];
        for _ in 0..8 {
            schedule.ended(now, CHEAP, clients(&[7]));
            waits.push(wait(&schedule, now, &clients(&[7])));
        }
        assert_eq!(waits, [1, 1, 2, 4, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn a_new_question_is_answered_within_a_second_whatever_else_is_open() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        for _ in 0..5 {
            schedule.ended(now, CHEAP, clients(&[7]));
        }
        assert_eq!(wait(&schedule, now, &clients(&[7])), 5);
        assert_eq!(wait(&schedule, now, &clients(&[7, 8])), 1);
        schedule.ended(now, CHEAP, clients(&[7, 8]));
        assert_eq!(wait(&schedule, now, &clients(&[7, 8])), 1);
    }

    #[test]
    fn without_questions_a_round_follows_after_some_seconds() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.ended(now, CHEAP, LookupRequest::default());
        assert_eq!(wait(&schedule, now, &LookupRequest::default()), 5);
    }

    #[test]
    fn dear_rounds_are_kept_further_apart() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.ended(now, Duration::from_millis(30), LookupRequest::default());
        assert_eq!(wait(&schedule, now, &LookupRequest::default()), 60);
        schedule.ended(now, Duration::from_secs(9), LookupRequest::default());
        assert_eq!(wait(&schedule, now, &LookupRequest::default()), 120);
    }

    #[test]
    fn the_first_rounds_of_a_minute_come_at_once_however_dear() {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(now);
        let mut waits = Vec::new();
        for client in 0..8 {
            let question = clients(&[client]);
            let due = schedule.due(&question);
            waits.push((due - now).as_secs());
            now = due;
            schedule.ended(now, Duration::from_millis(200), question);
        }
        assert_eq!(waits, [1, 1, 1, 1, 1, 1, 20, 20]);
    }
}
