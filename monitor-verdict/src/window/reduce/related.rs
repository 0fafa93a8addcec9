//! The inputs of the related conditions in an observation, beyond those of the signatures.

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::observation::{
    Bdi, Memory, Observation, ServerThread, SignalStatus, State, ThreadState,
};

use super::signal;

/// Bounds on BDIs and servers of one observation, by name. Excess entries are dropped.
const MAX_DEVICES: usize = 256;
const MAX_SERVERS: usize = 64;

/// The inputs of the related conditions in one observation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RelatedSample {
    /// Whether `balance_dirty_pages` is visible.
    pub sees_dirty: bool,
    /// Whether the NFS client's calls are visible.
    pub sees_clients: bool,
    /// The devices, sorted by name.
    pub devices: Vec<RelatedDevice>,
    /// The kernel's NFS server, where it runs.
    pub nfsd: Option<ServerThreadCounts>,
    /// Throttled or blocked threads of userspace NFS servers, by name.
    pub user_servers: Vec<(CompactString, u32)>,
    /// Whether a worker, possibly of a loop device, is in `balance_dirty_pages`.
    pub worker_throttled: bool,
    /// Total time of tasks in their own reclaim and compaction. Unfinished waits count, so that an
    /// endless wait is visible. It excludes kswapd and kcompactd, whose work it is, and reclaim
    /// within memory cgroups. `None`: not visible.
    pub reclaim_ns: Option<u64>,
    /// The node's memory.
    pub memory: Memory,
}

/// A backing device at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelatedDevice {
    /// Its name.
    pub bdi: CompactString,
    /// Bytes written since the device exists.
    pub written_bytes: Option<u64>,
    /// Sectors that its disk wrote.
    pub sectors_written: Option<u64>,
    /// Sectors that it read.
    pub sectors_read: Option<u64>,
    /// Reads and writes that it completed.
    pub requests: Option<u64>,
    /// Total milliseconds of these requests.
    pub request_ms: Option<u64>,
    /// For an NFS client's device: bytes that the server acknowledged.
    pub acked_bytes: Option<u64>,
    /// Total nanoseconds of pauses of tasks other than NFS servers.
    pub paused_ns: u64,
    /// Total nanoseconds of pauses of NFS server threads.
    pub server_paused_ns: u64,
    /// Tasks other than NFS servers in `balance_dirty_pages` on it.
    pub waiting: u32,
    /// NFS server threads in `balance_dirty_pages` on it.
    pub server_waiting: u32,
}

/// nfsd at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerThreadCounts {
    /// Total bytes written to the exported file systems.
    pub bytes_written: Option<u64>,
    /// All threads.
    pub threads: u32,
    /// Threads that wait for a request.
    pub idle: u32,
    /// Threads in one of the causes.
    pub throttled: u32,
    /// Threads in uninterruptible sleep elsewhere.
    pub blocked: u32,
}

impl RelatedSample {
    /// Becomes the sample of `observation` and keeps its buffers.
    pub fn refill(&mut self, observation: &Observation) {
        self.sees_dirty = attached(observation, signal::BALANCE_DIRTY_PAGES);
        self.sees_clients = attached(observation, signal::NFS_CLIENT);
        self.memory = observation.memory;
        self.reclaim_ns = reclaim_ns(observation);
        self.nfsd = crew(observation);
        self.worker_throttled = observation.waits.iter().any(|wait| {
            matches!(
                wait.class,
                Class::LoopDevice | Class::Kworker | Class::Target
            ) && wait.cause == Cause::BalanceDirtyPages
        });
        self.servers(observation);
        self.devices(observation);
    }

    /// The device of this name.
    #[must_use]
    pub fn device(&self, bdi: &str) -> Option<&RelatedDevice> {
        let at = self.devices.binary_search_by(|d| d.bdi.as_str().cmp(bdi));
        self.devices.get(at.ok()?)
    }

    fn servers(&mut self, observation: &Observation) {
        self.user_servers.clear();
        for server in &observation.user_servers {
            let stuck = server.threads.iter().filter(|thread| is_stuck(thread));
            let stuck = small(stuck.count());
            let mut known = self.user_servers.iter();
            match known.position(|(name, _)| *name == server.name) {
                Some(at) => {
                    let (_, sum) = &mut self.user_servers[at];
                    *sum = sum.saturating_add(stuck);
                }
                None if self.user_servers.len() < MAX_SERVERS => {
                    self.user_servers.push((server.name.clone(), stuck));
                }
                None => {}
            }
        }
        // With several waits it does not matter which thread has which: none is free.
        let mut waits = observation.waits.iter();
        if waits.any(|w| w.class == Class::Server) {
            for (_, stuck) in &mut self.user_servers {
                *stuck = stuck.saturating_add(1);
            }
        }
    }

