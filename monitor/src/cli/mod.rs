//! The commands.

mod args;
mod check;
mod completions;
mod config;
mod daemon;
#[cfg(test)]
mod documented;
mod evidence;
mod exit;
mod explain;
mod facts;
mod flags;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
pub(crate) mod generated;
mod guard;
mod help_sections;
mod io_flusher;
#[cfg(test)]
mod kernel_docs;
mod man;
mod record;
mod reload;
mod replay;
mod run;
mod serve;
mod size;
mod start;
mod support_bundle;
mod thresholds;
pub mod top;
mod web;

use std::{process::ExitCode, sync::Arc};

use clap::CommandFactory as _;

use crate::terminal::no_colours_if_dumb;

/// Runs the command of the command line.
#[must_use]
pub fn main() -> ExitCode {
    no_colours_if_dumb();
    let cli = match config::parse(std::env::args_os().collect::<Vec<_>>()) {
        Ok(config::Parsed::Command(cli)) => cli,
        Ok(config::Parsed::Show(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(config::Refused::CommandLine(error)) => {
            // A closed pipe does not change the exit code.
            let _ = error.print();
            // clap returns --help and --version as errors, too.
            let code = if error.use_stderr() {
                exit::BAD_CONFIGURATION
            } else {
                0
            };
            return ExitCode::from(code);
        }
        Err(refused) => {
            eprintln!("throttle-monitor: {refused}");
            return ExitCode::from(exit::BAD_CONFIGURATION);
        }
    };
    let result = match cli.command {
        args::Command::Run(args) => run::run(&args, config::reread),
        args::Command::Check(args) => check::check(&args),
        args::Command::Explain(args) => explain::explain(&args),
        args::Command::Top(args) => top::top(&args),
        args::Command::Record(args) => record::record(&args),
        args::Command::Replay(args) => replay::replay(&Arc::new(args)),
        args::Command::Completions(args) => completions::completions(&args, &args::Cli::command()),
        args::Command::Man(args) => man::man(&args, args::Cli::command()),
        args::Command::Guard(args) => guard::guard(&args),
        args::Command::IoFlusher(args) => io_flusher::io_flusher(&args),
        args::Command::SupportBundle(args) => support_bundle::support_bundle(&args),
        args::Command::Facts(args) => facts::facts(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("throttle-monitor: {error:#}");
        exit::code(&error)
    })
}
