//! Finds the loops, observation by observation.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_model::{
    loops::{Loop, LoopEvent},
    observation::{ClientKind, Observation},
};

use super::calls::{Calls, decay};
use super::device::{Former, LoopClient};
use super::inputs::{DeviceInputs, sees_xids, takes_calls};
use super::served::ServedClient;
use crate::thresholds::{LoopThresholds, nanos};

/// Maximum number of loops; further ones are dropped until others end.
pub const MAX_LOOPS: usize = 256;
/// Maximum number of devices, of NFS and of other kinds.
const MAX_DEVICES: usize = 1024;

/// Finds the loops, observation by observation.
#[derive(Clone, Debug, Default)]
pub struct Loops {
    thresholds: LoopThresholds,
    now_ns: u64,
    calls: Calls,
    /// Whether nfsd had a free thread at the last observation, so that a call would have been taken
    /// and seen.
    was_free: bool,
    /// NFS devices.
    devices: BTreeMap<CompactString, LoopClient>,
    /// Devices of other kinds.
    served: BTreeMap<CompactString, ServedClient>,
    found: Vec<Loop>,
    former: Vec<Former>,
}

impl Loops {
    /// A finder without loops.
    #[must_use]
    pub fn new(thresholds: LoopThresholds) -> Self {
        Self {
            thresholds,
            ..Self::default()
        }
    }

    /// Uses other thresholds from the next observation on.
    pub fn set_thresholds(&mut self, thresholds: LoopThresholds) {
        self.thresholds = thresholds;
    }

    /// Adds the next observation and returns the changes.
    pub fn observe(&mut self, observation: &Observation) -> Vec<LoopEvent> {
        let now = observation.monotonic_ns;
        let half_life = nanos(self.thresholds.half_life);
        let kept = decay(now.saturating_sub(self.now_ns), half_life);
        self.now_ns = now;
        let free = sees_xids(observation) && takes_calls(observation);
        let free_throughout = free && self.was_free;
        self.was_free = free;
        self.meet(observation);
        let fresh = self.calls.since(observation, half_life);
        let mut room = MAX_LOOPS.saturating_sub(self.found.len());
        let mut events = Vec::new();
        for (bdi, device) in &mut self.devices {
            let inputs = DeviceInputs::of(bdi, observation, &fresh, free_throughout);
            let was_loop = device.found().is_some();
            events.extend(device.step(&inputs, kept, &self.thresholds, room > 0));
            if !was_loop && device.found().is_some() {
                room = room.saturating_sub(1);
            }
        }
        for (bdi, device) in &mut self.served {
            let was_loop = device.found().is_some();
            events.extend(device.step(bdi, observation, &self.thresholds, room > 0));
            if !was_loop && device.found().is_some() {
                room = room.saturating_sub(1);
            }
        }
        self.served.retain(|_, device| !device.is_gone());
        self.devices
            .retain(|_, device| !device.is_gone(now, &self.thresholds));
        let found = self.devices.values().filter_map(LoopClient::found);
        let served = self.served.values().filter_map(ServedClient::found);
        self.found = found.chain(served).cloned().collect();
        self.found.sort_by(|a, b| a.client_bdi.cmp(&b.client_bdi));
        let former = self.devices.iter();
        let former = former.filter_map(|(bdi, device)| device.former(bdi));
        self.former = former.take(MAX_LOOPS).collect();
        events
    }

    /// The loops now, in the order of their client devices' names.
    #[must_use]
    pub fn found(&self) -> &[Loop] {
        &self.found
    }

    /// The servers of former loops without an answer since.
    #[must_use]
    pub fn former(&self) -> &[Former] {
        &self.former
    }

    /// Starts to track new devices.
    fn meet(&mut self, observation: &Observation) {
        let clients = observation.clients.iter().map(|client| &client.bdi);
        let mounts = observation.topology.mounts.iter().map(|mount| &mount.bdi);
        for bdi in mounts.chain(clients) {
            if self.devices.len() < MAX_DEVICES && !self.devices.contains_key(bdi) {
                let device = LoopClient::met(observation.monotonic_ns);
                self.devices.insert(bdi.clone(), device);
            }
        }
        for served in &observation.topology.served {
            // An NFS mount is found by its calls and connections.
            let is_other = served.kind != ClientKind::Nfs && !served.bdi.is_empty();
            if is_other && self.served.len() < MAX_DEVICES {
                self.served.entry(served.bdi.clone()).or_default();
            }
        }
    }
}
