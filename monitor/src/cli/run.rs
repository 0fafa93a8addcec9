//! `run`: the daemon.

use std::{
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::{ArgAction, Args};
use monitor_collector::{
    host::{hardening, privileges},
    kernel::attach,
    sample::Sampler,
};
use monitor_verdict::Engine;

use super::evidence::EvidenceArgs;
use super::flags::{ConfigArgs, Invalid, KernelArgs, Values, interval};
use super::guard::GuardArgs;
use super::record::{Recording, RollingArgs, header};
use super::reload::{Reloadable, Reloader, Reread, Setup, listen};
use super::start::{preflight, publisher, runtime, serve, tell};
use super::thresholds::ThresholdArgs;
use super::web::WebArgs;
use crate::{
    evidence::{self, Sink},
    guard::Controller,
    http::Site,
    lifecycle::Lifecycle,
    log::{self, LEVELS, LogFormat},
    pipeline::{tick::Ticker, watch::Watch},
};

/// How long the process waits at its end for pending evidence.
const EVIDENCE_DEADLINE: Duration = Duration::from_secs(2);

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "All thresholds are in --help, all keys of --config.file in docs/configuration.md."
)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the effective configuration, as a file for --config.file, and exit.
    #[arg(long = "config.show")]
    pub config_show: bool,
    /// Where and to whom is served.
    #[command(flatten)]
    pub web: WebArgs,
    /// Reload the configuration on POST to /-/reload, as on SIGHUP.
    ///
    /// Who may connect may send it: see docs/web.md. Requests of browsers are refused.
    #[arg(
        long = "web.enable-lifecycle",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub enable_lifecycle: bool,
    /// Least severe level to log.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = LEVELS)]
    pub log_level: String,
    /// Format of the log.
    #[arg(long = "log.format", value_enum, default_value_t = LogFormat::Logfmt)]
    pub log_format: LogFormat,
    /// Time between two ticks, 100ms to 5s.
    ///
    /// The verdict's times were chosen for 1s.
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
    /// The value of every key, for comparison at a reload.
    #[arg(skip)]
    pub values: Values,
}

impl RunArgs {
    /// Checks that the values are consistent; each one is already valid by itself.
    ///
    /// # Errors
    ///
    /// The first key with a contradiction.
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

    /// What changes without a restart.
    #[must_use]
    pub fn reloadable(&self) -> Reloadable {
        Reloadable {
            values: self.values.clone(),
            policy: self.guard.policy(),
            thresholds: self.thresholds.thresholds.clone(),
            server_names: self.kernel.nfs_servers.clone(),
            log_level: self.log_level.clone(),
        }
    }
}

/// Runs the daemon until SIGTERM or SIGINT. `reread` reads the configuration for a reload.
///
/// # Errors
///
/// The daemon cannot start.
pub fn run(args: &RunArgs, reread: Reread) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    // From here on SIGHUP does not end the process.
    let hangup = listen(&runtime)?;
    // Start the helper before root privileges are dropped.
    let link = args.guard.link(&args.kernel, args.interval)?;
    let ports = args.web.listen.iter().map(std::net::SocketAddr::port);
    let keeps = args.evidence.dir.is_some() || args.rolling.dir.is_some();
    privileges::keep(&privileges::also(ports, keeps))
        .context("unneeded capabilities cannot be dropped")?;
    // The log's writer thread inherits it.
    let _ = hardening::io_flusher(true);
    let log = log::init(&args.log_level, args.log_format)?;
    let _ = hardening::io_flusher(false);
    preflight(&args.kernel)?;
    let recording = args.rolling.open(&args.kernel.procfs)?;
    let directory = args.evidence.directory(&args.kernel.procfs)?;
    // Bind before the programs are loaded, so that a port in use fails early.
    let web = args.web.web(&args.kernel.procfs)?;
    let listeners = runtime.block_on(args.web.listeners())?;

    let mut attached = attach::attach_all(args.kernel.settings())?;
    tell(&attached);
    let publisher = publisher(&attached, args.interval, &args.kernel);
    let shared = publisher.shared();
    if let Err(error) = hardening::lock_memory() {
        tracing::warn!(%error, "memory cannot be locked: the daemon may be swapped out when it is needed");
    }
    if let Err(error) = hardening::io_flusher(true) {
        tracing::debug!(%error, "PR_SET_IO_FLUSHER is unavailable: the daemon's allocations may wait for writeback");
    }
    let sampler = Sampler::new(&mut attached)?;
    // This thread inherits the flag from above, so its writes wait less.
    let writing = directory.map(evidence::start).transpose();
    let writing = writing.context("the thread that writes evidence could not be started")?;
    let (sink, writer) = writing.map_or((Sink::memory_only(), None), |(sink, writer)| {
        (sink, Some(writer))
    });
    let (stop, stopped) = mpsc::channel();
    let thresholds = args.thresholds.thresholds.clone();
    let store = recording.as_ref().map(Recording::store).transpose()?;
    let store = store.unwrap_or_default();
    let recorder = recording
        .map(|recording| {
            let buckets = &args.kernel.buckets;
            recording.start(header(&attached, args.interval, buckets, &thresholds))
        })
        .transpose()?;
    let (lifecycle, requests) = Lifecycle::new();
    let site = Site {
        telemetry_path: args.web.telemetry_path.clone(),
        shared,
        store: Arc::new(store),
        web,
        lifecycle: args.enable_lifecycle.then(|| lifecycle.clone()),
    };
    let watch = Watch::new(attached, sampler, Engine::new(thresholds), recorder);
    let (reloader, status, reloads) = Reloader::new(
        &args.reloadable(),
        Setup {
            file: args.config.config.clone(),
            procfs: args.kernel.procfs.clone(),
            socket: args.guard.socket.clone(),
            interval: args.interval,
            has_helper: link.is_some(),
            level: log.level(),
            reread,
        },
    );
    let controller = Controller::new(args.guard.policy(), link);
    let ticker = Ticker::new(watch, publisher, sink, controller, args.interval);
    let ticker = ticker.with_reloads(status, reloads);
    let ticking = thread::Builder::new()
        .name("tick".into())
        .spawn(move || ticker.run(&stopped))
        .context("the thread that ticks could not be started")?;

    reloader.start(requests)?;
    runtime.spawn(hangup.request(lifecycle));
    let served = runtime.block_on(serve(listeners, site));
    drop(stop);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if ticking.join().is_err() {
        anyhow::bail!("the thread that ticks panicked: this is a bug");
    }
    if let Some(writer) = writer {
        writer.finish(EVIDENCE_DEADLINE);
    }
    served?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
