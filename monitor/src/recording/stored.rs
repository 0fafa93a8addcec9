//! The stored form of an observation, without the parts that are unchanged.

use std::{borrow::Cow, sync::Arc};

use compact_str::CompactString;
use monitor_model::observation::{
    Bdi, Delay, DirtyPauses, Lost, Memory, NfsClient, Nfsd, Observation, RpcClient, ServerExit,
    SignalStatus, Stack, Topology, UserServer, Waiting,
};
use serde::{Deserialize, Serialize};

/// The rarely changing parts of the last observation.
#[derive(Clone, Debug, Default)]
pub struct Before {
    topology: Arc<Topology>,
    kernel: CompactString,
    signals: Vec<SignalStatus>,
}

/// A stored observation. The first four fields are `None` if unchanged.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored<'a> {
    /// The time of a new look-up whose result is otherwise unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    topology_read_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<Cow<'a, Topology>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signals: Option<Cow<'a, [SignalStatus]>>,
    monotonic_ns: u64,
    unix_ms: u64,
    memory: Memory,
    delays: Cow<'a, [Delay]>,
    waits: Cow<'a, [Waiting]>,
    dirty_pauses: Cow<'a, [DirtyPauses]>,
    clients: Cow<'a, [NfsClient]>,
    nfsd: Option<Cow<'a, Nfsd>>,
    user_servers: Cow<'a, [UserServer]>,
    server_exits: Cow<'a, [ServerExit]>,
    bdis: Cow<'a, [Bdi]>,
    bdis_left_out: u32,
    rpc_clients: Cow<'a, [RpcClient]>,
    lost: Lost,
    svc_alloc_arg_retries: Option<u64>,
    stacks: Cow<'a, [Stack]>,
}

impl<'a> Stored<'a> {
    /// The stored form of an observation; updates `before`. `all`: omit nothing.
    pub fn of(observation: &'a Observation, before: &mut Before, all: bool) -> Self {
        // The pattern has no `..`, so that a new field causes a compile error.
        let Observation {
            monotonic_ns,
            unix_ms,
            memory,
            delays,
            waits,
            dirty_pauses,
            clients,
            nfsd,
            user_servers,
            server_exits,
            bdis,
            bdis_left_out,
            rpc_clients,
            topology,
            kernel,
            signals,
            lost,
            svc_alloc_arg_retries,
            stacks,
        } = observation;
        let mut stored = Self {
            topology_read_ns: None,
            topology: None,
            kernel: (all || before.kernel != *kernel).then(|| kernel.as_str().into()),
            signals: (all || before.signals != *signals).then(|| signals.into()),
            monotonic_ns: *monotonic_ns,
            unix_ms: *unix_ms,
            memory: *memory,
            delays: delays.into(),
            waits: waits.into(),
            dirty_pauses: dirty_pauses.into(),
            clients: clients.into(),
            nfsd: nfsd.as_ref().map(Cow::Borrowed),
            user_servers: user_servers.into(),
            server_exits: server_exits.into(),
            bdis: bdis.into(),
            bdis_left_out: *bdis_left_out,
            rpc_clients: rpc_clients.into(),
            lost: *lost,
            svc_alloc_arg_retries: *svc_alloc_arg_retries,
            stacks: stacks.into(),
        };
        if all || !same_but_for_the_time(&before.topology, topology) {
            stored.topology = Some(Cow::Borrowed(&**topology));
        } else if before.topology.read_ns != topology.read_ns {
            stored.topology_read_ns = Some(topology.read_ns);
        }
        if stored.kernel.is_some() {
            before.kernel.clone_from(kernel);
        }
        if stored.signals.is_some() {
            before.signals.clone_from(signals);
        }
        before.topology = Arc::clone(topology);
        stored
    }

    /// Restores the observation; updates `before`.
    pub fn into_observation(self, before: &mut Before) -> Observation {
        if let Some(topology) = self.topology {
            before.topology = Arc::new(topology.into_owned());
        }
        if let Some(read_ns) = self.topology_read_ns {
            before.topology = Arc::new(Topology {
                read_ns,
                ..Topology::clone(&before.topology)
            });
        }
        if let Some(kernel) = self.kernel {
            before.kernel = kernel.as_ref().into();
        }
        if let Some(signals) = self.signals {
            before.signals = signals.into_owned();
        }
        Observation {
            monotonic_ns: self.monotonic_ns,
            unix_ms: self.unix_ms,
            memory: self.memory,
            delays: self.delays.into_owned(),
            waits: self.waits.into_owned(),
            dirty_pauses: self.dirty_pauses.into_owned(),
            clients: self.clients.into_owned(),
            nfsd: self.nfsd.map(Cow::into_owned),
            user_servers: self.user_servers.into_owned(),
            server_exits: self.server_exits.into_owned(),
            bdis: self.bdis.into_owned(),
            bdis_left_out: self.bdis_left_out,
            rpc_clients: self.rpc_clients.into_owned(),
            topology: Arc::clone(&before.topology),
            kernel: before.kernel.clone(),
            signals: before.signals.clone(),
            lost: self.lost,
            svc_alloc_arg_retries: self.svc_alloc_arg_retries,
            stacks: self.stacks.into_owned(),
        }
    }
}

/// Between two look-ups it is the same object. A look-up with the same result differs only in its
/// time.
fn same_but_for_the_time(before: &Arc<Topology>, now: &Arc<Topology>) -> bool {
    if Arc::ptr_eq(before, now) {
        return true;
    }
    let before = Topology {
        read_ns: now.read_ns,
        ..Topology::clone(before)
    };
    before == **now
}
