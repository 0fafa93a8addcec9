//! Local file systems.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{Event, Filesystem, Mounted};
use rustix::mount::{MountFlags, mount};

use super::command;
use crate::{counters, tell};

/// Make a file system and mount it.
pub fn mount_new(kind: Filesystem, device: &str, at: &str) -> Result<()> {
    let name = match kind {
        Filesystem::Ext4 => {
            appear(device)?;
            // The host's file is all zeroes, so skip zeroing.
            let options =
                "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,nodiscard";
            command(
                "mke2fs",
                &["-q", "-F", "-t", "ext4", "-m", "0", "-E", options, device],
            )?;
            "ext4"
        }
        Filesystem::Xfs => {
            appear(device)?;
            command("mkfs.xfs", &["-q", "-f", "-K", device])?;
            "xfs"
        }
        Filesystem::Btrfs => {
            appear(device)?;
            command("mkfs.btrfs", &["-q", "-f", "-K", device])?;
            "btrfs"
        }
        Filesystem::Tmpfs => "tmpfs",
    };
    tell_mounted(at, device, || {
        mount(device, at, name, MountFlags::NOATIME, None)
            .with_context(|| format!("mounting {device} on {at}"))
    })
}

/// A file, a loop device of it, and a file system on that.
pub fn loop_device(file: &str, megabytes: u64, at: &str) -> Result<()> {
    attach(file, megabytes)?;
    mount_new(Filesystem::Ext4, LOOP, at)
}

const LOOP: &str = "/dev/loop0";

/// A sparse file, and a loop device of it.
pub fn attach(file: &str, megabytes: u64) -> Result<()> {
    fs::File::create(file)
        .and_then(|made| made.set_len(megabytes << 20))
        .with_context(|| format!("making {file}"))?;
    appear(LOOP)?;
    command("losetup", &[LOOP, file])
}

fn appear(device: &str) -> Result<()> {
    let start = Instant::now();
    while !Path::new(device).exists() {
        if start.elapsed() > Duration::from_secs(5) {
            bail!("{device} does not appear");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Mounts a source, and reports the kernel's names for it.
pub fn tell_mounted(at: &str, source: &str, mount: impl FnOnce() -> Result<()>) -> Result<()> {
    fs::create_dir_all(at)?;
    let before = bdis();
    mount()?;
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").context("mountinfo")?;
    let device = counters::device_at(&mounts, at);
    tell::event(Event::Mounted(Mounted {
        at: at.to_owned(),
        source: source.to_owned(),
        device: device.context("it is not in mountinfo")?.to_owned(),
        bdis: bdis().difference(&before).cloned().collect(),
    }));
    Ok(())
}

fn bdis() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/bdi").into_iter().flatten();
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
