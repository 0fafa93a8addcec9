//! A high-availability pair: one disk, one service address, two nodes.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};
use guest::Event;
use rustix::mount::{MountFlags, mount};

use super::{command, server};
use crate::tell;

/// Long enough for the client to reclaim what it holds; cut short by nfsd as
/// soon as it has.
const GRACE_SECONDS: &str = "15";

/// Become the server. The address comes last, as in any such cluster: clients
/// that find nobody listening there would wait before they ask again.
pub fn take_over(device: &str, make: bool, address: &str) -> Result<()> {
    if make {
        super::disk(device, "/export")?;
    } else {
        // The journal is replayed.
        mount(device, "/export", "ext4", MountFlags::NOATIME, None)
            .with_context(|| format!("mounting {device}"))?;
    }
    // Synced, unlike in other scenarios: what is acknowledged must survive.
    // The same fsid makes the same file handles.
    fs::write(
        "/etc/exports",
        "/export *(rw,sync,no_root_squash,fsid=0,insecure,no_subtree_check)\n",
    )?;
    server::prepare("/export/.nfsdcld")?;
    fs::write("/proc/fs/nfsd/nfsv4gracetime", GRACE_SECONDS).context("the grace period")?;
    server::run(8)?;
    command("ip", &["addr", "add", address, "dev", "eth0"])?;
    let name = device.trim_start_matches("/dev/");
    let bdi = fs::read_to_string(format!("/sys/class/block/{name}/dev")).context("the BDI")?;
    tell::event(Event::TookOver {
        bdi: bdi.trim().to_owned(),
    });
    Ok(())
}

/// Reset the machine, now.
pub fn die() -> Result<()> {
    // What was told must reach the host: the port sends as slowly as any.
    thread::sleep(Duration::from_millis(200));
    fs::write("/proc/sysrq-trigger", "b").context("resetting the machine")
}
