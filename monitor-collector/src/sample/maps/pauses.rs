//! Pauses of ordinary tasks: what the programs only note is counted here, as they
//! count the rest (`dirty.rs` and `wait.rs` of the eBPF programs).

mod processes;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use monitor_common::{
    BDI_NAME_LEN, BdiId, COMM_LEN, Cause, Class, DirtyKey, DirtyTotals, HIST_BUCKETS, HistKey,
    HistValue, Offsets, Pause, SAME_CALL_NS, TaskTotals, ThrottleReason, Wait, WaitKey, is_of_node,
};

use self::processes::{BELIEVED_NS, Processes};
use super::ring::Rings;
use crate::kernel::preflight;

/// The rings are not read more often than this.
const SHORTEST: Duration = Duration::from_millis(20);
const NS_PER_MS: u64 = 1_000_000;
/// So many are kept at most, as in the programs' own maps.
const MAX_TASKS: usize = 4096;
const MAX_WAITS: usize = 8192;
const MAX_DEVICES: usize = 512;

/// What is told apart, and by what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What this kernel tells.
    pub offsets: Offsets,
    /// Waits at least this long are told one by one, nanoseconds.
    pub threshold_ns: u64,
    /// Upper bounds of the histograms' buckets, nanoseconds, ascending.
    pub bounds_ns: [u64; HIST_BUCKETS - 1],
    /// Names of the processes that are userspace NFS servers.
    pub nfs_servers: Vec<String>,
    /// Mostly `/proc`.
    pub procfs: PathBuf,
}

/// A wait that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub tid: u32,
    pub wait: Wait,
    pub delay_ns: u64,
}

/// Reads the rings and counts.
pub struct Pauses {
    /// `None`: the programs look at each pause themselves.
    rings: Option<Rings>,
    counts: Counts,
    processes: Processes,
    /// Of one time, kept for its room.
    taken: Vec<Pause>,
    counted_ns: u64,
    pace: Option<Duration>,
}

impl Pauses {
    /// With the rings, if everything can be told by what is noted.
    pub fn new(settings: &Settings, rings: impl FnOnce() -> Option<Rings>) -> Self {
        let processes = Processes::new(&settings.procfs, &settings.nfs_servers);
        let known = settings.offsets.task_flags >= 0;
        // Where other processes cannot be looked at, only the programs can tell a server.
        // Of other numbers than the host's, /proc would name the wrong processes.
        let host = preflight::host_pids(&settings.procfs) == Some(true);
        let can = known && host && processes.can_be_told();
        Self {
            rings: if can { rings() } else { None },
            counts: Counts::new(settings),
            processes,
            taken: Vec::new(),
            counted_ns: 0,
            pace: Some(SHORTEST),
        }
    }

    /// Counts what was noted since the last time.
    pub fn count(&mut self, now_ns: u64) {
        let Some(rings) = &mut self.rings else { return };
        let most = rings.take(now_ns, &mut self.taken);
        for pause in &mut self.taken {
            let (thread, process) = (pause.tid, pause.tgid);
            let known = match pause.comm[0] {
                0 => self.counts.comm(thread, process, now_ns),
                _ => None,
            };
            if pause.comm[0] == 0 {
                pause.comm = known.unwrap_or_else(|| self.processes.comm(thread, process));
            }
            self.counts
                .add(pause, self.processes.class(process, now_ns));
            if known.is_none() {
                self.counts.named(thread, now_ns);
            }
        }
        if self.processes.server_found() {
            // When exactly a server's threads go on matters: the programs see that.
            rings.close();
        }
        let since = Duration::from_nanos(now_ns.saturating_sub(self.counted_ns));
        if since >= SHORTEST {
            // Since when there are any is not known at first.
            if self.counted_ns != 0 {
                self.pace = pace(since, most, rings.room());
            }
            self.counted_ns = now_ns;
        }
    }

    /// Takes note of processes that are said to be servers.
    pub fn look_for_server(&mut self, processes: impl IntoIterator<Item = u32>, now_ns: u64) {
        self.processes.look_for_server(processes, now_ns);
    }

    /// How soon half of the rings are full again; `None`: nothing was noted.
    pub const fn pace(&self) -> Option<Duration> {
        self.pace
    }

    /// Ends the waits of which no more was heard for so long after the end of the
    /// announced pause, and returns the long ones.
    pub fn end(&mut self, now_ns: u64, patience_ns: u64) -> Vec<Ended> {
        self.counts.end(now_ns, patience_ns);
        std::mem::take(&mut self.counts.ended)
    }

