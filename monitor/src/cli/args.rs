//! The command line, in the style of Prometheus exporters.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use monitor_common::HIST_BUCKETS;

use super::evidence::EvidenceArgs;
use crate::kernel::{attach::Settings, signals};

/// Upper bounds of the histograms' buckets, seconds. Around 0.1 and 0.2 they
/// tell the two sleeps that matter apart: `congestion_wait`'s 100 ms and
/// `balance_dirty_pages`' longest pause of 200 ms, each with a jiffy more.
pub const BUCKETS: [f64; HIST_BUCKETS - 1] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.09, 0.12, 0.19, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Flags NFS server-on-client throttling livelocks, live, from eBPF.
#[derive(Debug, Parser)]
#[command(name = "throttle-monitor", version, about, max_term_width = 100)]
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
    /// log. Exit code 0: stopped by SIGTERM or SIGINT; 2: cannot start.
    Run(RunArgs),
    /// Tell what this kernel and these privileges allow, per signal.
    ///
    /// Attaches everything for a moment, as `run` would. Exit code 0: all; 1:
    /// degraded; 2: cannot monitor.
    Check(CheckArgs),
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
pub struct RunArgs {
    /// Address and port to serve on; may be given more than once.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9746"
    )]
    pub listen: Vec<SocketAddr>,
    /// Path under which the metrics are served.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// Which messages to write: error, warn, info, debug, trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// How to write them.
    #[arg(long = "log.format", value_enum, default_value_t = crate::export::log::LogFormat::Logfmt)]
    pub log_format: crate::export::log::LogFormat,
    /// Time between two looks at the kernel's maps and at /proc.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// How long all four conditions must hold before a livelock is confirmed.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub confirm: Duration,
    /// Where the evidence goes.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// Flags shared with `check`.
    #[command(flatten)]
    pub kernel: KernelArgs,
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
    #[arg(long = "stall-threshold", value_name = "DURATION", default_value = "100ms", value_parser = humantime::parse_duration)]
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
    #[arg(long = "log.ebpf")]
    pub log_ebpf: bool,
}

impl KernelArgs {
    /// What the programs are told.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            threshold_ns: u64::try_from(self.stall_threshold.as_nanos()).unwrap_or(u64::MAX),
            bounds_ns: BUCKETS.map(|seconds| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive constants"
                )]
                let ns = (seconds * 1e9) as u64;
                ns
            }),
            nfs_servers: self.nfs_servers.clone(),
            avoid: self.avoid.clone(),
            log: self.log_ebpf,
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
        }
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

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) || interval > Duration::from_secs(5) {
        return Err("must be between 100ms and 5s: the verdict looks over three seconds".into());
    }
    Ok(interval)
}

fn telemetry_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.len() > 1 && !text.contains(['{', '}', '*', '?', '#']) {
        Ok(text.to_owned())
    } else {
        Err("must begin with / and be a plain path, such as /metrics".into())
    }
}
