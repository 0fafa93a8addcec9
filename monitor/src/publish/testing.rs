//! What the tests of this folder share: an observation of a node in a
//! livelock, and a strict reader of the text format.

mod evidence;
mod exposition;

use std::sync::Arc;
use std::time::Duration;

use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use monitor_model::{
    api::DaemonInfo,
    loops::{LoopChange, LoopEvent},
    observation::{
        Bdi, Congestion, CongestionBy, Delay, Lost, Memory, NfsClient, Nfsd, Observation,
        SignalStatus, StalledTask, State, TaskDelay, ThreadState, Waiting,
    },
    related::{Related, RelatedEvent, RelatedKind, RelatedTally},
    testing,
    verdict::{Condition, Conditions, LivelockState, Signature, Tally, Transition, Verdict},
};

use super::snapshot::{
    Daemon, Event, Happened, ProbeReport, SignalReport, Snapshot, TickDurations,
};

pub(crate) use evidence::evidence;
pub(crate) use exposition::Exposition;
pub(crate) use monitor_model::testing::found_loop;

/// The time of [`observation`], `CLOCK_MONOTONIC` nanoseconds.
pub(crate) const NOW_NS: u64 = 100_000_000_000;

pub(crate) fn delay(
    cause: Cause,
    class: Class,
    reason: ThrottleReason,
    bdi: &str,
    counts: &[u64],
) -> Delay {
    let mut buckets = [0; HIST_BUCKETS];
    buckets[..counts.len()].copy_from_slice(counts);
    Delay {
        reason,
        sum_ns: 1_500_000_000,
        buckets,
        ..testing::delay(cause, class, bdi)
    }
}

pub(crate) fn wait(tid: u32, cause: Cause, class: Class, since_ns: u64) -> Waiting {
    Waiting {
        comm: "nfsd".into(),
        ..testing::wait(tid, class, cause, testing::DISK, since_ns)
    }
}

pub(crate) fn bdi(name: &str, device: &str) -> Bdi {
    Bdi {
        bdi: name.into(),
        fstype: "ext4".into(),
        device: device.into(),
        dirty_bytes: Some(4096),
        writeback_bytes: Some(8192),
        threshold_bytes: None,
        written_bytes: Some(1 << 30),
        ..Bdi::default()
    }
}

/// Congested for 2.5 s, and once before.
fn nfs_bdi() -> Bdi {
    Bdi {
        fstype: "nfs4".into(),
        congestion: Some(Congestion {
            congested: true,
            by: CongestionBy::NfsWriteback,
            since_ns: Some(NOW_NS - 2_500_000_000),
            total_ns: 4_500_000_000,
            threshold_bytes: Some(7000),
        }),
        max_ratio: Some(100),
        ..bdi("0:29", "10.0.0.1:/srv")
    }
}

pub(crate) fn observation() -> Observation {
    let delays = vec![
        delay(
            Cause::BalanceDirtyPages,
            Class::Nfsd,
            ThrottleReason::None,
            "254:0",
            &[1, 0, 2],
        ),
        delay(
            Cause::ReclaimThrottle,
            Class::User,
            ThrottleReason::Writeback,
            "",
            &[5],
        ),
        delay(
            Cause::ReclaimThrottle,
            Class::User,
            ThrottleReason::NoProgress,
            "",
            &[0, 7],
        ),
        delay(
            Cause::Compaction,
            Class::User,
            ThrottleReason::None,
            "",
            &[0; HIST_BUCKETS],
        ),
    ];
    let client = NfsClient {
        bdi: "0:29".into(),
        bytes_sent: 1000,
        bytes_acked: 900,
        writes_failed: 3,
        ..NfsClient::default()
    };
    Observation {
        monotonic_ns: NOW_NS,
        unix_ms: 1_700_000_000_500,
        memory: Memory {
            page_size: 4096,
            dirty_bytes: Some(77),
            writeback_bytes: None,
            dirty_limit_bytes: Some(99),
            background_limit_bytes: None,
            ..Memory::default()
        },
        delays,
        waits: vec![
            wait(
                11,
                Cause::BalanceDirtyPages,
                Class::Nfsd,
                NOW_NS - 2_500_000_000,
            ),
            wait(
                12,
                Cause::BalanceDirtyPages,
                Class::Nfsd,
                NOW_NS - 500_000_000,
            ),
        ],
        clients: vec![client],
        nfsd: Some(Nfsd {
            bytes_written: Some(4242),
            threads: vec![
                testing::thread(11, ThreadState::Throttled),
                testing::thread(12, ThreadState::Throttled),
                testing::thread(13, ThreadState::Idle),
            ],
            ..Nfsd::default()
        }),
        bdis: vec![bdi("254:0", "/dev/vda"), nfs_bdi()],
        signals: vec![SignalStatus {
            signal: "balance_dirty_pages".into(),
            strategy: "fentry".into(),
            state: State::Attached,
        }],
        lost: Lost {
            ringbuf: 1,
            map_full: 2,
            evicted: 3,
            recording: 4,
        },
        ..Observation::default()
    }
}

