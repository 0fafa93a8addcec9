//! Phases of a node, with the numbers measured on real kernels.

const MB: u64 = 1_000_000;

/// The events of each second of a phase.
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
    /// An idle node.
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
    /// 5.10: the client holds nearly all of the memory. Both nfsd threads are in reclaim, without
    /// one pause.
    pub const FROZEN_RECLAIM: Self = Self {
        throttled: 2,
        blocked: 0,
        events: 0,
        pause_ms: 0,
        held: 12_000,
        ..Self::FROZEN_6_12
    };
    /// The same waits in a working storm, at 22-30 MB/s.
    pub const STORM: Self = Self {
        acked: 22 * MB,
        served: 22 * MB,
        disk_busy_ms: 600,
        ..Self::FROZEN_RECLAIM
    };
}
