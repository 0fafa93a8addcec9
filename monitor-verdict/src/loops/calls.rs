//! The activity of the RPC clients since the previous observation. Their counters are totals that
//! may restart, vanish and come back.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_model::observation::{ExemptCount, Observation, RpcClient};

/// Maximum number of RPC clients; the kernel side keeps fewer.
pub(super) const MAX_CLIENTS: usize = 4096;

/// Calls, and the part of them that this node's nfsd took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) calls: f64,
    pub(super) served: f64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.served += other.served;
    }

    pub(super) fn scaled(self, factor: f64) -> Self {
        Self {
            calls: self.calls * factor,
            served: self.served * factor,
        }
    }
}

/// The part of a number that is left after a time.
pub(super) fn decay(ns: u64, half_life_ns: u64) -> f64 {
    (-(ns as f64) / half_life_ns.max(1) as f64).exp2()
}

/// The activity of one RPC client since the previous observation.
#[derive(Clone, Debug)]
pub(super) struct Fresh<'a> {
    pub(super) client: &'a RpcClient,
    pub(super) tally: Tally,
    /// The earlier calls that still count, with `tally`.
    pub(super) recent: Tally,
    /// New writes to each of the client's `backing`, in the same order.
    pub(super) writes: Vec<f64>,
    /// The WRITEs that nfsd served for it since then.
    pub(super) exempt: ExemptCount,
}

#[derive(Clone, Debug)]
struct Seen {
    at_ns: u64,
    recent: Tally,
    calls: u64,
    served: u64,
    writes: Vec<(CompactString, u64)>,
    exempt: ExemptCount,
}

/// The totals as of the last observation.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    seen: BTreeMap<u32, Seen>,
}

impl Calls {
    pub(super) fn since<'a>(
        &mut self,
        observation: &'a Observation,
        half_life_ns: u64,
    ) -> Vec<Fresh<'a>> {
        let now = observation.monotonic_ns;
        let clients = observation.rpc_clients.iter().take(MAX_CLIENTS);
        let fresh = clients
            .map(|client| {
                let fresh = fresh(client, self.seen.get(&client.id), now, half_life_ns);
                self.seen
                    .insert(client.id, Seen::of(client, now, fresh.recent));
                fresh
            })
            .collect();
        // A missing client may come back, so drop them only if there are too many.
        if self.seen.len() > MAX_CLIENTS {
            self.seen.retain(|_, seen| seen.at_ns == now);
        }
        fresh
    }
}

impl Seen {
    fn of(client: &RpcClient, at_ns: u64, recent: Tally) -> Self {
        let writes = client.backing.iter();
        Self {
            at_ns,
            recent,
            calls: client.calls,
            served: client.served_here,
            writes: writes.map(|b| (b.device.clone(), b.writes)).collect(),
            exempt: client.exempt_writes.unwrap_or_default(),
        }
    }
}

/// All calls of a new client are since then, or since the start of the daemon. They count as of the
/// last one.
fn fresh<'a>(client: &'a RpcClient, seen: Option<&Seen>, now: u64, half_life_ns: u64) -> Fresh<'a> {
    let weight = match seen {
        Some(_) => 1.0,
        None => decay(now.saturating_sub(client.last_call_ns), half_life_ns),
    };
    let since =
        |total: u64, before: Option<u64>| total.saturating_sub(before.unwrap_or(0)) as f64 * weight;
    let calls = since(client.calls, seen.map(|s| s.calls));
    let served = since(client.served_here, seen.map(|s| s.served)).min(calls);
    let tally = Tally { calls, served };
    let mut recent = seen.map_or_else(Tally::default, |seen| {
        let kept = decay(now.saturating_sub(seen.at_ns), half_life_ns);
        seen.recent.scaled(kept)
    });
    recent.add(tally);
    let before = |device: &str| {
        let mut writes = seen?.writes.iter();
        writes.find(|(name, _)| name == device).map(|(_, n)| *n)
    };
    let backing = client.backing.iter();
    let (exempt, old) = (
        client.exempt_writes.unwrap_or_default(),
        seen.map_or_else(ExemptCount::default, |seen| seen.exempt),
    );
    Fresh {
        client,
        exempt: ExemptCount {
            with: exempt.with.saturating_sub(old.with),
            without: exempt.without.saturating_sub(old.without),
        },
        tally,
        recent,
        writes: backing
            .map(|b| since(b.writes, before(&b.device)))
            .collect(),
    }
}
