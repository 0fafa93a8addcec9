//! The target of the commands: the loop's BDI, and the numbers of its node.

use std::net::{IpAddr, SocketAddr};

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::{
    loops::{Exempt, Loop, PathNode},
    observation::{ClientKind, Memory, Observation, ServerKind},
};

use super::kernel::Kernel;

/// The shell variable for the BDI, if no name is filled in.
pub(super) const BDI: &str = "$bdi";

/// `vm.dirty_bytes` never exceeds this share of the memory: dirty pages are unavailable to others.
pub(super) const MEMORY_SHARE: u64 = 2;

/// The dirty limit that lets the server continue, in halves of the dirty bytes. Below the middle of
/// the background limit and the limit no task pauses (`dirty_freerun_ceiling`,
/// `mm/page-writeback.c`). At 2.5 times, the middle is a quarter above the dirty bytes even if
/// writeback begins at once.
pub(super) const HALVES: u64 = 5;

const MIB: u64 = 1 << 20;

/// An older report of `balance_dirty_pages` no longer describes the node.
const RECENT_NS: u64 = 10_000_000_000;

/// With more writers the commands match their names instead of listing them.
const MAX_WRITERS: usize = 20;

/// The target of the commands. The default is any target: shell variables and tests stand for
/// unknown values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The client's BDI.
    pub bdi: Option<String>,
    /// The BDI that the server writes to, if the kernel can limit it strictly.
    pub strict_server: Option<String>,
    /// The mount point of the client.
    pub mount_point: Option<String>,
    /// The server: `nfsd`; empty: any server.
    pub server: String,
    /// The kind of the client.
    pub client_kind: ClientKind,
    /// What the server consists of.
    pub server_kind: ServerKind,
    /// The last server of the path, if it is a process.
    pub last_server: Option<String>,
    /// The server's address, as the client sees it.
    pub server_address: Option<IpAddr>,
    /// Whether the server is exempt from local dirty throttling.
    pub exempt: Exempt,
    /// Major and minor version of the kernel.
    pub release: Option<(u32, u32)>,
    /// Whether the BDI has the file `strict_limit`.
    pub has_strict_limit: Option<bool>,
    /// Its `max_ratio`, percent.
    pub max_ratio: Option<u32>,
    /// Its `strict_limit`.
    pub strict_limit: Option<bool>,
    /// Dirty and writeback bytes of the node, or its limit, whichever is more.
    pub held_bytes: Option<u64>,
    /// Size of the node's memory.
    pub memory_bytes: Option<u64>,
    /// Processes that wait to write to the client's BDI.
    pub writers: Vec<u32>,
}

/// The last server of a loop's path, if it is a process.
fn last_server(found: &Loop) -> Option<String> {
    let servers = PathNode::servers(&found.path);
    let Some(last) = servers.last() else {
        return (!found.is_nfsd()).then(|| found.server.to_string());
    };
    (last.kind == ServerKind::Process).then(|| last.name.to_string())
}

impl Target {
    /// The target of a loop on its node.
    #[must_use]
    pub fn of(found: &Loop, node: &Observation) -> Self {
        let mut bdis = node.bdis.iter();
        let bdi = bdis.find(|bdi| bdi.bdi == found.client_bdi);
        let release = version(&node.kernel);
        let has_strict_limit = bdi.map(|bdi| bdi.strict_limit.is_some());
        let mount = found.mounts.first();
        Self {
            mount_point: mount.and_then(|mount| plain_path(&mount.mount_point)),
            server: found.server.to_string(),
            client_kind: found.client_kind,
            server_kind: found.server_kind,
            last_server: last_server(found),
            server_address: found.server_address.as_deref().and_then(address),
            exempt: found.exempt.state,
            has_strict_limit,
            max_ratio: bdi.and_then(|bdi| bdi.max_ratio),
            strict_limit: bdi.and_then(|bdi| bdi.strict_limit),
            held_bytes: held(node),
            memory_bytes: node.memory.total_bytes,
            writers: writers(&found.client_bdi, node),
            strict_server: strict_server(found.server_bdi.as_ref(), node),
            release,
            ..Self::default()
        }
        .with_bdi(&found.client_bdi)
    }

    /// Sets the BDI if it is a name that a kernel gives. It may come from a recording and goes into
    /// commands.
    #[must_use]
    pub fn with_bdi(mut self, bdi: &str) -> Self {
        if is_bdi(bdi) {
            self.bdi = Some(bdi.to_owned());
        }
        self
    }

    /// Sets the BDI that the server writes to, if the kernel can limit it strictly.
    #[must_use]
    pub fn with_strict_server(mut self, bdi: Option<&CompactString>) -> Self {
        self.strict_server = bdi.filter(|bdi| is_bdi(bdi)).map(ToString::to_string);
        self
    }

    /// Sets the kernel from the output of `uname -r`.
    #[must_use]
    pub fn with_kernel(mut self, release: &str) -> Self {
        self.release = version(release);
        self
    }

