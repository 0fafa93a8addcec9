//! NFS mounts that this node serves to itself.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::observation::Container;
use crate::words::words;

/// The kernel's server, where the name of a process would stand.
pub const NFSD: &str = "nfsd";

words! {
    /// How it is known that a mount is served by this node, weakest first.
    Proof {
        /// The server's address is one of the client's own namespace, and a server
        /// listens there.
        Address = "address",
        /// Both ends of the TCP connection are sockets of this host.
        Socket = "socket",
        /// The client's calls are seen to be served by this kernel, by their
        /// transaction ids.
        Xid = "xid",
    }
}

words! {
    /// Where client and server are to each other.
    #[derive(Default)]
    Scope {
        /// In one network namespace.
        SameNetns = "same-netns",
        /// In two.
        CrossNetns = "cross-netns",
        /// Not known yet.
        #[default]
        Unknown = "unknown",
    }
}

/// A loop: an NFS mount that this node serves to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Its id, `<client bdi>-<server>`.
    #[serde(rename = "loop")]
    pub id: CompactString,
    /// The mount's BDI.
    pub client_bdi: CompactString,
    /// Who serves: `nfsd`, or the name of the server's process.
    pub server: CompactString,
    /// The server's process; `None`: not known, or it is the kernel.
    #[serde(default)]
    pub server_tgid: Option<u32>,
    /// What the server writes to for it; `None`: not known yet.
    pub server_bdi: Option<CompactString>,
    /// Type of the file system there; empty: not known.
    pub server_fstype: CompactString,
    /// Device of the file system there; empty: not known.
    pub server_device: CompactString,
    /// The strongest proof there is.
    pub proof: Proof,
    /// Where client and server are to each other.
    pub scope: Scope,
    /// Whether its server is exempt from local dirty throttling.
    #[serde(default)]
    pub exempt: Exemption,
    /// Since when it is known, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// The same, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Another host served the mount before: the node has become its own
    /// client.
    pub became_own_client: bool,
    /// The client writes without the server's threads (LOCALIO).
    pub localio: bool,
    /// Where it is mounted, and what.
    pub mounts: Vec<Mount>,
    /// NFS version of the mount; empty: not known.
    pub version: CompactString,
    /// The server's address, as the client sees it.
    pub server_address: Option<CompactString>,
    /// The client's network namespace.
    pub client_netns: Option<u64>,
    /// The server's network namespace.
    pub server_netns: Option<u64>,
    /// The containers of the client, as far as they are known: the one whose
    /// network namespace it is, and the pods that the kubelet has mounted it for.
    #[serde(default)]
    pub client_containers: Vec<Container>,
    /// The container whose network namespace the server is in.
    #[serde(default)]
    pub server_container: Option<Container>,
    /// The mount's RPC clients, by which nfsd's threads and writes are told
    /// apart.
    #[serde(skip)]
    pub rpc_clients: Vec<u32>,
    /// Calls that the mount's RPC clients sent since the daemon started.
    pub calls: u64,
    /// Those of them that this kernel's server took.
    pub calls_served_here: u64,
    /// Why it is dangerous here, a sentence each, the worst first.
    pub risk: Vec<String>,
    /// What to do about it, a sentence each.
    pub recommendations: Vec<String>,
}

/// A place where a loop's client is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where.
    pub mount_point: CompactString,
    /// What: `10.9.0.2:/`.
    pub source: CompactString,
}

/// A loop came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopEvent {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// What happened.
    pub change: LoopChange,
    /// One sentence for people.
    pub message: String,
}

words! {
    /// What happened to a loop.
    LoopChange {
        /// It was not there before.
        Appeared = "appeared",
        /// It was found before, and is proven better now.
        Proven = "proven",
        /// It is there no more.
        Ended = "ended",
    }
}

impl Loop {
    /// Whether the kernel's nfsd serves it.
    #[must_use]
    pub fn is_nfsd(&self) -> bool {
        self.server == NFSD
    }
}

words! {
    /// Whether the server is exempt from local dirty throttling.
    #[derive(Default)]
    Exempt {
        /// It is.
        Yes = "yes",
        /// It is not.
        No = "no",
        /// Some of its threads are, or it is for some of the WRITEs.
        Partly = "partly",
        /// Not known.
        #[default]
        Unknown = "unknown",
    }
}

impl Exempt {
    /// Of a server, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "exempt",
            Self::No => "not exempt",
            Self::Partly => "partly exempt",
            Self::Unknown => "not known to be exempt",
        }
    }
}

words! {
    /// How it is known.
    ExemptBasis {
        /// The flag was seen, or was seen not to be there.
        Observed = "observed",
        /// The kernel's rule says so; no write was seen yet.
        Predicted = "predicted",
    }
}

/// Whether a loop's server is exempt from local dirty throttling, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemption {
    /// Whether it is.
    pub state: Exempt,
    /// How it is known; `None`: it is not.
    pub basis: Option<ExemptBasis>,
    /// Why, half a sentence.
    pub reason: String,
}

impl Exemption {
    /// One that is known.
    #[must_use]
    pub fn new(state: Exempt, basis: ExemptBasis, reason: impl Into<String>) -> Self {
        Self {
            state,
            basis: Some(basis),
            reason: reason.into(),
        }
    }

    /// One that is not.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// Whether the server goes on where others are throttled.
    #[must_use]
    pub fn is_exempt(&self) -> bool {
        self.state == Exempt::Yes
    }

    /// How it is known and why: `observed: nfsd served ...`.
    #[must_use]
    pub fn why(&self) -> String {
        match self.basis {
            Some(basis) => format!("{}: {}", basis.as_str(), self.reason),
            None => self.reason.clone(),
        }
    }

    /// One line for people: `no (observed: nfsd served ...)`.
    #[must_use]
    pub fn words(&self) -> String {
        let state = self.state.as_str();
        if self.reason.is_empty() {
            return state.to_owned();
        }
        format!("{state} ({})", self.why())
    }
}
