//! A healthy node and its troubles, second by second.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{
        Bdi, Delay, DirtyPauses, Export, Memory, Observation, SignalStatus, State, ThreadState,
        Topology,
    },
    related::{RelatedEvent, RelatedKind},
};

use crate::tests::node::wait;
use crate::{Engine, Thresholds};

use monitor_model::testing::{self, PAGE};
pub use monitor_model::testing::{CLIENT, DISK};

pub const SECOND: u64 = 1_000_000_000;
pub const MB: u64 = 1_000_000;

/// A node and the engine that watches it: eight idle nfsd threads, a disk that
/// nfsd exports, and an NFS mount from elsewhere.
pub struct Scene {
    pub now: Observation,
    pub engine: Engine,
    pub events: Vec<RelatedEvent>,
    start_ns: u64,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Thresholds::default())
    }

    pub fn with(thresholds: Thresholds) -> Self {
        let start_ns = 1_000 * SECOND;
        let topology = Topology {
            read_ns: start_ns,
            exports: vec![Export {
                netns: 1,
                path: "/srv".into(),
                bdi: DISK.into(),
            }],
            ..Topology::default()
        };
        let now = Observation {
            memory: Memory {
                page_size: PAGE,
                dirty_bytes: Some(0),
                writeback_bytes: Some(0),
                total_bytes: Some(1000 * MB),
                available_bytes: Some(600 * MB),
                oom_kills: Some(3),
                ..Memory::default()
            },
            bdis: vec![bdi(CLIENT, None), bdi(DISK, Some(0))],
            signals: Vec::new(),
            topology: Arc::new(topology),
            ..testing::node(8)
        };
        Self {
            now,
            engine: Engine::new(thresholds),
            events: Vec::new(),
            start_ns,
        }
    }

    /// Plays some seconds and applies `happens` in each.
    pub fn play(&mut self, seconds: u64, mut happens: impl FnMut(&mut Observation)) {
        for _ in 0..seconds {
            self.now.monotonic_ns += SECOND;
            self.now.unix_ms += 1000;
            self.now.waits.clear();
            happens(&mut self.now);
            self.observe();
        }
    }

    pub fn observe(&mut self) {
        let changes = self.engine.observe(&self.now);
        self.events.extend(changes.related);
    }

    /// The conditions that hold now.
    pub fn holds(&self) -> Vec<(RelatedKind, String)> {
        let all = self.engine.related().iter();
        all.map(|one| (one.kind, one.bdi.to_string())).collect()
    }

    /// When this condition began and ended, seconds since the first tick.
    pub fn times(&self, kind: RelatedKind) -> Vec<(u64, bool)> {
        let its = self.events.iter().filter(|event| event.kind == kind);
        its.map(|e| (e.monotonic_ms / 1000 - self.start_ns / SECOND, e.began))
            .collect()
    }

    pub fn lose(&mut self, signal: &str) {
        self.now.signals.push(SignalStatus {
            signal: signal.into(),
            strategy: "none".into(),
            state: State::Unavailable,
        });
    }

    /// The disk that nfsd exports.
    pub fn disk(now: &mut Observation) -> &mut Bdi {
        now.bdis.iter_mut().find(|b| b.bdi == DISK).expect("there")
    }
}

pub fn bdi(name: &str, disk: Option<u64>) -> Bdi {
    Bdi {
        written_bytes: Some(0),
        disk_sectors_written: disk,
        ..testing::bdi(name, disk)
    }
}

/// The disk works for so many milliseconds and writes so many bytes.
pub fn disk_works(now: &mut Observation, busy_ms: u64, bytes: u64) {
    let disk = Scene::disk(now);
    disk.disk_busy_ms = disk.disk_busy_ms.map(|ms| ms + busy_ms);
    disk.disk_sectors_written = disk.disk_sectors_written.map(|s| s + bytes / 512);
    disk.written_bytes = disk.written_bytes.map(|written| written + bytes);
}

/// `balance_dirty_pages` pauses tasks of a class.
pub fn pause(now: &mut Observation, class: Class, bdi: &str, ms: u64) {
    let same = |p: &&mut DirtyPauses| p.class == class && p.bdi == bdi;
    if now.dirty_pauses.iter_mut().find(same).is_none() {
        now.dirty_pauses.push(testing::pauses(bdi, class));
    }
    let found = now.dirty_pauses.iter_mut().find(same).expect("pushed");
    found.events += ms.div_ceil(200);
    found.pause_ns += ms * 1_000_000;
}

/// Tasks of a class spend time in a cause and leave it.
pub fn spend(now: &mut Observation, cause: Cause, class: Class, ms: u64) {
    let same = |d: &&mut Delay| d.cause == cause && d.class == class;
    if now.delays.iter_mut().find(same).is_none() {
        now.delays.push(testing::delay(cause, class, ""));
    }
    let found = now.delays.iter_mut().find(same).expect("pushed");
    found.sum_ns += ms * 1_000_000;
}

/// The server does not answer: 30 MB are under writeback, two writers wait.
pub fn unanswered(now: &mut Observation) {
    let client = &mut now.clients[0];
    client.writes_sent = client.writes_acked + client.writes_failed + 30;
    now.bdis[0].writeback_bytes = Some(30 * MB);
    now.waits.push(wait(500, Class::User, CLIENT));
    now.waits.push(wait(501, Class::User, CLIENT));
}

/// The server takes so many bytes.
pub fn answered(now: &mut Observation, bytes: u64) {
    let client = &mut now.clients[0];
    client.writes_acked += bytes.div_ceil(MB);
    client.bytes_acked += bytes;
    client.writes_sent = client.writes_sent.max(client.writes_acked);
}

/// So many nfsd threads are in this state, the others idle.
pub fn threads(now: &mut Observation, count: usize, state: ThreadState, write: Option<u64>) {
    let threads = now.nfsd.iter_mut().flat_map(|nfsd| &mut nfsd.threads);
    for (n, thread) in threads.enumerate() {
        let is = n < count;
        thread.state = if is { state } else { ThreadState::Idle };
        thread.write_since_ns = write.filter(|_| is);
    }
}

/// A local writer is paused all the time.
pub fn writer_paused(now: &mut Observation) {
    pause(now, Class::User, DISK, 950);
    now.waits.push(wait(600, Class::User, DISK));
}
