//! Backing devices that this node serves to itself.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

pub use crate::observation::Proof;
use crate::observation::{ClientKind, Container, ServerKind, ServerRef};
use crate::words::words;

/// The kernel's server, used in place of a process name.
pub const NFSD: &str = "nfsd";

words! {
    /// The relation of client and server.
    #[derive(Default)]
    Scope {
        /// They share a network namespace.
        SameNetns = "same-netns",
        /// They are in two network namespaces.
        CrossNetns = "cross-netns",
        /// There is no network between them.
        None = "none",
        /// Unknown so far.
        #[default]
        Unknown = "unknown",
    }
}

/// A loop: a backing device that this node serves to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Its id, `<client bdi>-<server>`.
    #[serde(rename = "loop")]
    pub id: CompactString,
    /// The client's BDI.
    pub client_bdi: CompactString,
    /// The kind of its client.
    #[serde(default)]
    pub client_kind: ClientKind,
    /// The client for people: `/dev/nbd0`, `//127.0.0.1/share`; empty for NFS, which has mounts.
    #[serde(default)]
    pub client_name: CompactString,
    /// The server: `nfsd`, or the name of its process.
    pub server: CompactString,
    /// The server's process; `None`: unknown, or it is the kernel.
    #[serde(default)]
    pub server_tgid: Option<u32>,
    /// What the server consists of.
    #[serde(default)]
    pub server_kind: ServerKind,
    /// The whole path of the pages: the client's device, its server, the device that this writes
    /// to, which another server may clean, and so on to a local device.
    #[serde(default)]
    pub path: Vec<PathNode>,
    /// Whether the last server of the path writes past the page cache (`O_DIRECT`), so that it is
    /// not throttled.
    #[serde(default)]
    pub direct: bool,
    /// The BDI that the server writes to for it; `None`: unknown so far.
    pub server_bdi: Option<CompactString>,
    /// Type of the file system there; empty: unknown.
    pub server_fstype: CompactString,
    /// Device of the file system there; empty: unknown.
    pub server_device: CompactString,
    /// The strongest proof.
    pub proof: Proof,
    /// The relation of client and server.
    pub scope: Scope,
    /// Whether its server is exempt from local dirty throttling.
    #[serde(default)]
    pub exempt: Exemption,
    /// Time of its discovery, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// The same, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Another host served the mount before: the node has become its own client.
    pub became_own_client: bool,
    /// The client writes without the server's threads (LOCALIO).
    pub localio: bool,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// NFS version of the mount; empty: unknown.
    pub version: CompactString,
    /// The server's address, as the client sees it.
    pub server_address: Option<CompactString>,
    /// The client's network namespace.
    pub client_netns: Option<u64>,
    /// The server's network namespace.
    pub server_netns: Option<u64>,
    /// The known containers of the client: the one that owns its network namespace, and the pods
    /// that the kubelet mounted it for.
    #[serde(default)]
    pub client_containers: Vec<Container>,
    /// The container of the server's process, else the one that owns its network namespace.
    #[serde(default)]
    pub server_container: Option<Container>,
    /// The mount's RPC clients, which identify nfsd's threads and writes.
    #[serde(skip)]
    pub rpc_clients: Vec<u32>,
    /// Calls that the mount's RPC clients sent since the daemon started.
    pub calls: u64,
    /// The part of them that this kernel's server took.
    pub calls_served_here: u64,
    /// The risks on this node, a sentence each, the worst first.
    pub risk: Vec<String>,
    /// The recommendations, a sentence each.
    pub recommendations: Vec<String>,
}

/// A node of a loop's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "node", rename_all = "lowercase")]
pub enum PathNode {
    /// A backing device.
    Device {
        /// `nfs`, `nbd` and so on for a served one, else the type of its file system; empty:
        /// unknown.
        kind: CompactString,
        /// Its name for people; empty: its BDI says all.
        name: CompactString,
        /// Its BDI.
        bdi: CompactString,
    },
    /// A server that cleans the device before it and writes to the one after it.
    Server {
        /// What it consists of.
        kind: ServerKind,
        /// Its name.
        name: CompactString,
        /// Its process.
        tgid: Option<u32>,
        /// The proof that it cleans the device before it.
        proof: Proof,
    },
}

