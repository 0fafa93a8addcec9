//! `rate_limit`: a token bucket for all requests together.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A token each `interval`, of which `burst` are kept.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    burst: u32,
    /// When the bucket was, or will have been, empty.
    empty: Mutex<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        let full = interval.saturating_mul(burst);
        Self {
            interval,
            burst,
            empty: Mutex::new(now.checked_sub(full).unwrap_or(now)),
        }
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let full = self.interval.saturating_mul(self.burst);
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        // What would run over is lost.
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
        // A machine that has just booted has no instant much before now.
        let start = Instant::now() + Duration::from_hours(1);
        let bucket = Bucket::new(second, 3, start);
        let taken = |at| (0..10).filter(|_| bucket.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO), 3);
        assert_eq!(taken(second / 2), 0);
        assert_eq!(taken(second), 1);
        assert_eq!(taken(100 * second), 3, "no more is kept");
    }
}
