//! The kernel's NFS server, in the namespaces of the thread that starts it.

use std::{
    fs,
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::Export;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{command, kill, processes};

/// The port of mountd for clients of NFSv3.
pub const MOUNTD_PORT: u16 = 20048;

/// The directory in which nfsdcld keeps the names of clients.
pub const STATE: &str = "/var/lib/nfs/nfsdcld";

const PIPES: &str = "/run/rpc_pipefs";

/// The common options of all exports.
const OPTIONS: &str = "rw,no_root_squash,insecure,no_subtree_check";

/// Starts a server. NFSv3 needs more programs and time, so it is optional.
pub fn start(threads: u32, exports: &[Export], v3: bool) -> Result<()> {
    mount("nfsd", "/proc/fs/nfsd", "nfsd", MountFlags::empty(), None)
        .context("mounting /proc/fs/nfsd")?;
    track_clients()?;
    // exportfs appends to this file.
    fs::write("/var/lib/nfs/etab", "")?;
    for Export { path, options } in exports {
        let options = format!("{OPTIONS},{options}");
        command("exportfs", &["-i", "-o", &options, &format!("*:{path}")])?;
    }
    let threads = threads.to_string();
    let v4 = ["-V", "4.0", "-V", "4.1", "-V", "4.2"];
    if v3 {
        bind_ports()?;
        command("rpc.mountd", &["-N", "2", "-p", &MOUNTD_PORT.to_string()])?;
        command("rpc.nfsd", &[&["-V", "3"], &v4[..], &[&threads]].concat())
    } else {
        command("rpc.mountd", &["-N", "2", "-N", "3"])?;
        command("rpc.nfsd", &[&["-N", "3"], &v4[..], &[&threads]].concat())
    }
}

/// Stops all of it: nfsd, its programs, its file systems.
pub fn stop() -> Result<()> {
    fs::write("/proc/fs/nfsd/threads", "0").context("stopping nfsd")?;
    command("exportfs", &["-ua"])?;
    command("exportfs", &["-f"])?;
    for name in ["rpc.mountd", "nfsdcld"] {
        let start = Instant::now();
        while !processes(name).is_empty() {
            processes(name).into_iter().for_each(kill);
            if start.elapsed() > Duration::from_secs(5) {
                bail!("{name} does not end");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    for at in ["/proc/fs/nfsd", PIPES] {
        unmount(at, UnmountFlags::empty()).with_context(|| format!("unmounting {at}"))?;
    }
    Ok(())
}

/// Starts rpcbind. The client here does not use it, but nfsd and lockd refuse to serve NFSv3
/// without a registration.
fn bind_ports() -> Result<()> {
    command("rpcbind", &[])?;
    let start = Instant::now();
    while TcpStream::connect("127.0.0.1:111").is_err() {
        if start.elapsed() > Duration::from_secs(10) {
            bail!("rpcbind does not answer");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Starts nfsdcld. It has no client with state to reclaim, so nfsd skips its grace period. The
/// lease stays at its 90 s: with a short one the client loses it during a stall.
fn track_clients() -> Result<()> {
    fs::create_dir_all(PIPES)?;
    mount("rpc_pipefs", PIPES, "rpc_pipefs", MountFlags::empty(), None)
        .context("mounting rpc_pipefs")?;
    fs::create_dir_all(STATE)?;
    let child = Command::new("/usr/sbin/nfsdcld")
        .args(["-F", "-p", PIPES])
        .stdin(Stdio::null())
        .spawn()
        .context("starting nfsdcld")?;
    // nfsd creates the pipe and checks for a listener at once. nfsdcld must be watching by then, or
    // the grace period lasts its 90 s.
    let start = Instant::now();
    let descriptors = format!("/proc/{}/fd", child.id());
    while start.elapsed() < Duration::from_secs(10) {
        let watches = fs::read_dir(&descriptors)?
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|to| to.as_os_str() == "anon_inode:inotify");
        if watches {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("nfsdcld did not get ready; its words are in the console log")
}