    fn devices(&mut self, observation: &Observation) {
        self.devices.clear();
        self.devices.extend(observation.bdis.iter().map(device));
        self.devices.sort_unstable_by(|a, b| a.bdi.cmp(&b.bdi));
        self.devices.dedup_by(|a, b| a.bdi == b.bdi);
        self.devices.truncate(MAX_DEVICES);
        if self.sees_clients {
            for client in &observation.clients {
                if let Some(device) = self.find(&client.bdi) {
                    device.acked_bytes = Some(client.bytes_acked);
                }
            }
        }
        for pauses in &observation.dirty_pauses {
            let Some(device) = self.find(&pauses.bdi) else {
                continue;
            };
            let sum = if serves(pauses.class) {
                &mut device.server_paused_ns
            } else {
                &mut device.paused_ns
            };
            *sum = sum.saturating_add(pauses.pause_ns);
        }
        for wait in &observation.waits {
            if wait.cause != Cause::BalanceDirtyPages {
                continue;
            }
            let Some(device) = self.find(&wait.bdi) else {
                continue;
            };
            let sum = if serves(wait.class) {
                &mut device.server_waiting
            } else {
                &mut device.waiting
            };
            *sum = sum.saturating_add(1);
        }
    }

    fn find(&mut self, bdi: &str) -> Option<&mut RelatedDevice> {
        let at = self.devices.binary_search_by(|d| d.bdi.as_str().cmp(bdi));
        self.devices.get_mut(at.ok()?)
    }
}

fn device(from: &Bdi) -> RelatedDevice {
    RelatedDevice {
        bdi: from.bdi.clone(),
        written_bytes: from.written_bytes,
        sectors_written: from.disk_sectors_written,
        sectors_read: from.disk_sectors_read,
        requests: from.disk_requests,
        request_ms: from.disk_request_ms,
        ..RelatedDevice::default()
    }
}

fn crew(observation: &Observation) -> Option<ServerThreadCounts> {
    let nfsd = observation.nfsd.as_ref()?;
    let of = |state| small(nfsd.threads.iter().filter(|t| t.state == state).count());
    // The two are read at slightly different moments, so the larger one counts.
    let waits = observation.waits.iter();
    let waits = small(waits.filter(|wait| wait.class == Class::Nfsd).count());
    Some(ServerThreadCounts {
        bytes_written: nfsd.bytes_written,
        threads: small(nfsd.threads.len()),
        idle: of(ThreadState::Idle),
        throttled: of(ThreadState::Throttled).max(waits),
        blocked: of(ThreadState::Blocked),
    })
}

/// Time in reclaim and compaction, finished and lasting.
fn reclaim_ns(observation: &Observation) -> Option<u64> {
    let whole = attached(observation, Cause::DirectReclaim.as_str());
    // The sleeps are part of a direct reclaim, so only one of the two counts.
    let sleeps = [
        Cause::CongestionWait,
        Cause::WaitIffCongested,
        Cause::ReclaimThrottle,
    ];
    if !whole && !sleeps.iter().any(|c| attached(observation, c.as_str())) {
        return None;
    }
    let counts = |cause: Cause, class: Class| match cause {
        Cause::DirectReclaim => whole,
        Cause::ThrottleDirectReclaim => true,
        Cause::Compaction => !matches!(class, Class::Kswapd | Class::Kthread),
        _ => !whole && class != Class::Kswapd && sleeps.contains(&cause),
    };
    let done = observation.delays.iter();
    let done = done.filter(|delay| counts(delay.cause, delay.class));
    let lasting = observation.waits.iter();
    let lasting = lasting.filter(|wait| counts(wait.cause, wait.class));
    let now = observation.monotonic_ns;
    let times = done.map(|delay| delay.sum_ns);
    let times = times.chain(lasting.map(|wait| now.saturating_sub(wait.since_ns)));
    Some(times.fold(0, u64::saturating_add))
}

const fn serves(class: Class) -> bool {
    matches!(class, Class::Nfsd | Class::Server | Class::Target)
}

const fn is_stuck(thread: &ServerThread) -> bool {
    matches!(thread.state, ThreadState::Throttled | ThreadState::Blocked)
}

fn attached(observation: &Observation, name: &str) -> bool {
    let lost = |s: &SignalStatus| s.signal == name && s.state == State::Unavailable;
    !observation.signals.iter().any(lost)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use monitor_model::observation::{Observation, ServerThread, ThreadState, UserServer};

    use super::{MAX_SERVERS, RelatedSample};

    fn server(name: &str, tgid: u32, stuck: u32) -> UserServer {
        let thread = |tid| ServerThread {
            tid,
            state: ThreadState::Blocked,
            write_since_ns: None,
            blocked_in: None,
            behind_throttled: false,
        };
        UserServer {
            stopped: false,
            name: name.into(),
            tgid,
            threads: (0..stuck).map(thread).collect(),
            ..UserServer::default()
        }
    }

    fn servers(user_servers: Vec<UserServer>) -> Vec<(String, u32)> {
        let mut signs = RelatedSample::default();
        signs.refill(&Observation {
            user_servers,
            ..Observation::default()
        });
        let all = signs.user_servers.iter();
        all.map(|(name, stuck)| (name.to_string(), *stuck))
            .collect()
    }

    #[test]
    fn processes_of_one_server_are_added_up_and_those_of_others_stay_apart() {
        let all = vec![server("a", 1, 1), server("b", 2, 0), server("a", 3, 2)];
        assert_eq!(servers(all), [("a".to_owned(), 3), ("b".to_owned(), 0)]);
    }

    #[test]
    fn there_are_never_more_servers_than_the_bound() {
        let many = (0..=MAX_SERVERS).map(|n| server(&n.to_string(), 1, 1));
        assert_eq!(servers(many.collect()).len(), MAX_SERVERS);
    }
}
