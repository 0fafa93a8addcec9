//! The waits that last, and those whose end nobody saw.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use monitor_common::{Cause, End, LEAST_CALL_NS};
use monitor_model::observation::{SignalStatus, StalledTask, Waiting};

use super::threads;
use crate::kernel::preflight;

/// A probe that should have seen the end is believed to have missed it so long after the
/// last announced sleep.
const MISSED_NS: u64 = 2_000_000_000;
/// A wait this old is looked after: does its task still exist?
const OLD_NS: u64 = 10_000_000_000;

/// What a look gave.
#[derive(Default)]
pub struct Looked {
    /// Waits that last.
    pub lasting: Vec<Waiting>,
    /// Waits that are to be forgotten.
    pub over: Vec<Waiting>,
    /// Long ones that ended with the last announced sleep.
    pub ended: Vec<StalledTask>,
}

/// Remembers what is over.
pub struct Waits {
    host: Host,
    threshold_ns: u64,
    /// Whether some task paused at the last look.
    pausing: bool,
    /// Calls of `balance_dirty_pages` that are over without their end having been seen, by
    /// thread id: when each began. The programs keep them until the thread's next call.
    over: BTreeMap<u32, u64>,
    evicted: u64,
}

impl Waits {
    /// Waits at least this long are reported one by one.
    pub fn new(procfs: &Path, threshold_ns: u64) -> Self {
        Self {
            host: Host::new(procfs),
            threshold_ns,
            pausing: false,
            over: BTreeMap::new(),
            evicted: 0,
        }
    }

    /// Tells what lasts of what is kept, each with when the announced sleep is over.
    /// `pausing`: tasks in `balance_dirty_pages`; `None`: not asked, nothing changed.
    pub fn look(
        &mut self,
        now_ns: u64,
        signals: &[SignalStatus],
        kept: Vec<(Waiting, u64)>,
        pausing: Option<Vec<(Waiting, u64)>>,
    ) -> Looked {
        let unprobed = |cause: Cause| {
            let mut signals = signals.iter();
            signals.any(|s| s.signal == cause.as_str() && s.strategy == "tracepoint")
        };
        let mut looked = Looked::default();
        let before = match pausing {
            Some(_) => std::mem::take(&mut self.over),
            None => BTreeMap::new(),
        };
        self.pausing = false;
        for (wait, until_ns) in kept.into_iter().chain(pausing.into_iter().flatten()) {
            let pauses = wait.cause == Cause::BalanceDirtyPages;
            if pauses && before.get(&wait.tid) == Some(&wait.since_ns) {
                self.over.insert(wait.tid, wait.since_ns);
                continue;
            }
            // It began while the maps were read, and is of the next look: else those that
            // began since `now_ns` are counted beside those that have ended since.
            if wait.since_ns > now_ns {
                self.pausing |= pauses;
                continue;
            }
            let lasts_ns = now_ns.saturating_sub(wait.since_ns);
            let (patience_ns, end_seen) = match wait.cause.end() {
                End::SeenOfCall | End::SeenOfSleep if lasts_ns < LEAST_CALL_NS => continue,
                End::Seen | End::SeenOfCall | End::SeenOfSleep => (None, true),
                End::SeenOrAnnounced { patience_ns } if unprobed(wait.cause) => {
                    (Some(patience_ns), false)
                }
                End::SeenOrAnnounced { .. } => (Some(MISSED_NS), true),
                End::Announced { patience_ns } => (Some(patience_ns), false),
            };
            let over = patience_ns.is_some_and(|ns| now_ns > until_ns.saturating_add(ns));
            if over || self.host.has_left(&wait, lasts_ns) {
                self.evicted += u64::from(end_seen || !over);
                if pauses {
                    self.over.insert(wait.tid, wait.since_ns);
                } else {
                    looked.over.push(wait.clone());
                }
                let delay_ns = until_ns.saturating_sub(wait.since_ns);
                if over && delay_ns >= self.threshold_ns {
                    looked.ended.push(StalledTask { wait, delay_ns });
                }
                continue;
            }
            self.pausing |= pauses;
            if end_seen || until_ns >= now_ns {
                looked.lasting.push(wait);
            }
        }
        looked.lasting.sort_by_key(|wait| (wait.tid, wait.cause));
        looked
    }

    /// Whether this call was found to be over.
    pub fn is_over(&self, wait: &Waiting) -> bool {
        wait.cause == Cause::BalanceDirtyPages && self.over.get(&wait.tid) == Some(&wait.since_ns)
    }

    /// Whether some task paused at the last look.
    pub const fn some_pause(&self) -> bool {
        self.pausing
    }

    /// Whether a thread has ended.
    pub fn is_gone(&self, tid: u32) -> bool {
        self.host.is_gone(tid)
    }