    /// What was counted.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Forgets a device that is gone.
    pub fn forget_bdi(&mut self, bdi: u64) {
        self.counts.devices.retain(|&(id, _), _| id != bdi);
        self.counts.names.remove(&bdi);
    }
}

/// How soon half of the rings are full again, of which so many were read after so long.
fn pace(since: Duration, most: u32, room: u32) -> Option<Duration> {
    if most > room / 4 * 3 {
        // Some may have found no room: nobody knows how many there were.
        return Some(SHORTEST);
    }
    let each = since.checked_div(most)?;
    Some((each * (room / 2)).max(SHORTEST))
}

/// What was counted, as in the programs' own maps.
#[derive(Default)]
pub struct Counts {
    /// Whether the kernel tells the state of its dirty pages.
    state: bool,
    threshold_ns: u64,
    bounds_ns: [u64; HIST_BUCKETS - 1],
    /// By BDI and class.
    devices: BTreeMap<(u64, u8), Device>,
    /// The names behind the ids of BDIs.
    names: BTreeMap<u64, [u64; BDI_NAME_LEN / 8]>,
    /// By thread id.
    tasks: BTreeMap<u32, Task>,
    /// Those that last, by thread id.
    waits: BTreeMap<u32, Wait>,
    ended: Vec<Ended>,
    /// Devices and waits that found no room.
    lost: u64,
}

#[derive(Clone, Copy, Default)]
struct Task {
    totals: TaskTotals,
    /// When its name was read.
    named_ns: u64,
}

#[derive(Clone, Copy, Default)]
struct Device {
    delay: HistValue,
    dirty: DirtyTotals,
}

impl Counts {
    fn new(settings: &Settings) -> Self {
        let offsets = &settings.offsets;
        let state = [
            offsets.bdp_dirty,
            offsets.bdp_limit,
            offsets.bdp_bdi_dirty,
            offsets.bdp_bdi_setpoint,
        ];
        Self {
            state: state.iter().all(|&offset| offset >= 0),
            threshold_ns: settings.threshold_ns,
            bounds_ns: settings.bounds_ns,
            ..Self::default()
        }
    }

    fn add(&mut self, pause: &Pause, class: Class) {
        let bdi = BdiId::from_words(pause.bdi).0;
        let pause_ns = pause.pause_ms.saturating_mul(NS_PER_MS);
        let before_ns = pause.paused_ms.saturating_mul(NS_PER_MS);
        let wait = Wait {
            since_ns: pause.now_ns.saturating_sub(before_ns),
            until_ns: pause.now_ns.saturating_add(pause_ns),
            bdi,
            tgid: pause.tgid,
            class: class as u8,
            reason: ThrottleReason::None as u8,
            level: 0,
            zero: 0,
            comm: pause.comm,
        };
        self.device(pause, &wait, pause_ns);
        self.task(pause, &wait, pause_ns);
        self.call(pause.tid, wait);
    }

    fn device(&mut self, pause: &Pause, wait: &Wait, pause_ns: u64) {
        let key = (wait.bdi, wait.class);
        if self.devices.len() >= MAX_DEVICES && !self.devices.contains_key(&key) {
            self.lost += 1;
            return;
        }
        let device = self.devices.entry(key).or_insert_with(|| {
            self.names.insert(wait.bdi, pause.bdi);
            Device::default()
        });
        let bucket = self.bounds_ns.partition_point(|&bound| bound < pause_ns);
        device.delay.sum_ns += pause_ns;
        device.delay.buckets[bucket] += 1;
        if !self.state {
            return;
        }
        let totals = &mut device.dirty;
        totals.events += 1;
        totals.pause_ns += pause_ns;
        totals.last_ns = pause.now_ns;
        let add = |sums: &mut [(&mut u64, u64)]| {
            for (sum, addend) in sums {
                **sum = sum.wrapping_add(*addend);
            }
        };
        add(&mut [
            (&mut totals.bdi_dirty, pause.bdi_dirty),
            (&mut totals.bdi_setpoint, pause.bdi_setpoint),
            (&mut totals.task_ratelimit, pause.task_ratelimit),
        ]);
        if is_of_node(pause.cgroup) {
            add(&mut [
                (&mut totals.node_events, 1),
                (&mut totals.dirty, pause.dirty),
                (&mut totals.limit, pause.limit),
            ]);
            totals.last_dirty = pause.dirty;
            totals.last_limit = pause.limit;
        }
    }

