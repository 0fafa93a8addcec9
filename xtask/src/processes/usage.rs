//! The memory and processor time of a process, from outside.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// The values of `/proc` at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident, bytes.
    pub resident: f64,
    /// The part of it that is not mapped from files.
    pub anonymous: f64,
    /// Processor time so far.
    pub cpu: Duration,
}

/// Reads them.
pub fn usage(pid: u32) -> Result<Usage> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map_or(0.0, |kilobytes| kilobytes * 1024.0)
    };
    // These are nanoseconds; utime and stime of /proc/PID/stat are in ticks of 10 ms.
    let mut cpu = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let ns: u64 = text
            .split(' ')
            .next()
            .and_then(|ns| ns.parse().ok())
            .unwrap_or(0);
        cpu += ns;
    }
    Ok(Usage {
        resident: bytes("VmRSS:"),
        anonymous: bytes("RssAnon:"),
        cpu: Duration::from_nanos(cpu),
    })
}
