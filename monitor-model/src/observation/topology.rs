//! Who mounts and who serves NFS on this node: facts, joined by the verdict.

use std::net::SocketAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::container::{NetNamespace, ProcessPlace};

/// An RPC client of this kernel, as its `client_id` in the tracepoints: mostly
/// one for each NFS mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcClient {
    /// `cl_clid`, also the directory's name (in hex) in debugfs
    /// `sunrpc/rpc_clnt`.
    pub id: u32,
    /// The NFS mount's BDI whose WRITE calls it carries, as seen in the
    /// kernel; empty: no WRITE was seen.
    pub bdi: CompactString,
    /// Calls that it sent.
    pub calls: u64,
    /// Those of them that this kernel's own server took, within a second.
    pub served_here: u64,
    /// Last call sent, `CLOCK_MONOTONIC` nanoseconds.
    pub last_call_ns: u64,
    /// Last call served here, `CLOCK_MONOTONIC` nanoseconds; zero for never.
    pub last_served_ns: u64,
    /// Its address as the server saw it: behind NAT not its own.
    pub peer: Option<SocketAddr>,
    /// What the server wrote to for it.
    pub backing: Vec<Backing>,
    /// Bytes that this kernel's own server wrote for its calls; `None` where
    /// that is not seen.
    pub bytes_written: Option<u64>,
    /// Its WRITEs that nfsd served, by whether the thread was exempt from local
    /// dirty throttling meanwhile; `None`: none was seen.
    pub exempt_writes: Option<ExemptCount>,
    /// Its NFS calls that are open; `None`: not looked at now.
    pub open: Option<OpenCalls>,
}

/// How many have the kernel's exemption from local dirty throttling
/// (`PF_LOCAL_THROTTLE`, `PF_LESS_THROTTLE` before 5.8), and how many have not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExemptCount {
    /// Those with the flag.
    pub with: u64,
    /// Those without it.
    pub without: u64,
}

/// NFS calls of one RPC client that have no answer yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenCalls {
    /// How many.
    pub count: u32,
    /// When the oldest of them was first seen open, `CLOCK_MONOTONIC`
    /// nanoseconds.
    pub since_ns: u64,
    /// Its procedure: `OPEN`, `GETATTR`.
    pub procedure: CompactString,
    /// Whether there are more than `count`: only the oldest were read.
    pub more: bool,
}

/// What a server writes to for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backing {
    /// The BDI's name; of a file system without one (tmpfs) its device.
    pub bdi: CompactString,
    /// The file system's device, as in mountinfo.
    pub device: CompactString,
    /// Writes seen; a few may be lost when several threads write at once.
    pub writes: u64,
    /// The last of them, `CLOCK_MONOTONIC` nanoseconds.
    pub last_ns: u64,
}

/// What is mounted, served and connected on this node, over all namespaces.
/// Read beside the tick and seldom; `read_ns` says when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// When it was read, `CLOCK_MONOTONIC` nanoseconds; zero: not yet.
    pub read_ns: u64,
    /// NFS mounts, one for each device.
    pub mounts: Vec<NfsMount>,
    /// All file systems on a device or a BDI, one for each device.
    pub file_systems: Vec<FileSystem>,
    /// Where the RPC clients send their calls, by debugfs.
    pub transports: Vec<Transport>,
    /// TCP connections between an NFS client and a server that are both here.
    pub connections: Vec<Connection>,
    /// What is at the other end of an NFS client's connection, where that is here
    /// and not a [`Connection`].
    #[serde(default)]
    pub far_ends: Vec<FarEnd>,
    /// Where the peers that the server saw (see [`RpcClient::peer`]) are
    /// connected to.
    pub peers: Vec<PeerSocket>,
    /// What the servers of a network namespace export.
    pub exports: Vec<Export>,
    /// Loop devices (losetup, not our loops) that have a file.
    #[serde(default)]
    pub loop_devices: Vec<LoopDevice>,
    /// Processes of NFS servers in userspace, as far as one was looked for: where
    /// an NFS mount or a client of this node leads to this node.
    #[serde(default)]
    pub server_processes: Vec<ServerProcess>,
    /// Who lives in the network namespaces of clients and servers, as far as that
    /// is a container.
    #[serde(default)]
    pub net_namespaces: Vec<NetNamespace>,
    /// Where processes live that wait longer than a moment.
    #[serde(default)]
    pub processes: Vec<ProcessPlace>,
    /// What could not be read, each a sentence.
    pub incomplete: Vec<CompactString>,
}

