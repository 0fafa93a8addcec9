//! Development helpers: guests that play livelocks with the daemon inside.
//!
//! `./dev` fetches QEMU, kernels and the guest's programs, and builds the guest's PID 1 and the
//! daemon. This program assembles images, runs guests, and judges their facts.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};

mod across;
mod alerts;
mod bench;
mod budgets;
mod corpus;
mod elf;
mod fleet;
mod initramfs;
mod judge;
mod kernels;
mod matrix;
mod parts;
mod play;
mod processes;
mod qemu;
mod report;
mod scenario;
mod structure;
mod sysroot;
mod table;
mod web;

use kernels::Kernel;
use scenario::Scenario;

#[derive(Parser)]
#[command(about = "Development helpers: use ./dev, which calls this")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play one scenario on one kernel, and print what happens
    Vm {
        /// One of 5.10, 6.1, 6.12, newest, 6.12.43
        kernel: Kernel,
        /// See `list`
        scenario: String,
        /// Forward this port of the host's loopback to the daemon: to look at it with a
        /// browser or `top` while it happens
        #[arg(long, value_name = "PORT")]
        forward: Option<u16>,
        /// Go on for so many seconds after the end of the scenario
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        hold: u64,
        #[command(flatten)]
        files: Files,
    },
    /// Play the core: each scenario on the kernels that the list names for it
    Matrix {
        #[command(flatten)]
        choice: matrix::MatrixArgs,
        #[command(flatten)]
        files: Files,
    },
    /// Put the recordings of right plays into the corpus, each with its label
    Corpus(corpus::CorpusArgs),
    /// Measure what a Prometheus needs for many nodes
    Fleet(fleet::FleetArgs),
    /// Measure what the daemon costs
    Bench(bench::BenchArgs),
    /// Hold the program to what it may take
    Budgets(budgets::BudgetsArgs),
    /// What the benchmarks' processes do
    #[command(hide = true)]
    Load(bench::Load),
    /// Hold the modules to: no circles
    Structure(structure::StructureArgs),
    /// Hold the web configuration to the one of Prometheus' exporters
    Web(web::WebArgs),
    /// The scenarios and the kernels of each
    List,
}

/// The content of a guest, and the directory of its logs.
#[derive(Args, Clone)]
struct Files {
    /// The guest's PID 1, statically linked
    #[arg(long)]
    init: PathBuf,
    /// The daemon, statically linked; without it the scenario alone is judged
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Where `./dev` keeps kernels and programs
    #[arg(long, env = "THROTTLE_MONITOR_CACHE")]
    cache: PathBuf,
    /// Directory of the logs
    #[arg(long)]
    logs: PathBuf,
    /// The repository's deploy/: what a site's Prometheus is given
    #[arg(long)]
    deploy: Option<PathBuf>,
    /// Have daemons record what they observe, and keep the recordings beside the
    /// logs
    #[arg(long)]
    record: bool,
}

fn main() -> Result<ExitCode> {
    let passed = match Cli::parse().command {
        Command::List => {
            report::list();
            true
        }
        Command::Vm {
            kernel,
            scenario,
            forward,
            hold,
            files,
        } => {
            let mut scenario = scenario::find(&scenario)?;
            if let Some(port) = forward {
                scenario.forward_to(port)?;
            }
            scenario.hold(hold);
            one(kernel, scenario, &files)?
        }
        Command::Fleet(choice) => {
            fleet::run(&choice)?;
            true
        }
        Command::Structure(choice) => structure::run(&choice)?,
        Command::Web(choice) => web::run(&choice)?,
        Command::Budgets(choice) => budgets::run(&choice)?,
        Command::Bench(choice) => {
            bench::run(&choice)?;
            true
        }
        Command::Load(load) => {
            bench::load(&load)?;
            true
        }
        Command::Corpus(choice) => corpus::run(&choice)?,
        Command::Matrix { choice, files } => matrix::run(&choice, &files)?,
    };
    Ok(ExitCode::from(u8::from(!passed)))
}

fn one(kernel: Kernel, mut scenario: Scenario, files: &Files) -> Result<bool> {
    if files.record {
        scenario.record();
    }
    if !scenario.kernels.contains(&kernel) {
        bail!(
            "{} does not apply to {kernel}: {}",
            scenario.name,
            report::words(scenario.kernels)
        );
    }
    let mut printer = report::Live::default().printer();
    let (outcome, judgement) = play::play(kernel, &scenario, files, &mut printer)?;
    report::verdict(kernel, &scenario, &outcome, &judgement, false);
    Ok(judgement.is_ok())
}

/// Reads a file; an error names it.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
