//! The daemon: its end, and its behavior beside a dead server.

use std::{
    collections::BTreeSet,
    fs,
    mem::MaybeUninit,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use guest::{DAEMON, Event};
use rustix::process::{Pid, Signal, kill_process};

use crate::{http, tell};

/// Detaching from a kernel function waits for every task to pass by (RCU). 7.2 took 19 s for all of
/// them in a guest with little processor time.
const STOPPING: Duration = Duration::from_mins(1);

/// Ends it as systemd does.
pub fn stop(mut child: Child) -> Result<()> {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(process.context("no such process")?, Signal::TERM)?;
    let start = Instant::now();
    while start.elapsed() < STOPPING {
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

/// Starts another one, and reports the time until it was ready.
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
    let ms = millis(start.elapsed());
    let status = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // They follow the name, which may contain anything: `utime` and `stime` are the 12th and 13th
    // word, in hundredths of a second.
    let words = status.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = words
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    tell::event(Event::Took {
        what: "run".to_owned(),
        ms,
        cpu_ms: ticks * 10,
    });
    stop(child)
}

/// Runs a program to its end, and reports its duration.
pub fn timed(what: &str, program: &mut Command) -> Result<Output> {
    let (start, before) = (Instant::now(), of_children()?);
    let output = program.output().context(DAEMON)?;
    tell::event(Event::Took {
        what: what.to_owned(),
        ms: millis(start.elapsed()),
        cpu_ms: millis(of_children()?.saturating_sub(before)),
    });
    Ok(output)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The processor time of all children that have ended.
fn of_children() -> Result<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the kernel fills in the whole struct, or returns an error.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        usage.assume_init()
    };
    let time = |of: libc::timeval| {
        let micros = of.tv_sec * 1_000_000 + of.tv_usec;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// Reads the state of a file system, in a process that may hang.
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

/// Watches its threads: an uninterruptible sleep in NFS would be its end.
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
