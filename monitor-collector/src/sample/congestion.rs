//! Which backing devices are congested, since when, and how long in all.
//!
//! Up to 5.17 the kernel has a flag for it. Since then each file system has a
//! rule of its own: the NFS client a flag, where it can be read; of all else the
//! kernel tells only the numbers, which are compared here once a tick.
//! `rules.rs` is the arithmetic.

pub(super) mod rules;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use compact_str::CompactString;
use monitor_common::CongestedBdi;
use monitor_model::observation::{Bdi, Congestion, CongestionBy, Memory};

use self::rules::{Fuse, Said};

/// Ticks between two looks at the limits of each BDI.
const LIMITS_TICKS: u32 = 10;
/// Ticks that an NFS mount has had nothing to write, and then it is not
/// congested whatever its flag was: the last change was not seen.
const IDLE_TICKS: u32 = 2;

/// What is remembered of a BDI between two ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watched {
    congested: bool,
    since_ns: u64,
    total_ns: u64,
    /// When it was last looked at.
    seen_ns: u64,
    /// How long it was congested by the kernel's flag, when last looked at.
    flag_ns: u64,
    /// Ticks since there was anything to write.
    idle_ticks: u32,
}

/// What an operator may set for a BDI.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    max_ratio: Option<u32>,
    strict_limit: Option<bool>,
}

/// Tells congestion, tick by tick.
pub struct Congestions {
    procfs: PathBuf,
    sysfs: PathBuf,
    watched: BTreeMap<CompactString, Watched>,
    limits: BTreeMap<CompactString, Limits>,
    ticks: u32,
}

/// What a tick has seen before it comes to congestion.
pub struct Seen<'a> {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub now_ns: u64,
    /// The node's dirty pages.
    pub memory: &'a Memory,
    /// The kernel's flag, by BDI.
    pub flags: &'a BTreeMap<CompactString, CongestedBdi>,
    /// The NFS client's flag, by BDI.
    pub write_congested: &'a BTreeMap<CompactString, CongestedBdi>,
    /// BDIs of the NFS client, each with its WRITE calls that are not answered.
    pub nfs: &'a BTreeMap<CompactString, u64>,
}

impl Congestions {
    /// Nothing was seen yet.
    pub fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self {
            procfs: procfs.into(),
            sysfs: sysfs.into(),
            watched: BTreeMap::new(),
            limits: BTreeMap::new(),
            ticks: 0,
        }
    }

    /// Fills in limits and congestion of each BDI, and forgets those that are
    /// gone. Returns the NFS mounts whose flag is out of date. To be called once
    /// a tick.
    pub fn tell(&mut self, bdis: &mut [Bdi], seen: &Seen<'_>) -> Vec<CompactString> {
        if self.ticks == 0 {
            self.ticks = LIMITS_TICKS;
            self.limits.clear();
        }
        self.ticks -= 1;
        let mut nfs_limit = None;
        let mut watched = BTreeMap::new();
        let mut outdated = Vec::new();
        for bdi in bdis {
            let limits = self.limits(&bdi.bdi);
            bdi.max_ratio = limits.max_ratio;
            bdi.strict_limit = limits.strict_limit;
            let before = self.watched.get(&bdi.bdi).copied();
            let mut state = before.unwrap_or_default();
            state.counts_idle(bdi, seen.nfs.get(&bdi.bdi));
            let mut flag = None;
            if let Some(bdi_flag) = seen.flags.get(&bdi.bdi) {
                flag = Some((bdi_flag, CongestionBy::Flag));
            } else if let Some(client) = seen.write_congested.get(&bdi.bdi) {
                if client.since_ns != 0 && state.idle_ticks >= IDLE_TICKS {
                    outdated.push(bdi.bdi.clone());
                } else {
                    flag = Some((client, CongestionBy::WriteCongested));
                }
            }
            let said = if let Some((flag, by)) = flag {
                Some(rules::flag(flag, by))
            } else if seen.nfs.contains_key(&bdi.bdi) || matches!(&*bdi.fstype, "nfs" | "nfs4") {
                let limit = *nfs_limit.get_or_insert_with(|| self.nfs_congestion_kb());
                rules::nfs(bdi, limit, seen.memory.page_size, state.congested)
            } else {
                self.fuse(bdi)
                    .as_ref()
                    .map(rules::fuse)
                    .or_else(|| rules::dirty(bdi, seen.memory, state.congested))
            };
            state.goes_on(said.as_ref(), flag.map(|(flag, _)| flag), seen.now_ns);
            bdi.congestion = said.map(|said| state.told(&said));
            watched.insert(bdi.bdi.clone(), state);
        }
        self.watched = watched;
        outdated
    }

    fn limits(&mut self, name: &CompactString) -> Limits {
        let dir = self.sysfs.join("class/bdi").join(name.as_str());
        *self.limits.entry(name.clone()).or_insert_with(|| Limits {
            max_ratio: number(&dir.join("max_ratio")),
            strict_limit: number(&dir.join("strict_limit")).map(|on: u8| on != 0),
        })
    }

    fn nfs_congestion_kb(&self) -> Option<u64> {
        number(&self.procfs.join("sys/fs/nfs/nfs_congestion_kb"))
    }

    /// The requests of a FUSE file system, where fusectl is mounted and may be
    /// read. Its directories are named by the whole device number.
    fn fuse(&self, bdi: &Bdi) -> Option<Fuse> {
        let device = bdi.bdi.strip_suffix("-fuseblk");
        if device.is_none() && !bdi.fstype.starts_with("fuse") && bdi.fstype != "virtiofs" {
            return None;
        }
        let (major, minor) = device.unwrap_or(&bdi.bdi).split_once(':')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        let dir = self
            .sysfs
            .join("fs/fuse/connections")
            .join((major << 20 | minor).to_string());
        Some(Fuse {
            waiting: number(&dir.join("waiting"))?,
            threshold: number(&dir.join("congestion_threshold"))?,
        })
    }
}

impl Watched {
    /// A tick without anything to write is counted.
    fn counts_idle(&mut self, bdi: &Bdi, pending_writes: Option<&u64>) {
        let idle = bdi.writeback_bytes.unwrap_or(0) == 0 && pending_writes.unwrap_or(&0) == &0;
        self.idle_ticks = if idle {
            self.idle_ticks.saturating_add(1)
        } else {
            0
        };
    }

    /// A tick later. What was congested at the last tick is taken to have been
    /// so until now; the kernel's flag knows it to the nanosecond.
    fn goes_on(&mut self, said: Option<&Said>, flag: Option<&CongestedBdi>, now_ns: u64) {
        if let Some(flag) = flag {
            let lasting = match flag.since_ns {
                0 => 0,
                since_ns => now_ns.saturating_sub(since_ns),
            };
            let flag_ns = flag.total_ns.saturating_add(lasting);
            self.total_ns += flag_ns.saturating_sub(self.flag_ns);
            self.flag_ns = flag_ns;
            self.since_ns = flag.since_ns;
        } else {
            self.flag_ns = 0;
            if self.congested {
                self.total_ns += now_ns.saturating_sub(self.seen_ns);
            } else {
                self.since_ns = now_ns;
            }
        }
        self.congested = said.is_some_and(|said| said.congested);
        self.seen_ns = now_ns;
    }

    fn told(&self, said: &Said) -> Congestion {
        Congestion {
            congested: self.congested,
            by: said.by,
            since_ns: self.congested.then_some(self.since_ns),
            total_ns: self.total_ns,
            threshold_bytes: said.threshold_bytes,
        }
    }
}

fn number<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests;
