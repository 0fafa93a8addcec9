//! The daemon, its end, and how it does beside a dead server.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{DAEMON, Event};
use rustix::process::{Pid, Signal, kill_process};

use crate::{http, tell};

/// End it as systemd does.
pub fn stop(mut child: Child) -> Result<()> {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(process.context("no such process")?, Signal::TERM)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait()? {
            tell::event(Event::Output {
                what: "SIGTERM".to_owned(),
                code: status.code(),
                text: status.to_string(),
            });
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the daemon does not end on SIGTERM")
}

/// Start another one, and tell how long it took until it was ready.
pub fn second(port: u16) -> Result<()> {
    if !fs::exists(DAEMON)? {
        return Ok(());
    }
    let start = Instant::now();
    let child = Command::new(DAEMON)
        .args(["run", "--web.listen-address"])
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .spawn()
        .context(DAEMON)?;
    while let Err(error) = http::get_at(port, "/-/ready") {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(error.context("the second daemon was not ready within 30 s"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    tell::event(Event::Served {
        path: "/-/ready".to_owned(),
        ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        text: String::new(),
    });
    stop(child)
}

/// Ask for the state of a file system, in a process that may hang.
pub fn statfs(path: &str) -> Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .args(["statfs", path])
        .stdin(Stdio::null())
        .spawn()
        .context("starting a statfs")?;
    let start = Instant::now();
    let mut returned = false;
    while !returned && start.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(20));
        returned = child.try_wait()?.is_some();
    }
    tell::event(Event::Statfs {
        path: path.to_owned(),
        returned,
    });
    Ok(())
}

/// Watch its threads: an uninterruptible sleep below NFS would be its end.
pub fn blocked(process: u32) -> Result<()> {
    let mut seen = BTreeSet::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        for task in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let (status, stack) = (read("stat"), read("stack"));
            if status.contains(") D ") && (stack.contains("nfs") || stack.contains("rpc")) {
                let name = status.split(") D ").next().unwrap_or_default();
                seen.insert(format!("{name}): {}", stack.trim().replace('\n', " < ")));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    tell::event(Event::Blocked(seen.into_iter().collect()));
    Ok(())
}
