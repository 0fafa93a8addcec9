//! A node for tests: phases with the numbers measured on real kernels, second
//! by second, until recordings take their place.

use compact_str::CompactString;
use monitor_common::{Cause, Class, ThrottleReason};

use crate::sample::{
    Bdi, DirtyPauses, Memory, NfsClient, Nfsd, NfsdThread, Observation, ThreadState, Waiting,
};
use crate::verdict::{Engine, LivelockState, Thresholds, Transition};

pub const CLIENT: &str = "0:29";
pub const DISK: &str = "254:0";
const PAGE: u64 = 4096;
const MB: u64 = 1_000_000;

/// What happens in each second of a phase.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub acked: u64,
    pub served: u64,
    /// Pages that the client holds.
    pub held: u64,
    pub throttled: usize,
    pub blocked: usize,
    pub running: usize,
    /// Pauses of nfsd a second.
    pub events: u64,
    pub pause_ms: u64,
    pub dirty: u64,
    pub limit: u64,
    pub bdi_dirty: u64,
    pub setpoint: u64,
    pub disk_busy_ms: u64,
    pub writers: usize,
}

impl Phase {
    /// Nothing happens.
    pub const IDLE: Self = Self {
        acked: 0,
        served: 0,
        held: 0,
        throttled: 0,
        blocked: 0,
        running: 0,
        events: 0,
        pause_ms: 0,
        dirty: 0,
        limit: 19529,
        bdi_dirty: 0,
        setpoint: 0,
        disk_busy_ms: 0,
        writers: 0,
    };
    /// Loopback at disk speed; some pauses, as every heavy writer gets them.
    pub const HEALTHY: Self = Self {
        acked: 30 * MB,
        served: 30 * MB,
        held: 8000,
        throttled: 1,
        blocked: 1,
        running: 4,
        events: 10,
        pause_ms: 100,
        dirty: 17800,
        bdi_dirty: 8800,
        setpoint: 9126,
        disk_busy_ms: 850,
        writers: 4,
        ..Self::IDLE
    };
    /// Before the freeze: each throttled nfsd 80-125 pauses a second.
    pub const CRAWL: Self = Self {
        acked: 400_000,
        served: 400_000,
        held: 19000,
        throttled: 2,
        blocked: 6,
        running: 0,
        events: 200,
        pause_ms: 1900,
        dirty: 19800,
        bdi_dirty: 700,
        setpoint: 10000,
        disk_busy_ms: 60,
        ..Self::HEALTHY
    };
    /// 6.12: 2 of 8 throttled, 6 on the inode lock.
    pub const FROZEN_6_12: Self = Self {
        acked: 0,
        served: 0,
        held: 19900,
        throttled: 2,
        blocked: 6,
        running: 0,
        events: 10,
        pause_ms: 2000,
        dirty: 20031,
        limit: 19529,
        bdi_dirty: 48,
        setpoint: 10437,
        disk_busy_ms: 0,
        writers: 4,
    };
    /// 5.10: more of the server's pages are left.
    pub const FROZEN_5_10: Self = Self {
        bdi_dirty: 1376,
        setpoint: 9502,
        held: 18500,
        ..Self::FROZEN_6_12
    };
    /// The hardest negative: nothing completes for seconds, the disk is busy.
    pub const SLOW_DISK: Self = Self {
        acked: 0,
        served: 0,
        held: 10500,
        throttled: 1,
        blocked: 7,
        running: 0,
        events: 5,
        pause_ms: 1000,
        dirty: 18600,
        limit: 18300,
        bdi_dirty: 8000,
        setpoint: 9126,
        disk_busy_ms: 960,
        writers: 4,
    };
    /// The same in the second in which WRITEs complete.
    pub const SLOW_DISK_MOVES: Self = Self {
        acked: 30 * MB,
        served: 30 * MB,
        running: 3,
        blocked: 4,
        ..Self::SLOW_DISK
    };
    /// The link is cut; 30 MB in writeback.
    pub const SERVER_GONE: Self = Self {
        held: 7300,
        writers: 2,
        ..Self::IDLE
    };
}

/// A node with one NFS client device, nfsd and one disk.
#[derive(Clone, Debug)]
pub struct Node {
    pub now: Observation,
}

impl Node {
    pub fn new(threads: u32) -> Self {
        let thread = |tid| NfsdThread {
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
            ..Observation::default()
        };
        Self { now }
    }

    /// A second client device, as idle as the first.
    pub fn mount(&mut self, bdi: &str) {
        self.now.clients.push(NfsClient {
            bdi: bdi.into(),
            ..NfsClient::default()
        });
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
