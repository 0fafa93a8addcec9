//! One tick after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use compact_str::CompactString;
use monitor_common::{Cause, Class, Lost as LostKind, TaskTotals, WaitKey};
use monitor_model::observation::{
    Caller, Lost, NfsClient, Nfsd, Observation, ServerThread, Serving, SignalStatus, StalledTask,
    State, TaskDelay, Waited, Waiting,
};

use super::bdis::Bdis;
use super::congestion::{Congestions, Seen};
use super::maps::Maps;
use super::nfsd::NfsdThreads;
use super::open_calls::OpenCallsReader;
use super::stacks::Stacks;
use super::user_servers::{Look, UserServers};
use super::{memory, smb, waits::Waits};
use crate::host::clock::monotonic_ns;
use crate::kernel::attach::Attached;
use crate::topology::{HostPaths, Lookup, LookupRequest, requests};

/// Ticks between two looks for devices that are gone.
const PRUNE_TICKS: u32 = 60;
/// What one tick gave.
pub struct Tick {
    /// All that the verdict sees.
    pub observation: Observation,
    /// Totals of tasks, for people; `None`: nobody waited since the last tick.
    pub tasks: Option<Vec<TaskDelay>>,
    /// Waits over the threshold that ended since the last tick, oldest first.
    pub stalls: Vec<StalledTask>,
}

/// Reads the node once a tick.
pub struct Sampler {
    maps: Maps,
    bdis: Bdis,
    /// BDIs of loops.
    loops: Vec<CompactString>,
    congestions: Congestions,
    lookup: Lookup,
    nfsd: NfsdThreads,
    open_calls: OpenCallsReader,
    user_servers: UserServers,
    stacks: Stacks,
    waits: Waits,
    procfs: PathBuf,
    sysfs: PathBuf,
    kernel: CompactString,
    threshold_ns: u64,
    /// Delay of each task at the last tick, nanoseconds.
    before: BTreeMap<(u32, u32), u64>,
    waits_counted: Option<u64>,
    /// Finished waits of nfsd's threads, by thread id.
    nfsd_waited: BTreeMap<u32, Vec<Waited>>,
    /// Processes that were delayed most when somebody was delayed last.
    waited_lately: BTreeSet<u32>,
    ticks: u32,
}

impl Sampler {
    /// Takes the maps out of the attached object, and starts the thread that
    /// looks up who mounts and who serves.
    ///
    /// # Errors
    ///
    /// A map is not there, which is a broken build; or no thread is available.
    pub fn new(attached: &mut Attached) -> anyhow::Result<Self> {
        let maps = Maps::open(attached)?;
        let settings = attached.settings();
        let (procfs, sysfs) = (&settings.procfs, &settings.sysfs);
        let servers = settings.nfs_servers.clone();
        let paths = HostPaths {
            procfs: procfs.clone(),
            sysfs: sysfs.clone(),
            ..HostPaths::default()
        };
        let lookup = Lookup::start(paths, servers)
            .context("the thread that looks up mounts and servers could not be started")?;
        Ok(Self {
            maps,
            bdis: Bdis::new(sysfs),
            loops: Vec::new(),
            lookup,
            congestions: Congestions::new(procfs, sysfs),
            nfsd: NfsdThreads::new(procfs, sysfs),
            open_calls: OpenCallsReader::new(sysfs),
            user_servers: UserServers::new(procfs, sysfs),
            stacks: Stacks::new(procfs),
            waits: Waits::new(procfs, settings.threshold_ns),
            procfs: procfs.clone(),
            sysfs: sysfs.clone(),
            kernel: attached.facts.release.as_str().into(),
            threshold_ns: attached.settings().threshold_ns,
            before: BTreeMap::new(),
            waits_counted: None,
            nfsd_waited: BTreeMap::new(),
            waited_lately: BTreeSet::new(),
            ticks: 0,
        })
    }

    /// Whether the next ticks read kernel stacks: some loop is suspected to be
    /// stuck.
    pub const fn watch_closely(&mut self, closely: bool) {
        self.stacks.watch_closely(closely);
    }

    /// Uses other names of userspace NFS servers from the next look-up on.
    pub fn set_nfs_servers(&self, names: Vec<String>) {
        self.lookup.set_nfs_servers(names);
    }

    /// Which BDIs the next ticks read first: those of loops, the most important
    /// one first.
    pub fn set_loop_bdis(&mut self, bdis: impl Iterator<Item = CompactString>) {
        self.loops.clear();
        self.loops.extend(bdis);
    }

