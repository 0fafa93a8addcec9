//! Restarts a helper that ended, in its own thread, with growing delays and a limit.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::start::{LinkError, Started};

/// Delay before the first restart; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// The longest delay.
const LONGEST: Duration = Duration::from_mins(1);

/// Maximum number of ends within [`SPAN`].
const LIMIT: usize = 10;

/// How long an end counts.
const SPAN: Duration = Duration::from_hours(1);

/// The thread that starts it does little.
const STACK: usize = 256 * 1024;

/// The delay until the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    For(Duration),
    /// It ended too often.
    Forever,
}

type StartResult = Result<Started, LinkError>;

#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Ends and failed starts within [`SPAN`].
    ends: VecDeque<Instant>,
    /// The earliest time of the next start.
    next: Option<Instant>,
    given_up: bool,
    starting: Option<Receiver<StartResult>>,
    count: u64,
}

impl Restarts {
    /// The number of restarts.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Records an end or a failed start.
    pub(super) fn ended(&mut self, now: Instant) -> Wait {
        let is_old = |end: &Instant| now.saturating_duration_since(*end) >= SPAN;
        while self.ends.front().is_some_and(is_old) {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        if self.ends.len() >= LIMIT {
            self.given_up = true;
            return Wait::Forever;
        }
        let doublings = u32::try_from(self.ends.len() - 1).unwrap_or(u32::MAX);
        let factor = 2_u32.saturating_pow(doublings);
        let wait = FIRST.saturating_mul(factor).min(LONGEST);
        self.next = now.checked_add(wait);
        Wait::For(wait)
    }

    /// Starts the helper if it is time. Returns the result once it is known.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        start: impl FnOnce() -> StartResult + Send + 'static,
    ) -> Option<StartResult> {
        if let Some(starting) = &self.starting {
            let answer = match starting.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Ok(answer) => answer,
                Err(TryRecvError::Disconnected) => Err(LinkError::Ended),
            };
            self.starting = None;
            self.count += u64::from(answer.is_ok());
            return Some(answer);
        }
        let is_due = self.next.is_some_and(|next| now >= next);
        if self.given_up || !is_due {
            return None;
        }
        self.next = None;
        let (send, receive) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("guard-start".into())
            .stack_size(STACK)
            .spawn(move || {
                // If no caller waits for the helper any more, its end of the socket closes.
                let _ = send.send(start());
            });
        match thread {
            Ok(_) => {
                self.starting = Some(receive);
                None
            }
            Err(error) => Some(Err(LinkError::Start(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_started_later_and_later_and_not_without_end() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let waits: Vec<Wait> = (0..10).map(|_| restarts.ended(begin)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(|s| Wait::For(Duration::from_secs(s)));
        assert_eq!(waits[..9], seconds);
        assert_eq!(waits[9], Wait::Forever);
        assert!(restarts.has_given_up());
        let never = || panic!("it is not started any more");
        assert!(restarts.poll(at(7200), never).is_none());
        thread::sleep(Duration::from_millis(20));
        assert!(restarts.starting.is_none());
    }

    #[test]
    fn one_that_ends_now_and_then_is_started_soon_each_time() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        for hours in 0..100 {
            let wait = restarts.ended(begin + Duration::from_hours(hours));
            assert_eq!(wait, Wait::For(FIRST));
        }
    }

    #[test]
    fn each_failed_start_is_reported_once() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        restarts.ended(begin);
        assert!(restarts.poll(begin, || Err(LinkError::Ended)).is_none());
        assert!(restarts.starting.is_none(), "not before its time");
        let later = begin + FIRST;
        assert!(restarts.poll(later, || Err(LinkError::Ended)).is_none());
        let mut answer = None;
        while answer.is_none() {
            answer = restarts.poll(later, || panic!("twice"));
        }
        assert!(matches!(answer, Some(Err(LinkError::Ended))));
        assert!(restarts.poll(later, || panic!("again")).is_none());
        assert_eq!(restarts.count(), 0);
    }
}
