//! The command line: all commands.

use clap::{Arg, Parser, Subcommand};

use super::{
    check::CheckArgs, completions::CompletionsArgs, explain::ExplainArgs, facts::FactsArgs,
    guard::GuardCommand, help_sections, io_flusher::IoFlusherArgs, man::ManArgs,
    record::RecordArgs, replay::ReplayArgs, run::RunArgs, support_bundle::SupportBundleArgs,
    thresholds::PREFIX, top::TopArgs,
};

/// Find livelocks of a node that serves NFS to itself, live, with eBPF.
#[derive(Debug, Parser)]
#[command(
    name = "throttle-monitor",
    version,
    about,
    max_term_width = 100,
    after_long_help = help_sections::text("")
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
    /// Serves metrics and JSON over HTTP, and logs every change of a verdict.
    #[command(after_long_help = help_sections::text("run"))]
    Run(Box<RunArgs>),
    /// Check what this kernel and these privileges allow, per signal.
    ///
    /// Attaches everything for a moment, as `run` would, and looks for loops.
    #[command(after_long_help = help_sections::text("check"))]
    Check(CheckArgs),
    /// Show the node in the terminal: the verdict, the loop, the waiting tasks.
    ///
    /// Reads from a running daemon, or monitors in this process as root. If it cannot draw a screen
    /// (a pipe, TERM=dumb), it prints one view, as with --once.
    #[command(after_long_help = help_sections::text("top"), mut_args(hidden_thresholds))]
    Top(Box<TopArgs>),
    /// Explain a signature of a livelock: what it means, how to confirm it, how to end it.
    ///
    /// Needs no privileges.
    #[command(after_long_help = help_sections::text("explain"))]
    Explain(ExplainArgs),
    /// Record what the daemon sees into a file, and print its verdicts.
    ///
    /// Attaches and judges as `run` does, without HTTP. Ends on SIGTERM, SIGINT or after
    /// --duration. An existing recording is continued.
    #[command(after_long_help = help_sections::text("record"))]
    Record(RecordArgs),
    /// Replay a recording: print its verdicts, byte for byte as they were.
    ///
    /// Needs no privileges. Several files of one daemon are given in their
    /// order. A segment of a rolling window (`run --record.dir`) begins in the
    /// middle of the daemon's life: what the daemon had learned before, replay
    /// does not know, so what it says of the first seconds may differ.
    #[command(after_long_help = help_sections::text("replay"), mut_args(served))]
    Replay(ReplayArgs),
    /// Undo what a guard has changed, or ease a stalled loop.
    ///
    /// Needs root: it writes limits below /proc/sys/vm and /sys/class/bdi.
    #[command(after_long_help = help_sections::text("guard"))]
    Guard(GuardCommand),
    /// Execute a command, exempt from local dirty throttling.
    ///
    /// Sets `PR_SET_IO_FLUSHER` and executes COMMAND in the same process. COMMAND and all that
    /// it starts then wait only for dirty pages of the device that they write to, not for those
    /// of a mount that they serve on this node. Needs `CAP_SYS_RESOURCE` and Linux 5.6.
    #[command(after_long_help = help_sections::text("io-flusher"))]
    IoFlusher(IoFlusherArgs),
    /// Write what a bug report needs into one file, without secrets.
    ///
    /// Runs `check`, and asks the daemon of this node, if one runs. Needs what `check` needs; what
    /// cannot be read is listed in the file.
    #[command(after_long_help = help_sections::text("support-bundle"))]
    SupportBundle(SupportBundleArgs),
    /// Print the completion script of a shell.
    #[command(after_long_help = help_sections::text("completions"))]
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    ///
    /// To read one without installing it: `throttle-monitor man | man -l -`.
    #[command(after_long_help = help_sections::text("man"))]
    Man(ManArgs),
    /// Print what this kernel offers, as JSON.
    #[command(hide = true)]
    Facts(FactsArgs),
}

/// The help of `run` has them; here they would be ten times all the rest.
fn hidden_thresholds(arg: Arg) -> Arg {
    let is_threshold = arg.get_id().as_str().starts_with(PREFIX);
    arg.hide(is_threshold)
}

/// In `replay`, the flags for serving need --serve.
fn served(arg: Arg) -> Arg {
    let is_web = arg.get_long().is_some_and(|long| long.starts_with("web."));
    if is_web { arg.requires("serve") } else { arg }
}
