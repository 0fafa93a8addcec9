//! The inputs of the related conditions.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_common::Class;
use monitor_model::{
    loops::{NFSD, PathNode},
    observation::Observation,
    related::RelatedKind,
    verdict::LivelockState,
};

use crate::loops::Former;
use crate::thresholds::Thresholds;
use crate::window::Window;
use crate::window::reduce::related::{RelatedDevice, RelatedSample};

/// A loop and its verdict at this tick.
#[derive(Clone, Copy, Debug)]
pub struct LoopNow<'a> {
    /// Its id.
    pub id: &'a str,
    /// The client's device.
    pub client_bdi: &'a str,
    /// The server.
    pub server: &'a str,
    /// The server's process, if it is one.
    pub server_tgid: Option<u32>,
    /// The BDI that the server writes to, if known.
    pub server_bdi: Option<&'a str>,
    /// Its whole path.
    pub path: &'a [PathNode],
    /// Its state.
    pub state: LivelockState,
    /// Whether it still is a loop.
    pub stands: bool,
    /// Whether the client writes past the server's threads.
    pub localio: bool,
}

impl LoopNow<'_> {
    /// Whether a device is on its path.
    fn concerns(&self, bdi: &str) -> bool {
        let ends = self.client_bdi == bdi || self.server_bdi == Some(bdi);
        ends || PathNode::bdis(self.path).any(|one| one == bdi)
    }
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
    /// The servers of former loops.
    pub former: &'a [Former],
    /// The numbers to compare with.
    pub thresholds: &'a Thresholds,
}

/// A condition that holds at this tick, before its duration is checked.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub kind: RelatedKind,
    pub bdi: CompactString,
    /// The severity: of too many findings, the worst are kept.
    pub weight: f64,
    /// Whether it begins at once.
    pub at_once: bool,
    /// One sentence with the numbers that decided.
    pub reason: String,
}

/// A condition that holds, begun or not.
#[derive(Clone, Debug)]
pub(super) struct HeldCondition {
    /// Since when it holds.
    pub since_ns: u64,
    /// When it last did.
    pub last_ns: u64,
    /// Whether it has begun.
    pub began: bool,
    pub reason: String,
}

/// The node, and the conditions that held until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelatedView<'a> {
    pub node: &'a Node<'a>,
    pub held: &'a BTreeMap<(RelatedKind, CompactString), HeldCondition>,
    pub signs: &'a RelatedSample,
}

impl RelatedView<'_> {
    /// Whether a condition of this BDI has begun.
    pub fn holds(&self, kind: RelatedKind, bdi: &str) -> bool {
        let told = self.held.iter().filter(|(_, held)| held.began);
        told.into_iter()
            .any(|((its, name), _)| *its == kind && name == bdi)
    }

    /// The factor of a threshold: less than 1 for a condition that has begun.
    pub fn ease(&self, kind: RelatedKind, bdi: &str) -> f64 {
        if self.holds(kind, bdi) {
            self.node.thresholds.related.ease
        } else {
            1.0
        }
    }

    /// The same for a kind that is judged for several devices together.
    pub fn ease_of_kind(&self, kind: RelatedKind) -> f64 {
        let mut told = self.held.iter().filter(|(_, held)| held.began);
        if told.any(|((its, _), _)| *its == kind) {
            self.node.thresholds.related.ease
        } else {
            1.0
        }
    }

    /// The average number of tasks in `balance_dirty_pages` on a BDI, with servers' threads.
    pub fn throttled_on(&self, bdi: &str) -> f64 {
        let pauses = |d: &RelatedDevice| d.paused_ns.saturating_add(d.server_paused_ns);
        let waiting = |d: &RelatedDevice| d.waiting.saturating_add(d.server_waiting);
        self.node.window.waited(bdi, pauses, waiting)
    }

    /// The BDIs that nfsd writes to, each with the time of the last observed write. Re-exported NFS
    /// mounts are excluded: a hang there is another server's.
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
    /// The loop whose verdict already covers this BDI, its client's or its server's.
    pub(super) fn told_by(
        &self,
        bdi: &str,
        tells: impl Fn(LivelockState) -> bool,
    ) -> Option<&LoopNow<'_>> {
        let mut loops = self.loops.iter();
        loops.find(|one| tells(one.state) && one.concerns(bdi))
    }

    /// Whether a process that cleans this device of a loop's path is in one of the causes.
    pub(super) fn server_behind_waits(&self, bdi: &str) -> bool {
        let behind = |one: &LoopNow<'_>| {
            let at = one.path.iter().position(|node| match node {
                PathNode::Device { bdi: its, .. } => its == bdi,
                PathNode::Server { .. } => false,
            });
            PathNode::servers(at.and_then(|at| one.path.get(at..)).unwrap_or_default())
        };
        let servers: Vec<_> = self.loops.iter().flat_map(behind).collect();
        let mut waits = self.now.waits.iter();
        waits.any(|wait| servers.iter().any(|server| server.tgid == Some(wait.tgid)))
    }

    /// Whether a device is the client of a loop, or rests on one: it is as fast as the loop, and
    /// says nothing of a disk.
    pub(super) fn is_client(&self, bdi: &str) -> bool {
        let sample = self.window.newest();
        let rests_on = |client: &str| sample.is_some_and(|sample| sample.rests_on(bdi, client));
        let mut loops = self.loops.iter().filter(|one| one.stands);
        loops.any(|one| one.client_bdi == bdi || rests_on(one.client_bdi))
    }
}

/// The states of a loop that supersede a related condition.
pub(super) const fn suspect(state: LivelockState) -> bool {
    matches!(
        state,
        LivelockState::Suspected | LivelockState::Livelock | LivelockState::Deadlock
    )
}
