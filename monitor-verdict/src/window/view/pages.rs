//! The pages that only the client can clean, with those of devices that rest on it: loop devices
//! whose files lie on it, and dm or md above.

use monitor_common::Class;

use crate::text::{bytes, percent};
use crate::window::Window;
use crate::window::confidence::MissingInput;
use crate::window::reduce::{Client, LoopDevice, Sample};
use crate::window::view::View;

/// Depth of stacked devices that is followed: dm-crypt on LVM on md on loop.
const MAX_DEPTH: usize = 6;
/// Maximum number of devices of one layer.
const MAX_BELOW: usize = 32;

/// Whether the client's queue is so full that reclaim and writers wait for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientCongestion {
    /// `None`: unknown.
    pub holds: Option<bool>,
    /// The input that is missing or replaced.
    pub gap: Option<MissingInput>,
    /// Text such as `0:29 is congested in 100 % of the samples`.
    pub words: String,
}

impl Sample {
    /// Whether a BDI is of a device that rests on the client, directly or through others.
    #[must_use]
    pub fn rests_on(&self, bdi: &str, client: &str) -> bool {
        if self.stacked.is_empty() {
            return false;
        }
        let mut layer = vec![bdi];
        for _ in 0..MAX_DEPTH {
            let next: Vec<&str> = layer.iter().flat_map(|at| self.below(at)).collect();
            if next.contains(&client) {
                return true;
            }
            if next.is_empty() {
                return false;
            }
            layer = next;
            layer.truncate(MAX_BELOW);
        }
        false
    }

    /// The devices directly below one.
    fn below(&self, bdi: &str) -> impl Iterator<Item = &str> {
        let first = self.stacked.partition_point(|edge| edge.bdi.as_str() < bdi);
        let end = self
            .stacked
            .partition_point(|edge| edge.bdi.as_str() <= bdi);
        let edges = self.stacked.get(first..end).unwrap_or_default();
        edges.iter().map(|edge| edge.on.as_str())
    }

    /// The loop devices whose files lie on the client.
    pub fn loop_devices_on<'a>(&'a self, client: &'a str) -> impl Iterator<Item = &'a LoopDevice> {
        let devices = self.loop_devices.iter();
        devices.filter(move |device| self.rests_on(&device.bdi, client))
    }

    /// The devices that rest on the client, by BDI.
    pub fn resting_on<'a>(&'a self, client: &'a str) -> impl Iterator<Item = &'a str> {
        // The edges are sorted.
        let mut last = None;
        let uppers = self.stacked.iter().map(|edge| edge.bdi.as_str());
        let uppers = uppers.filter(move |bdi| last.replace(*bdi) != Some(*bdi));
        uppers.filter(move |bdi| self.rests_on(bdi, client))
    }

    /// Dirty and writeback bytes of the devices that rest on the client. Unknown ones are left out.
    #[must_use]
    pub fn held_through(&self, client: &str) -> u64 {
        let held = |bdi: &str| self.device(bdi)?.held_bytes;
        let held = self.resting_on(client).filter_map(held);
        held.fold(0, u64::saturating_add)
    }
}

impl Window {
    /// Pages that only this client can clean: those of its BDI, or else what `balance_dirty_pages`
    /// reports to its writers.
    #[must_use]
    pub fn pages_of(&self, client: &Client) -> (Option<f64>, Option<MissingInput>) {
        let Some(newest) = self.newest() else {
            return (None, None);
        };
        if let (Some(held), Some(page)) = (client.held_bytes, newest.page_size) {
            let through = newest.held_through(&client.bdi);
            return (
                Some(held.saturating_add(through) as f64 / page as f64),
                None,
            );
        }
        let through = newest.resting_on(&client.bdi);
        let through = through.filter_map(|bdi| self.pages_by_pauses(bdi));
        let through: f64 = through.sum();
        match self.pages_by_pauses(&client.bdi) {
            Some(own) => (Some(own + through), Some(MissingInput::PagesByPauses)),
            None => (None, Some(MissingInput::PagesUnknown)),
        }
    }

    fn pages_by_pauses(&self, bdi: &str) -> Option<f64> {
        let classes = Class::ALL.iter();
        let means = classes.filter_map(|&class| self.pauses(bdi, class));
        means.map(|means| means.bdi_dirty).reduce(f64::max)
    }
}

impl View<'_> {
    /// Dirty and writeback bytes that only the client can clean: its own and
    /// those of the devices on it.
    #[must_use]
    pub fn held_bytes(&self) -> Option<u64> {
        let newest = self.newest()?;
        let own = newest.client(self.client)?.held_bytes?;
        Some(own.saturating_add(newest.held_through(self.client)))
    }

    /// Whether a BDI holds little compared with the client: then the node does not wait for it. A
    /// disk that hangs holds about as much. Older kernels do not even report it busy, because they
    /// count a request at its end.
    #[must_use]
    pub fn clean_beside_client(&self, bdi: &str, slack: f64) -> Option<bool> {
        let held = self.newest()?.device(bdi)?.held_bytes?;
        let client = self.held_bytes()? as f64;
        Some((held as f64) < client * (self.thresholds.server_clean_share * slack).min(1.0))
    }

    /// Whether the client is congested, or almost.
    #[must_use]
    pub fn jam(&self, slack: f64) -> ClientCongestion {
        let signatures = &self.thresholds.signatures;
        let held = self.held_bytes();
        let limit = self.newest().and_then(|sample| sample.dirty_limit_bytes);
        let full = held.zip(limit.filter(|&limit| limit > 0));
        let full = full.map(|(held, limit)| held as f64 / limit as f64);
        if let Some(full) = full.filter(|&full| full >= signatures.client_full_share / slack) {
            return ClientCongestion {
                holds: Some(true),
                gap: None,
                words: format!("{} holds {} of the dirty limit", self.client, percent(full)),
            };
        }
        if let Some(share) = self.window.congested(self.client) {
            let why = format!("is congested in {} of the samples", percent(share));
            return ClientCongestion {
                holds: Some(share >= signatures.congested_share / slack),
                gap: self
                    .congestion_is_derived()
                    .then_some(MissingInput::CongestionByRule),
                words: format!("{} {why}", self.client),
            };
        }
        let floor = self.thresholds.demand_floor_bytes as f64 / slack;
        let amount = held.map_or_else(|| "unknown bytes".to_owned(), |held| bytes(held as f64));
        ClientCongestion {
            holds: held.map(|held| held as f64 >= floor),
            gap: Some(MissingInput::CongestionUnknown),
            words: format!("{} holds {amount}", self.client),
        }
    }

    fn congestion_is_derived(&self) -> bool {
        use monitor_model::observation::CongestionBy::{Flag, WriteCongested};
        let device = self.newest().and_then(|sample| sample.device(self.client));
        device
            .and_then(|device| device.congested)
            .is_some_and(|(_, by)| !matches!(by, Flag | WriteCongested))
    }
}