    /// How many ends were missed.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// Asks `/proc` about threads by the numbers that the kernel gives them, which are those
/// of the initial pid namespace.
struct Host {
    procfs: PathBuf,
    /// Whether `/proc` has these numbers. Where it has others, no thread can be asked for.
    same_numbers: bool,
}

impl Host {
    fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            same_numbers: preflight::host_pids(procfs) == Some(true),
        }
    }

    /// Whether the thread has ended.
    fn is_gone(&self, tid: u32) -> bool {
        self.same_numbers && !self.procfs.join(tid.to_string()).exists()
    }

    /// Whether a wait is over without its end having been seen: the thread is gone, or
    /// the return of a call was missed, as of more tasks that wait at once than the
    /// kernel keeps return probes for.
    fn has_left(&self, wait: &Waiting, lasts_ns: u64) -> bool {
        if lasts_ns > OLD_NS && self.is_gone(wait.tid) {
            return true;
        }
        if wait.cause.end() != End::SeenOfSleep || lasts_ns <= MISSED_NS || !self.same_numbers {
            return false;
        }
        let thread = format!("{}/task/{}", wait.tgid, wait.tid);
        matches!(threads::read_state(&self.procfs.join(thread)), Some(state) if !matches!(state, 'D' | 'R'))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use monitor_common::Class;
    use monitor_model::observation::State;

    use super::*;

    fn wait(cause: Cause) -> Waiting {
        Waiting {
            tid: 4242,
            tgid: 4242,
            comm: "dd".into(),
            cause,
            class: Class::User,
            reason: monitor_common::ThrottleReason::None,
            bdi: "0:29".into(),
            since_ns: 0,
        }
    }

    #[test]
    fn an_old_wait_is_thrown_out_only_where_the_numbers_of_threads_are_the_kernels() {
        let procfs = tempfile::tempdir().unwrap();
        let process = |number: u32, comm: &str| {
            let dir = procfs.path().join(number.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        };
        process(2, "kthreadd");
        let old = OLD_NS + 1;
        let here = Host::new(procfs.path());
        assert!(here.has_left(&wait(Cause::DirectReclaim), old));
        assert!(!here.has_left(&wait(Cause::DirectReclaim), OLD_NS));
        assert!(here.is_gone(4242));
        // A container: 2 is something else, and 4242 another process or none.
        process(2, "sleep");
        let inside = Host::new(procfs.path());
        for cause in [Cause::DirectReclaim, Cause::NfsCommit] {
            assert!(!inside.has_left(&wait(cause), old));
        }
        assert!(!inside.is_gone(4242), "nor is its WRITE forgotten");
        let stat = procfs.path().join("4242/task/4242");
        fs::create_dir_all(&stat).unwrap();
        fs::write(stat.join("stat"), "4242 (other) S 1").unwrap();
        assert!(!inside.has_left(&wait(Cause::NfsCommit), old));
        process(2, "kthreadd");
        assert!(Host::new(procfs.path()).has_left(&wait(Cause::NfsCommit), old));
    }

    const MS: u64 = 1_000_000;

    fn look(waits: &mut Waits, now_ms: u64, strategy: &str, since_ms: u64) -> Looked {
        let signal = SignalStatus {
            signal: "balance_dirty_pages".into(),
            state: State::Attached,
            strategy: strategy.into(),
        };
        let wait = Waiting {
            since_ns: since_ms * MS,
            ..wait(Cause::BalanceDirtyPages)
        };
        let pausing = vec![(wait, 1100 * MS)];
        waits.look(now_ms * MS, &[signal], Vec::new(), Some(pausing))
    }

    #[test]
    fn a_call_whose_exit_is_not_probed_is_shown_until_its_pause_is_over_and_reported_once() {
        let procfs = tempfile::tempdir().unwrap();
        let mut waits = Waits::new(procfs.path(), 100 * MS);
        let mut seen = |now_ms, since_ms| {
            let looked = look(&mut waits, now_ms, "tracepoint", since_ms);
            (looked.lasting.len(), looked.ended.len())
        };
        assert_eq!(seen(1100, 900), (1, 0));
        assert_eq!(seen(1110, 900), (0, 0), "a pause may follow");
        assert_eq!(seen(1401, 900), (0, 1));
        assert_eq!(seen(2401, 900), (0, 0), "the program keeps it");
        assert_eq!(
            seen(2402, 1050),
            (0, 0),
            "another call, too short to be reported"
        );
        assert!(waits.evicted == 0 && !waits.some_pause());
    }

    #[test]
    fn a_call_whose_exit_was_missed_is_shown_for_two_seconds_and_counted_once() {
        let procfs = tempfile::tempdir().unwrap();
        let mut waits = Waits::new(procfs.path(), 100 * MS);
        let looked = look(&mut waits, 3000, "tracepoint+fexit", 900);
        assert!(looked.lasting.len() == 1 && waits.some_pause());
        for now_ms in [3101, 4101] {
            assert!(
                look(&mut waits, now_ms, "tracepoint+fexit", 900)
                    .lasting
                    .is_empty()
            );
            assert_eq!(waits.evicted(), 1);
        }
        let stalled = Waiting {
            since_ns: 900 * MS,
            ..wait(Cause::BalanceDirtyPages)
        };
        assert!(
            waits.is_over(&stalled),
            "what its next call says of it is known"
        );
        waits.look(5000 * MS, &[], Vec::new(), None);
        assert!(waits.is_over(&stalled), "nothing changed");
    }
}
