//! A node for tests, second by second, until recordings take its place.

use std::sync::Arc;

use compact_str::CompactString;
use monitor_common::{Cause, Class, ThrottleReason};

pub use super::phase::Phase;
use crate::observation::{
    Backing, Bdi, DirtyPauses, Memory, NfsClient, NfsMount, Nfsd, Observation, RpcClient,
    ServerThread, SignalStatus, State, ThreadState, Topology, Waiting,
};
use crate::{Engine, LivelockState, Thresholds, Transition};

pub const CLIENT: &str = "0:29";
pub const DISK: &str = "254:0";
const PAGE: u64 = 4096;
const MB: u64 = 1_000_000;

/// A node with one NFS client device, nfsd and one disk. Its calls are seen to
/// be served here: the mount alone made a dozen.
#[derive(Clone, Debug)]
pub struct Node {
    pub now: Observation,
    elsewhere: bool,
}

impl Node {
    pub fn new(threads: u32) -> Self {
        let thread = |tid| ServerThread {
            tid,
            state: ThreadState::Idle,
            write_since_ns: None,
            blocked_in: None,
            behind_throttled: false,
        };
        let client = NfsClient {
            bdi: CLIENT.into(),
            ..NfsClient::default()
        };
        let bdi = |name: &str, busy| Bdi {
            bdi: name.into(),
            dirty_bytes: Some(0),
            writeback_bytes: Some(0),
            disk_busy_ms: busy,
            ..Bdi::default()
        };
        let now = Observation {
            monotonic_ns: 1_000_000_000_000,
            unix_ms: 1_760_000_000_000,
            memory: Memory {
                page_size: PAGE,
                ..Memory::default()
            },
            clients: vec![client],
            nfsd: Some(Nfsd {
                bytes_written: Some(0),
                threads: (100..100 + threads).map(thread).collect(),
                ..Nfsd::default()
            }),
            bdis: vec![bdi(CLIENT, None), bdi(DISK, Some(0))],
            signals: vec![SignalStatus {
                signal: "rpc_xid".into(),
                strategy: "tracepoint".into(),
                state: State::Attached,
            }],
            ..Observation::default()
        };
        let mut node = Self {
            now,
            elsewhere: false,
        };
        node.call(CLIENT, 12, 12);
        node
    }

    /// The device's RPC client makes calls; so many of them are served here.
    pub fn call(&mut self, bdi: &str, calls: u64, served: u64) {
        let now = self.now.monotonic_ns;
        let all = &mut self.now.rpc_clients;
        let at = all.iter().position(|rpc| rpc.bdi == bdi);
        let at = at.unwrap_or_else(|| {
            all.push(RpcClient {
                id: u32::try_from(all.len()).expect("few") + 7,
                bdi: bdi.into(),
                ..RpcClient::default()
            });
            all.len() - 1
        });
        let rpc = &mut all[at];
        rpc.calls += calls;
        rpc.served_here += served;
        rpc.last_call_ns = now;
        if served > 0 {
            rpc.last_served_ns = now;
            rpc.backing = vec![Backing {
                bdi: DISK.into(),
                device: DISK.into(),
                writes: rpc.served_here,
                last_ns: now,
            }];
        }
    }

    /// The calls go to another host, from the first one on.
    pub fn served_elsewhere(&mut self) {
        self.now.rpc_clients.clear();
        self.call(CLIENT, 12, 0);
        self.elsewhere = true;
    }

    /// What a look-up finds: these mounts, each with who listens at its
    /// address in its own namespace.
    pub fn look_up(&mut self, mounts: &[(&str, Option<&str>)]) {
        let mount = |&(bdi, listener): &(&str, Option<&str>)| NfsMount {
            bdi: bdi.into(),
            source: "127.0.0.1:/srv".into(),
            mount_points: vec!["/mnt".into()],
            server: Some(([127, 0, 0, 1], 2049).into()),
            netns: Some(1),
            listener: listener.map(Into::into),
            ..NfsMount::default()
        };
        self.now.topology = Arc::new(Topology {
            read_ns: self.now.monotonic_ns,
            mounts: mounts.iter().map(mount).collect(),
            ..Topology::default()
        });
    }

    /// A second client device, as idle as the first, and a loop as well.
    pub fn mount(&mut self, bdi: &str) {
        self.now.clients.push(NfsClient {
            bdi: bdi.into(),
            ..NfsClient::default()
        });
        self.call(bdi, 12, 12);
        let from = self.now.bdis[0].clone();
        self.now.bdis.push(Bdi {
            bdi: bdi.into(),
            ..from
        });
    }

    /// One second of a phase.
    pub fn second(&mut self, phase: &Phase) -> Observation {
        self.now.monotonic_ns += 1_000_000_000;
        self.now.unix_ms += 1000;
        self.writes(phase);
        self.server(phase);
        self.pauses(phase);
        self.now.bdis[1].disk_busy_ms = self.now.bdis[1]
            .disk_busy_ms
            .map(|ms| ms + phase.disk_busy_ms);
        self.now.clone()
    }