    /// Reads everything once.
    pub fn tick(&mut self, signals: Vec<SignalStatus>) -> Tick {
        let monotonic_ns = monotonic_ns();
        let topology = self.lookup.latest();
        self.bdis.refresh(&topology);
        self.maps.tell_servers(&topology.server_processes);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(PRUNE_TICKS) {
            self.maps.prune(&self.sysfs);
        }
        let mut stalls = self.maps.drain_stalls();
        // A task's next call may say the same of the one before.
        stalls.retain(|StalledTask { wait, .. }| !self.waits.is_over(wait));
        let dirty = self.maps.pauses();
        let delays = self.maps.delays(&dirty);
        let counts = delays.iter().map(monitor_model::observation::Delay::count);
        let counted = counts.fold(0, u64::saturating_add);
        let changed = self.waits_counted != Some(counted);
        self.waits_counted = Some(counted);
        // A task that pauses was counted when it began to.
        let tasks = (changed || self.waits.some_pause()).then(|| self.maps.tasks());
        let waits = self.waits(monotonic_ns, &signals, tasks.as_deref(), &mut stalls);
        let tasks = tasks.filter(|_| changed).map(|all| self.tasks(&all));
        let dirty_pauses = self.maps.dirty_pauses(&dirty);
        let clients = self.clients();
        let mut rpc_clients = self.maps.rpc_clients(attached(&signals, "nfsd_writes"));
        self.open_calls.read(monotonic_ns, &mut rpc_clients);
        // Who was paused last is who matters now.
        let mut paused: Vec<_> = dirty_pauses.iter().collect();
        paused.sort_by_key(|p| Reverse(p.last_ns));
        let (mut bdis, bdis_left_out) = self.bdis.read(
            self.loops.iter().chain(paused.iter().map(|p| &p.bdi)),
            clients.iter().map(|c| &c.bdi),
        );
        smb::acknowledged(&mut bdis, &topology, &self.procfs);
        let memory = memory::read(&self.procfs);
        let seen = Seen {
            now_ns: monotonic_ns,
            memory: &memory,
            flags: &self.maps.congested(),
            write_congested: &self.maps.write_congested(),
            nfs: &clients
                .iter()
                .map(|c| (c.bdi.clone(), c.pending_writes()))
                .collect(),
        };
        for bdi in self.congestions.tell(&mut bdis, &seen) {
            self.maps.forget_write_congested(&bdi);
        }
        if let Some(tasks) = &tasks {
            self.waited_lately = requests::most_delayed(tasks, self.threshold_ns);
            self.nfsd_waited = waited(tasks, Class::Nfsd);
        }
        self.lookup.ask(&LookupRequest {
            processes: requests::stuck(&waits, monotonic_ns),
            bdis: requests::paused(&waits, &dirty_pauses, monotonic_ns),
            also: self.waited_lately.clone(),
            writers: requests::writers(&topology, &bdis),
            ..requests::of_clients(&clients, &rpc_clients)
        });
        let nfsd = self.nfsd(&waits, &signals);
        let look = Look {
            now_ns: monotonic_ns,
            oom_kills: memory.oom_kills,
            waits: &waits,
        };
        let user_servers = self.user_servers.read(&topology.server_processes, &look);
        let stacks = self
            .stacks
            .read(monotonic_ns, nfsd.as_ref(), &user_servers, &waits);
        let observation = Observation {
            monotonic_ns,
            unix_ms: unix_ms(),
            memory,
            nfsd,
            svc_alloc_arg_retries: attached(&signals, "svc_alloc_arg")
                .then(|| self.maps.svc_alloc_arg_retries()),
            lost: Lost {
                ringbuf: self.maps.lost(LostKind::RingBuf),
                map_full: self.maps.lost(LostKind::MapFull),
                evicted: self.waits.evicted(),
                recording: 0,
            },
            delays,
            waits,
            dirty_pauses,
            clients,
            bdis,
            bdis_left_out,
            signals,
            rpc_clients,
            topology,
            kernel: self.kernel.clone(),
            user_servers,
            server_exits: self.user_servers.exits().to_vec(),
            stacks,
        };
        Tick {
            observation,
            tasks,
            stalls,
        }
    }

    /// The waits that last; those that are over without anybody having seen the
    /// end are forgotten.
    fn waits(
        &mut self,
        now_ns: u64,
        signals: &[SignalStatus],
        tasks: Option<&[(WaitKey, TaskTotals)]>,
        ended: &mut Vec<StalledTask>,
    ) -> Vec<Waiting> {
        let pausing = tasks.map(|tasks| self.maps.pausing(tasks));
        let kept = self.maps.waits();
        let waits = self.waits.look(now_ns, signals, kept, pausing);
        for wait in &waits.over {
            self.maps.forget(wait);
        }
        ended.extend(waits.ended);
        waits.lasting
    }

