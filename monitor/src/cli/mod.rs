//! The commands.

mod args;
mod check;
mod evidence;
mod facts;
mod run;
mod tick;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the command that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let result = match args::Cli::parse().command {
        args::Command::Run(args) => run::run(&args),
        args::Command::Check(args) => check::check(&args),
        args::Command::Facts(args) => facts::facts(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("throttle-monitor: {error:#}");
        ExitCode::from(2)
    })
}
