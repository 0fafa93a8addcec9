//! Finds the backing devices that this node serves to itself, from kernel counters and look-ups.
//! Pure.

mod calls;
mod containers;
mod device;
mod exempt;
mod find;
mod inputs;
pub(crate) mod path;
mod proof;
mod served;
pub(crate) mod words;

use compact_str::{CompactString, format_compact};
use monitor_model::{
    loops::{Exemption, Loop, LoopChange, LoopEvent, Proof, Scope},
    observation::{ClientKind, Observation, ServerKind},
};

pub use device::Former;
pub use find::{Loops, MAX_LOOPS};
pub(crate) use inputs::{rpc_clients, same};

/// Nanoseconds of a millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// A new loop of which nothing else is known.
fn blank(bdi: &str, server: &str, proof: Proof, observation: &Observation) -> Loop {
    Loop {
        id: format_compact!("{bdi}-{server}"),
        client_bdi: bdi.into(),
        client_kind: ClientKind::default(),
        client_name: CompactString::default(),
        server: server.into(),
        server_tgid: None,
        server_kind: ServerKind::default(),
        path: Vec::new(),
        direct: false,
        server_bdi: None,
        server_fstype: CompactString::default(),
        server_device: CompactString::default(),
        proof,
        scope: Scope::Unknown,
        exempt: Exemption::default(),
        since_ms: observation.monotonic_ns / NS_PER_MS,
        since_unix_ms: observation.unix_ms,
        became_own_client: false,
        localio: false,
        mounts: Vec::new(),
        version: CompactString::default(),
        server_address: None,
        client_netns: None,
        server_netns: None,
        client_containers: Vec::new(),
        server_container: None,
        rpc_clients: Vec::new(),
        calls: 0,
        calls_served_here: 0,
        risk: Vec::new(),
        recommendations: Vec::new(),
    }
}

fn event(one: &Loop, change: LoopChange, message: String, observation: &Observation) -> LoopEvent {
    LoopEvent {
        monotonic_ms: observation.monotonic_ns / NS_PER_MS,
        unix_ms: observation.unix_ms,
        loop_id: one.id.clone(),
        change,
        message,
    }
}

#[cfg(test)]
mod tests;
