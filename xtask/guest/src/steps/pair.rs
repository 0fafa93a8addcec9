//! A high-availability pair: one disk, one service address, two nodes.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};
use guest::{Event, Export, Filesystem};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::{command, disk, server};
use crate::tell;

/// Becomes the server. The address comes last, as in any such cluster: clients that find no
/// listener there would wait before they retry.
pub fn take_over(device: &str, make: bool, address: &str, interface: &str) -> Result<()> {
    if make {
        disk::mount_new(Filesystem::Ext4, device, "/export")?;
    } else {
        disk::tell_mounted("/export", device, || {
            // This replays the journal.
            mount(device, "/export", "ext4", MountFlags::NOATIME, None)
                .with_context(|| format!("mounting {device}"))
        })?;
    }
    // nfsdcld's state moves with the disk. So nfsd lets the clients reclaim their state, and ends
    // its grace period when all of them have.
    let state = "/export/.nfsdcld";
    for directory in [state, server::STATE] {
        fs::create_dir_all(directory)?;
    }
    mount_bind(state, server::STATE).context("putting the state on the disk")?;
    // The export is synced, unlike in other scenarios, because acknowledged data must survive. The
    // same fsid gives the same file handles.
    let export = Export {
        path: "/export".to_owned(),
        options: "fsid=0,sync".to_owned(),
    };
    server::start(8, &[export], false)?;
    command("ip", &["addr", "add", address, "dev", interface])?;
    tell::event(Event::TookOver);
    Ok(())
}

/// Resets the machine, now.
pub fn die() -> Result<()> {
    // The last facts must reach the host through a slow port.
    thread::sleep(Duration::from_millis(200));
    fs::write("/proc/sysrq-trigger", "b").context("resetting the machine")
}
