//! nfs-ganesha, an NFS server in userspace, on a local file system.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// NFSv4 only: for NFSv3 it wants an rpcbind.
const CONFIG: &str = "
NFS_CORE_PARAM {
    Protocols = 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
}
NFSv4 {
    Graceless = true;
    RecoveryBackend = fs;
    RecoveryRoot = /var/lib/nfs/ganesha;
    Only_Numeric_Owners = true;
    UseGetpwnam = true;
}
EXPORT {
    Export_Id = 1;
    Path = PATH;
    Pseudo = /;
    Protocols = 4;
    Access_Type = RW;
    Squash = None;
    SecType = sys;
    FSAL { Name = VFS; }
}
";

/// Start it, and wait until it listens.
pub fn start(path: &str) -> Result<()> {
    fs::create_dir_all("/var/lib/nfs/ganesha")?;
    fs::create_dir_all("/etc/ganesha")?;
    // Here it looks for file systems.
    if !Path::new("/etc/mtab").exists() {
        symlink("/proc/self/mounts", "/etc/mtab")?;
    }
    let config = "/etc/ganesha/ganesha.conf";
    fs::write(config, CONFIG.replace("PATH", path))?;
    let mut child = Command::new("/usr/sbin/ganesha.nfsd")
        .args(["-F", "-f", config, "-L", "STDERR", "-N", "NIV_EVENT"])
        .args(["-p", "/run/ganesha.pid"])
        .stdin(Stdio::null())
        .spawn()
        .context("starting ganesha.nfsd")?;
    let start = Instant::now();
    while TcpStream::connect("127.0.0.1:2049").is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("ganesha.nfsd ended with {status}; its words are in the console log");
        }
        if start.elapsed() > Duration::from_secs(30) {
            bail!("ganesha.nfsd does not listen");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
