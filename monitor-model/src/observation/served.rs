//! The graph of what this node serves to itself: which server of this kernel cleans a backing
//! device, what that server writes to, and which devices rest on others. The nodes are BDIs, by
//! their names, and servers, by name and process.
//!
//! A loop is a path from a client's BDI over at least one server to a local one. The verdict walks
//! it; nothing here decides.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// The kind of a backing device that a server cleans.
    #[derive(Default)]
    ClientKind {
        /// An NFS mount.
        #[default]
        Nfs = "nfs",
        /// A network block device, `/dev/nbd0`.
        Nbd = "nbd",
        /// A SCSI disk whose target is on this node: LIO, or iSCSI.
        Scsi = "scsi",
        /// An SMB mount.
        Cifs = "cifs",
        /// A FUSE mount.
        Fuse = "fuse",
        /// A loop device, `/dev/loop0`.
        Loop = "loop",
        /// A block device with a userspace driver, `/dev/ublkb0`.
        Ublk = "ublk",
    }
}

/// The counters that show a client's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The NFS client's acknowledged bytes: [`NfsClient`](super::NfsClient).
    NfsCalls,
    /// Sectors that the block device completed.
    Disk,
    /// The client's own count of acknowledged bytes, or else the bytes that its BDI wrote back.
    Written,
}

impl ClientKind {
    /// Where the progress of such a client is read.
    #[must_use]
    pub const fn progress(self) -> Progress {
        match self {
            Self::Nfs => Progress::NfsCalls,
            Self::Nbd | Self::Scsi | Self::Loop | Self::Ublk => Progress::Disk,
            Self::Cifs | Self::Fuse => Progress::Written,
        }
    }

    /// The requests of such a client for people, plural.
    #[must_use]
    pub const fn requests(self) -> &'static str {
        match self {
            Self::Nfs => "WRITE calls",
            Self::Nbd | Self::Scsi | Self::Loop | Self::Ublk => "block writes",
            Self::Cifs | Self::Fuse => "write requests",
        }
    }
}

words! {
    /// The proof that this node serves a client, weakest first.
    Proof {
        /// The server's address belongs to the client's own namespace, and a server listens there.
        Address = "address",
        /// Both ends of the connection are sockets of this host, by their addresses.
        Socket = "socket",
        /// Both ends of the TCP connection carry the same bytes, whatever their addresses.
        Stream = "stream",
        /// The kernel names the server, in sysfs, configfs or procfs.
        Kernel = "kernel",
        /// By their transaction ids, the client's calls are seen to be served by this kernel.
        Xid = "xid",
    }
}

words! {
    /// What a server consists of.
    #[derive(Default)]
    ServerKind {
        /// A process.
        #[default]
        Process = "process",
        /// The kernel's NFS server.
        Nfsd = "nfsd",
        /// Workers of a kernel target: LIO, ksmbd.
        Target = "target",
        /// The worker of a loop device.
        LoopDevice = "loop_device",
    }
}

/// A server of this kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerRef {
    /// Its name: that of the process, `nfsd`, `lio`, `ksmbd`, `loop0`.
    pub name: CompactString,
    /// Process id in the initial pid namespace; `None`: it is the kernel.
    pub tgid: Option<u32>,
    /// What it consists of.
    pub kind: ServerKind,
}

/// The edge from a backing device to the server that cleans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedDevice {
    /// The device's BDI.
    pub bdi: CompactString,
    /// Its kind.
    pub kind: ClientKind,
    /// Its name for people: `/dev/nbd0`, `//127.0.0.1/share`.
    pub name: CompactString,
    /// The server.
    pub server: ServerRef,
    /// The proof.
    pub proof: Proof,
    /// The server's address, as the client sees it; empty: it has none.
    #[serde(default)]
    pub address: CompactString,
    /// The client's network namespace.
    #[serde(default)]
    pub client_netns: Option<u64>,
    /// The server's network namespace.
    #[serde(default)]
    pub server_netns: Option<u64>,
}

/// A backing device whose server is at the other end of a TCP connection, and that end is no known
/// process or target of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDevice {
    /// The device's BDI.
    pub bdi: CompactString,
    /// Its kind.
    pub kind: ClientKind,
    /// Its name for people: `/dev/nbd0`, `//10.0.0.2/share`.
    pub name: CompactString,
    /// The server's address, as the client sees it.
    pub address: CompactString,
}

words! {
    /// How it is known that a server writes to a backing device.
    WriteBasis {
        /// A file on it is open for writing in the server's process.
        OpenFile = "open-file",
        /// The server's configuration in the kernel names a file on it.
        Configured = "configured",
        /// It writes, but nothing tells where: the edge has no device.
        Hidden = "hidden",
    }
}

/// The edge from a server to a backing device that it writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritesTo {
    /// The server.
    pub server: ServerRef,
    /// The backing device's BDI; for a file system without one (tmpfs) its device.
    pub bdi: CompactString,
    /// The file system's device, as in mountinfo; empty: it is the block device itself.
    pub device: CompactString,
    /// The file, for people; empty: unknown.
    pub file: CompactString,
    /// How it is known.
    pub basis: WriteBasis,
    /// Whether it writes past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// The BDI of the only client that it writes this for; empty: any of its clients. The workers of
    /// a kernel target serve many devices, each with a file of its own.
    #[serde(default)]
    pub client: CompactString,
}

/// The edge from a device to one below it: dm and md to their disks, a loop device to the device
/// of its file, a partition to its disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RestsOn {
    /// The upper device's BDI.
    pub bdi: CompactString,
    /// The lower device's BDI.
    pub on: CompactString,
}
