//! nfsd's threads and what each does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use compact_str::CompactString;
use monitor_common::NfsdWrite;

use super::{ServerThread, ThreadState};

/// Threads that one tick looks at at most.
const MAX_THREADS: usize = 1024;
/// Ticks between two searches for threads.
const SEARCH_TICKS: u32 = 5;

/// Finds and reads nfsd's threads.
pub struct NfsdThreads {
    procfs: PathBuf,
    sysfs: PathBuf,
    tids: BTreeSet<u32>,
    ticks: u32,
}

impl NfsdThreads {
    /// None are known yet.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            sysfs: sysfs.into(),
            tids: BTreeSet::new(),
            ticks: 0,
        }
    }

    /// What each thread does. `writes` are those in a WRITE, `throttled` those
    /// in a wait.
    pub fn read(
        &mut self,
        writes: &BTreeMap<u32, NfsdWrite>,
        throttled: &BTreeSet<u32>,
    ) -> Vec<ServerThread> {
        let unknown = writes.keys().any(|tid| !self.tids.contains(tid));
        if unknown || self.ticks == 0 {
            self.ticks = SEARCH_TICKS;
            self.tids = self.search();
        }
        self.ticks -= 1;
        let mut threads: Vec<_> = self
            .tids
            .iter()
            .take(MAX_THREADS)
            .filter_map(|&tid| self.thread(tid, writes.get(&tid), throttled.contains(&tid)))
            .collect();
        if throttled.is_empty() {
            return threads;
        }
        // Only then does it matter what the others sleep in.
        for thread in threads
            .iter_mut()
            .filter(|t| t.state == ThreadState::Blocked)
        {
            thread.blocked_in = self.sleeps_in(thread.tid);
            thread.behind_throttled = thread.blocked_in.as_deref().is_some_and(is_lock);
        }
        threads
    }

    fn thread(&self, tid: u32, write: Option<&NfsdWrite>, throttled: bool) -> Option<ServerThread> {
        let stat = fs::read_to_string(self.procfs.join(tid.to_string()).join("stat")).ok()?;
        let state = match (throttled, state(&stat)?) {
            (true, _) => ThreadState::Throttled,
            (false, 'D') => ThreadState::Blocked,
            (false, 'R') => ThreadState::Running,
            // TASK_IDLE is svc_recv's alone (6.x): whatever WRITE it was in ended
            // without saying so, as nfsd4_write does on a bad stateid.
            (false, 'I') => ThreadState::Idle,
            // Asleep within a request, it waits for something that will end.
            (false, _) if write.is_some() => ThreadState::Running,
            (false, _) => ThreadState::Idle,
        };
        Some(ServerThread {
            tid,
            state,
            write_since_ns: write.map(|w| w.since_ns),
            blocked_in: None,
            behind_throttled: false,
        })
    }

    /// From wchan; up to 5.15 that is empty on most kernels (x86 with the ORC
    /// unwinder), and the stack's uppermost function, which is the same, is
    /// taken.
    fn sleeps_in(&self, tid: u32) -> Option<CompactString> {
        let thread = self.procfs.join(tid.to_string());
        let wchan = fs::read_to_string(thread.join("wchan")).unwrap_or_default();
        if !matches!(wchan.as_str(), "" | "0") {
            return Some(wchan.into());
        }
        let stack = fs::read_to_string(thread.join("stack")).ok()?;
        uppermost(&stack).map(Into::into)
    }

    /// All kernel threads are children of kthreadd, process 2.
    fn search(&self) -> BTreeSet<u32> {
        if !self.sysfs.join("module/nfsd").exists() && !self.procfs.join("fs/nfsd").exists() {
            return BTreeSet::new();
        }
        let children = fs::read_to_string(self.procfs.join("2/task/2/children"));
        let pids: Vec<u32> = match children {
            Ok(list) => list
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect(),
            // Without CONFIG_PROC_CHILDREN, every process is looked at.
            Err(_) => fs::read_dir(&self.procfs)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect(),
        };
        pids.into_iter().filter(|pid| self.is_nfsd(*pid)).collect()
    }

    /// By name; a program of that name has an executable, a kernel thread has
    /// an empty command line.
    fn is_nfsd(&self, pid: u32) -> bool {
        let process = self.procfs.join(pid.to_string());
        fs::read(process.join("comm")).is_ok_and(|comm| comm == b"nfsd\n")
            && fs::read(process.join("cmdline")).is_ok_and(|line| line.is_empty())
    }
}

/// Functions that wait for a lock, and those that take an inode's lock to write
/// to the file. wchan leaves out what is in the kernel's sections for the
/// scheduler and for locks; where the first are in there, which differs from
/// kernel to kernel, it shows the second.
const LOCKS: [&str; 16] = [
    "down_read",
    "down_write",
    "mutex_lock",
    "schedule_preempt_disabled",
    "btrfs_buffered_write",
    "btrfs_file_write_iter",
    "btrfs_inode_lock",
    "ext4_buffered_write_iter",
    "ext4_dio_write_iter",
    "ext4_file_write_iter",
    "f2fs_file_write_iter",
    "generic_file_write_iter",
    "nfsd_commit",
    "nfsd_vfs_write",
    "xfs_ilock",
    "xfs_ilock_iocb",
];
/// Beginnings of more of them, of many variants.
const LOCK_PREFIXES: [&str; 4] = ["rwsem_down_", "__down_read", "__down_write", "__mutex_lock"];

