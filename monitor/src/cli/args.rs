//! The command line: all commands.

use clap::{Arg, Parser, Subcommand};

use super::{
    check::CheckArgs, completions::CompletionsArgs, explain::ExplainArgs, facts::FactsArgs,
    guard::GuardCommand, help_sections, io_flusher::IoFlusherArgs, man::ManArgs,
    record::RecordArgs, replay::ReplayArgs, run::RunArgs, thresholds::PREFIX, top::TopArgs,
};

/// Flags NFS server-on-client throttling livelocks, live, from eBPF.
#[derive(Debug, Parser)]
#[command(
    name = "throttle-monitor",
    version,
    about,
    max_term_width = 100,
    after_long_help = help_sections::PROGRAM
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground.
    ///
    /// Serves metrics and JSON over HTTP, writes changes of the verdict to the
    /// log.
    #[command(after_long_help = help_sections::RUN)]
    Run(Box<RunArgs>),
    /// Tell what this kernel and these privileges allow, per signal.
    ///
    /// Attaches everything for a moment, as `run` would.
    #[command(after_long_help = help_sections::CHECK)]
    Check(CheckArgs),
    /// Show the node in the terminal as it is: the verdict, the loop, who waits.
    ///
    /// Of a running daemon, or on its own as root. Where it cannot draw a screen
    /// (a pipe, TERM=dumb) it prints one view, as with --once.
    #[command(after_long_help = help_sections::TOP, mut_args(hidden_thresholds))]
    Top(Box<TopArgs>),
    /// Tell what a signature of a livelock means, how to confirm it by hand, and
    /// how to get out of it.
    ///
    /// Needs no privileges.
    #[command(after_long_help = help_sections::EXPLAIN)]
    Explain(ExplainArgs),
    /// Record what the daemon sees into a file, and print what it says of it.
    ///
    /// Attaches and judges as `run` does, without HTTP. Ends on SIGTERM, SIGINT
    /// or after --duration. A file that is there already is continued.
    #[command(after_long_help = help_sections::RECORD)]
    Record(RecordArgs),
    /// Print the verdicts of a recording again, byte for byte as they were.
    ///
    /// Needs no privileges. Several files of one daemon are given in their
    /// order. A segment of a rolling window (`run --record.dir`) begins in the
    /// middle of the daemon's life: what the daemon had learned before, replay
    /// does not know, so what it says of the first seconds may differ.
    #[command(after_long_help = help_sections::REPLAY, mut_args(served))]
    Replay(ReplayArgs),
    /// Put back what the guard of a daemon has changed, or ease a loop that stands still.
    ///
    /// Needs root: it writes limits below /proc/sys/vm and /sys/class/bdi.
    #[command(after_long_help = help_sections::GUARD)]
    Guard(GuardCommand),
    /// Execute a command exempt from local dirty throttling, for a userspace server.
    ///
    /// Sets `PR_SET_IO_FLUSHER` and executes COMMAND in the same process. COMMAND and all that
    /// it starts then wait only for dirty pages of the device that they write to, not for those
    /// of a mount that they serve on this node. Needs `CAP_SYS_RESOURCE` and Linux 5.6.
    #[command(after_long_help = help_sections::IO_FLUSHER)]
    IoFlusher(IoFlusherArgs),
    /// Print what a shell needs to complete the command line.
    #[command(after_long_help = help_sections::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    ///
    /// To read one without installing it: `throttle-monitor man | man -l -`.
    #[command(after_long_help = help_sections::MAN)]
    Man(ManArgs),
    /// Print what this kernel offers, as JSON: a fixture for the tests.
    #[command(hide = true)]
    Facts(FactsArgs),
}

/// `run` tells of them; of `top` they would be ten times all the rest.
fn hidden_thresholds(arg: Arg) -> Arg {
    let is_threshold = arg.get_id().as_str().starts_with(PREFIX);
    arg.hide(is_threshold)
}

/// What `replay` makes of the flags of all that serves.
fn served(arg: Arg) -> Arg {
    let is_web = arg.get_long().is_some_and(|long| long.starts_with("web."));
    if is_web { arg.requires("serve") } else { arg }
}
