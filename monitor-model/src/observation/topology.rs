//! The NFS mounts and NFS servers of this node. The verdict joins these facts.

use std::net::{IpAddr, SocketAddr};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::container::{Container, NetNamespace, ProcessPlace, pod_uid_of_volume};
use super::served::{Proof, RemoteDevice, RestsOn, ServedDevice, ServerRef, WritesTo};

/// An RPC client of this kernel, by its `client_id` in the tracepoints: mostly one for each NFS
/// mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcClient {
    /// `cl_clid`, also the directory's name (in hex) in debugfs
    /// `sunrpc/rpc_clnt`.
    pub id: u32,
    /// The BDI of the NFS mount whose WRITE calls it carries; empty: no WRITE was seen.
    pub bdi: CompactString,
    /// Calls sent.
    pub calls: u64,
    /// The part of them that this kernel's own server took, within a second.
    pub served_here: u64,
    /// Last call sent, `CLOCK_MONOTONIC` nanoseconds.
    pub last_call_ns: u64,
    /// Last call served here, `CLOCK_MONOTONIC` nanoseconds; zero for never.
    pub last_served_ns: u64,
    /// Its address as the server saw it. Behind NAT it differs from the client's own.
    pub peer: Option<SocketAddr>,
    /// The file systems that the server wrote to for it.
    pub backing: Vec<Backing>,
    /// Bytes that this kernel's own server wrote for its calls; `None`: not visible.
    pub bytes_written: Option<u64>,
    /// Its WRITEs that nfsd served, by the thread's exemption from local dirty throttling; `None`:
    /// none was seen.
    pub exempt_writes: Option<ExemptCount>,
    /// Its open NFS calls; `None`: not read in this tick.
    pub open: Option<OpenCalls>,
}

/// Counts with and without the kernel's exemption from local dirty throttling (`PF_LOCAL_THROTTLE`,
/// `PF_LESS_THROTTLE` before 5.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExemptCount {
    /// The number with the flag.
    pub with: u64,
    /// The number without it.
    pub without: u64,
}

/// NFS calls of one RPC client that have no answer yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenCalls {
    /// Their number.
    pub count: u32,
    /// When the oldest of them was first seen open, `CLOCK_MONOTONIC`
    /// nanoseconds.
    pub since_ns: u64,
    /// The procedure of the oldest: `OPEN`, `GETATTR`.
    pub procedure: CompactString,
    /// Whether there are more than `count`: only the oldest were read.
    pub more: bool,
}

/// A file system that a server writes to for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backing {
    /// The BDI's name; for a file system without one (tmpfs) its device.
    pub bdi: CompactString,
    /// The file system's device, as in mountinfo.
    pub device: CompactString,
    /// Writes seen. Some are lost when several threads write at once.
    pub writes: u64,
    /// The last of them, `CLOCK_MONOTONIC` nanoseconds.
    pub last_ns: u64,
}

/// The mounts, servers and connections of this node, over all namespaces. They are read rarely and
/// beside the tick; `read_ns` is the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// Time of the read, `CLOCK_MONOTONIC` nanoseconds; zero: not yet.
    pub read_ns: u64,
    /// NFS mounts, one for each device.
    pub mounts: Vec<NfsMount>,
    /// All file systems on a device or a BDI, one for each device.
    pub file_systems: Vec<FileSystem>,
    /// The destinations of the RPC clients, from debugfs.
    pub transports: Vec<Transport>,
    /// TCP connections between an NFS client and a server that are both on this node.
    pub connections: Vec<Connection>,
    /// Local processes at the other end of an NFS client's connection that are not a
    /// [`Connection`].
    #[serde(default)]
    pub far_ends: Vec<FarEnd>,
    /// The sockets for the peers that the server saw (see [`RpcClient::peer`]).
    pub peers: Vec<PeerSocket>,
    /// The exports of the servers, by network namespace.
    pub exports: Vec<Export>,
    /// Loop devices (losetup) that have a file.
    #[serde(default)]
    pub loop_devices: Vec<LoopDevice>,
    /// Processes that serve a client of this node, whatever the protocol, and NFS servers by name.
    /// These are searched for only if an NFS mount or a client of this node leads to this node.
    #[serde(default)]
    pub server_processes: Vec<ServerProcess>,
    /// The addresses under which other nodes may reach the NFS servers of this one.
    #[serde(default)]
    pub server_addresses: Vec<ServerAddress>,
    /// The containers of the network namespaces of clients and servers, as far as known.
    #[serde(default)]
    pub net_namespaces: Vec<NetNamespace>,
    /// The containers of servers, and of processes that wait for longer.
    #[serde(default)]
    pub processes: Vec<ProcessPlace>,
    /// The pods that the kubelet mounted volumes for, as far as their names are known.
    #[serde(default)]
    pub volume_pods: Vec<Container>,
    /// Backing devices that a server of this kernel cleans, but for NFS mounts.
    #[serde(default)]
    pub served: Vec<ServedDevice>,
    /// Backing devices whose server is no known one of this node, but for NFS mounts.
    #[serde(default)]
    pub remote: Vec<RemoteDevice>,
    /// What the servers write to.
    #[serde(default)]
    pub writes: Vec<WritesTo>,
    /// Devices that rest on others.
    #[serde(default)]
    pub rests_on: Vec<RestsOn>,
    /// Facts that could not be read, a sentence each.
    pub incomplete: Vec<CompactString>,
}

