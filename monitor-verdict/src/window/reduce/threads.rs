//! Server threads by state at one moment.

use monitor_common::{Cause, Class};
use monitor_model::observation::{Observation, ServerThread, ThreadState, UserServer, Waiting};

/// Server threads by state at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Neither throttled nor blocked nor idle.
    pub running: u32,
    /// In one of the causes.
    pub throttled: u32,
    /// Those of the throttled that are in `balance_dirty_pages`.
    pub in_dirty: u32,
    /// Asleep uninterruptibly elsewhere.
    pub blocked: u32,
    /// Those of the blocked that wait for a lock behind a throttled one.
    pub behind: u32,
}

impl Threads {
    /// All that are not idle.
    #[must_use]
    pub const fn busy(&self) -> u32 {
        self.running
            .saturating_add(self.throttled)
            .saturating_add(self.blocked)
    }

    /// The sum of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            running: self.running.saturating_add(other.running),
            throttled: self.throttled.saturating_add(other.throttled),
            in_dirty: self.in_dirty.saturating_add(other.in_dirty),
            blocked: self.blocked.saturating_add(other.blocked),
            behind: self.behind.saturating_add(other.behind),
        }
    }

    /// The threads of the kernel's nfsd.
    pub(super) fn of_nfsd(all: &[ServerThread], waits: &[Waiting]) -> Self {
        let all = all.iter().map(|thread| Self::of_nfsd_thread(thread, waits));
        all.fold(Self::default(), Self::and)
    }

    /// One thread of nfsd.
    pub(super) fn of_nfsd_thread(thread: &ServerThread, waits: &[Waiting]) -> Self {
        let mut one = Self::default();
        let of = |w: &&Waiting| w.class == Class::Nfsd && w.tid == thread.tid;
        one.add(thread, waits.iter().filter(of));
        one
    }

    /// The threads of one process of a userspace server. The list lacks idle threads, and a thread
    /// may have begun to wait since the list was made.
    pub(super) fn of_process(server: &UserServer, waits: &[Waiting]) -> Self {
        let mut sum = Self::default();
        for thread in &server.threads {
            let of = |w: &&Waiting| w.class == Class::Server && w.tid == thread.tid;
            sum.add(thread, waits.iter().filter(of));
        }
        let unlisted = |w: &Waiting| {
            w.tgid == server.tgid && !server.threads.iter().any(|thread| thread.tid == w.tid)
        };
        sum.and(Self::by_waits(waits, Class::Server, unlisted))
    }

    /// Counts threads by their waits alone. Threads without a wait are not visible.
    pub(super) fn by_waits(
        waits: &[Waiting],
        class: Class,
        wanted: impl Fn(&Waiting) -> bool,
    ) -> Self {
        let mut sum = Self::default();
        let of = |(_, wait): &(usize, &Waiting)| wait.class == class && wanted(wait);
        for (at, wait) in waits.iter().enumerate().filter(of) {
            // Waits of different causes nest.
            let mut seen = waits.iter().take(at);
            let again = seen.any(|w| w.class == class && w.tid == wait.tid);
            sum.throttled = sum.throttled.saturating_add(u32::from(!again));
            let in_dirty = wait.cause == Cause::BalanceDirtyPages;
            sum.in_dirty = sum.in_dirty.saturating_add(u32::from(in_dirty));
        }
        sum
    }

    /// A thread is throttled if the sampler reports it or if it has an unfinished wait: the two are
    /// read at slightly different moments.
    fn add<'a>(&mut self, thread: &ServerThread, mut own: impl Iterator<Item = &'a Waiting>) {
        let wait = own.next();
        let in_dirty = |w: &Waiting| w.cause == Cause::BalanceDirtyPages;
        if wait.is_some() || thread.state == ThreadState::Throttled {
            self.throttled = self.throttled.saturating_add(1);
            if wait.is_some_and(in_dirty) || own.any(in_dirty) {
                self.in_dirty = self.in_dirty.saturating_add(1);
            }
            return;
        }
        match thread.state {
            ThreadState::Blocked => {
                self.blocked = self.blocked.saturating_add(1);
                self.behind = self
                    .behind
                    .saturating_add(u32::from(thread.behind_throttled));
            }
            ThreadState::Running => self.running = self.running.saturating_add(1),
            ThreadState::Idle | ThreadState::Throttled => {}
        }
    }
}

/// The threads of each userspace server, by process name.
pub(super) fn user_servers<'a>(
    observation: &'a Observation,
) -> impl Iterator<Item = (&'a UserServer, Threads)> {
    let of = |server: &'a UserServer| (server, Threads::of_process(server, &observation.waits));
    observation.user_servers.iter().map(of)
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class};
    use monitor_model::observation::{ServerThread, ThreadState, UserServer};

    use super::Threads;
    use crate::tests::node::{lasts, wait};

    #[test]
    fn a_thread_in_nested_waits_is_one_thread() {
        let waits = [
            lasts(1, Class::Server, Cause::DirectReclaim, ""),
            lasts(1, Class::Server, Cause::ReclaimThrottle, ""),
            wait(2, Class::Server, "254:0"),
            wait(3, Class::User, "254:0"),
        ];
        let sum = Threads::by_waits(&waits, Class::Server, |_| true);
        assert_eq!((sum.throttled, sum.in_dirty, sum.busy()), (2, 1, 2));
        let none = Threads::by_waits(&waits, Class::Server, |wait| wait.tid > 2);
        assert_eq!(none, Threads::default());
    }

    #[test]
    fn a_process_has_the_threads_of_its_list_and_those_that_wait_since() {
        let thread = |tid, state| ServerThread {
            tid,
            state,
            write_since_ns: None,
            blocked_in: None,
            behind_throttled: true,
        };
        let server = UserServer {
            stopped: false,
            name: "ganesha.nfsd".into(),
            tgid: 7,
            threads: vec![
                thread(7, ThreadState::Running),
                thread(8, ThreadState::Running),
                thread(9, ThreadState::Blocked),
                thread(10, ThreadState::Throttled),
            ],
            ..UserServer::default()
        };
        let of = |tid, tgid| {
            let mut wait = wait(tid, Class::Server, "254:0");
            wait.tgid = tgid;
            wait
        };
        let sum = Threads::of_process(&server, &[of(8, 7), of(11, 7), of(13, 7), of(12, 99)]);
        let expected = Threads {
            running: 1,
            throttled: 4,
            in_dirty: 3,
            blocked: 1,
            behind: 1,
        };
        assert_eq!(sum, expected);
    }
}
