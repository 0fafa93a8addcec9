//! Budgets of the released program: instructions, bytes, pages. These are counts, so a busy machine
//! gives the same result. For allocations and maps see monitor/tests/budgets.rs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::processes::{Processes, answers, free_port, get, usage};

/// The inputs of the checks.
#[derive(Args)]
pub struct BudgetsArgs {
    /// The daemon, statically linked
    #[arg(long)]
    daemon: PathBuf,
    /// monitor/tests/corpus
    #[arg(long)]
    recordings: PathBuf,
}

/// A livelock from before its start to after its end.
const RECORDING: &str = "6.12-netns-recovery.tmrec";

const MIB: f64 = (1 << 20) as f64;

/// A count and its budget. docs/performance.md has the reasons.
struct Count {
    what: &'static str,
    unit: &'static str,
    is: f64,
    most: f64,
}

/// Measures and prints all counts; returns whether each is within its budget.
///
/// # Errors
///
/// Something could not be counted.
pub fn run(choice: &BudgetsArgs) -> Result<bool> {
    let (idle, own) = resident(&choice.daemon)?;
    let counts = [
        Count {
            what: "the program, one static file",
            unit: "MiB",
            is: fs::metadata(&choice.daemon)?.len() as f64 / MIB,
            most: 12.5,
        },
        Count {
            what: "instructions of a tick: read from a recording, judged, told",
            unit: "thousand",
            is: instructions_of_a_tick(choice)? / 1e3,
            most: 800.0,
        },
        Count {
            what: "resident when it is ready",
            unit: "MiB",
            is: idle,
            most: 12.0,
        },
        Count {
            what: "of that its own, not the file's",
            unit: "MiB",
            is: own,
            most: 2.5,
        },
    ];
    let mut within = true;
    for Count {
        what,
        unit,
        is,
        most,
    } in counts
    {
        let fits = is <= most;
        within &= fits;
        let word = if fits { "within" } else { "OVER" };
        println!("{word} {most} {unit}: {is:.1} ({what})");
    }
    Ok(within)
}

/// callgrind counts instructions, not time.
fn instructions_of_a_tick(choice: &BudgetsArgs) -> Result<f64> {
    let recording = choice.recordings.join(RECORDING);
    let (replay, words) = instructions(&choice.daemon, &["replay".as_ref(), &recording])?;
    let (start, _) = instructions(&choice.daemon, &["--version".as_ref()])?;
    let ticks = words
        .split_once(" observations read")
        .and_then(|(before, _)| before.rsplit_once(' ')?.1.parse::<f64>().ok())
        .context("replay does not say how many observations it read")?;
    Ok((replay - start) / ticks)
}

/// The number of instructions of a run, from callgrind's stderr.
fn instructions(daemon: &Path, arguments: &[&Path]) -> Result<(f64, String)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(daemon)
        .args(arguments)
        .output()
        .context("valgrind cannot be started: use ./dev")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let Some((_, rest)) = words.split_once("Collected : ") else {
        bail!("callgrind counted nothing:\n{words}");
    };
    let count = rest.split_whitespace().next().unwrap_or_default().parse();
    Ok((count.context("callgrind's count")?, words))
}

/// Resident memory in MiB, total and without mapped files, a while after the daemon is ready.
fn resident(daemon: &Path) -> Result<(f64, f64)> {
    let mut processes = Processes::silent();
    let url = format!("127.0.0.1:{}", free_port()?);
    let listen = format!("--web.listen-address={url}");
    let pid = processes.begin(daemon, ["run", "--log.level=error", &listen])?;
    answers(&format!("http://{url}/-/healthy"))?;
    for _ in 0..5 {
        thread::sleep(Duration::from_secs(1));
        get(&format!("http://{url}/metrics"))?;
    }
    let usage = usage(pid)?;
    Ok((usage.resident / MIB, usage.anonymous / MIB))
}