pub(crate) fn verdict(state: LivelockState) -> Verdict {
    Verdict {
        since_ms: 92_000,
        conditions: Conditions {
            demand: testing::holds(5000.0),
            no_progress: testing::holds(12.5),
            blockage: testing::holds(0.75),
            closing_edge: Condition::default(),
        },
        reason: "2 of 3 nfsd threads wait for <dirty> pages".to_owned(),
        tallies: vec![Tally {
            signature: Signature::DirtyThrottle,
            detections: 2,
            livelock_seconds: 8.25,
        }],
        ..testing::verdict(Signature::DirtyThrottle, state)
    }
}

pub(crate) fn loop_event() -> LoopEvent {
    LoopEvent {
        monotonic_ms: 90_000,
        unix_ms: 1_700_000_000_000,
        loop_id: "0:29-nfsd".into(),
        change: LoopChange::Appeared,
        message: "0:29 is served by this node's own nfsd".to_owned(),
    }
}

pub(crate) fn transition_at(monotonic_ms: u64) -> Transition {
    Transition {
        monotonic_ms,
        unix_ms: 1_700_000_000_000,
        loop_id: "0:29-nfsd".into(),
        signature: Signature::DirtyThrottle,
        from: LivelockState::Suspected,
        to: LivelockState::Livelock,
        reason: "all four hold".to_owned(),
    }
}

/// A slow disk that holds.
pub(crate) fn related() -> Related {
    Related {
        kind: RelatedKind::SlowDisk,
        bdi: "254:0".into(),
        since_ms: 91_000,
        reason: "the disk is <busy>".to_owned(),
    }
}

pub(crate) fn related_event(began: bool) -> RelatedEvent {
    RelatedEvent {
        monotonic_ms: 91_000,
        unix_ms: 1_700_000_000_000,
        kind: RelatedKind::SlowDisk,
        bdi: "254:0".into(),
        began,
        reason: "the disk is <busy>".to_owned(),
    }
}

pub(crate) fn stall_since(since_ns: u64) -> StalledTask {
    StalledTask {
        wait: wait(7, Cause::DirectReclaim, Class::User, since_ns),
        delay_ns: 150_000_000,
    }
}

pub(crate) fn task(tid: u32, delay_ns: u64, recent_delay_ns: u64) -> TaskDelay {
    TaskDelay {
        tid,
        tgid: tid,
        comm: "dd".into(),
        class: Class::User,
        cause: Cause::BalanceDirtyPages,
        bdi: "0:29".into(),
        waits: 1,
        delay_ns,
        recent_delay_ns,
    }
}

pub(crate) fn signal(name: &str, state: State) -> SignalReport {
    SignalReport {
        signal: name.into(),
        strategy: "kprobe".into(),
        state,
        reason: "fentry: EPERM".to_owned(),
        limitation: String::new(),
        remedy: "add CAP_BPF".to_owned(),
        applies: true,
        needed: true,
    }
}

pub(crate) fn daemon() -> Daemon {
    let mut bounds = vec![0.0; HIST_BUCKETS - 1];
    for (bound, i) in bounds.iter_mut().zip(0..) {
        *bound = 0.001 * 2f64.powi(i);
    }
    let info = DaemonInfo {
        node: "node-a".to_owned(),
        version: "0.1.0".to_owned(),
        revision: "abc".to_owned(),
        kernel: "6.12.1".to_owned(),
        interval_seconds: 1.0,
        recording: None,
    };
    Daemon {
        info,
        boot_id: "f3a1b2c4-0000-4000-8000-000000000000".to_owned(),
        bounds,
    }
}

pub(crate) fn event(id: u64, what: Happened) -> Event {
    Event { id, what }
}

/// A node in a livelock, all probes attached, as of [`NOW_NS`].
pub(crate) fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::before_the_first_tick(daemon());
    snapshot.observation = observation();
    snapshot.known_waits.learn(&snapshot.observation);
    snapshot.tick_duration = TickDurations::default();
    snapshot.tick_duration.observe(Duration::from_millis(3));
    snapshot.verdicts = vec![verdict(LivelockState::Livelock)];
    snapshot.loops = vec![found_loop()];
    snapshot.loop_events = Arc::new([loop_event()].into());
    snapshot.timeline = Arc::new([transition_at(92_000)].into());
    snapshot.related = vec![related()];
    snapshot.related_events = Arc::new([related_event(true)].into());
    snapshot.related_tallies = RelatedKind::ALL
        .map(|kind| RelatedTally {
            kind,
            beginnings: u64::from(kind == RelatedKind::SlowDisk),
            seconds: if kind == RelatedKind::SlowDisk {
                9.5
            } else {
                0.0
            },
        })
        .to_vec();
    snapshot.events = Arc::new(
        [
            event(1, Happened::Loop(loop_event())),
            event(2, Happened::Verdict(transition_at(92_000))),
            event(3, Happened::Related(related_event(true))),
        ]
        .into(),
    );
    snapshot.stalls = Arc::new([stall_since(NOW_NS - 60_000_000_000)].into());
    snapshot.tasks = vec![task(21, 900, 5), task(22, 100, 50), task(23, 500, 20)];
    snapshot.probes = Arc::new(ProbeReport {
        kernel: "6.12.1".to_owned(),
        signals: vec![
            signal("balance_dirty_pages", State::Attached),
            signal("nfs_client", State::Degraded),
        ],
    });
    snapshot
}
