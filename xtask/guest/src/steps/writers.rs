//! Processes that write, and their end.

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

/// Start endless writers.
pub fn start(dir: &str, writers: u32, megabytes: u64) -> Result<()> {
    for number in 0..writers {
        spawn("writer", &format!("{dir}/file{number}"), megabytes)?;
    }
    tell::event(Event::WritersStarted);
    Ok(())
}

/// Start one that keeps to a pace.
pub fn pace(dir: &str, kilobytes: u64) -> Result<()> {
    spawn("pacer", &format!("{dir}/paced"), kilobytes)?;
    tell::event(Event::WritersStarted);
    Ok(())
}

fn spawn(word: &str, path: &str, amount: u64) -> Result<()> {
    Command::new("/proc/self/exe")
        .args([word, path, &amount.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("starting a writer")?;
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
