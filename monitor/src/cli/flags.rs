//! Flags that commands share, in the style of Prometheus exporters.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum};
use monitor_collector::kernel::{attach::Settings, signals};
use monitor_common::HIST_BUCKETS;

/// Upper bounds of the histograms' buckets, seconds. Those around 0.1 and 0.2 separate the two
/// sleeps that matter: `congestion_wait`'s 100 ms and `balance_dirty_pages`' longest pause of 200
/// ms, each plus a jiffy.
pub const BUCKETS: [f64; HIST_BUCKETS - 1] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.09, 0.12, 0.19, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The largest bound of a bucket, seconds: a day.
const LONGEST_BUCKET: f64 = 86_400.0;

/// The service's configuration file, installed by the packages.
pub const SERVICE: &str = "/etc/throttle-monitor/config.toml";

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file, TOML; every key is also a flag of `run`.
    ///
    /// A flag overrides the file, and the file overrides the default. Keys: docs/configuration.md,
    /// or `run --config.show`.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The value of every key, as in a file; `None`: it has none.
pub type Values = BTreeMap<String, Option<String>>;

/// Contradicting values, or one that is invalid only together with others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {value}, but must be {rule}")]
pub struct Invalid {
    /// The flag without its dashes, which is the key of the file.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The valid values.
    pub rule: String,
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How to reach the kernel.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// Where procfs is mounted; in a container, the host's.
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
    /// Report each finished wait of at least this length in /api/v1/stalls.
    #[arg(long = "stall-threshold", value_name = "DURATION", default_value = "100ms", value_parser = duration)]
    pub stall_threshold: Duration,
    /// Names of userspace NFS servers: a hint for those that no connection leads to (class `server`).
    #[arg(
        long = "loops.server-names",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "ganesha.nfsd,unfsd"
    )]
    pub nfs_servers: Vec<String>,
    /// Kinds of hooks to avoid: tracepoint, btf-tracepoint, fentry, kprobe.
    #[arg(long = "probe.avoid", value_name = "KIND", value_delimiter = ',', value_parser = hook_kind)]
    pub avoid: Vec<String>,
    /// Log messages of the eBPF programs.
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
    /// Around 0.1 and 0.2 the default separates the two sleeps that matter: 100 ms of
    /// `congestion_wait` and 200 ms, the longest pause of `balance_dirty_pages`, each plus a jiffy.
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
    /// The settings for the eBPF programs.
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

    /// The bounds for the eBPF programs. Unused ones are infinite: the first of them counts waits
    /// beyond all bounds.
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

    /// Checks that the values are consistent.
    ///
    /// # Errors
    ///
    /// The first key with a contradiction.
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
        .flat_map(|s| s.strategies)
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