/// Whether a thread that sleeps in this function waits for a lock. What is not
/// known is none: `folio_wait_bit_common` and `io_schedule` wait for a page.
fn is_lock(wchan: &str) -> bool {
    // Without what the compiler adds: `.isra.0`.
    let function = wchan.split('.').next().unwrap_or(wchan);
    LOCKS.contains(&function)
        || LOCK_PREFIXES
            .iter()
            .any(|prefix| function.starts_with(prefix))
}

/// The first function of /proc/PID/stack: `[<0>] down_write+0x1d/0x40`.
fn uppermost(stack: &str) -> Option<&str> {
    let (_, function) = stack.lines().next()?.split_once("] ")?;
    function.split('+').next()
}

/// The state letter of /proc/PID/stat: behind the last parenthesis, since a
/// name may contain any.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
    };

    use monitor_common::NfsdWrite;

    use super::{NfsdThreads, is_lock, state, uppermost};
    use crate::sample::ThreadState;

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_state() {
        assert_eq!(state("12 (a) D) S 2 0"), Some('S'));
        assert_eq!(state("12 nonsense"), None);
    }

    #[test]
    fn locks_are_told_from_other_sleeps_by_name() {
        for lock in [
            "rwsem_down_write_slowpath",
            "rwsem_down_read_slowpath",
            "__mutex_lock.constprop.0",
            "ext4_buffered_write_iter",
            "btrfs_inode_lock",
            "xfs_ilock",
        ] {
            assert!(is_lock(lock), "{lock}");
        }
        for other in [
            "folio_wait_bit_common",
            "io_schedule",
            "jbd2_log_wait_commit",
            "xfs_ilock_data",
            "",
        ] {
            assert!(!is_lock(other), "{other}");
        }
    }

    #[test]
    fn the_uppermost_function_of_a_stack_is_read_without_its_offset() {
        let stack = "[<0>] rwsem_down_write_slowpath+0x23c/0x4b0\n[<0>] ext4_buffered_write_iter+0x33/0x140 [ext4]\n";
        assert_eq!(uppermost(stack), Some("rwsem_down_write_slowpath"));
        assert_eq!(uppermost(""), None);
    }

    #[test]
    fn where_wchan_tells_nothing_the_stack_does() {
        let root = tempfile::tempdir().unwrap();
        let thread = root.path().join("7");
        fs::create_dir_all(&thread).unwrap();
        fs::write(thread.join("wchan"), "0").unwrap();
        let threads = NfsdThreads::new(root.path(), root.path());
        assert_eq!(threads.sleeps_in(7), None);
        fs::write(thread.join("stack"), "[<0>] down_write+0x1d/0x40\n").unwrap();
        assert_eq!(threads.sleeps_in(7).as_deref(), Some("down_write"));
    }

    #[test]
    fn threads_are_told_apart_by_their_waits_and_their_state() {
        let root = tempfile::tempdir().unwrap();
        let (procfs, sysfs) = (root.path().join("proc"), root.path().join("sys"));
        fs::create_dir_all(sysfs.join("module/nfsd")).unwrap();
        fs::create_dir_all(procfs.join("2/task/2")).unwrap();
        fs::write(procfs.join("2/task/2/children"), "10 11 12 13 14 ").unwrap();
        for (pid, comm, state) in [
            (10, "nfsd", 'I'),
            (11, "nfsd", 'D'),
            (12, "nfsd", 'D'),
            (13, "kswapd0", 'S'),
            (14, "nfsd", 'S'),
        ] {
            let dir = procfs.join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(dir.join("cmdline"), "").unwrap();
            fs::write(dir.join("stat"), format!("{pid} ({comm}) {state} 2 0")).unwrap();
            fs::write(dir.join("wchan"), "ext4_buffered_write_iter").unwrap();
        }
        let writes = BTreeMap::from([(
            14,
            NfsdWrite {
                since_ns: 5,
                len: 1,
            },
        )]);
        let threads = NfsdThreads::new(&procfs, &sysfs).read(&writes, &BTreeSet::from([11]));
        let seen: Vec<_> = threads.iter().map(|t| (t.tid, t.state)).collect();
        assert_eq!(
            seen,
            [
                (10, ThreadState::Idle),
                (11, ThreadState::Throttled),
                (12, ThreadState::Blocked),
                (14, ThreadState::Running)
            ]
        );
        assert_eq!(
            threads[2].blocked_in.as_deref(),
            Some("ext4_buffered_write_iter")
        );
        assert!(threads[2].behind_throttled && !threads[3].behind_throttled);
        assert_eq!(threads[3].write_since_ns, Some(5));
        let threads = NfsdThreads::new(&procfs, &sysfs).read(&writes, &BTreeSet::new());
        assert_eq!(threads[2].state, ThreadState::Blocked);
        assert!(!threads[2].behind_throttled, "nobody is throttled");
        assert_eq!(threads[2].blocked_in, None, "and then nobody asks");
    }
}
