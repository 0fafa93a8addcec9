//! A host with one NFS mount, second by second.

use std::sync::Arc;

use monitor_model::{
    loops::{Loop, LoopChange, LoopEvent},
    observation::{
        Backing, Bdi, Connection, NfsMount, Observation, PeerSocket, Proof, ThreadState, Topology,
        Transport,
    },
};

use crate::loops::Loops;

use monitor_model::testing;
pub use monitor_model::testing::{CLIENT as BDI, DISK, rpc_client};

const CLIENT_NS: u64 = 11;
pub const SERVER_NS: u64 = 22;

/// A pod that mounts `10.9.0.2:/`, and eight idle nfsd threads.
pub struct Host {
    pub now: Observation,
    pub loops: Loops,
    pub events: Vec<LoopEvent>,
}

impl Host {
    pub fn new() -> Self {
        let now = Observation {
            bdis: vec![Bdi {
                bdi: BDI.into(),
                max_ratio: Some(100),
                strict_limit: Some(false),
                ..Bdi::default()
            }],
            rpc_clients: vec![rpc_client(7, BDI)],
            ..testing::node(8)
        };
        Self {
            now,
            loops: Loops::default(),
            events: Vec::new(),
        }
    }

    /// One more second with this many calls, of which `served` are served here.
    pub fn second(&mut self, calls: u64, served: u64) -> &mut Self {
        self.now.monotonic_ns += 1_000_000_000;
        self.now.unix_ms += 1000;
        if let Some(rpc) = self.now.rpc_clients.first_mut().filter(|_| calls > 0) {
            rpc.calls += calls;
            rpc.served_here += served;
            rpc.last_call_ns = self.now.monotonic_ns;
            if served > 0 {
                rpc.last_served_ns = self.now.monotonic_ns;
            }
        }
        self.events.extend(self.loops.observe(&self.now));
        self
    }

    pub fn seconds(&mut self, seconds: u64, calls: u64, served: u64) -> &mut Self {
        for _ in 0..seconds {
            self.second(calls, served);
        }
        self
    }

    /// A look-up that finds the mount and what `add` adds.
    pub fn look_up(&mut self, add: impl FnOnce(&mut Topology)) -> &mut Self {
        let mut topology = Topology {
            read_ns: self.now.monotonic_ns,
            mounts: vec![mount(BDI)],
            ..Topology::default()
        };
        add(&mut topology);
        self.now.topology = Arc::new(topology);
        self
    }

    pub fn threads(&mut self, state: ThreadState) {
        let threads = self.now.nfsd.as_mut().map(|nfsd| &mut nfsd.threads);
        threads.into_iter().flatten().for_each(|t| t.state = state);
    }

    pub fn found(&self) -> Option<&Loop> {
        self.loops.found().first()
    }

    pub fn changes(&self) -> Vec<LoopChange> {
        self.events.iter().map(|event| event.change).collect()
    }
}

pub fn mount(bdi: &str) -> NfsMount {
    NfsMount {
        netns: Some(CLIENT_NS),
        ..testing::mount(bdi)
    }
}

pub fn transport(client: u32) -> Transport {
    Transport {
        client,
        server: ([10, 9, 0, 2], 2049).into(),
    }
}

/// From the pod to a server in another namespace, behind a dual-stack socket.
pub fn connection(owner: &str) -> Connection {
    Connection {
        client: ([10, 9, 0, 1], 801).into(),
        server: "[::ffff:10.9.0.2]:2049".parse().expect("an address"),
        client_netns: CLIENT_NS,
        server_netns: SERVER_NS,
        owner: owner.into(),
        client_is_local: None,
        owner_tgid: (owner != "nfsd").then_some(204),
        proof: Proof::Socket,
        relays: Vec::new(),
    }
}

pub fn peer(peer: &str, server: &str, netns: u64) -> PeerSocket {
    PeerSocket {
        peer: peer.parse().expect("an address"),
        server: server.parse().expect("an address"),
        netns,
        peer_is_local: None,
    }
}

pub fn backing(bdi: &str, device: &str, writes: u64, last_ns: u64) -> Backing {
    Backing {
        bdi: bdi.into(),
        device: device.into(),
        writes,
        last_ns,
    }
}
