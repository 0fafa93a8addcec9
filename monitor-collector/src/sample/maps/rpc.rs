//! What the programs saw of RPC clients and of the server that serves them.

use std::{collections::BTreeMap, net::SocketAddr};

use monitor_common::{PEER_LEN, RpcTotals, Serving};
use monitor_model::observation::{Backing, ExemptCount, RpcClient};

use super::{Maps, walk::Entries as _};
use crate::sample::bdis::device_name;

impl Maps {
    /// The call that a thread of a server works on or did last, of those given.
    pub fn serving(&self, tids: impl Iterator<Item = u32>) -> BTreeMap<u32, Serving> {
        tids.filter_map(|tid| Some((tid, self.serving.get(&tid, 0).ok()?)))
            .collect()
    }

    /// RPC clients that sent calls, with what was written for them if that is
    /// `written`.
    pub fn rpc_clients(&mut self, written: bool) -> Vec<RpcClient> {
        let all = self.rpc.entries();
        let devices: BTreeMap<_, _> = self.client_devices.entries().into_iter().collect();
        let peers: BTreeMap<_, _> = self.peers.entries().into_iter().collect();
        let mut backing = self.backing();
        let mut clients: Vec<_> = all
            .into_iter()
            .map(|(id, values)| {
                let sum = |field: fn(&RpcTotals) -> u64| {
                    values.iter().map(field).fold(0, u64::wrapping_add)
                };
                let last =
                    |field: fn(&RpcTotals) -> u64| values.iter().map(field).max().unwrap_or(0);
                RpcClient {
                    id,
                    bdi: devices
                        .get(&id)
                        .copied()
                        .map(device_name)
                        .unwrap_or_default(),
                    calls: sum(|v| v.calls),
                    served_here: sum(|v| v.served_here),
                    last_call_ns: last(|v| v.last_call_ns),
                    last_served_ns: last(|v| v.last_served_ns),
                    peer: peers.get(&id).and_then(peer),
                    backing: backing.remove(&id).unwrap_or_default(),
                    bytes_written: written.then(|| sum(|v| v.bytes_written)),
                    exempt_writes: seen(ExemptCount {
                        with: sum(|v| v.exempt_writes),
                        without: sum(|v| v.other_writes),
                    }),
                    open: None,
                }
            })
            .collect();
        clients.sort_by_key(|client| client.id);
        clients
    }

    /// What the server writes to, by RPC client.
    fn backing(&mut self) -> BTreeMap<u32, Vec<Backing>> {
        let all = self.backing.entries();
        let mut clients: BTreeMap<u32, Vec<Backing>> = BTreeMap::new();
        for (key, totals) in all {
            let device = device_name(key.dev);
            let name = self.bdi_name(key.bdi);
            clients.entry(key.client).or_default().push(Backing {
                bdi: if name.is_empty() {
                    device.clone()
                } else {
                    name
                },
                device,
                writes: totals.writes,
                last_ns: totals.last_ns,
            });
        }
        clients
    }
}

/// Where nothing was counted, nothing was seen.
fn seen(count: ExemptCount) -> Option<ExemptCount> {
    (count != ExemptCount::default()).then_some(count)
}

/// An address as the server prints it: `10.9.0.1:832`, `[fe80::1%2]:832`.
fn peer(text: &[u8; PEER_LEN]) -> Option<SocketAddr> {
    let end = text.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use monitor_common::PEER_LEN;

    use super::peer;

    #[test]
    fn an_address_is_read_as_the_server_prints_it() {
        let text = |words: &str| {
            let mut text = [0; PEER_LEN];
            text[..words.len()].copy_from_slice(words.as_bytes());
            text
        };
        assert_eq!(peer(&text("10.9.0.1:832")), "10.9.0.1:832".parse().ok());
        assert_eq!(
            peer(&text("[fe80::1%2]:832")),
            "[fe80::1%2]:832".parse().ok()
        );
        assert_eq!(peer(&text("unix")), None);
        assert_eq!(peer(&[b'1'; PEER_LEN]), None);
    }
}
