//! The load's processes, as PID 1 starts and ends them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use guest::{Event, Way};
use rustix::mount::{MountFlags, mount};

use super::{Pods, kill, processes};
use crate::{load, tell};

/// Start writers that never end.
pub fn start_endless(dir: &str, writers: u32, megabytes: u64, way: Way) -> Result<()> {
    for number in 0..writers {
        Command::new("/proc/self/exe")
            .args(["writer", &format!("{dir}/file{number}")])
            .args([&megabytes.to_string(), way.name()])
            .stdin(Stdio::null())
            .spawn()
            .context("starting a writer")?;
    }
    tell::event(Event::WritersStarted);
    Ok(())
}

/// Start a writer past the page cache, in the namespaces of this thread.
pub fn start_direct(dir: &str, rate: u64) -> Result<()> {
    Command::new("/proc/self/exe")
        .args(["write-direct", &format!("{dir}/direct"), &rate.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("starting a writer")?;
    Ok(())
}

/// Start readers that never end.
pub fn start_readers(dir: &str, readers: u32, megabytes: u64, rate: u64) -> Result<()> {
    for number in 0..readers {
        Command::new("/proc/self/exe")
            .args(["reader", &format!("{dir}/read{number}")])
            .args([megabytes, rate].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .spawn()
            .context("starting a reader")?;
    }
    Ok(())
}

/// Start the process that fills a tmpfs.
pub fn fill() -> Result<()> {
    fs::create_dir_all("/full")?;
    let options = Some(c"size=100%");
    mount("full", "/full", "tmpfs", MountFlags::empty(), options).context("mounting a tmpfs")?;
    Command::new("/proc/self/exe")
        .args(["filler", "/full/file"])
        .stdin(Stdio::null())
        .spawn()
        .context("starting what fills it")?;
    Ok(())
}

/// Start gobblers, once or for ever.
pub fn gobble(processes: u32, megabytes: u64, again: bool) {
    for _ in 0..processes {
        thread::spawn(move || {
            loop {
                let gobbler = Command::new("/proc/self/exe")
                    .args(["gobbler", &megabytes.to_string()])
                    .stdin(Stdio::null())
                    .status();
                // Mostly it was killed.
                drop(gobbler);
                if !again {
                    break;
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
    }
}

/// Slow writers that end.
#[derive(Default)]
pub struct Writers(Vec<JoinHandle<Result<()>>>);

impl Writers {
    /// Start one.
    pub fn start(&mut self, pods: &Pods, pod: Option<&str>, dir: &str, seconds: u64) -> Result<()> {
        let mut child = pods.inside(pod, || {
            Command::new("/proc/self/exe")
                .args(["write-at-leisure", dir, &seconds.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("starting a writer")
        })?;
        let output = child.stdout.take().context("a writer without output")?;
        let dir = dir.to_owned();
        self.0
            .push(thread::spawn(move || follow(child, output, &dir)));
        Ok(())
    }

    /// Wait until all have ended.
    pub fn wait(&mut self) -> Result<()> {
        for writer in self.0.drain(..) {
            writer.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        tell::event(Event::Written);
        Ok(())
    }
}

fn follow(mut child: Child, output: ChildStdout, dir: &str) -> Result<()> {
    let mut lines = BufReader::new(output).lines();
    if lines.next().transpose()?.as_deref() == Some(load::FIRST) {
        tell::event(Event::FirstWrite {
            dir: dir.to_owned(),
        });
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the writer in {dir} ended with {status}; its words are in the console log");
    }
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
        if start.elapsed() > Duration::from_mins(1) {
            let stack = fs::read_to_string(format!("/proc/{}/stack", left[0].as_raw_pid()));
            bail!("writers do not end: {}", stack.unwrap_or_default());
        }
        left.into_iter().for_each(kill);
        thread::sleep(Duration::from_millis(50));
    }
}
