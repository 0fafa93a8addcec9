//! NFS clients.

use std::{ffi::CString, fs, io::Write as _};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

use super::{disk::tell_mounted, server::MOUNTD_PORT};

/// Uses mount(2) directly: mount.nfs would add the same addresses, and query rpcbind for ports.
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

/// Mounts it many times, and writes a little to each mount.
pub fn many(server: &str, count: u32) -> Result<()> {
    let source = format!("{server}:/");
    let options = format!("vers=4.2,addr={server},clientaddr=0.0.0.0,nosharecache");
    let options = CString::new(options)?;
    for number in 0..count {
        let at = format!("/many/{number}");
        fs::create_dir_all(&at)?;
        mount(&*source, &*at, "nfs4", MountFlags::NOATIME, Some(&*options))
            .with_context(|| format!("mounting {source} on {at}"))?;
        let path = format!("{at}/many-{number}");
        let mut file = fs::File::create(&path).with_context(|| path.clone())?;
        file.write_all(b"a page of its own\n")?;
        file.sync_all().context(path)?;
    }
    Ok(())
}