impl PathNode {
    /// The servers of a path, in its order.
    #[must_use]
    pub fn servers(path: &[Self]) -> Vec<ServerRef> {
        let server = |node: &Self| match node {
            Self::Server {
                kind, name, tgid, ..
            } => Some(ServerRef {
                name: name.clone(),
                tgid: *tgid,
                kind: *kind,
            }),
            Self::Device { .. } => None,
        };
        path.iter().filter_map(server).collect()
    }

    /// What the last server of a path consists of, and its name.
    #[must_use]
    pub fn last_server(path: &[Self]) -> Option<(ServerKind, &CompactString)> {
        path.iter().rev().find_map(|node| match node {
            Self::Server { kind, name, .. } => Some((*kind, name)),
            Self::Device { .. } => None,
        })
    }

    /// The BDIs of a path, in its order.
    pub fn bdis(path: &[Self]) -> impl Iterator<Item = &CompactString> {
        path.iter().filter_map(|node| match node {
            Self::Device { bdi, .. } => Some(bdi),
            Self::Server { .. } => None,
        })
    }

    /// A few words for people.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Device { kind, name, bdi } => {
                let kind = [kind.as_str(), bdi.as_str()].join(" ");
                match name.as_str() {
                    "" => kind.trim().to_owned(),
                    name => format!("{name} ({})", kind.trim()),
                }
            }
            Self::Server {
                name,
                tgid: Some(tgid),
                ..
            } => format!("{name}[{tgid}]"),
            Self::Server { name, .. } => name.to_string(),
        }
    }
}

/// A mount of a loop's client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The mount point.
    pub mount_point: CompactString,
    /// The mounted export: `10.9.0.2:/`.
    pub source: CompactString,
}

/// The beginning or end of a loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopEvent {
    /// Time, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The change.
    pub change: LoopChange,
    /// One sentence for people.
    pub message: String,
}

words! {
    /// A change of a loop.
    LoopChange {
        /// It is new.
        Appeared = "appeared",
        /// It was known and has a stronger proof now.
        Proven = "proven",
        /// It ended.
        Ended = "ended",
    }
}

impl Loop {
    /// The path for people: `/dev/nbd0 (nbd 43:0) -> qemu-nbd[77] -> /dev/vdb (ext4 254:16)`.
    #[must_use]
    pub fn path_words(&self) -> String {
        let nodes: Vec<String> = self.path.iter().map(PathNode::words).collect();
        nodes.join(" -> ")
    }

    /// The UID of the client's pod, of several the first one's; empty: none is known.
    #[must_use]
    pub fn client_pod_uid(&self) -> &str {
        let mut uids = self.client_containers.iter().map(|one| &*one.pod_uid);
        uids.find(|uid| !uid.is_empty()).unwrap_or_default()
    }

    /// The UID of the server's pod; empty: none is known.
    #[must_use]
    pub fn server_pod_uid(&self) -> &str {
        let container = self.server_container.as_ref();
        container.map_or("", |one| &one.pod_uid)
    }

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
        /// Unknown.
        #[default]
        Unknown = "unknown",
    }
}

impl Exempt {
    /// The phrase for a server.
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
    /// The source of the exemption state.
    ExemptBasis {
        /// The flag was read.
        Observed = "observed",
        /// The kernel's rule predicts it; no write was seen yet.
        Predicted = "predicted",
    }
}

/// Whether a loop's server is exempt from local dirty throttling, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemption {
    /// Whether it is.
    pub state: Exempt,
    /// The source; `None`: the state is unknown.
    pub basis: Option<ExemptBasis>,
    /// Why, half a sentence.
    pub reason: String,
}

impl Exemption {
    /// A known state.
    #[must_use]
    pub fn new(state: Exempt, basis: ExemptBasis, reason: impl Into<String>) -> Self {
        Self {
            state,
            basis: Some(basis),
            reason: reason.into(),
        }
    }

    /// An unknown state.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// Whether the server continues where other tasks are throttled.
    #[must_use]
    pub fn is_exempt(&self) -> bool {
        self.state == Exempt::Yes
    }

    /// The source and the reason: `observed: nfsd served ...`.
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
