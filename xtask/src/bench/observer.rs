//! Who watches: nobody, the daemon, bpftrace.

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

use super::Choice;
use crate::processes::{Processes, answers, free_port, get};

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// Nobody.
    Nobody,
    /// The daemon, as it is started without flags.
    Ours,
    /// bpftrace with a script.
    Bpftrace(&'static str),
}

/// One that watches, until it is dropped.
pub struct Watching {
    _processes: Processes,
    /// Its process.
    pub pid: Option<u32>,
    /// Where the daemon answers.
    pub url: String,
    /// From its start until it watched.
    pub ready: Duration,
}

impl Observer {
    /// For the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Ours => "throttle-monitor",
            Self::Bpftrace(_) => "bpftrace",
        }
    }

    /// Starts it, and waits until it watches.
    pub fn start(self, choice: &Choice) -> Result<Watching> {
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
                // It looks for tracefs in one place, where not every machine has it.
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

/// What a program cost for a while.
#[derive(Clone, Debug, Deserialize)]
pub struct Cost {
    /// The kernel's number.
    pub id: u32,
    /// At most 15 letters of its name.
    pub name: String,
    /// How often it ran.
    pub runs: u64,
    /// How long in all.
    pub ns: u64,
}

/// What each program costs for so long, with an empty one at each of these.
pub fn costs(choice: &Choice, seconds: f64, empty: &[&str]) -> Result<Vec<Cost>> {
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

/// The programs that are there.
pub fn loaded(choice: &Choice) -> Result<BTreeSet<u32>> {
    Ok(costs(choice, 0.0, &[])?
        .into_iter()
        .map(|cost| cost.id)
        .collect())
}

/// How many samples of this metric the page has, and their sum.
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

/// How long a file is.
pub fn length(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64)
}
