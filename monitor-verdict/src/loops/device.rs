//! One NFS device over its lifetime, and its loop.

use std::net::SocketAddr;

use compact_str::{CompactString, format_compact};
use monitor_model::{
    loops::{Loop, LoopChange, LoopEvent, Mount, Proof, Scope},
    observation::{NfsClient, ServerKind, ServerRef},
};

use super::inputs::{Claim, DeviceInputs, file_system};
use super::path::{self, Written};
use super::proof::Evidence;
use super::{blank, containers, event, exempt, words};
use crate::mitigation::risk;
use crate::thresholds::{LoopThresholds, nanos};

/// The server of a mount that is no longer a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The mount's BDI.
    pub client_bdi: CompactString,
    /// The server: `nfsd`, or the name of its process.
    pub server: CompactString,
    /// The process.
    pub tgid: Option<u32>,
}

/// One NFS device.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopClient {
    met_ns: u64,
    /// The server's last known address.
    server: Option<SocketAddr>,
    /// Whether a look-up ever listed it.
    was_listed: bool,
    /// Whether a look-up ever reported its mount point.
    was_mounted: bool,
    /// Since when look-ups lack the mount.
    gone_since: Option<u64>,
    evidence: Evidence,
    found: Option<Loop>,
    /// The beginning of a loop that is not reported yet.
    untold_since: Option<u64>,
    /// The last server, its process, and the number of answers when the loop ended.
    former: Option<(CompactString, Option<u32>, u64)>,
}

impl LoopClient {
    pub(super) fn met(now: u64) -> Self {
        Self {
            met_ns: now,
            ..Self::default()
        }
    }

    /// The device's loop, if any.
    pub(super) const fn found(&self) -> Option<&Loop> {
        self.found.as_ref()
    }

    /// Adds one observation; `kept` is the share of the older counts that remains. Without `room`
    /// it does not become a loop.
    pub(super) fn step(
        &mut self,
        inputs: &DeviceInputs<'_>,
        kept: f64,
        thresholds: &LoopThresholds,
        room: bool,
    ) -> Vec<LoopEvent> {
        let replaced = self.replaced(inputs);
        let before = self.found.take();
        let was_told = self.untold_since.is_none();
        if replaced {
            *self = Self {
                server: self.server,
                evidence: self.evidence.anew(),
                ..Self::met(inputs.observation.monotonic_ns)
            };
        }
        self.evidence.learn(inputs, kept, thresholds);
        self.miss(inputs, thresholds);
        let gone = self.is_gone(inputs.observation.monotonic_ns, thresholds);
        let claim = self.evidence.claim(inputs);
        let claim = claim.filter(|_| !gone && !self.is_internal(inputs));
        let stays =
            |one: &Loop| !replaced && claim.as_ref().is_some_and(|c| c.server == one.server);
        let (before, ended) = match before {
            Some(one) if stays(&one) => (Some(one), None),
            other => (None, other),
        };
        let mut events = Vec::new();
        self.remember(ended.as_ref().filter(|_| !gone && !replaced), inputs);
        if let Some(one) = ended.as_ref().filter(|_| was_told) {
            let why = self.why_ended(one, inputs, replaced, gone, claim.is_some());
            let message = words::ended(one, &why);
            events.push(event(one, LoopChange::Ended, message, inputs.observation));
        }
        if let Some(claim) = claim.filter(|_| room || before.is_some() || ended.is_some()) {
            events.extend(self.update(before, &claim, inputs, thresholds));
        }
        events
    }

    /// The last server, unless the client got an answer since the loop ended.
    pub(super) fn former(&self, bdi: &CompactString) -> Option<Former> {
        let (server, tgid, _) = self.former.as_ref()?;
        Some(Former {
            client_bdi: bdi.clone(),
            server: server.clone(),
            tgid: *tgid,
        })
    }

    fn remember(&mut self, ended: Option<&Loop>, inputs: &DeviceInputs<'_>) {
        let answers = inputs.client.map_or(0, NfsClient::answers);
        if let Some(one) = ended {
            self.former = Some((one.server.clone(), one.server_tgid, answers));
        }
        let answered = |former: &(_, _, u64)| former.2 < answers;
        if self.former.as_ref().is_some_and(answered) {
            self.former = None;
        }
    }

