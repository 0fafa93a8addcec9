//! nfsd's threads and what each does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use monitor_common::NfsdWrite;
use monitor_model::observation::{ServerThread, ThreadState};

use super::threads;

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
            let dir = self.procfs.join(thread.tid.to_string());
            threads::asks_what_it_sleeps_in(thread, &dir);
        }
        threads
    }

    fn thread(&self, tid: u32, write: Option<&NfsdWrite>, throttled: bool) -> Option<ServerThread> {
        let stat = fs::read_to_string(self.procfs.join(tid.to_string()).join("stat")).ok()?;
        let letter = threads::state(&stat)?;
        let write = write.filter(|_| throttled || letter != 'S' || !self.waits_for_a_call(tid));
        let state = match (throttled, letter) {
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

    /// Whether a thread sleeps in `svc_recv` or below. Then the WRITE that it was in ended
    /// without saying so, as `nfsd4_write` does on a bad stateid; up to 6.5 the state is
    /// that of any sleep.
    fn waits_for_a_call(&self, tid: u32) -> bool {
        let dir = self.procfs.join(tid.to_string());
        threads::sleeps_in(&dir).is_some_and(|function| function.starts_with("svc_"))
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

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
    };

    use monitor_common::NfsdWrite;
    use monitor_model::observation::ThreadState;

    use super::NfsdThreads;

    /// 5.10 to 6.5: `svc_recv` sleeps interruptibly.
    #[test]
    fn a_thread_that_waits_for_a_call_is_idle_though_its_write_was_never_said_to_end() {
        let root = tempfile::tempdir().unwrap();
        let (procfs, sysfs) = (root.path().join("proc"), root.path().join("sys"));
        fs::create_dir_all(sysfs.join("module/nfsd")).unwrap();
        fs::create_dir_all(procfs.join("2/task/2")).unwrap();
        fs::write(procfs.join("2/task/2/children"), "10 11 12 ").unwrap();
        let stack =
            "[<0>] svc_get_next_xprt+0x12/0x170 [sunrpc]\n[<0>] svc_recv+0x5/0x10 [sunrpc]\n";
        for (pid, wchan, stack) in [
            (10, "svc_recv", ""),
            (11, "0", stack),
            (12, "sk_stream_wait_memory", ""),
        ] {
            let dir = procfs.join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("comm"), "nfsd\n").unwrap();
            fs::write(dir.join("cmdline"), "").unwrap();
            fs::write(dir.join("stat"), format!("{pid} (nfsd) S 2 0")).unwrap();
            fs::write(dir.join("wchan"), wchan).unwrap();
            fs::write(dir.join("stack"), stack).unwrap();
        }
        let write = NfsdWrite {
            since_ns: 5,
            len: 1,
        };
        let writes = [10, 11, 12].map(|tid| (tid, write)).into();
        let threads = NfsdThreads::new(&procfs, &sysfs).read(&writes, &BTreeSet::new());
        let seen: Vec<_> = threads
            .iter()
            .map(|t| (t.state, t.write_since_ns))
            .collect();
        assert_eq!(
            seen,
            [
                (ThreadState::Idle, None),
                (ThreadState::Idle, None),
                (ThreadState::Running, Some(5)),
            ]
        );
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