    /// Whether the server is nfsd, or unknown.
    pub(super) fn is_nfsd(&self) -> bool {
        matches!(self.server.as_str(), "" | "nfsd")
    }

    /// The BDI as a command names it.
    pub(super) fn bdi(&self) -> &str {
        self.bdi.as_deref().unwrap_or(BDI)
    }

    /// Whether the BDI has `strict_limit`; from Linux 6.2 on.
    pub(super) fn offers_strict_limit(&self) -> Option<bool> {
        let by_release = || self.release.map(|release| release >= (6, 2));
        self.has_strict_limit.or_else(by_release)
    }

    /// The measured kernel that is closest to this one.
    pub(super) fn kernel(&self) -> Option<Kernel> {
        self.release.map(Kernel::nearest)
    }

    /// The name of a measured kernel. It adds this kernel's name if the two differ.
    pub(super) fn named(&self, kernel: Kernel) -> String {
        let name = kernel.as_str();
        match self.release {
            Some((major, minor))
                if self.kernel() == Some(kernel) && kernel.version() != (major, minor) =>
            {
                format!("{name}, the nearest to {major}.{minor}")
            }
            _ => name.to_owned(),
        }
    }

    /// The value for `vm.dirty_bytes`; `None`: the shell computes it.
    pub(super) fn dirty_bytes(&self) -> Option<u64> {
        let wanted = self.held_bytes?.saturating_mul(HALVES) / 2;
        // Without a cap nothing is recommended.
        let most = self.memory_bytes? / MEMORY_SHARE;
        // Whole megabytes are easier to type.
        let bytes = wanted.min(most);
        Some((bytes / MIB * MIB).max(MIB))
    }

    /// Whether the share of the memory keeps the limit below the wanted value.
    pub(super) fn is_capped(&self) -> bool {
        let wanted = self.held_bytes.map(|held| held.saturating_mul(HALVES) / 2);
        matches!((wanted, self.memory_bytes), (Some(wanted), Some(all)) if wanted > all / MEMORY_SHARE)
    }
}

/// The BDI that the server writes to, if the kernel can limit it strictly. A re-exported NFS mount
/// is itself a client, so it does not qualify.
pub(crate) fn strict_server(name: Option<&CompactString>, node: &Observation) -> Option<String> {
    let name = name?;
    let bdi = node.bdis.iter().find(|bdi| bdi.bdi == *name)?;
    let is_nfs = bdi.fstype.starts_with("nfs");
    (bdi.strict_limit.is_some() && !is_nfs && is_bdi(name)).then(|| name.to_string())
}

/// Whether it is a BDI name that a kernel gives.
fn is_bdi(name: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit())
    };
    let parts = name.split_once(':');
    parts.is_some_and(|(major, minor)| number(major) && number(minor))
}

/// An address, with or without its port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = text.parse().ok().map(|address: SocketAddr| address.ip());
    with_port.or_else(|| text.parse().ok())
}

/// The bytes that count against the limit now, and at least the limit itself: a livelock implies
/// that it is exceeded.
fn held(node: &Observation) -> Option<u64> {
    let Memory {
        dirty_bytes,
        writeback_bytes,
        dirty_limit_bytes,
        page_size,
        ..
    } = node.memory;
    let since = node.monotonic_ns.saturating_sub(RECENT_NS);
    let pauses = node.dirty_pauses.iter();
    let pauses = pauses.filter(|p| p.node_events() > 0 && p.last_ns >= since);
    let last = pauses.max_by_key(|p| p.last_ns);
    // The event's own numbers: /proc/vmstat lags them by up to 2x.
    let event = last.map(|p| p.last_limit_pages.max(p.last_dirty_pages));
    let event = event.map(|pages| pages.saturating_mul(page_size));
    let now = dirty_bytes.zip(writeback_bytes);
    let now = now.map(|(dirty, writeback)| dirty.saturating_add(writeback));
    [event, now, dirty_limit_bytes]
        .into_iter()
        .flatten()
        .max()
        .filter(|&held| held > 0)
}

/// The processes that wait to write to this BDI, or to a loop device on it, each once.
fn writers(bdi: &str, node: &Observation) -> Vec<u32> {
    let is_on = |other: &str| {
        let mut loops = node.topology.loop_devices.iter();
        loops.any(|device| device.on == bdi && device.bdi == other)
    };
    let waits = node.waits.iter();
    let waits = waits.filter(|w| w.cause == Cause::BalanceDirtyPages && w.class == Class::User);
    let mut all: Vec<u32> = waits
        .filter(|w| w.bdi == bdi || is_on(&w.bdi))
        .map(|w| w.tgid)
        .collect();
    all.sort_unstable();
    all.dedup();
    if all.len() > MAX_WRITERS {
        all.clear();
    }
    all
}

/// A path without characters that a shell interprets. It may come from a recording and goes into
/// commands.
fn plain_path(path: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    (path.starts_with('/') && path.chars().all(plain)).then(|| path.to_owned())
}

/// Major and minor of `uname -r`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
