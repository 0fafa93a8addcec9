//! bindfs, a FUSE file system that passes all calls on to a directory.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::DAEMON;

use super::super::{disk::tell_mounted, ganesha::server};
use crate::{counters, tell};

const PROGRAM: &str = "/usr/sbin/bindfs";

/// Mounts a directory again, and waits until the mount is there.
pub fn bind(path: &str, at: &str, exempt: bool) -> Result<()> {
    // libfuse would start mount(8) to append to a regular file.
    if !Path::new("/etc/mtab").exists() {
        symlink("/proc/self/mounts", "/etc/mtab")?;
    }
    let mut command = Command::new(if exempt { DAEMON } else { PROGRAM });
    if exempt {
        command.args(["io-flusher", "--", PROGRAM]);
    }
    // Otherwise it gets a page at a time.
    command
        .args(["-f", "-o", "big_writes", path, at])
        .stdin(Stdio::null());
    tell_mounted(at, path, || {
        let mut child = command.spawn().context("starting bindfs")?;
        let start = Instant::now();
        loop {
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            if counters::device_at(&mounts, at).is_some() {
                tell::event(server(child.id())?);
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("bindfs ended with {status}; its words are in the console log");
            }
            if start.elapsed() > Duration::from_secs(30) {
                bail!("bindfs does not mount {at}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    })
}
