//! Actions of administrators on a node that hangs, or to prevent that.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime, clock_settime};

use super::processes;
use crate::counters;

/// Write to a file of /proc or /sys.
pub fn set(path: &str, value: &str) -> Result<()> {
    let path = resolved(path)?;
    fs::write(&path, value).context(path)
}

/// The same, if the kernel has that file.
pub fn set_if_there(path: &str, value: &str) -> Result<()> {
    if Path::new(&resolved(path)?).exists() {
        return set(path, value);
    }
    Ok(())
}

/// The same, if it has this value.
pub fn set_back(path: &str, is: &str, value: &str) -> Result<()> {
    let now = fs::read_to_string(resolved(path)?)?;
    if now.trim() != is {
        bail!("{path} is {}, not {is}", now.trim());
    }
    set(path, value)
}

/// All settings that the kernel does not change by itself.
pub fn values() -> BTreeMap<String, String> {
    /// These are derived from the current memory, or write-only.
    const OTHERS: [&str; 2] = ["max_bytes", "min_bytes"];
    let directories = fs::read_dir("/sys/class/bdi")
        .into_iter()
        .flatten()
        .flatten();
    let directories = directories.map(|entry| entry.path());
    let mut values = BTreeMap::new();
    for directory in directories.chain([Path::new("/proc/sys/vm").to_owned()]) {
        for file in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, name) = (file.path(), file.file_name());
            let other = OTHERS.iter().any(|other| name == *other);
            if other || !path.is_file() {
                continue;
            }
            if let Ok(value) = fs::read_to_string(&path) {
                values.insert(path.display().to_string(), value.trim().to_owned());
            }
        }
    }
    values
}

/// Replaces the names of BDIs.
fn resolved(path: &str) -> Result<String> {
    let mut path = path.to_owned();
    for (word, at) in [
        ("CLIENT", "/mnt"),
        ("SERVER", "/export"),
        ("UPPER", "/upper"),
        ("HELD", "/data"),
    ] {
        if path.contains(word) {
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            let device = counters::device_at(&mounts, at);
            let device = device.with_context(|| format!("{at} is not a mount"))?;
            path = path.replace(word, &bdi(device));
        }
    }
    Ok(path)
}

/// The name of a device's BDI. Only that of a CIFS mount does not follow from the device.
fn bdi(device: &str) -> String {
    let all = Path::new("/sys/class/bdi");
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let of_cifs = names
        .find(|name| name.starts_with("cifs-"))
        .filter(|_| !all.join(device).exists());
    of_cifs.unwrap_or_else(|| device.to_owned())
}

/// Send a signal to all processes of this name.
pub fn signal(name: &str, number: i32) -> Result<()> {
    for process in processes(name) {
        // SAFETY: the call passes only numbers.
        if unsafe { libc::kill(process.as_raw_pid(), number) } != 0 {
            return Err(std::io::Error::last_os_error()).context("kill");
        }
    }
    Ok(())
}

/// Steps the wall clock forward or back.
pub fn step_clock(seconds: i64) -> Result<()> {
    let mut now = clock_gettime(ClockId::Realtime);
    now.tv_sec += seconds;
    clock_settime(ClockId::Realtime, now).context("setting the clock")
}

/// Make all threads of this name real-time. Kernel threads are processes.
pub fn real_time(name: &str) -> Result<()> {
    let threads = processes(name);
    if threads.is_empty() {
        bail!("there is no {name}");
    }
    for thread in threads {
        let priority = libc::sched_param { sched_priority: 1 };
        // SAFETY: the kernel reads the struct, and nothing else.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sched_setscheduler,
                thread.as_raw_pid(),
                libc::SCHED_FIFO,
                &raw const priority,
            )
        };
        if result != 0 {
            return Err(std::io::Error::last_os_error()).context("sched_setscheduler");
        }
    }
    Ok(())
}

/// Starts a task that may never end.
pub fn begin(words: &[String]) -> Result<()> {
    Command::new("/proc/self/exe")
        .args(words)
        .stdin(Stdio::null())
        .spawn()
        .context("beginning")?;
    Ok(())
}
