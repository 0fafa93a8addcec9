//! Whether this node serves an NFS device, and the proof.

use compact_str::CompactString;
use monitor_model::{
    loops::{NFSD, Proof},
    observation::{Backing, NfsClient},
};

use super::calls::Tally;
use super::exempt;
use super::inputs::{Claim, DeviceInputs, sees_xids};
use crate::thresholds::{LoopThresholds, nanos};

/// Maximum number of backing devices for one NFS device.
const MAX_BACKING: usize = 16;
/// Maximum number of RPC clients for one NFS device.
const MAX_CLIENTS: usize = 64;

/// The evidence for and against the claim that this node serves one NFS device.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Its RPC clients, by their ids.
    clients: Vec<u32>,
    /// Calls, decayed.
    recent: Tally,
    /// Calls made while nfsd was free, since the last judgement on them.
    batch: Tally,
    /// Whether the last judgement was that another host answers the calls.
    elsewhere: bool,
    /// Whether another host answered them before there was a loop.
    was_elsewhere: bool,
    /// Whether the calls were seen to be served here.
    by_xid: bool,
    found: Option<LookedUp>,
    /// The time of the look-up that produced `found`.
    read_ns: u64,
    backing: Vec<Written>,
    writes: Writes,
    exempt: exempt::ExemptWrites,
}

/// A result of a look-up.
#[derive(Clone, Debug)]
struct LookedUp {
    claim: Claim,
    /// The last confirmation.
    seen_ns: u64,
    /// Since when look-ups lack it.
    missed_since: Option<u64>,
}

/// Recent writes of the server for the device's clients.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) bdi: CompactString,
    pub(super) device: CompactString,
    last_ns: u64,
    recent: f64,
}

/// Recent writes of the client, by route.
#[derive(Clone, Copy, Debug, Default)]
struct Writes {
    before: Option<(u64, u64)>,
    sent: f64,
    by_rpc: f64,
    localio: bool,
}

impl Evidence {
    /// Keeps only the RPC clients: their calls went to another server.
    pub(super) fn anew(&mut self) -> Self {
        Self {
            clients: std::mem::take(&mut self.clients),
            ..Self::default()
        }
    }

    /// Adds one observation; `kept` is the share of the older counts that remains.
    pub(super) fn learn(
        &mut self,
        inputs: &DeviceInputs<'_>,
        kept: f64,
        thresholds: &LoopThresholds,
    ) {
        self.calls(inputs, kept, thresholds);
        self.writes.learn(inputs, kept, thresholds);
        self.look_up(inputs, thresholds);
    }

    fn calls(&mut self, inputs: &DeviceInputs<'_>, kept: f64, thresholds: &LoopThresholds) {
        self.recent = self.recent.scaled(kept);
        self.backing.iter_mut().for_each(|one| one.recent *= kept);
        for fresh in &inputs.rpc {
            let joined = self.join(fresh.client.id);
            self.recent
                .add(if joined { fresh.recent } else { fresh.tally });
            if inputs.free {
                self.batch.add(fresh.tally);
            }
            for (backing, &writes) in fresh.client.backing.iter().zip(&fresh.writes) {
                self.written(backing, writes);
            }
            self.exempt.learn(fresh.exempt);
        }
        let Tally { calls, served } = self.recent;
        // An unanswered call may still be taken here. A loop that freezes in its first second has
        // more of these than of others.
        let unanswered = inputs.client.map_or(0, NfsClient::pending_writes) as f64;
        let share = served / (calls - unanswered).max(served);
        if served >= thresholds.served_min_calls as f64 && share >= thresholds.served_share {
            self.by_xid = true;
            self.elsewhere = false;
        }
        self.judge_batch(inputs.unanswered(), thresholds);
    }

    /// Whether this RPC client is new to the device. Then its earlier activity counts, too.
    fn join(&mut self, id: u32) -> bool {
        let new = !self.clients.contains(&id) && self.clients.len() < MAX_CLIENTS;
        if new {
            self.clients.push(id);
        }
        new
    }

    /// Only an answered call can have been answered elsewhere.
    fn judge_batch(&mut self, unanswered: u64, thresholds: &LoopThresholds) {
        let Tally { calls, served } = self.batch;
        let calls = (calls - unanswered as f64).max(served);
        let elsewhere = served < calls * thresholds.refute_share;
        if calls >= thresholds.elsewhere_min_calls as f64 && elsewhere {
            self.was_elsewhere = true;
        }
        if calls < thresholds.refute_min_calls as f64 {
            return;
        }
        self.batch = Tally::default();
        self.elsewhere = elsewhere;
        if elsewhere {
            self.was_elsewhere = true;
        }
        if elsewhere && self.by_xid {
            self.by_xid = false;
            // Otherwise the calls from before the server moved would prove it again.
            self.recent = Tally::default();
        }
    }

