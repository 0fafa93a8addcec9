//! Disks.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};

use super::command;

/// Make ext4.
pub fn make(device: &str) -> Result<()> {
    wait_for(device)?;
    // The host's file is all zeroes: nothing needs to be zeroed again.
    let options = "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,nodiscard";
    command(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-m", "0", "-E", options, device],
    )
}

/// Mount what was made.
pub fn attach(device: &str, at: &str) -> Result<()> {
    wait_for(device)?;
    fs::create_dir_all(at)?;
    mount(device, at, "ext4", MountFlags::NOATIME, None)
        .with_context(|| format!("mounting {device} on {at}"))
}

fn wait_for(device: &str) -> Result<()> {
    let start = Instant::now();
    while !Path::new(device).exists() {
        if start.elapsed() > Duration::from_secs(5) {
            bail!("{device} does not appear");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