    /// Devices that wrote, and those that are mounted.
    fn clients(&self) -> Vec<NfsClient> {
        let mut clients = self.maps.nfs_clients();
        for bdi in self.bdis.nfs_clients() {
            if !clients.iter().any(|c| c.bdi == *bdi) {
                clients.push(NfsClient {
                    bdi: bdi.clone(),
                    ..NfsClient::default()
                });
            }
        }
        clients
    }

    fn nfsd(&mut self, waits: &[Waiting], signals: &[SignalStatus]) -> Option<Nfsd> {
        let totals = self.maps.nfsd();
        let writes = self.maps.nfsd_writes();
        let throttled: BTreeSet<_> = waits
            .iter()
            .filter(|w| w.class == Class::Nfsd)
            .map(|w| w.tid)
            .collect();
        let threads = self.nfsd.read(&writes, &throttled);
        if !threads.is_empty() {
            self.maps.tell_that_it_serves();
        }
        for &tid in writes.keys() {
            if !threads.iter().any(|t| t.tid == tid) && self.waits.is_gone(tid) {
                self.maps.forget_write(tid);
            }
        }
        if threads.is_empty() && totals.writes_started == 0 {
            return None;
        }
        let sees_writes = attached(signals, "nfsd_writes");
        let sees_calls = attached(signals, "rpc_xid");
        Some(Nfsd {
            bytes_written: sees_writes.then_some(totals.bytes_written),
            writes_started: totals.writes_started,
            writes_done: totals.writes_done,
            last_done_ns: totals.last_done_ns,
            bytes_unattributed: (sees_writes && sees_calls).then_some(totals.bytes_unattributed),
            serving: sees_calls.then(|| self.serving(&threads)),
            threads,
        })
    }

    /// Whose calls nfsd's threads work on.
    fn serving(&self, threads: &[ServerThread]) -> Vec<Serving> {
        let calls = self.maps.serving(threads.iter().map(|thread| thread.tid));
        let caller = |tid| match calls.get(&tid) {
            None => Caller::Unknown,
            Some(call) if call.known == 0 => Caller::Elsewhere,
            Some(call) => Caller::Client(call.client),
        };
        let all = threads.iter().map(|thread| Serving {
            tid: thread.tid,
            caller: caller(thread.tid),
            waited: self
                .nfsd_waited
                .get(&thread.tid)
                .cloned()
                .unwrap_or_default(),
        });
        all.filter(|one| one.caller != Caller::Unknown || !one.waited.is_empty())
            .collect()
    }

    fn tasks(&mut self, all: &[(WaitKey, TaskTotals)]) -> Vec<TaskDelay> {
        let before = std::mem::take(&mut self.before);
        let delay = |(key, totals): &(WaitKey, TaskTotals)| ((key.tid, key.cause), totals.delay_ns);
        self.before = all.iter().map(delay).collect();
        all.iter()
            .filter_map(|&(WaitKey { tid, cause }, totals)| {
                let earlier = before.get(&(tid, cause)).copied().unwrap_or(0);
                Some(TaskDelay {
                    tid,
                    tgid: totals.tgid,
                    comm: super::maps::comm(&totals.comm),
                    class: self.maps.class(totals.tgid, totals.class)?,
                    cause: Cause::from_u8(u8::try_from(cause).ok()?)?,
                    bdi: self.maps.bdi_name(totals.bdi),
                    waits: totals.waits,
                    delay_ns: totals.delay_ns,
                    recent_delay_ns: totals
                        .delay_ns
                        .checked_sub(earlier)
                        .unwrap_or(totals.delay_ns),
                })
            })
            .collect()
    }
}

/// Finished waits of the threads of a class, by thread id.
fn waited(tasks: &[TaskDelay], class: Class) -> BTreeMap<u32, Vec<Waited>> {
    let mut threads: BTreeMap<u32, Vec<Waited>> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.class == class) {
        threads.entry(task.tid).or_default().push(Waited {
            cause: task.cause,
            bdi: task.bdi.clone(),
            sum_ns: task.delay_ns,
        });
    }
    threads
}

fn attached(signals: &[SignalStatus], name: &str) -> bool {
    signals
        .iter()
        .any(|s| s.signal == name && s.state != State::Unavailable)
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
