//! The observers: none, the daemon, bpftrace.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::BenchArgs;
use crate::processes::{Processes, answers, free_port, get};

/// An observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// No observer.
    Nobody,
    /// The daemon, without flags.
    Ours,
    /// bpftrace with a script.
    Bpftrace(&'static str),
}

/// A running observer; it ends when this is dropped.
pub struct Watching {
    _processes: Processes,
    /// Its process.
    pub pid: Option<u32>,
    /// The daemon's URL.
    pub url: String,
    /// The time from its start until it observes.
    pub ready: Duration,
}

impl Observer {
    /// The name for the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Ours => "throttle-monitor",
            Self::Bpftrace(_) => "bpftrace",
        }
    }

    /// Starts it, and waits until it observes.
    pub fn start(self, choice: &BenchArgs) -> Result<Watching> {
        let mut processes = Processes::silent();
        let begin = Instant::now();
        let mut url = String::new();
        let pid = match self {
            Self::Nobody => None,
            Self::Ours => {
                let port = free_port()?;
                url = format!("http://127.0.0.1:{port}");
                let pid = processes.begin(
                    &choice.daemon,
                    [
                        "run",
                        "--log.level=error",
                        &format!("--web.listen-address=127.0.0.1:{port}"),
                    ],
                )?;
                answers(&format!("{url}/-/healthy"))?;
                while get(&format!("{url}/-/ready")).is_err() {
                    thread::sleep(Duration::from_millis(5));
                    if begin.elapsed() > Duration::from_mins(1) {
                        bail!("the daemon is not ready within a minute");
                    }
                }
                Some(pid)
            }
            Self::Bpftrace(script) => {
                let before = loaded(choice)?;
                // bpftrace searches for tracefs in one place, which not every machine has.
                let alone = "[ -d /sys/kernel/tracing/events ] || \
                             mount -t tracefs none /sys/kernel/tracing; exec bpftrace -q -e \"$0\"";
                let pid = processes.begin("unshare", ["--mount", "sh", "-c", alone, script])?;
                // Its programs are loaded one after the other.
                let mut known = 0;
                loop {
                    thread::sleep(Duration::from_millis(500));
                    let now = loaded(choice)?.difference(&before).count();
                    if now > 0 && now == known {
                        break;
                    }
                    known = now;
                    if begin.elapsed() > Duration::from_mins(1) || !processes.run() {
                        bail!("bpftrace loads nothing: {script}");
                    }
                }
                Some(pid)
            }
        };
        Ok(Watching {
            _processes: processes,
            pid,
            url,
            ready: begin.elapsed(),
        })
    }
}

/// The cost of a program over a while.
#[derive(Clone, Debug, Deserialize)]
pub struct Cost {
    /// The kernel's number.
    pub id: u32,
    /// Its name, at most 15 letters.
    pub name: String,
    /// The number of runs.
    pub runs: u64,
    /// The total time.
    pub ns: u64,
}

/// The costs of each program in this time, with an empty one at each of these tracepoints.
pub fn costs(choice: &BenchArgs, seconds: f64, empty: &[&str]) -> Result<Vec<Cost>> {
    let mut command = Command::new(&choice.bpf_stats);
    command.args(["--seconds", &seconds.to_string()]);
    if !empty.is_empty() {
        command.args(["--empty", &empty.join(",")]);
    }
    let output = command.output().context("bpf-stats")?;
    if !output.status.success() {
        bail!("bpf-stats: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The loaded programs.
pub fn loaded(choice: &BenchArgs) -> Result<BTreeSet<u32>> {
    Ok(costs(choice, 0.0, &[])?
        .into_iter()
        .map(|cost| cost.id)
        .collect())
}

/// The sum of this metric's samples on the page.
pub fn metric(page: &str, name: &str, label: &str) -> f64 {
    let lines = page.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    });
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// The size of a file.
pub fn length(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64)
}