    fn writes(&mut self, phase: &Phase) {
        let client = &mut self.now.clients[0];
        client.bytes_acked += phase.acked;
        client.writes_acked += phase.acked.div_ceil(MB);
        client.writes_sent = client.writes_acked + u64::from(phase.held > 0);
        client.bytes_sent = client.bytes_acked + phase.held * PAGE;
        let calls = phase.acked.div_ceil(MB);
        if calls > 0 {
            let here = self.now.nfsd.is_some() && !self.elsewhere;
            self.call(CLIENT, calls, if here { calls } else { 0 });
        }
        self.now.bdis[0].dirty_bytes = Some(phase.held / 2 * PAGE);
        self.now.bdis[0].writeback_bytes = Some((phase.held - phase.held / 2) * PAGE);
    }

    fn server(&mut self, phase: &Phase) {
        self.now.waits = (0..phase.writers)
            .map(|n| wait(500 + n, Class::User, CLIENT))
            .collect();
        let Some(nfsd) = &mut self.now.nfsd else {
            return;
        };
        nfsd.bytes_written = nfsd.bytes_written.map(|bytes| bytes + phase.served);
        for (n, thread) in nfsd.threads.iter_mut().enumerate() {
            thread.state = if n < phase.throttled {
                self.now.waits.push(wait(100 + n, Class::Nfsd, DISK));
                ThreadState::Throttled
            } else if n < phase.throttled + phase.blocked {
                ThreadState::Blocked
            } else if n < phase.throttled + phase.blocked + phase.running {
                ThreadState::Running
            } else {
                ThreadState::Idle
            };
        }
    }

    fn pauses(&mut self, phase: &Phase) {
        if phase.events == 0 {
            return;
        }
        let all = &mut self.now.dirty_pauses;
        if all.is_empty() {
            all.push(DirtyPauses {
                bdi: DISK.into(),
                class: Class::Nfsd,
                events: 0,
                pause_ns: 0,
                dirty_pages: 0,
                limit_pages: 0,
                bdi_dirty_pages: 0,
                bdi_setpoint_pages: 0,
                task_ratelimit: 0,
                last_ns: 0,
                last_dirty_pages: 0,
                last_limit_pages: 0,
            });
        }
        let sums = &mut all[0];
        sums.events += phase.events;
        sums.pause_ns += phase.pause_ms * 1_000_000;
        sums.dirty_pages += phase.events * phase.dirty;
        sums.limit_pages += phase.events * phase.limit;
        sums.bdi_dirty_pages += phase.events * phase.bdi_dirty;
        sums.bdi_setpoint_pages += phase.events * phase.setpoint;
    }
}

pub fn wait(tid: usize, class: Class, bdi: &str) -> Waiting {
    let tid = u32::try_from(tid).expect("small");
    Waiting {
        tid,
        tgid: tid,
        comm: CompactString::const_new("task"),
        cause: Cause::BalanceDirtyPages,
        class,
        reason: ThrottleReason::None,
        bdi: bdi.into(),
        since_ns: 1,
    }
}

/// A node and the engine that watches it.
pub struct Watched {
    pub node: Node,
    pub engine: Engine,
    /// Everything that changed: seconds since the first tick, and to what.
    pub timeline: Vec<(u64, LivelockState)>,
    pub transitions: Vec<Transition>,
    start_ns: u64,
}

impl Watched {
    pub fn new(threads: u32) -> Self {
        let node = Node::new(threads);
        let start_ns = node.now.monotonic_ns;
        let engine = Engine::new(Thresholds::default());
        Self {
            node,
            engine,
            timeline: Vec::new(),
            transitions: Vec::new(),
            start_ns,
        }
    }

    /// So many seconds of a phase; the state after them.
    pub fn play(&mut self, phase: &Phase, seconds: u64) -> LivelockState {
        self.play_with(phase, seconds, |_, _| {})
    }

    /// The same, with a last hand on each observation.
    pub fn play_with(
        &mut self,
        phase: &Phase,
        seconds: u64,
        mut change: impl FnMut(u64, &mut Observation),
    ) -> LivelockState {
        for n in 0..seconds {
            let mut observation = self.node.second(phase);
            change(n, &mut observation);
            self.observe(&observation);
        }
        self.state()
    }

    pub fn observe(&mut self, observation: &Observation) {
        let at = observation.monotonic_ns.saturating_sub(self.start_ns) / 1_000_000_000;
        for transition in self.engine.observe(observation).transitions {
            if transition.loop_id == "0:29-nfsd" {
                self.timeline.push((at, transition.to));
            }
            self.transitions.push(transition);
        }
    }

    /// The state of the first client's loop.
    pub fn state(&self) -> LivelockState {
        self.engine
            .verdicts()
            .first()
            .map_or(LivelockState::None, |verdict| verdict.state)
    }

    /// When the state was first entered, seconds since the first tick.
    pub fn first(&self, state: LivelockState) -> Option<u64> {
        self.timeline
            .iter()
            .find(|(_, to)| *to == state)
            .map(|&(at, _)| at)
    }
}
