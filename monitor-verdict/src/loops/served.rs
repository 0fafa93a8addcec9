//! One device of another kind than NFS that a server of this node cleans: its loop over its
//! lifetime. The look-up says who the server is; here it only begins and ends.

use monitor_model::{
    loops::{Loop, LoopChange, LoopEvent, Mount, Scope},
    observation::{Bdi, ClientKind, Observation, ServedDevice},
};

use super::path::{self, Written};
use super::{blank, containers, event, exempt, words};
use crate::mitigation::risk;
use crate::thresholds::{LoopThresholds, nanos};

/// Maximum number of mount points of a device.
const MAX_MOUNTS: usize = 4;

/// A served device.
#[derive(Clone, Debug, Default)]
pub(super) struct ServedClient {
    found: Option<Loop>,
    /// What its server was last known to write to.
    written: Option<Written>,
    /// Whether it ever held pages.
    held: bool,
    /// Since when look-ups lack it.
    missed_since: Option<u64>,
}

impl ServedClient {
    /// The device's loop, if any.
    pub(super) const fn found(&self) -> Option<&Loop> {
        self.found.as_ref()
    }

    /// Whether it is gone for good.
    pub(super) fn is_gone(&self) -> bool {
        self.found.is_none() && self.missed_since.is_some()
    }

    /// Adds one observation. Without `room` it does not become a loop.
    pub(super) fn step(
        &mut self,
        bdi: &str,
        observation: &Observation,
        thresholds: &LoopThresholds,
        room: bool,
    ) -> Option<LoopEvent> {
        let now = observation.monotonic_ns;
        let all = observation.topology.served.iter();
        // A device with several connections counts by the strongest proof.
        let served = all.filter(|one| one.bdi == bdi).max_by_key(|one| one.proof);
        let Some(served) = served else {
            let since = *self.missed_since.get_or_insert(now);
            let is_over = now.saturating_sub(since) >= nanos(thresholds.patience);
            let ended = self.found.take_if(|_| is_over)?;
            let exits = observation.server_exits.iter().rev();
            let exit = exits
                .filter(|exit| exit.name == ended.server)
                .find(|exit| ended.server_tgid.is_none_or(|tgid| tgid == exit.tgid));
            let why = exit.map_or_else(
                || "its server no longer serves it".to_owned(),
                |exit| format!("its server, {}", words::exit(exit, now)),
            );
            let message = words::ended(&ended, &why);
            return Some(event(&ended, LoopChange::Ended, message, observation));
        };
        self.missed_since = None;
        self.held |= holds_pages(bdi, observation);
        self.written = path::written_by(&served.server, bdi, observation).or(self.written.take());
        let replaced = |one: &Loop| one.server != served.server.name;
        if let Some(before) = self.found.take_if(|one| replaced(one)) {
            let message = words::ended(&before, "another server of this node serves it now");
            return Some(event(&before, LoopChange::Ended, message, observation));
        }
        let is_new = self.found.is_none();
        // A server that writes nowhere is no part of a loop; nor is a FUSE mount that keeps no
        // pages: its writers write through it.
        let writes = self.written.is_some()
            || path::writes_hidden(&served.server, bdi, &observation.topology);
        let counts = writes && (served.kind != ClientKind::Fuse || self.held);
        if is_new && !(counts && room) {
            return None;
        }
        let mut one = self
            .found
            .take()
            .unwrap_or_else(|| new_loop(served, observation));
        let proven = one.proof < served.proof;
        let before = one.proof;
        one.proof = served.proof;
        one.server_tgid = served.server.tgid;
        describe(&mut one, served, observation);
        let device = path::fill_in(&mut one, &[], self.written.clone(), observation);
        if let Some(bdi) = one.server_bdi.clone() {
            (one.server_fstype, one.server_device) =
                super::inputs::file_system(observation, &bdi, &device);
        }
        one.exempt = exempt::of_path(&one, observation).unwrap_or_default();
        one.risk = risk::risk(&one, observation);
        one.recommendations = risk::recommendations(&one, observation);
        let change = match (is_new, proven) {
            (true, _) => Some((LoopChange::Appeared, words::appeared(&one))),
            (false, true) => Some((LoopChange::Proven, words::proven(&one, before))),
            (false, false) => None,
        };
        let told = change.map(|(change, message)| event(&one, change, message, observation));
        self.found = Some(one);
        told
    }
}

fn holds_pages(bdi: &str, observation: &Observation) -> bool {
    let held = |one: &Bdi| one.dirty_bytes.max(one.writeback_bytes) > Some(0);
    let mut bdis = observation.bdis.iter();
    bdis.find(|one| one.bdi == bdi).is_some_and(held)
}

/// Where it is mounted, itself or what rests on it, and whose containers the two ends are.
fn describe(one: &mut Loop, device: &ServedDevice, observation: &Observation) {
    let topology = &observation.topology;
    let rests_here =
        |bdi: &str| path::with_those_below(bdi, topology).contains(device.bdi.as_str());
    let systems = topology.file_systems.iter();
    let mounts = systems
        .filter(|fs| !fs.mount_point.is_empty() && !fs.bdi.is_empty() && rests_here(&fs.bdi))
        .take(MAX_MOUNTS)
        .map(|fs| Mount {
            mount_point: fs.mount_point.clone(),
            source: fs.source.clone(),
        });
    one.mounts = mounts.collect();
    one.client_name.clone_from(&device.name);
    one.server_kind = device.server.kind;
    one.server_address = Some(device.address.clone()).filter(|address| !address.is_empty());
    one.client_netns = device.client_netns;
    one.server_netns = device.server_netns;
    one.scope = match (device.client_netns, device.server_netns) {
        (Some(ours), Some(theirs)) if ours == theirs => Scope::SameNetns,
        (Some(_), Some(_)) => Scope::CrossNetns,
        _ if device.address.is_empty() => Scope::None,
        _ => Scope::Unknown,
    };
    containers::describe(one, topology);
}

fn new_loop(device: &ServedDevice, observation: &Observation) -> Loop {
    let server = &device.server;
    Loop {
        client_kind: device.kind,
        server_kind: server.kind,
        server_tgid: server.tgid,
        ..blank(&device.bdi, &server.name, device.proof, observation)
    }
}
