//! `rate_limit`: a token bucket shared by all requests.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A bucket that gains a token each `interval` and holds `burst` of them.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    burst: u32,
    /// The time at which the bucket was, or will have been, empty.
    empty: Mutex<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        let full = interval.saturating_mul(burst);
        Self {
            interval,
            burst,
            empty: Mutex::new(now.checked_sub(full).unwrap_or(now)),
        }
    }

    /// Takes a token, if available.
    pub fn take(&self, now: Instant) -> bool {
        let full = self.interval.saturating_mul(self.burst);
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        // A full bucket gains no more tokens.
        let oldest = now.checked_sub(full).unwrap_or(now);
        let next = (*empty).max(oldest) + self.interval;
        let there = next <= now;
        if there {
            *empty = next;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Bucket;

    #[test]
    fn a_burst_is_let_through_then_one_each_interval() {
        let second = Duration::from_secs(1);
        // A freshly booted machine has no instant long before now.
        let start = Instant::now() + Duration::from_hours(1);
        let bucket = Bucket::new(second, 3, start);
        let taken = |at| (0..10).filter(|_| bucket.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO), 3);
        assert_eq!(taken(second / 2), 0);
        assert_eq!(taken(second), 1);
        assert_eq!(taken(100 * second), 3, "no more is kept");
    }
}