/// An NFS mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NfsMount {
    /// Its device, which is its BDI's name: `0:29`.
    pub bdi: CompactString,
    /// What is mounted: `10.9.0.2:/`.
    pub source: CompactString,
    /// `nfs` or `nfs4`.
    pub fstype: CompactString,
    /// `vers=` of the mount.
    pub version: CompactString,
    /// Where, a few of them, in whatever mount namespace.
    pub mount_points: Vec<CompactString>,
    /// The server's address and port, as the client sees it.
    pub server: Option<SocketAddr>,
    /// The client's network namespace.
    pub netns: Option<u64>,
    /// Who listens at that address in the client's own network namespace
    /// (`nfsd` or the name of a server's process); `None`: nobody, or it is
    /// not an address of that namespace.
    pub listener: Option<CompactString>,
    /// The process of that listener; `None`: unknown, or it is the kernel.
    pub listener_tgid: Option<u32>,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSystem {
    /// Its device, as in mountinfo.
    pub device: CompactString,
    /// Its BDI's name: of a partition, the disk's.
    pub bdi: CompactString,
    /// Its type.
    pub fstype: CompactString,
    /// What is mounted: `/dev/vda1`.
    pub source: CompactString,
    /// Where, one of them.
    pub mount_point: CompactString,
}

/// A block device whose data is in a file: `/dev/loop0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopDevice {
    /// Its BDI's name: `7:0`.
    pub bdi: CompactString,
    /// The file, as /sys tells it.
    pub file: CompactString,
    /// The BDI of the file system that the file lies on; empty: not known.
    pub on: CompactString,
}

/// The process of an NFS server in userspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerProcess {
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Its name, one of `--loops.server-names`.
    pub name: CompactString,
    /// Its network namespace.
    #[serde(default)]
    pub netns: Option<u64>,
}

/// Where an RPC client sends its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// [`RpcClient::id`].
    pub client: u32,
    /// The server's address, as the client sees it.
    pub server: SocketAddr,
}

/// A TCP connection with both ends here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The client's end.
    pub client: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// The client's network namespace.
    pub client_netns: u64,
    /// The server's network namespace.
    pub server_netns: u64,
    /// Who has the server's end: `nfsd` for the kernel, else the name of the
    /// process, one of `--loops.server-names`.
    pub owner: CompactString,
    /// Whether the client's address is local to the server's network namespace;
    /// `None`: not known.
    #[serde(default)]
    pub client_is_local: Option<bool>,
    /// The process; `None`: unknown, or it is the kernel.
    #[serde(default)]
    pub owner_tgid: Option<u32>,
}

/// A process of this node at the other end of an NFS client's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarEnd {
    /// The client's end.
    pub client: SocketAddr,
    /// The other end, as the client sees it.
    pub server: SocketAddr,
    /// The client's network namespace.
    pub client_netns: u64,
    /// The name of the process; `nfsd` for the kernel.
    pub name: CompactString,
    /// The process; `None`: it is the kernel.
    pub tgid: Option<u32>,
    /// Whether it is an NFS server that has another address than the client
    /// connected to, and sees the client's. Else it is no NFS server.
    pub translated: bool,
}

/// The server's end of a connection whose client is known by the address that
/// the server sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSocket {
    /// The client's address, as the server sees it.
    pub peer: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// The server's network namespace.
    pub netns: u64,
    /// Whether the peer's address is local to it; `None`: not known.
    #[serde(default)]
    pub peer_is_local: Option<bool>,
}

/// A directory that a server exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The server's network namespace.
    pub netns: u64,
    /// The directory, as the server sees it.
    pub path: CompactString,
    /// The BDI under it; empty: not known.
    pub bdi: CompactString,
}
