//! NFS clients.

use std::ffi::CString;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

use super::{disk::tell_mounted, server::MOUNTD_PORT};

/// Straight through mount(2): mount.nfs would add the same addresses, and ask
/// an rpcbind for ports.
pub fn mount_nfs(server: &str, path: &str, at: &str, version: &str, more: &str) -> Result<()> {
    let (kind, mut options) = if version == "3" {
        let options = format!(
            "vers=3,proto=tcp,port=2049,addr={server},nolock,\
             mountproto=tcp,mountaddr={server},mountport={MOUNTD_PORT}"
        );
        ("nfs", options)
    } else {
        let options = format!("vers={version},addr={server},clientaddr=0.0.0.0");
        ("nfs4", options)
    };
    if !more.is_empty() {
        options = format!("{options},{more}");
    }
    let options = CString::new(options)?;
    let source = format!("{server}:{path}");
    tell_mounted(at, &source, || {
        mount(&source, at, kind, MountFlags::NOATIME, Some(&*options))
            .with_context(|| format!("mounting {source} on {at}"))
    })
}
