//! Block devices that a server on this node, or on another one, provides.

use serde::{Deserialize, Serialize};

/// A step about such a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BlockStep {
    /// Make a sparse file, and start a server for it.
    Serve(BlockExport),
    /// Attach the device, and wait until it has a size.
    Attach {
        /// The server.
        server: BlockServer,
        /// The server's address; those that attach the device themselves have none.
        address: String,
    },
}

/// A file and its server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockExport {
    /// The server.
    pub server: BlockServer,
    /// The file, made and sparse.
    pub file: String,
    /// Its size.
    pub megabytes: u64,
    /// The way the server writes to the file.
    pub writes: BlockWrites,
    /// Whether the server is started through `throttle-monitor io-flusher`.
    pub exempt: bool,
}

/// A server of block devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockServer {
    /// qemu-nbd, which attaches the device itself, through a pair of sockets.
    QemuNbd,
    /// qemu-nbd that listens for clients of other nodes.
    QemuNbdTcp,
    /// nbd-server.
    NbdServer,
    /// nbdkit with its plugin for files.
    Nbdkit,
    /// The kernel's SCSI target, attached in the kernel (`tcm_loop`).
    Lio,
    /// The kernel's SCSI target behind its iSCSI server.
    LioIscsi,
    /// tgtd, an iSCSI target in userspace.
    Tgtd,
}

impl BlockServer {
    /// The client's device.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::QemuNbd | Self::QemuNbdTcp | Self::NbdServer | Self::Nbdkit => "/dev/nbd0",
            Self::Lio | Self::LioIscsi | Self::Tgtd => "/dev/sda",
        }
    }

    /// Whether the server attaches the device itself.
    #[must_use]
    pub fn attaches(self) -> bool {
        matches!(self, Self::QemuNbd | Self::Lio)
    }

    /// The port of those that listen.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::QemuNbd | Self::QemuNbdTcp | Self::NbdServer | Self::Nbdkit => 10809,
            Self::Lio | Self::LioIscsi | Self::Tgtd => 3260,
        }
    }

    /// Modules of the server.
    #[must_use]
    pub fn server_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuNbd | Self::QemuNbdTcp | Self::NbdServer | Self::Nbdkit | Self::Tgtd => &[],
            Self::Lio => &["target_core_file", "tcm_loop"],
            Self::LioIscsi => &["target_core_file", "iscsi_target_mod"],
        }
    }

    /// Modules of the client.
    #[must_use]
    pub fn client_modules(self) -> &'static [&'static str] {
        match self {
            Self::QemuNbd | Self::QemuNbdTcp | Self::NbdServer | Self::Nbdkit => &["nbd"],
            Self::Lio => &["sd_mod"],
            Self::LioIscsi | Self::Tgtd => &["sd_mod", "iscsi_tcp"],
        }
    }

    /// Programs of the server.
    #[must_use]
    pub fn server_programs(self) -> &'static [&'static str] {
        match self {
            Self::QemuNbd | Self::QemuNbdTcp => &["qemu-nbd"],
            Self::NbdServer => &["nbd-server"],
            Self::Nbdkit => &["nbdkit"],
            Self::Lio | Self::LioIscsi => &[],
            Self::Tgtd => &["tgtd", "tgtadm"],
        }
    }

    /// Programs of the client.
    #[must_use]
    pub fn client_programs(self) -> &'static [&'static str] {
        match self {
            Self::QemuNbd | Self::Lio => &[],
            Self::QemuNbdTcp | Self::NbdServer | Self::Nbdkit => &["nbd-client"],
            Self::LioIscsi | Self::Tgtd => &["iscsistart"],
        }
    }
}

/// The way a server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockWrites {
    /// Into the page cache.
    Cached,
    /// Into the page cache, and each write waits for the disk.
    Synced,
    /// Past the page cache.
    Direct,
}
