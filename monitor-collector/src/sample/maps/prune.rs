//! Forgets devices that are gone: mounts come and go for months, and the maps
//! are bounded.

use std::path::Path;

use monitor_common::BdiId;

use super::{Maps, walk::Entries as _};
use crate::sample::bdis::device_name;

impl Maps {
    /// Deletes what is kept of BDIs that are no longer in /sys/class/bdi. A
    /// number that is used again begins anew.
    pub fn prune(&mut self, sysfs: &Path) {
        self.free_slots();
        let class = sysfs.join("class/bdi");
        // Without it nothing can be told.
        if !class.exists() {
            return;
        }
        let gone: Vec<u64> = self
            .bdi_names
            .keys()
            .filter_map(Result::ok)
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|&id| !class.join(self.bdi_name(id).as_str()).exists())
            .collect();
        for id in &gone {
            self.forget_bdi(*id);
        }
        let devices: Vec<u32> = self
            .nfs_client
            .keys()
            .chain(self.write_congested.keys())
            .filter_map(Result::ok)
            .filter(|&dev| !class.join(device_name(dev).as_str()).exists())
            .collect();
        for dev in &devices {
            let _ = self.nfs_client.remove(dev);
            let _ = self.write_congested.remove(dev);
            self.forget_bdi(BdiId::from_name(&device_name(*dev)).0);
        }
    }

    /// A key that vanished meanwhile is not a failure.
    fn forget_bdi(&mut self, id: u64) {
        let delays: Vec<_> = self.delays.keys().filter_map(Result::ok).collect();
        for key in delays.iter().filter(|key| key.bdi == id) {
            let _ = self.delays.remove(key);
        }
        let slots = self.dirty_slot.entries().into_iter();
        for (key, slot) in slots.filter(|(key, _)| key.bdi == id) {
            if self.dirty_slot.remove(&key).is_ok() {
                self.old_slots.push(slot);
            }
        }
        let backing: Vec<_> = self.backing.keys().filter_map(Result::ok).collect();
        for key in backing.iter().filter(|key| key.bdi == id) {
            let _ = self.backing.remove(key);
        }
        let _ = self.congested.remove(&id);
        let _ = self.bdi_names.remove(&id);
        self.names.remove(&id);
    }
}