    /// Whether it is the kernel's internal mount: listed by a look-up, without a mount point, never
    /// written to. For a directory of an NFSv4 server, the kernel first mounts the server's root
    /// for itself, which is a device for a while.
    fn is_internal(&self, inputs: &DeviceInputs<'_>) -> bool {
        let unwritten = inputs.client.is_none_or(|client| client.writes_sent == 0);
        self.was_listed && !self.was_mounted && unwritten
    }

    /// Whether the mount is gone for good.
    pub(super) fn is_gone(&self, now: u64, thresholds: &LoopThresholds) -> bool {
        let patience = nanos(thresholds.patience);
        self.gone_since
            .is_some_and(|since| now.saturating_sub(since) >= patience)
    }

    /// Whether another server is mounted under the same device number now.
    fn replaced(&mut self, inputs: &DeviceInputs<'_>) -> bool {
        let now = inputs.mount.and_then(|mount| mount.server);
        let replaced = now.is_some() && self.server.is_some() && now != self.server;
        self.server = now.or(self.server);
        replaced
    }

    fn miss(&mut self, inputs: &DeviceInputs<'_>, thresholds: &LoopThresholds) {
        let now = inputs.observation.monotonic_ns;
        let patience = nanos(thresholds.patience);
        self.was_listed |= inputs.mount.is_some();
        self.was_mounted |= inputs.mount.is_some_and(|m| !m.mount_points.is_empty());
        let active = inputs.client.is_some_and(|c| {
            let last = c.last_sent_ns.max(c.last_acked_ns);
            let recent = last > 0 && now.saturating_sub(last) < patience;
            // A stuck client whose mount no look-up sees also counts.
            recent || (!self.was_listed && c.pending_writes() > 0)
        });
        // The last look-up cannot list a later mount.
        let unseen = inputs.observation.topology.read_ns <= self.met_ns && inputs.client.is_some();
        self.gone_since = if inputs.mount.is_some() || active || unseen {
            None
        } else {
            Some(self.gone_since.map_or(now, |since| since.min(now)))
        };
    }

    fn why_ended(
        &self,
        one: &Loop,
        inputs: &DeviceInputs<'_>,
        replaced: bool,
        gone: bool,
        served: bool,
    ) -> CompactString {
        if replaced {
            return "another server is mounted under its device number now".into();
        }
        if gone {
            return "it is no longer mounted".into();
        }
        if served {
            return "another server of this node serves it now".into();
        }
        if let Some(exit) = inputs.exit_of(&one.server, one.server_tgid) {
            let now = inputs.observation.monotonic_ns;
            return format_compact!("its server, {}", words::exit(exit, now));
        }
        // Calls to a userspace server are never seen to be served here.
        if one.is_nfsd() && self.evidence.is_elsewhere() {
            return "another host answers its calls now".into();
        }
        "its server is no longer found on this node".into()
    }