impl Topology {
    /// The container that a network namespace belongs to.
    #[must_use]
    pub fn container_of_netns(&self, netns: u64) -> Option<&Container> {
        let mut all = self.net_namespaces.iter();
        let found = all.find(|one| one.netns == netns)?;
        Some(&found.container)
    }

    /// The container of a process.
    #[must_use]
    pub fn container_of_process(&self, tgid: u32) -> Option<&Container> {
        let mut all = self.processes.iter();
        all.find(|one| one.tgid == tgid)?.container.as_ref()
    }

    /// The pod that the kubelet mounted a volume for; `None`: this is no such mount point.
    #[must_use]
    pub fn pod_of_volume(&self, mount_point: &str) -> Option<Container> {
        let uid = pod_uid_of_volume(mount_point)?;
        let named = self.volume_pods.iter().find(|one| one.pod_uid == uid);
        Some(named.cloned().unwrap_or_else(|| Container {
            pod_uid: uid.into(),
            ..Container::default()
        }))
    }
}

/// An address of this node. Loopback and link-local addresses, which mean another host everywhere,
/// are left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerAddress {
    /// The address.
    pub address: IpAddr,
    /// The network namespace that has it.
    pub netns: u64,
}

/// An NFS mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NfsMount {
    /// Its device, which is its BDI's name: `0:29`.
    pub bdi: CompactString,
    /// The mounted export: `10.9.0.2:/`.
    pub source: CompactString,
    /// `nfs` or `nfs4`.
    pub fstype: CompactString,
    /// `vers=` of the mount.
    pub version: CompactString,
    /// Some of its mount points, in any mount namespace.
    pub mount_points: Vec<CompactString>,
    /// The server's address and port, as the client sees it.
    pub server: Option<SocketAddr>,
    /// The client's network namespace.
    pub netns: Option<u64>,
    /// The listener at that address in the client's own network namespace (`nfsd` or the name of a
    /// server's process); `None`: there is none, or the address belongs to another namespace.
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
    /// Its BDI's name; for a partition the disk's.
    pub bdi: CompactString,
    /// Its type.
    pub fstype: CompactString,
    /// The mounted device: `/dev/vda1`.
    pub source: CompactString,
    /// One of its mount points.
    pub mount_point: CompactString,
}

/// A block device with a file as its storage: `/dev/loop0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopDevice {
    /// Its BDI's name: `7:0`.
    pub bdi: CompactString,
    /// The file's path as in /sys.
    pub file: CompactString,
    /// The BDI of the file system with the file; empty: unknown.
    pub on: CompactString,
    /// If that is a guess by the host's mounts: the BDIs of the file systems that may have the file,
    /// in whichever mount namespace the device was set up.
    #[serde(default)]
    pub maybe_on: Vec<CompactString>,
}

/// The process of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerProcess {
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Its name.
    pub name: CompactString,
    /// Its network namespace.
    #[serde(default)]
    pub netns: Option<u64>,
}

/// The destination of an RPC client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// [`RpcClient::id`].
    pub client: u32,
    /// The server's address, as the client sees it.
    pub server: SocketAddr,
}

/// A TCP connection with both ends on this node.
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
    /// The owner of the server's end: `nfsd` for the kernel, else the name of the process, one of
    /// `--loops.server-names`.
    pub owner: CompactString,
    /// Whether the client's address is local to the server's network namespace; `None`: unknown.
    #[serde(default)]
    pub client_is_local: Option<bool>,
    /// The process; `None`: unknown, or it is the kernel.
    #[serde(default)]
    pub owner_tgid: Option<u32>,
    /// How the two ends were matched.
    #[serde(default = "by_addresses")]
    pub proof: Proof,
    /// The processes that relay the bytes from the client to the server, in order (stunnel).
    #[serde(default)]
    pub relays: Vec<ServerRef>,
}

const fn by_addresses() -> Proof {
    Proof::Socket
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
    /// Whether it is an NFS server with another address than the client connected to, which sees
    /// the client's address. Otherwise it is not an NFS server.
    pub translated: bool,
}

/// The server's end of a connection, found by the client address that the server sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSocket {
    /// The client's address, as the server sees it.
    pub peer: SocketAddr,
    /// The server's end.
    pub server: SocketAddr,
    /// The server's network namespace.
    pub netns: u64,
    /// Whether the peer's address is local to it; `None`: unknown.
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
    /// The BDI under it; empty: unknown.
    pub bdi: CompactString,
}
