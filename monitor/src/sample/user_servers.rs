//! NFS servers in userspace: their threads that are not idle.
//!
//! Such a server has hundreds of threads, and most of them are idle. To look at
//! one costs some 10 us, so while nobody of a server waits, a tick looks at
//! those that were not idle at the last look and at some of the others in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, ToCompactString as _};
use monitor_common::Class;

use super::{ExemptCount, ServerProcess, ServerThread, ThreadState, UserServer, Waiting, threads};

/// Processes that are looked at.
const MAX_SERVERS: usize = 16;
/// Threads of one that are looked at.
const MAX_THREADS: usize = 1024;
/// Idle threads of one that a quiet tick looks at: 300 threads are through in
/// 10 s.
const QUIET_THREADS: usize = 32;
/// Ticks between two lists of a server's threads.
const SEARCH_TICKS: u32 = 5;

/// Finds and reads the servers' threads.
pub struct UserServers {
    procfs: PathBuf,
    known: BTreeMap<u32, Server>,
}

/// What is remembered of a process between two ticks.
#[derive(Default)]
struct Server {
    name: CompactString,
    tids: Vec<u32>,
    /// Those that were not idle at the last look.
    busy: BTreeSet<u32>,
    /// Those that were looked at, and whether they were exempt from local dirty
    /// throttling.
    exempt: BTreeMap<u32, bool>,
    /// Where the round over the others goes on.
    next: usize,
    ticks: u32,
}

impl UserServers {
    /// None are known yet.
    pub fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            known: BTreeMap::new(),
        }
    }

    /// What the servers' threads do. `found` are the processes that the look-up
    /// knows; one that waits is known by its wait.
    pub fn read(&mut self, found: &[ServerProcess], waits: &[Waiting]) -> Vec<UserServer> {
        for server in found {
            self.learn(server.tgid, Some(&server.name));
        }
        let mut throttled: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for wait in waits.iter().filter(|w| w.class == Class::NfsServer) {
            self.learn(wait.tgid, None);
            throttled.entry(wait.tgid).or_default().insert(wait.tid);
        }
        let nobody = BTreeSet::new();
        let mut servers = Vec::with_capacity(self.known.len());
        let procfs = &self.procfs;
        self.known.retain(|&tgid, server| {
            let process = procfs.join(tgid.to_string());
            let Some(threads) = server.read(&process, throttled.get(&tgid).unwrap_or(&nobody))
            else {
                return false;
            };
            servers.push(UserServer {
                name: server.name.clone(),
                tgid,
                threads,
                exempt_threads: server.exempt_threads(),
            });
            true
        });
        servers
    }

    fn learn(&mut self, tgid: u32, name: Option<&CompactString>) {
        if self.known.contains_key(&tgid) || self.known.len() == MAX_SERVERS {
            return;
        }
        let name = match name {
            Some(name) => Some(name.clone()),
            None => comm(&self.procfs.join(tgid.to_string())),
        };
        if let Some(name) = name {
            let server = Server {
                name,
                ..Server::default()
            };
            self.known.insert(tgid, server);
        }
    }
}

impl Server {
    /// `None`: it has ended.
    fn read(&mut self, process: &Path, throttled: &BTreeSet<u32>) -> Option<Vec<ServerThread>> {
        let unknown = throttled.iter().any(|tid| !self.tids.contains(tid));
        if unknown || self.ticks == 0 {
            // Another process may have its number by now.
            if comm(process)? != self.name {
                return None;
            }
            self.ticks = SEARCH_TICKS;
            self.search(process);
        }
        self.ticks -= 1;
        let tasks = process.join("task");
        let mut threads = Vec::new();
        for tid in self.due(throttled) {
            let is_throttled = throttled.contains(&tid);
            let mut state = is_throttled.then_some(ThreadState::Throttled);
            if !is_throttled || !self.exempt.contains_key(&tid) {
                let stat = threads::read_stat(&tasks.join(tid.to_string()));
                if let Some(exempt) = stat.and_then(|stat| stat.exempt) {
                    self.exempt.insert(tid, exempt);
                }
                state = state.or_else(|| state_of(stat?.state));
            }
            let Some(state) = state.filter(|state| *state != ThreadState::Idle) else {
                self.busy.remove(&tid);
                continue;
            };
            self.busy.insert(tid);
            threads.push(ServerThread {
                tid,
                state,
                write_since_ns: None,
                blocked_in: None,
                behind_throttled: false,
            });
        }
        if !throttled.is_empty() {
            for thread in threads
                .iter_mut()
                .filter(|thread| thread.state == ThreadState::Blocked)
            {
                let dir = tasks.join(thread.tid.to_string());
                threads::asks_what_it_sleeps_in(thread, &dir);
            }
        }
        Some(threads)
    }

    fn search(&mut self, process: &Path) {
        self.tids.clear();
        let entries = fs::read_dir(process.join("task")).into_iter().flatten();
        let tids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        self.tids.extend(tids.take(MAX_THREADS));
        self.tids.sort_unstable();
        let tids = &self.tids;
        self.busy.retain(|tid| tids.binary_search(tid).is_ok());
        self.exempt.retain(|tid, _| tids.binary_search(tid).is_ok());
    }

    /// `None`: none was looked at yet.
    fn exempt_threads(&self) -> Option<ExemptCount> {
        let all = self.exempt.len() as u64;
        let with = self.exempt.values().filter(|exempt| **exempt).count() as u64;
        (all > 0).then_some(ExemptCount {
            with,
            without: all - with,
        })
    }

    /// The threads that are looked at now, in order.
    fn due(&mut self, throttled: &BTreeSet<u32>) -> BTreeSet<u32> {
        if !throttled.is_empty() || self.tids.len() <= QUIET_THREADS {
            return self
                .tids
                .iter()
                .copied()
                .chain(throttled.iter().copied())
                .collect();
        }
        let from = self.next % self.tids.len();
        self.next = from + QUIET_THREADS;
        let others = self.tids.iter().cycle().skip(from).take(QUIET_THREADS);
        others.chain(&self.busy).copied().collect()
    }
}

fn comm(process: &Path) -> Option<CompactString> {
    let comm = fs::read_to_string(process.join("comm")).ok()?;
    Some(comm.trim_end_matches('\n').to_compact_string())
}

/// `None`: it has ended.
const fn state_of(letter: char) -> Option<ThreadState> {
    Some(match letter {
        'D' => ThreadState::Blocked,
        'R' => ThreadState::Running,
        'X' | 'Z' => return None,
        _ => ThreadState::Idle,
    })
}

#[cfg(test)]
mod tests;
