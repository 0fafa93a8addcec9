//! The command line, in the style of Prometheus exporters.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, Args, Parser, Subcommand, ValueEnum};
use monitor_collector::kernel::{attach::Settings, signals};
use monitor_common::HIST_BUCKETS;

use super::{
    completions::CompletionsArgs,
    config::{self, ConfigArgs, Invalid, ThresholdArgs},
    endings,
    evidence::EvidenceArgs,
    explain::ExplainArgs,
    guard::{GuardArgs, GuardCommand},
    io_flusher::IoFlusherArgs,
    man::ManArgs,
    record::{RecordArgs, RollingArgs},
    replay::ReplayArgs,
    top::TopArgs,
    web::WebArgs,
};
use crate::log::{LEVELS, LogFormat};

/// Upper bounds of the histograms' buckets, seconds. Around 0.1 and 0.2 they
/// tell the two sleeps that matter apart: `congestion_wait`'s 100 ms and
/// `balance_dirty_pages`' longest pause of 200 ms, each with a jiffy more.
pub const BUCKETS: [f64; HIST_BUCKETS - 1] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.09, 0.12, 0.19, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The longest bound of a bucket, seconds: a day.
const LONGEST_BUCKET: f64 = 86_400.0;

/// Flags NFS server-on-client throttling livelocks, live, from eBPF.
#[derive(Debug, Parser)]
#[command(
    name = "throttle-monitor",
    version,
    about,
    max_term_width = 100,
    after_long_help = endings::PROGRAM
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
    #[command(after_long_help = endings::RUN)]
    Run(Box<RunArgs>),
    /// Tell what this kernel and these privileges allow, per signal.
    ///
    /// Attaches everything for a moment, as `run` would.
    #[command(after_long_help = endings::CHECK)]
    Check(CheckArgs),
    /// Show the node in the terminal as it is: the verdict, the loop, who waits.
    ///
    /// Of a running daemon, or on its own as root. Where it cannot draw a screen
    /// (a pipe, TERM=dumb) it prints one view, as with --once.
    #[command(after_long_help = endings::TOP, mut_args(hidden_thresholds))]
    Top(Box<TopArgs>),
    /// Tell what a signature of a livelock means, how to confirm it by hand, and
    /// how to get out of it.
    ///
    /// Needs no privileges.
    #[command(after_long_help = endings::EXPLAIN)]
    Explain(ExplainArgs),
    /// Record what the daemon sees into a file, and print what it says of it.
    ///
    /// Attaches and judges as `run` does, without HTTP. Ends on SIGTERM, SIGINT
    /// or after --duration. A file that is there already is continued.
    #[command(after_long_help = endings::RECORD)]
    Record(RecordArgs),
    /// Print the verdicts of a recording again, byte for byte as they were.
    ///
    /// Needs no privileges. Several files of one daemon are given in their
    /// order. A segment of a rolling window (`run --record`) begins in the
    /// middle of the daemon's life: what the daemon had learned before, replay
    /// does not know, so what it says of the first seconds may differ.
    #[command(after_long_help = endings::REPLAY, mut_args(served))]
    Replay(ReplayArgs),
    /// Put back what the guard of a daemon has changed, or ease a loop that stands still.
    ///
    /// Needs root: it writes limits below /proc/sys/vm and /sys/class/bdi.
    #[command(after_long_help = endings::GUARD)]
    Guard(GuardCommand),
    /// Execute a command exempt from local dirty throttling, for a userspace server.
    ///
    /// Sets `PR_SET_IO_FLUSHER` and executes COMMAND in the same process. COMMAND and all that
    /// it starts then wait only for dirty pages of the device that they write to, not for those
    /// of a mount that they serve on this node. Needs `CAP_SYS_RESOURCE` and Linux 5.6.
    #[command(after_long_help = endings::IO_FLUSHER)]
    IoFlusher(IoFlusherArgs),
    /// Print what a shell needs to complete the command line.
    #[command(after_long_help = endings::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    ///
    /// To read one without installing it: `throttle-monitor man | man -l -`.
    #[command(after_long_help = endings::MAN)]
    Man(ManArgs),
    /// Print what this kernel offers, as JSON: a fixture for the tests.
    #[command(hide = true)]
    Facts(FactsArgs),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print every signal, with what it shows and why it comes in no better way.
    #[arg(short, long)]
    pub verbose: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Arguments of `facts`.
#[derive(Debug, Args)]
pub struct FactsArgs {
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "All thresholds are in --help, all keys of --config in docs/configuration.md."
)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the configuration that would be used, as a file for --config, and
    /// exit.
    #[arg(long = "config.show")]
    pub config_show: bool,
    /// Where and to whom is served.
    #[command(flatten)]
    pub web: WebArgs,
    /// Which messages to write.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = LEVELS)]
    pub log_level: String,
    /// How to write them.
    #[arg(long = "log.format", value_enum, default_value_t = LogFormat::Logfmt)]
    pub log_format: LogFormat,
    /// Time between two looks at the kernel's maps and at /proc, 100ms to 5s.
    ///
    /// The times of the verdict are for 1s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// The numbers of the verdict.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
    /// The rolling recording.
    #[command(flatten)]
    pub rolling: RollingArgs,
    /// Where the evidence goes.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// What may be changed on the node.
    #[command(flatten)]
    pub guard: GuardArgs,
    /// Flags shared with `check`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