    /// Updates the loop; returns an event if that is one.
    fn update(
        &mut self,
        before: Option<Loop>,
        claim: &Claim,
        inputs: &DeviceInputs<'_>,
        thresholds: &LoopThresholds,
    ) -> Option<LoopEvent> {
        let now = inputs.observation.monotonic_ns;
        let old_proof = before.as_ref().map(|one| one.proof);
        let mut one = before.unwrap_or_else(|| new_loop(claim, inputs));
        let proven = old_proof.is_none_or(|proof| proof < claim.proof);
        one.proof = claim.proof;
        one.server_tgid = claim.tgid.or(one.server_tgid);
        self.former = None;
        one.became_own_client |=
            proven && claim.proof == Proof::Xid && self.evidence.was_elsewhere();
        one.localio = self.evidence.localio();
        describe_mount(&mut one, inputs);
        self.server_side(&mut one, inputs);
        containers::describe(&mut one, &inputs.observation.topology);
        let totals = inputs.rpc.iter().map(|fresh| fresh.client);
        // A client without recent calls may be missing from the list.
        if !inputs.rpc.is_empty() {
            one.rpc_clients = totals.clone().map(|client| client.id).collect();
        }
        one.calls = totals.clone().fold(0, |sum, c| c.calls.saturating_add(sum));
        one.calls_served_here = totals.fold(0, |sum, c| c.served_here.saturating_add(sum));
        one.risk = risk::risk(&one, inputs.observation);
        one.recommendations = risk::recommendations(&one, inputs.observation);
        if old_proof.is_none() {
            self.untold_since = Some(now);
        }
        let event = match (self.untold_since, old_proof) {
            (Some(since), _) => {
                // Its mount point and server are known one look-up later.
                let whole = !one.mounts.is_empty() && one.scope != Scope::Unknown;
                let late = now.saturating_sub(since) >= nanos(thresholds.tell_after);
                (whole || late).then(|| {
                    self.untold_since = None;
                    event(
                        &one,
                        LoopChange::Appeared,
                        words::appeared(&one),
                        inputs.observation,
                    )
                })
            }
            (None, Some(old)) if proven => {
                let message = words::proven(&one, old);
                Some(event(&one, LoopChange::Proven, message, inputs.observation))
            }
            (None, _) => None,
        };
        self.found = Some(one);
        event
    }

    /// Fills in the server's location, the BDI that it writes to, and its exemption.
    fn server_side(&self, one: &mut Loop, inputs: &DeviceInputs<'_>) {
        let end = inputs.server_end();
        one.server_netns = end.netns.or(one.server_netns);
        one.scope = match (one.client_netns, one.server_netns) {
            (Some(client), Some(server)) if client == server => Scope::SameNetns,
            (Some(_), Some(_)) => Scope::CrossNetns,
            _ => Scope::Unknown,
        };
        one.server_kind = if one.is_nfsd() {
            ServerKind::Nfsd
        } else {
            ServerKind::Process
        };
        let first = match self.evidence.backing() {
            Some(written) => Some(Written {
                bdi: written.bdi.clone(),
                device: written.device.clone(),
                direct: false,
            }),
            None => guess(one, inputs),
        };
        if first.is_none() {
            one.server_bdi = None;
        }
        let relays = inputs.connection.map_or(&[][..], |one| &one.relays);
        let device = path::fill_in(one, relays, first, inputs.observation);
        let bdi = one.server_bdi.as_deref();
        let file_system = bdi.map(|bdi| file_system(inputs.observation, bdi, &device));
        (one.server_fstype, one.server_device) = file_system.unwrap_or_default();
        one.exempt = exempt::judge(one, inputs, &end, self.evidence.exempt());
    }
}

/// The device that the server writes to, if no write was seen.
fn guess(one: &Loop, inputs: &DeviceInputs<'_>) -> Option<Written> {
    let only = |bdi| Written {
        bdi,
        ..Written::default()
    };
    if one.is_nfsd() {
        let exported = one.server_netns.and_then(|ns| inputs.exported_from(ns));
        return exported.map(only);
    }
    let server = ServerRef {
        name: one.server.clone(),
        tgid: one.server_tgid,
        kind: ServerKind::Process,
    };
    // With one BDI on which servers paused, that is more than a guess by open files.
    let paused = inputs.userspace_paused_on().map(only);
    path::written_by(&server, inputs.bdi, inputs.observation).or(paused)
}

fn describe_mount(one: &mut Loop, inputs: &DeviceInputs<'_>) {
    let Some(mount) = inputs.mount else {
        return;
    };
    let place = |mount_point: &CompactString| Mount {
        mount_point: mount_point.clone(),
        source: mount.source.clone(),
    };
    one.mounts = mount.mount_points.iter().map(place).collect();
    one.version.clone_from(&mount.version);
    one.server_address = mount.server.map(|address| format_compact!("{address}"));
    one.client_netns = mount.netns.or(one.client_netns);
}

fn new_loop(claim: &Claim, inputs: &DeviceInputs<'_>) -> Loop {
    Loop {
        server_tgid: claim.tgid,
        ..blank(inputs.bdi, &claim.server, claim.proof, inputs.observation)
    }
}
