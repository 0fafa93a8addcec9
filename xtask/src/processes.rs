//! Servers on loopback that end with the test.

use std::{
    ffi::OsStr,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

mod usage;

pub use usage::usage;

/// Processes that are killed when this is dropped, or with this process.
#[derive(Default)]
pub struct Processes {
    children: Vec<Child>,
    /// Whether their output is discarded.
    silent: bool,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    /// Discards the output of its processes.
    pub fn silent() -> Self {
        Self {
            children: Vec::new(),
            silent: true,
        }
    }

    /// Starts one more and returns its process id.
    pub fn begin<A: AsRef<OsStr>>(
        &mut self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<u32> {
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null());
        if self.silent {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        // SAFETY: between fork and exec there is only one system call.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
            });
        }
        let name = program.as_ref().display();
        let child = command.spawn();
        let child = child.with_context(|| format!("{name} cannot be started: use ./dev"))?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    /// Whether all of them still run.
    pub fn run(&mut self) -> bool {
        self.children
            .iter_mut()
            .all(|child| matches!(child.try_wait(), Ok(None)))
    }
}

/// A free port of loopback.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port of loopback")?;
    Ok(listener.local_addr()?.port())
}

/// Wait until a URL answers.
pub fn answers(url: &str) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = get(url) {
        if start.elapsed() > Duration::from_mins(1) {
            bail!("{url} did not answer within a minute: {error:#}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The body of a URL.
pub fn get(url: &str) -> Result<String> {
    // A process in a stalled guest may accept the connection and never answer.
    let request = ureq::get(url).config();
    let request = request.timeout_global(Some(Duration::from_secs(10)));
    let answer = request.build().call();
    Ok(answer
        .with_context(|| url.to_owned())?
        .body_mut()
        .read_to_string()?)
}