impl RunArgs {
    /// Whether what was given fits together; each by itself does already.
    ///
    /// # Errors
    ///
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.web.listen.is_empty() {
            return Err(Invalid {
                key: "web.listen-address".to_owned(),
                value: "empty".to_owned(),
                rule: "one address at least".to_owned(),
            });
        }
        self.kernel.check()?;
        self.guard.check()?;
        self.thresholds.check()
    }
}

/// How to reach the kernel.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// Where procfs is mounted: the host's, where the daemon has one of its own.
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
    /// Waits at least this long leave a record each (seen in /api/v1/stalls).
    #[arg(long = "stall-threshold", value_name = "DURATION", default_value = "100ms", value_parser = duration)]
    pub stall_threshold: Duration,
    /// Names of the processes that are userspace NFS servers (class `nfs_server`).
    #[arg(
        long = "nfs-server.names",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "ganesha.nfsd,unfsd"
    )]
    pub nfs_servers: Vec<String>,
    /// Kinds of hook not to use: tracepoint, btf-tracepoint, fentry, kprobe.
    #[arg(long = "probe.avoid", value_name = "KIND", value_delimiter = ',', value_parser = hook_kind)]
    pub avoid: Vec<String>,
    /// Let the eBPF programs write messages of their own into the log.
    #[arg(
        long = "log.ebpf",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub log_ebpf: bool,
    /// Upper bounds of the histograms' buckets, seconds, ascending; at most 15.
    ///
    /// Around 0.1 and 0.2 the default tells the two sleeps that matter apart:
    /// `congestion_wait`'s 100 ms and `balance_dirty_pages`' longest pause of
    /// 200 ms, each with a jiffy more.
    #[arg(
        long,
        value_name = "SECONDS",
        value_delimiter = ',',
        default_values_t = BUCKETS,
        value_parser = bucket
    )]
    pub buckets: Vec<f64>,
}

impl KernelArgs {
    /// What the programs are told.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            threshold_ns: u64::try_from(self.stall_threshold.as_nanos()).unwrap_or(u64::MAX),
            bounds_ns: self.bounds_ns(),
            nfs_servers: self.nfs_servers.clone(),
            avoid: self.avoid.clone(),
            log: self.log_ebpf,
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
        }
    }

    /// The bounds as the eBPF programs take them. With fewer than there is room
    /// for, the rest is endless: the first of them counts what is longer than
    /// all bounds.
    fn bounds_ns(&self) -> [u64; HIST_BUCKETS - 1] {
        let mut bounds = [u64::MAX; HIST_BUCKETS - 1];
        for (bound, seconds) in bounds.iter_mut().zip(&self.buckets) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive and at most a day, by its parser"
            )]
            let ns = (seconds * 1e9).round() as u64;
            *bound = ns;
        }
        bounds
    }

    /// Whether what was given fits together.
    ///
    /// # Errors
    ///
    /// Names the first key that does not.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let error = |value: String, rule: &str| {
            let (key, rule) = ("buckets".to_owned(), rule.to_owned());
            Err(Invalid { key, value, rule })
        };
        if self.buckets.is_empty() {
            return error("empty".to_owned(), "one bound at least");
        }
        if self.buckets.len() >= HIST_BUCKETS {
            let rule = format!("at most {} bounds", HIST_BUCKETS - 1);
            return error(format!("a list of {}", self.buckets.len()), &rule);
        }
        for pair in self.buckets.windows(2) {
            if let [before, after] = pair
                && before >= after
            {
                let value = format!("not ascending ({before} before {after})");
                return error(value, "ascending");
            }
        }
        Ok(())
    }
}

fn hook_kind(text: &str) -> Result<String, String> {
    let mut kinds: Vec<_> = signals::SIGNALS
        .iter()
        .flat_map(|s| s.ways)
        .flat_map(|w| w.probes)
        .map(|p| p.hook.kind())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be one of {}", kinds.join(", ")))
    }
}

/// `run` tells of them; of `top` they would be ten times all the rest.
fn hidden_thresholds(arg: Arg) -> Arg {
    let is_threshold = arg.get_id().as_str().starts_with(config::PREFIX);
    arg.hide(is_threshold)
}

/// What `replay` makes of the flags of all that serves.
fn served(arg: Arg) -> Arg {
    let is_web = arg.get_long().is_some_and(|long| long.starts_with("web."));
    if is_web { arg.requires("serve") } else { arg }
}

/// A duration as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "must be a duration, such as 500ms, 5s or 1m".to_owned())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(5) {
        return Err("must be between 100ms and 5s: the verdict looks over three seconds".into());
    }
    Ok(interval)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let rule = "must be an address and a port, such as 127.0.0.1:9746 or [::1]:9746";
    text.parse().map_err(|_| rule.to_owned())
}

fn bucket(text: &str) -> Result<f64, String> {
    let rule = "must be a number of seconds above 0 and at most 86400, such as 0.25";
    text.parse()
        .ok()
        .filter(|&seconds| seconds > 0.0 && seconds <= LONGEST_BUCKET)
        .ok_or_else(|| rule.to_owned())
}
