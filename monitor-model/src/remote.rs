//! NFS mounts whose server is another node: this node's edges of a loop across nodes.
//!
//! No node sees the whole of such a loop. Each says what it knows of its own edges, and the rules for
//! Prometheus join them.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::observation::Container;

/// An NFS mount that no server of this node is known to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMount {
    /// Its BDI.
    pub bdi: CompactString,
    /// One of its mount points.
    pub mount: CompactString,
    /// What is mounted: `10.9.0.2:/export`.
    pub export: CompactString,
    /// The server's address, as the client sees it.
    pub server: IpAddr,
    /// The pod that it is mounted for; `None`: none is known.
    pub container: Option<Container>,
    /// Its dirty and writeback pages, bytes; `None`: unknown.
    pub held_bytes: Option<u64>,
    /// Whether its pages hold this node's dirty limit and do not move, while this node's own NFS
    /// server waits for that limit.
    pub blocked: bool,
}
