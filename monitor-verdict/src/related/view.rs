//! What the related conditions look at.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_common::Class;
use monitor_model::{
    loops::NFSD, observation::Observation, related::RelatedKind, verdict::LivelockState,
};

use crate::loops::Former;
use crate::thresholds::Thresholds;
use crate::window::Window;
use crate::window::reduce::related::{Device, RelatedSample};

/// A loop as it is judged at this tick.
#[derive(Clone, Copy, Debug)]
pub struct LoopNow<'a> {
    /// Its id.
    pub id: &'a str,
    /// The client's device.
    pub client_bdi: &'a str,
    /// Who serves.
    pub server: &'a str,
    /// The process, where it is one.
    pub server_tgid: Option<u32>,
    /// What the server writes to, where it is known.
    pub server_bdi: Option<&'a str>,
    /// Its state.
    pub state: LivelockState,
    /// Whether it still is a loop.
    pub stands: bool,
    /// Whether the client writes past the server's threads.
    pub localio: bool,
}

/// The node at one tick.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Over the window.
    pub window: &'a Window,
    /// At this tick.
    pub now: &'a Observation,
    /// Its loops.
    pub loops: &'a [LoopNow<'a>],
    /// Who served the mounts that are not loops any more.
    pub former: &'a [Former],
    /// The numbers to compare with.
    pub thresholds: &'a Thresholds,
}

/// What holds, before it is known for how long.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub kind: RelatedKind,
    pub bdi: CompactString,
    /// How bad: of too many, the worst are kept.
    pub weight: f64,
    /// Whether it begins at once.
    pub at_once: bool,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// A condition that holds, told or not yet.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Since when it holds.
    pub since_ns: u64,
    /// When it last did.
    pub last_ns: u64,
    /// Whether it has begun.
    pub began: bool,
    pub reason: String,
}

/// The node, and what held until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub node: &'a Node<'a>,
    pub held: &'a BTreeMap<(RelatedKind, CompactString), Held>,
    pub signs: &'a RelatedSample,
}

impl View<'_> {
    /// Whether a condition is told of this BDI.
    pub fn holds(&self, kind: RelatedKind, bdi: &str) -> bool {
        let told = self.held.iter().filter(|(_, held)| held.began);
        told.into_iter()
            .any(|((its, name), _)| *its == kind && name == bdi)
    }

    /// The factor of a threshold that is to be reached: less than 1 for what
    /// is told already.
    pub fn ease(&self, kind: RelatedKind, bdi: &str) -> f64 {
        if self.holds(kind, bdi) {
            self.node.thresholds.related.ease
        } else {
            1.0
        }
    }

    /// How many tasks on average are in `balance_dirty_pages` on a BDI,
    /// servers' threads among them.
    pub fn throttled_on(&self, bdi: &str) -> f64 {
        let pauses = |d: &Device| d.paused_ns.saturating_add(d.server_paused_ns);
        let waiting = |d: &Device| d.waiting.saturating_add(d.server_waiting);
        self.node.window.waited(bdi, pauses, waiting)
    }

    /// The BDIs that nfsd writes to, each with the moment of the last write
    /// that was seen. NFS mounts that are exported again are not among them:
    /// what hangs there is another server.
    pub fn server_bdis(&self) -> BTreeMap<&str, u64> {
        let now = self.node.now;
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for backing in now.rpc_clients.iter().flat_map(|rpc| &rpc.backing) {
            let last = found.entry(&backing.bdi).or_default();
            *last = backing.last_ns.max(*last);
        }
        let exports = now.topology.exports.iter().map(|e| e.bdi.as_str());
        let loops = self.node.loops.iter().filter(|one| one.server == NFSD);
        let loops = loops.filter_map(|one| one.server_bdi);
        let paused = now.dirty_pauses.iter().filter(|p| p.class == Class::Nfsd);
        let paused = paused.map(|p| p.bdi.as_str());
        for bdi in exports.chain(loops).chain(paused) {
            found.entry(bdi).or_default();
        }
        found.retain(|bdi, _| !bdi.is_empty() && now.clients.iter().all(|c| c.bdi != *bdi));
        found
    }
}

impl Node<'_> {
    /// The loop that tells of this BDI already, its client's or its server's.
    pub(super) fn told_by(
        &self,
        bdi: &str,
        tells: impl Fn(LivelockState) -> bool,
    ) -> Option<&LoopNow<'_>> {
        let mut loops = self.loops.iter();
        loops.find(|one| tells(one.state) && (one.client_bdi == bdi || one.server_bdi == Some(bdi)))
    }
}

/// States that say more of a loop than a related condition does.
pub(super) const fn suspect(state: LivelockState) -> bool {
    matches!(
        state,
        LivelockState::Suspected | LivelockState::Livelock | LivelockState::Deadlock
    )
}
