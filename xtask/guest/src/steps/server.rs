//! The kernel's NFS server, in the root namespaces or in its own.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    fs::{Mode, OFlags, open},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::command;

/// Export `/export`. A namespaced server answers at 10.9.0.2, and the root
/// namespace has 10.9.0.1.
pub fn start(namespaced: bool, threads: u32) -> Result<()> {
    fs::write(
        "/etc/exports",
        "/export *(rw,async,no_root_squash,fsid=0,insecure,no_subtree_check)\n",
    )?;
    if namespaced {
        for line in [
            "netns add srv",
            "link add v0 type veth peer name v1 netns srv",
            "addr add 10.9.0.1/24 dev v0",
            "link set v0 up",
            "-n srv addr add 10.9.0.2/24 dev v1",
            "-n srv link set v1 up",
            "-n srv link set lo up",
        ] {
            command("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
    }
    // Namespaces belong to a thread, and what it starts inherits them. nfsd's
    // own threads live on in the kernel when this one ends.
    thread::spawn(move || {
        if namespaced {
            enter("/run/netns/srv")?;
        }
        serve(threads)
    })
    .join()
    .map_err(|_| anyhow!("the server's thread panicked"))?
}

fn enter(netns: &str) -> Result<()> {
    let file = open(netns, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&file),
        Some(LinkNameSpaceType::Network),
    )
    .context("entering the server's network namespace")?;
    // As in a pod: the root namespace does not see /proc/fs/nfsd of the server.
    // SAFETY: only the mount namespace and, by it, the file-system attributes
    // of this thread are unshared; no file descriptor changes hands.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("a mount namespace for the server")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("making the server's mounts private")
}

fn serve(threads: u32) -> Result<()> {
    prepare("/var/lib/nfs/nfsdcld")?;
    run(threads)
}

/// All but nfsd itself; `state` is where the names of clients are kept.
pub fn prepare(state: &str) -> Result<()> {
    fs::create_dir_all("/var/lib/nfs")?;
    mount("nfsd", "/proc/fs/nfsd", "nfsd", MountFlags::empty(), None)
        .context("mounting /proc/fs/nfsd")?;
    track_clients(state)?;
    command("exportfs", &["-ra"])?;
    command("rpc.mountd", &["-N", "2", "-N", "3"])
}

/// Start nfsd.
pub fn run(threads: u32) -> Result<()> {
    command("rpc.nfsd", &["-N", "3", "-V", "4.2", &threads.to_string()])
}

/// Undo all of it, in the root namespace.
pub fn stop() -> Result<()> {
    fs::write("/proc/fs/nfsd/threads", "0").context("stopping nfsd")?;
    command("exportfs", &["-ua"])?;
    command("exportfs", &["-f"])?;
    for name in ["rpc.mountd", "nfsdcld"] {
        let start = Instant::now();
        while !super::processes(name).is_empty() {
            super::processes(name).into_iter().for_each(super::kill);
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

const PIPES: &str = "/run/rpc_pipefs";

/// Start nfsdcld: it knows of no client that might reclaim anything, so that
/// nfsd leaves out its grace period. The lease stays at its 90 s: with a short
/// one the client loses it during a stall.
fn track_clients(state: &str) -> Result<()> {
    fs::create_dir_all(PIPES)?;
    mount("rpc_pipefs", PIPES, "rpc_pipefs", MountFlags::empty(), None)
        .context("mounting rpc_pipefs")?;
    fs::create_dir_all(state)?;
    let child = Command::new("/usr/sbin/nfsdcld")
        .args(["-F", "-p", PIPES, "-s", state])
        .stdin(Stdio::null())
        .spawn()
        .context("starting nfsdcld")?;
    // nfsd makes the pipe and looks for a listener at once: nfsdcld must be
    // watching by then, or the grace period lasts its 90 s.
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