    fn task(&mut self, pause: &Pause, wait: &Wait, pause_ns: u64) {
        if self.tasks.len() >= MAX_TASKS && !self.tasks.contains_key(&pause.tid) {
            self.forget_tasks();
        }
        let totals = &mut self.tasks.entry(pause.tid).or_default().totals;
        if totals.tgid != pause.tgid {
            *totals = TaskTotals::default();
        }
        totals.delay_ns += pause_ns;
        totals.waits += 1;
        totals.bdi = wait.bdi;
        totals.last_ns = pause.now_ns;
        totals.tgid = pause.tgid;
        totals.class = wait.class;
        totals.comm = pause.comm;
    }

    /// The name that this thread of this process had a moment ago.
    fn comm(&self, tid: u32, process: u32, now_ns: u64) -> Option<[u8; COMM_LEN]> {
        let Task { totals, named_ns } = self.tasks.get(&tid)?;
        let known = totals.tgid == process && now_ns.saturating_sub(*named_ns) < BELIEVED_NS;
        known.then_some(totals.comm)
    }

    /// The name that it has now was read now.
    fn named(&mut self, tid: u32, now_ns: u64) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.named_ns = now_ns;
        }
    }

    /// Makes room: the half goes that waited longest ago.
    fn forget_tasks(&mut self) {
        let last_ns = |task: &Task| task.totals.last_ns;
        let mut times: Vec<_> = self.tasks.values().map(last_ns).collect();
        let (_, &mut middle, _) = times.select_nth_unstable(MAX_TASKS / 2);
        self.tasks.retain(|_, task| last_ns(task) > middle);
    }

    /// Keeps the wait, or brings the kept one of the same call up to date.
    fn call(&mut self, tid: u32, wait: Wait) {
        if let Some(kept) = self.waits.get_mut(&tid) {
            if kept.since_ns + SAME_CALL_NS >= wait.since_ns {
                (kept.until_ns, kept.bdi) = (wait.until_ns, wait.bdi);
                // What it is may be known only now.
                (kept.class, kept.comm) = (wait.class, wait.comm);
                return;
            }
            let kept = *kept;
            self.waits.remove(&tid);
            self.is_over(tid, kept);
        }
        if self.waits.len() < MAX_WAITS {
            self.waits.insert(tid, wait);
        } else {
            self.lost += 1;
        }
    }

    /// Ends the waits of which nothing was heard.
    fn end(&mut self, now_ns: u64, patience_ns: u64) {
        let over = |wait: &Wait| now_ns > wait.until_ns.saturating_add(patience_ns);
        let all: Vec<_> = self.waits.extract_if(.., |_, wait| over(wait)).collect();
        for (tid, wait) in all {
            self.is_over(tid, wait);
        }
    }

    /// It ended with the last pause announced.
    fn is_over(&mut self, tid: u32, wait: Wait) {
        let delay_ns = wait.until_ns.saturating_sub(wait.since_ns);
        if delay_ns >= self.threshold_ns {
            self.ended.push(Ended {
                tid,
                wait,
                delay_ns,
            });
        }
    }

    /// Histograms.
    pub fn delays(&self) -> impl Iterator<Item = (HistKey, HistValue)> {
        self.devices.iter().map(|(&(bdi, class), device)| {
            let key = HistKey {
                bdi,
                cause: Cause::BalanceDirtyPages as u8,
                class,
                reason: ThrottleReason::None as u8,
                zero: [0; 5],
            };
            (key, device.delay)
        })
    }

    /// What the kernel said of its dirty pages.
    pub fn dirty(&self) -> impl Iterator<Item = (DirtyKey, DirtyTotals)> {
        self.devices.iter().map(|(&(bdi, class), device)| {
            let key = DirtyKey {
                bdi,
                class,
                zero: [0; 7],
            };
            (key, device.dirty)
        })
    }

    /// Totals of tasks.
    pub fn tasks(&self) -> impl Iterator<Item = (WaitKey, TaskTotals)> {
        let tasks = self.tasks.iter();
        tasks.map(|(&tid, task)| (key(tid), task.totals))
    }

    /// Waits that last.
    pub fn waits(&self) -> impl Iterator<Item = (WaitKey, Wait)> {
        self.waits.iter().map(|(&tid, wait)| (key(tid), *wait))
    }

    /// The name of a BDI.
    pub fn name(&self, bdi: u64) -> Option<[u64; BDI_NAME_LEN / 8]> {
        self.names.get(&bdi).copied()
    }

    /// The BDIs that were met.
    pub fn bdis(&self) -> impl Iterator<Item = u64> {
        self.names.keys().copied()
    }

    /// What found no room.
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

fn key(tid: u32) -> WaitKey {
    WaitKey {
        tid,
        cause: Cause::BalanceDirtyPages as u32,
    }
}

#[cfg(test)]
mod tests;
