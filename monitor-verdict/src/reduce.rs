//! An observation reduced to what the signatures ask for, some hundred bytes
//! instead of the whole node.

pub mod related;

use std::mem;

use compact_str::CompactString;
use monitor_common::{Cause, Class};

use crate::observation::{self, NfsClient, Observation, ServerThread, State, ThreadState, Waiting};

/// The signals that the verdict needs, by the names of
/// [`observation::SignalStatus`]. Unavailable makes unknown what they bring; a
/// signal that is not listed is taken to be there.
pub mod signal {
    /// Pauses and lasting waits of `balance_dirty_pages`.
    pub const BALANCE_DIRTY_PAGES: &str = "balance_dirty_pages";
    /// WRITE calls of the NFS client.
    pub const NFS_CLIENT: &str = "nfs_client_writes";
}

/// Bounds on what one observation may bring; more is left out, in the
/// observation's order.
const MAX_CLIENTS: usize = 256;
const MAX_PAUSES: usize = 512;
const MAX_DISKS: usize = 1024;

/// One observation, reduced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// Size of a page, `None` where it was not said.
    pub page_size: Option<u64>,
    /// The kernel's NFS server, where it runs.
    pub server: Option<Server>,
    /// NFS client devices.
    pub clients: Vec<Client>,
    /// What `balance_dirty_pages` said; empty and no pauses are the same.
    pub pauses: Vec<observation::DirtyPauses>,
    /// Disks by their BDI: milliseconds busy since boot.
    pub disks: Vec<(CompactString, u64)>,
    /// What the related conditions ask for.
    pub signs: related::Signs,
}

/// The kernel's NFS server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Bytes written to the exported file systems, total.
    pub bytes_written: Option<u64>,
    /// Its threads by state; `None` where throttling is not seen.
    pub threads: Option<Threads>,
}

/// Server threads by what they do at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Neither throttled nor blocked nor idle.
    pub running: u32,
    /// In one of the causes.
    pub throttled: u32,
    /// In `balance_dirty_pages` among them.
    pub in_dirty: u32,
    /// Asleep uninterruptibly elsewhere.
    pub blocked: u32,
}

impl Threads {
    /// All that are not idle.
    #[must_use]
    pub const fn busy(&self) -> u32 {
        self.running
            .saturating_add(self.throttled)
            .saturating_add(self.blocked)
    }
}

/// An NFS client device at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The device, which is its BDI's name.
    pub bdi: CompactString,
    /// Bytes that the server took, total; `None` where the signal is missing.
    pub bytes_acked: Option<u64>,
    /// WRITE calls sent, neither answered nor failed.
    pub pending_writes: Option<u64>,
    /// Writers in `balance_dirty_pages` on it; `None` where that is not seen.
    pub waiting_writers: Option<u32>,
    /// Dirty and writeback bytes.
    pub held_bytes: Option<u64>,
}

impl Sample {
    /// Becomes the reduction of `observation`; keeps the buffers that it has.
    pub fn refill(&mut self, observation: &Observation) {
        let available = |name: &str| {
            let lost =
                |s: &observation::SignalStatus| s.signal == name && s.state == State::Unavailable;
            !observation.signals.iter().any(lost)
        };
        let sees_dirty = available(signal::BALANCE_DIRTY_PAGES);
        let sees_client = available(signal::NFS_CLIENT);
        self.ns = observation.monotonic_ns;
        self.page_size = Some(observation.memory.page_size).filter(|&size| size > 0);
        self.server = observation.nfsd.as_ref().map(|nfsd| Server {
            bytes_written: nfsd.bytes_written,
            threads: sees_dirty.then(|| threads(&nfsd.threads, &observation.waits)),
        });
        let clients = observation.clients.iter().take(MAX_CLIENTS);
        self.clients.clear();
        self.clients
            .extend(clients.map(|c| client(c, observation, sees_client, sees_dirty)));
        self.pauses.clear();
        self.pauses
            .extend(observation.dirty_pauses.iter().take(MAX_PAUSES).cloned());
        let disk = |bdi: &observation::Bdi| Some((bdi.bdi.clone(), bdi.disk_busy_ms?));
        self.disks.clear();
        self.disks
            .extend(observation.bdis.iter().filter_map(disk).take(MAX_DISKS));
        self.signs.refill(observation);
    }

    /// The reduction of `observation` in the buffers of an older one.
    pub(super) fn reuse(old: &mut Self, observation: &Observation) -> Self {
        let mut sample = mem::take(old);
        sample.refill(observation);
        sample
    }

    /// The NFS client device of this name.
    #[must_use]
    pub fn client(&self, bdi: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.bdi == bdi)
    }

    /// Milliseconds that the disk of this BDI was busy.
    #[must_use]
    pub fn disk_busy_ms(&self, bdi: &str) -> Option<u64> {
        self.disks
            .iter()
            .find(|(name, _)| name == bdi)
            .map(|&(_, ms)| ms)
    }

    /// What `balance_dirty_pages` said to this class on this BDI.
    #[must_use]
    pub fn pauses(&self, bdi: &str, class: Class) -> Option<&observation::DirtyPauses> {
        self.pauses
            .iter()
            .find(|pauses| pauses.class == class && pauses.bdi == bdi)
    }
}

fn client(from: &NfsClient, all: &Observation, sees_client: bool, sees_dirty: bool) -> Client {
    // Short and failed WRITEs take bytes from the balance; calls do not lie.
    let waits_here = |wait: &&Waiting| {
        wait.cause == Cause::BalanceDirtyPages && wait.class != Class::Nfsd && wait.bdi == from.bdi
    };
    let bdi = all.bdis.iter().find(|bdi| bdi.bdi == from.bdi);
    let held = bdi.and_then(|bdi| match (bdi.dirty_bytes, bdi.writeback_bytes) {
        (None, None) => None,
        (dirty, writeback) => Some(dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0))),
    });
    Client {
        bdi: from.bdi.clone(),
        bytes_acked: sees_client.then_some(from.bytes_acked),
        pending_writes: sees_client.then(|| from.pending_writes()),
        waiting_writers: sees_dirty.then(|| small(all.waits.iter().filter(waits_here).count())),
        held_bytes: held,
    }
}

/// A thread is throttled if the sampler says so or if a wait of it lasts: the
/// two are read at slightly different moments.
fn threads(all: &[ServerThread], waits: &[Waiting]) -> Threads {
    let mut sum = Threads::default();
    for thread in all {
        let mut own = waits
            .iter()
            .filter(|w| w.class == Class::Nfsd && w.tid == thread.tid);
        let wait = own.next();
        let in_dirty = |w: &Waiting| w.cause == Cause::BalanceDirtyPages;
        if wait.is_some() || thread.state == ThreadState::Throttled {
            sum.throttled = sum.throttled.saturating_add(1);
            if wait.is_some_and(in_dirty) || own.any(in_dirty) {
                sum.in_dirty = sum.in_dirty.saturating_add(1);
            }
            continue;
        }
        match thread.state {
            ThreadState::Blocked => sum.blocked = sum.blocked.saturating_add(1),
            ThreadState::Running => sum.running = sum.running.saturating_add(1),
            ThreadState::Idle | ThreadState::Throttled => {}
        }
    }
    sum
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
