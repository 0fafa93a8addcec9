//! Applications that keep to a pace, and the end of all writers.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::Event;

use super::{kill, processes};
use crate::tell;

/// Start one.
pub fn start(dir: &str, kilobytes: u64) -> Result<()> {
    Command::new("/proc/self/exe")
        .args(["pacer", &format!("{dir}/paced"), &kilobytes.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("starting a writer")?;
    tell::event(Event::WritersStarted);
    Ok(())
}

/// Kill all writers, and wait until they are gone.
pub fn stop() -> Result<()> {
    let start = Instant::now();
    loop {
        let left = processes("writer");
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(20) {
            let stack = fs::read_to_string(format!("/proc/{}/stack", left[0].as_raw_pid()));
            bail!("writers do not end: {}", stack.unwrap_or_default());
        }
        left.into_iter().for_each(kill);
        thread::sleep(Duration::from_millis(50));
    }
}
