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
use monitor_model::observation::{
    ExemptCount, ServerExit, ServerProcess, ServerThread, ThreadState, UserServer, Waiting,
};

use super::oom::OomKills;
use super::threads;

/// Processes that are looked at.
const MAX_SERVERS: usize = 16;
/// Threads of one that are looked at.
const MAX_THREADS: usize = 1024;
/// Idle threads of one that a quiet tick looks at: 300 threads are through in
/// 10 s.
const QUIET_THREADS: usize = 32;
/// Servers that ended and are remembered.
const MAX_EXITS: usize = 16;
/// How long.
const REMEMBER_NS: u64 = 600_000_000_000;
/// Ticks between two lists of a server's threads.
const SEARCH_TICKS: u32 = 5;

/// Finds and reads the servers' threads.
pub struct UserServers {
    procfs: PathBuf,
    sysfs: PathBuf,
    known: BTreeMap<u32, Server>,
    /// The oldest first.
    exits: Vec<ServerExit>,
    /// Kills on the node as of the tick before.
    oom_kills: Option<u64>,
}

/// What one tick looks with.
pub struct Look<'a> {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub now_ns: u64,
    /// Processes of the node that the OOM killer took since boot.
    pub oom_kills: Option<u64>,
    /// The waits that last.
    pub waits: &'a [Waiting],
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
    /// What the OOM killer took of its cgroup.
    oom: OomKills,
}

impl UserServers {
    /// None are known yet.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            sysfs: sysfs.into(),
            known: BTreeMap::new(),
            exits: Vec::new(),
            oom_kills: None,
        }
    }

    /// What the servers' threads do. `found` are the processes that the look-up
    /// knows; one that waits is known by its wait.
    pub fn read(&mut self, found: &[ServerProcess], look: &Look<'_>) -> Vec<UserServer> {
        let now_ns = look.now_ns;
        self.exits
            .retain(|exit| now_ns.saturating_sub(exit.gone_ns) < REMEMBER_NS);
        let before = std::mem::replace(&mut self.oom_kills, look.oom_kills);
        let node_oom_kills = look.oom_kills.zip(before);
        let node_oom_kills = node_oom_kills.and_then(|(now, before)| now.checked_sub(before));
        for server in found {
            self.learn(server.tgid, Some(&server.name));
        }
        let mut throttled: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for wait in look.waits.iter().filter(|w| w.class == Class::Server) {
            self.learn(wait.tgid, None);
            throttled.entry(wait.tgid).or_default().insert(wait.tid);
        }
        let nobody = BTreeSet::new();
        let mut servers = Vec::with_capacity(self.known.len());
        let (procfs, sysfs, exits) = (&self.procfs, &self.sysfs, &mut self.exits);
        self.known.retain(|&tgid, server| {
            let process = procfs.join(tgid.to_string());
            let throttled = throttled.get(&tgid).unwrap_or(&nobody);
            let Some(threads) = server.read(&process, sysfs, throttled) else {
                exits.push(ServerExit {
                    name: server.name.clone(),
                    tgid,
                    gone_ns: now_ns,
                    cgroup_oom_kills: server.oom.since_last_look(),
                    node_oom_kills,
                });
                return false;
            };
            servers.push(UserServer {
                name: server.name.clone(),
                tgid,
                threads,
                exempt_threads: server.exempt_threads(),
                stopped: is_stopped(&process, tgid),
            });
            true
        });
        let too_many = self.exits.len().saturating_sub(MAX_EXITS);
        self.exits.drain(..too_many);
        servers
    }

    /// Servers that ended lately.
    pub fn exits(&self) -> &[ServerExit] {
        &self.exits
    }

    fn learn(&mut self, tgid: u32, name: Option<&CompactString>) {
        if self.known.contains_key(&tgid) || self.known.len() == MAX_SERVERS {
            return;
        }
        let process = self.procfs.join(tgid.to_string());
        // The last look-up may be older than its end.
        let name = match name {
            _ if has_ended(&process) => None,
            Some(name) => Some(name.clone()),
            None => comm(&process),
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
    fn read(
        &mut self,
        process: &Path,
        sysfs: &Path,
        throttled: &BTreeSet<u32>,
    ) -> Option<Vec<ServerThread>> {
        if has_ended(process) {
            return None;
        }
        let unknown = throttled.iter().any(|tid| !self.tids.contains(tid));
        if unknown || self.ticks == 0 {
            // Another process may have its number by now.
            if comm(process)? != self.name {
                return None;
            }
            self.ticks = SEARCH_TICKS;
            self.search(process);
            self.oom.look(process, sysfs);
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

/// Whether all its threads have ended. The first may have before the others.
fn has_ended(process: &Path) -> bool {
    let ended = |task: &Path| matches!(threads::read_state(task), None | Some('X' | 'Z'));
    let tasks = process.join("task");
    let first = process.file_name().map(|tgid| tasks.join(tgid));
    first.is_none_or(|first| ended(&first)) && {
        let tasks = fs::read_dir(tasks).into_iter().flatten();
        tasks.flatten().all(|task| ended(&task.path()))
    }
}

/// A signal stops all threads of a process; one that waits in the kernel stops
/// when it comes back from there.
fn is_stopped(process: &Path, tgid: u32) -> bool {
    let first = process.join("task").join(tgid.to_string());
    matches!(threads::read_state(&first), Some('T' | 't'))
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
