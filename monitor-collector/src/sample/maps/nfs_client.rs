//! What the programs tell of the NFS client.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_common::{CongestedBdi, NfsClientTotals};
use monitor_model::observation::NfsClient;

use super::{Maps, walk::Entries as _};
use crate::sample::bdis::device_name;

impl Maps {
    /// The NFS client's writes by device.
    pub fn nfs_clients(&self) -> Vec<NfsClient> {
        let all = self.nfs_client.entries().into_iter();
        let mut clients: Vec<_> = all
            .map(|(dev, values)| {
                let sum = |field: fn(&NfsClientTotals) -> u64| {
                    values.iter().map(field).fold(0, u64::wrapping_add)
                };
                let last = |field: fn(&NfsClientTotals) -> u64| {
                    values.iter().map(field).max().unwrap_or(0)
                };
                NfsClient {
                    bdi: device_name(dev),
                    writes_sent: sum(|v| v.writes_sent),
                    writes_by_rpc: Some(sum(|v| v.writes_by_rpc)),
                    bytes_sent: sum(|v| v.bytes_sent),
                    writes_acked: sum(|v| v.writes_acked),
                    bytes_acked: sum(|v| v.bytes_acked),
                    writes_failed: sum(|v| v.writes_failed),
                    commits_sent: sum(|v| v.commits_sent),
                    commits_done: sum(|v| v.commits_done),
                    last_sent_ns: last(|v| v.last_sent_ns),
                    last_acked_ns: last(|v| v.last_acked_ns),
                }
            })
            .collect();
        clients.sort_by(|a, b| a.bdi.cmp(&b.bdi));
        clients
    }

    /// What the client's flag says of each mount of which it was read.
    pub fn write_congested(&self) -> BTreeMap<CompactString, CongestedBdi> {
        let all = self.write_congested.entries().into_iter();
        all.map(|(dev, state)| {
            let congested = CongestedBdi {
                since_ns: state.since_ns,
                total_ns: state.total_ns,
            };
            (device_name(dev), congested)
        })
        .collect()
    }

    /// Forgets the flag of a mount. It is known again once the mount has pages
    /// to write.
    pub fn forget_write_congested(&mut self, bdi: &str) {
        let devices: Vec<u32> = self
            .write_congested
            .keys()
            .filter_map(Result::ok)
            .filter(|&dev| device_name(dev) == bdi)
            .collect();
        for dev in devices {
            let _ = self.write_congested.remove(&dev);
        }
    }
}
