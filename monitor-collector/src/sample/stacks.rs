//! Kernel stacks of those who may wait for each other, while it is suspected
//! that they do.
//!
//! /proc/PID/stack takes the lock that a program holds while it is replaced by
//! another (`lock_trace`, fs/proc/base.c), and closing files on that way may
//! itself wait for NFS. So only such tasks are asked that cannot be there:
//! kernel threads; threads of a process that has others, which end before that
//! lock is taken; and those in `balance_dirty_pages`, which is not on that way.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _};
use monitor_common::{Cause, Class};
use monitor_model::observation::{Nfsd, Stack, ThreadState, UserServer, Waiting};

use super::threads;

/// Tasks of one look.
const MAX_TASKS: usize = 64;
/// Functions of one stack.
pub(super) const MAX_FRAMES: usize = 32;
/// Time between two looks.
const PAUSE_NS: u64 = 2_000_000_000;

/// Reads stacks.
pub struct Stacks {
    procfs: PathBuf,
    closely: bool,
    read_ns: Option<u64>,
}

impl Stacks {
    /// Not asked for yet.
    pub fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            closely: false,
            read_ns: None,
        }
    }

    /// Whether they are asked for.
    pub const fn watch_closely(&mut self, closely: bool) {
        self.closely = closely;
    }

    /// The stacks of the servers' threads that are not idle and of those who
    /// wait longest; empty while nobody asks, and in between.
    pub fn read(
        &mut self,
        now_ns: u64,
        nfsd: Option<&Nfsd>,
        servers: &[UserServer],
        waits: &[Waiting],
    ) -> Vec<Stack> {
        let due = self
            .read_ns
            .is_none_or(|read_ns| now_ns.saturating_sub(read_ns) >= PAUSE_NS);
        if !self.closely || !due {
            return Vec::new();
        }
        self.read_ns = Some(now_ns);
        let mut tids = Vec::with_capacity(MAX_TASKS);
        let nfsd = nfsd.into_iter().flat_map(|nfsd| &nfsd.threads);
        let user = servers
            .iter()
            .filter(|server| self.has_threads(server.tgid));
        let of_servers = nfsd
            .chain(user.flat_map(|server| &server.threads))
            .filter(|thread| thread.state != ThreadState::Idle)
            .map(|thread| thread.tid);
        let mut longest: Vec<_> = waits.iter().filter(|wait| cannot_block(wait)).collect();
        longest.sort_by_key(|wait| (wait.since_ns, wait.tid));
        let mut seen = BTreeSet::new();
        for tid in of_servers.chain(longest.iter().map(|wait| wait.tid)) {
            if tids.len() < MAX_TASKS && seen.insert(tid) {
                tids.push(tid);
            }
        }
        tids.into_iter().filter_map(|tid| self.stack(tid)).collect()
    }

    /// More than one.
    fn has_threads(&self, tgid: u32) -> bool {
        let tasks = fs::read_dir(self.procfs.join(tgid.to_string()).join("task"));
        tasks.is_ok_and(|tasks| tasks.take(2).count() == 2)
    }

    fn stack(&self, tid: u32) -> Option<Stack> {
        let task = self.procfs.join(tid.to_string());
        let comm = fs::read_to_string(task.join("comm")).ok()?;
        let text = fs::read_to_string(task.join("stack")).ok()?;
        let frames: Vec<CompactString> = threads::frames(&text)
            .take(MAX_FRAMES)
            .map(Into::into)
            .collect();
        (!frames.is_empty()).then(|| Stack {
            tid,
            comm: comm.trim_end_matches('\n').to_compact_string(),
            frames,
        })
    }
}

/// Whether the stack of a task that waits so can be read without waiting for
/// it.
fn cannot_block(wait: &Waiting) -> bool {
    match wait.class {
        Class::Nfsd
        | Class::Target
        | Class::Kswapd
        | Class::Kworker
        | Class::LoopDevice
        | Class::Kthread => true,
        Class::User | Class::Server => wait.cause == Cause::BalanceDirtyPages,
    }
}

#[cfg(test)]
mod tests {
    use monitor_model::testing::thread;
    use std::{fs, path::Path};

    use monitor_common::{Cause, Class, ThrottleReason};
    use monitor_model::observation::{Nfsd, ThreadState, UserServer, Waiting};
    use tempfile::TempDir;

    use super::{MAX_FRAMES, MAX_TASKS, PAUSE_NS, Stacks};

    fn task(procfs: &Path, tid: u32, comm: &str) {
        let dir = procfs.join(tid.to_string());
        fs::create_dir_all(dir.join("task").join(tid.to_string())).unwrap();
        fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        let stack =
            "[<0>] io_schedule_timeout+0x19/0x50\n[<0>] balance_dirty_pages+0x2ff/0xce0 [ext4]\n";
        fs::write(dir.join("stack"), stack).unwrap();
    }