    fn written(&mut self, backing: &Backing, writes: f64) {
        let mut known = self.backing.iter_mut();
        if let Some(one) = known.find(|one| one.device == backing.device) {
            one.recent += writes;
            one.last_ns = backing.last_ns;
            one.bdi.clone_from(&backing.bdi);
        } else if self.backing.len() < MAX_BACKING {
            self.backing.push(Written {
                bdi: backing.bdi.clone(),
                device: backing.device.clone(),
                last_ns: backing.last_ns,
                recent: writes,
            });
        }
    }

    fn look_up(&mut self, inputs: &DeviceInputs<'_>, thresholds: &LoopThresholds) {
        let now = inputs.observation.monotonic_ns;
        let read_ns = inputs.observation.topology.read_ns;
        if read_ns != self.read_ns {
            self.read_ns = read_ns;
            self.looked_up(inputs, now, read_ns);
        }
        let missed = self.found.as_ref().and_then(|found| found.missed_since);
        if missed.is_some_and(|since| now.saturating_sub(since) >= nanos(thresholds.patience)) {
            self.found = None;
        }
    }

    fn looked_up(&mut self, inputs: &DeviceInputs<'_>, now: u64, read_ns: u64) {
        let claim = inputs.claim();
        let connected = |claim: &Claim| claim.server == NFSD && by_connection(claim.proof);
        let was = self.found.as_ref().is_some_and(|f| connected(&f.claim));
        if claim.as_ref().is_some_and(connected) && !was {
            self.connected_anew();
        }
        let Some(found) = &mut self.found else {
            self.found = claim.map(|claim| LookedUp::new(claim, read_ns));
            return;
        };
        let weaker =
            |claim: &Claim| claim.server == found.claim.server && claim.proof < found.claim.proof;
        match claim {
            // An idle client closes its connection and opens it again. Until then a listening
            // server is enough.
            Some(claim) if weaker(&claim) => found.missed_since = None,
            Some(claim) => *found = LookedUp::new(claim, read_ns),
            None if by_connection(found.claim.proof) && !inputs.active_since(found.seen_ns) => {}
            None => found.missed_since = found.missed_since.or(Some(now)),
        }
    }

    /// Calls from before a connection to this node prove nothing against it. If the server moved
    /// here and stalls at once, there are no later calls and no free thread to take them.
    fn connected_anew(&mut self) {
        if self.elsewhere && !self.by_xid {
            self.elsewhere = false;
            self.batch = Tally::default();
            self.recent = Tally::default();
        }
    }

    /// The server on this node, by the strongest proof.
    pub(super) fn claim(&self, inputs: &DeviceInputs<'_>) -> Option<Claim> {
        if self.by_xid {
            return Some(Claim {
                proof: Proof::Xid,
                server: CompactString::const_new(NFSD),
                tgid: None,
            });
        }
        let claim = &self.found.as_ref()?.claim;
        let refuted = claim.server == NFSD && self.elsewhere && sees_xids(inputs.observation);
        (!refuted).then(|| claim.clone())
    }

    /// Whether its calls are seen to be served elsewhere now.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether its calls were served elsewhere before they were served here.
    pub(super) const fn was_elsewhere(&self) -> bool {
        self.was_elsewhere
    }

    /// Whether the client writes without the server's threads.
    pub(super) const fn localio(&self) -> bool {
        self.writes.localio
    }

    /// The flags under which nfsd served its last WRITEs.
    pub(super) const fn exempt(&self) -> exempt::ExemptWrites {
        self.exempt
    }

    /// The device that the server writes to most for it.
    pub(super) fn backing(&self) -> Option<&Written> {
        let all = self.backing.iter();
        let most = |a: &&Written, b: &&Written| {
            let by_time = a.last_ns.cmp(&b.last_ns);
            a.recent.total_cmp(&b.recent).then(by_time)
        };
        all.max_by(most)
    }
}

impl LookedUp {
    const fn new(claim: Claim, seen_ns: u64) -> Self {
        Self {
            claim,
            seen_ns,
            missed_since: None,
        }
    }
}

impl Writes {
    fn learn(&mut self, inputs: &DeviceInputs<'_>, kept: f64, thresholds: &LoopThresholds) {
        self.sent *= kept;
        self.by_rpc *= kept;
        let now = inputs
            .client
            .and_then(|c| Some((c.writes_sent, c.writes_by_rpc?)));
        if let (Some(now), Some(before)) = (now, self.before) {
            self.sent += now.0.saturating_sub(before.0) as f64;
            self.by_rpc += now.1.saturating_sub(before.1) as f64;
        }
        self.before = now.or(self.before);
        if self.sent >= thresholds.localio_min_writes as f64 {
            self.localio = self.by_rpc < self.sent * thresholds.localio_rpc_share;
        }
    }
}

/// Whether both ends of the connection were found.
const fn by_connection(proof: Proof) -> bool {
    matches!(proof, Proof::Socket | Proof::Stream)
}
