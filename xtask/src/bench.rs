//! The daemon's costs as ratios: beside an empty program, beside bpftrace, with and without it, all
//! in one run on one machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

mod daemon;
mod load;
mod observer;
mod probes;
mod report;
mod verdicts;
mod workload;

pub use load::{Load, run as load};
use report::Report;

/// The inputs of the benchmarks.
#[derive(Args)]
pub struct BenchArgs {
    /// The daemon, statically linked
    #[arg(long)]
    daemon: PathBuf,
    /// What tells the costs of programs: xtask/bpf-stats
    #[arg(long)]
    bpf_stats: PathBuf,
    /// What tells how a tick grows: monitor/examples/growth.rs
    #[arg(long)]
    growth: PathBuf,
    /// The recordings of real livelocks: monitor/tests/corpus
    #[arg(long)]
    recordings: PathBuf,
    /// Where the numbers go, all of them
    #[arg(long)]
    json: PathBuf,
    /// Only these parts
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Rounds of what is compared
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of each round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Minutes of load after which the daemon's growth is told; 0: not told
    #[arg(long, default_value_t = 0)]
    soak: u64,
}

/// A part of the benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What an event costs in the kernel
    Probes,
    /// By how much the watched work is slower
    Workload,
    /// The daemon's memory, processor time, scrape, start
    Daemon,
    /// From the onset of a livelock to its verdict
    Verdicts,
}

/// Measures, prints, and writes the JSON.
///
/// # Errors
///
/// Something could not be measured.
pub fn run(choice: &BenchArgs) -> Result<()> {
    let mut report = Report::default();
    let wanted = |part| choice.only.is_empty() || choice.only.contains(&part);
    if wanted(Part::Verdicts) {
        verdicts::measure(choice, &mut report)?;
    }
    if wanted(Part::Probes) {
        probes::measure(choice, &mut report)?;
    }
    if wanted(Part::Workload) {
        workload::measure(choice, &mut report)?;
    }
    if wanted(Part::Daemon) {
        daemon::measure(choice, &mut report)?;
    }
    let whole = json!({ "machine": machine(), "numbers": report.json() });
    fs::write(&choice.json, serde_json::to_string_pretty(&whole)? + "\n")
        .with_context(|| choice.json.display().to_string())?;
    println!("\nall numbers: {}", choice.json.display());
    Ok(())
}

/// The machine of the measurement.
fn machine() -> Value {
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.trim_start_matches([':', ' ', '\t']).trim().to_owned())
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    })
}

/// An ext4 on a loop device, so that its writes have their own device.
struct LoopDisk {
    dir: tempfile::TempDir,
}

impl LoopDisk {
    fn new(megabytes: u64, dir: &Path) -> Result<Self> {
        let dir = tempfile::tempdir_in(dir)?;
        let image = dir.path().join("image");
        fs::File::create(&image)?.set_len(megabytes << 20)?;
        let disk = Self { dir };
        fs::create_dir(disk.path())?;
        let at = disk.path();
        sh(
            "mkfs.ext4",
            &["-q".as_ref(), "-F".as_ref(), image.as_path()],
        )?;
        sh(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                image.as_path(),
                at.as_path(),
            ],
        )?;
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = sh("umount", &[&self.path()]);
    }
}

fn sh(program: &str, arguments: &[&Path]) -> Result<()> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.with_context(|| program.to_owned())?;
    anyhow::ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