    fn wait(tid: u32, class: Class, cause: Cause, since_ns: u64) -> Waiting {
        Waiting {
            tid,
            tgid: tid,
            comm: "writer".into(),
            cause,
            class,
            reason: ThrottleReason::None,
            bdi: "0:29".into(),
            since_ns,
        }
    }

    fn closely(procfs: &TempDir) -> Stacks {
        let mut stacks = Stacks::new(procfs.path());
        stacks.watch_closely(true);
        stacks
    }

    #[test]
    fn servers_that_are_not_idle_come_first_then_the_longest_waits() {
        let procfs = TempDir::new().unwrap();
        for (tid, comm) in [
            (10, "nfsd"),
            (11, "nfsd"),
            (20, "dd"),
            (21, "kswapd0"),
            (30, "ganesha"),
        ] {
            task(procfs.path(), tid, comm);
        }
        task(&procfs.path().join("30/task"), 31, "work-1");
        task(procfs.path(), 31, "work-1");
        let nfsd = Nfsd {
            threads: vec![
                thread(10, ThreadState::Blocked),
                thread(11, ThreadState::Idle),
            ],
            ..Nfsd::default()
        };
        let servers = [UserServer {
            stopped: false,
            name: "ganesha".into(),
            tgid: 30,
            threads: vec![thread(31, ThreadState::Throttled)],
            ..UserServer::default()
        }];
        let waits = [
            wait(10, Class::Nfsd, Cause::DirectReclaim, 1),
            wait(20, Class::User, Cause::BalanceDirtyPages, 9),
            wait(21, Class::Kswapd, Cause::NfsCommit, 5),
        ];
        let stacks = closely(&procfs).read(7, Some(&nfsd), &servers, &waits);
        let told: Vec<_> = stacks.iter().map(|s| (s.tid, s.comm.as_str())).collect();
        assert_eq!(
            told,
            [(10, "nfsd"), (31, "work-1"), (21, "kswapd0"), (20, "dd")]
        );
        assert_eq!(
            stacks[0].frames,
            ["io_schedule_timeout", "balance_dirty_pages"]
        );
    }

    #[test]
    fn a_task_that_may_be_replaced_by_another_program_is_not_asked() {
        let procfs = TempDir::new().unwrap();
        (1..=4).for_each(|tid| task(procfs.path(), tid, "sh"));
        let waits = [
            wait(1, Class::User, Cause::NfsCommit, 1),
            wait(2, Class::Server, Cause::DirectReclaim, 2),
            wait(3, Class::User, Cause::BalanceDirtyPages, 3),
        ];
        // A server's only thread.
        let alone = [UserServer {
            stopped: false,
            name: "unfsd".into(),
            tgid: 4,
            threads: vec![thread(4, ThreadState::Blocked)],
            ..UserServer::default()
        }];
        let stacks = closely(&procfs).read(7, None, &alone, &waits);
        assert_eq!(stacks.iter().map(|s| s.tid).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn nobody_is_asked_unless_it_is_wanted_and_then_not_at_every_tick() {
        let procfs = TempDir::new().unwrap();
        task(procfs.path(), 1, "nfsd");
        let waits = [wait(1, Class::Nfsd, Cause::BalanceDirtyPages, 1)];
        let mut stacks = Stacks::new(procfs.path());
        let mut count = |closely, now_ns| {
            stacks.watch_closely(closely);
            stacks.read(now_ns, None, &[], &waits).len()
        };
        assert_eq!(count(false, 1), 0);
        assert_eq!(count(true, 2), 1);
        assert_eq!(count(true, PAUSE_NS), 0);
        assert_eq!(count(true, PAUSE_NS + 2), 1);
        assert_eq!(count(false, 9 * PAUSE_NS), 0);
    }

    #[test]
    fn many_tasks_and_deep_stacks_are_cut() {
        let procfs = TempDir::new().unwrap();
        let waits: Vec<_> = (1..=2 * u32::try_from(MAX_TASKS).unwrap())
            .map(|tid| {
                task(procfs.path(), tid, "dd");
                wait(tid, Class::User, Cause::BalanceDirtyPages, u64::from(tid))
            })
            .collect();
        let deep = "[<0>] recurse+0x1/0x2\n".repeat(2 * MAX_FRAMES);
        fs::write(procfs.path().join("1/stack"), deep).unwrap();
        let stacks = closely(&procfs).read(1, None, &[], &waits);
        assert_eq!(stacks.len(), MAX_TASKS);
        assert_eq!((stacks[0].tid, stacks[0].frames.len()), (1, MAX_FRAMES));
    }

    #[test]
    fn a_task_that_is_gone_or_runs_has_no_stack() {
        let procfs = TempDir::new().unwrap();
        task(procfs.path(), 1, "nfsd");
        fs::write(procfs.path().join("1/stack"), "").unwrap();
        let waits = [1, 2].map(|tid| wait(tid, Class::Nfsd, Cause::DirectReclaim, 1));
        assert_eq!(closely(&procfs).read(1, None, &[], &waits), []);
    }
}
