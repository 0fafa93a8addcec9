//! Steps for file systems that are not NFS, and for devices on files of an NFS mount.

use serde::{Deserialize, Serialize};

/// One of these steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FilesStep {
    /// Start an SMB server of the root namespaces, with the share `x` for guests.
    ServeSmb {
        /// The directory, on a local file system.
        path: String,
        /// The server.
        server: SmbServer,
        /// More lines for the share in its configuration.
        options: Vec<String>,
    },
    /// Mount the share `x` of an SMB server.
    MountSmb {
        /// The server's address.
        server: String,
        /// The mount point, created.
        at: String,
    },
    /// Mount a directory again through FUSE: bindfs is the daemon.
    Fuse {
        /// The directory, on a local file system.
        path: String,
        /// The mount point, created.
        at: String,
        /// Whether it is started through `throttle-monitor io-flusher`.
        exempt: bool,
    },
    /// Make a sparse file and `/dev/loop0` of it, without a file system.
    LoopDevice {
        /// The pod whose mounts the file is in; none: the root namespaces.
        pod: Option<String>,
        /// The file.
        file: String,
        /// Its size.
        megabytes: u64,
    },
    /// Make `/dev/dm-0` of a device, encrypted by dm-crypt.
    Encrypt {
        /// For example `/dev/loop0`.
        device: String,
    },
}

/// An SMB server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SmbServer {
    /// Samba's smbd, which the kernel throttles like any writer.
    Samba,
    /// The same, started through `throttle-monitor io-flusher`.
    SambaExempt,
    /// The kernel's.
    Ksmbd,
}
