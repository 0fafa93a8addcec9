//! `run`: the daemon.

use std::{
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use monitor_collector::{
    host::{hardening, privileges},
    kernel::{
        attach::{self, Attached},
        preflight::Privileges,
    },
    sample::Sampler,
};
use monitor_model::observation::State;
use monitor_verdict::Engine;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::args::{KernelArgs, RunArgs};
use super::record::{Recording, header};
use crate::pipeline::tick::Ticker;
use crate::pipeline::watch::Watch;
use crate::{
    evidence::{self, Sink},
    guard::Keeper,
    http::{self, Site},
    log,
    publish::snapshot::{Daemon, Publisher},
};

/// How long the end of the process waits for evidence that is not written yet.
const EVIDENCE_DEADLINE: Duration = Duration::from_secs(2);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
///
/// What keeps it from starting.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // While there is root left to be had.
    let link = args.guard.link(&args.kernel, args.interval)?;
    let ports = args.web.listen.iter().map(std::net::SocketAddr::port);
    let keeps = args.evidence.dir.is_some() || args.rolling.record.is_some();
    privileges::keep(&privileges::also(ports, keeps))
        .context("capabilities that are not needed cannot be given up")?;
    // For the thread that writes the log, which inherits it.
    let _ = hardening::io_flusher(true);
    let _log = log::init(&args.log_level, args.log_format)?;
    let _ = hardening::io_flusher(false);
    preflight(&args.kernel)?;
    let recording = args.rolling.open(&args.kernel.procfs)?;
    let directory = args.evidence.directory(&args.kernel.procfs)?;
    // Before the programs are loaded: a port in use costs nothing then.
    let runtime = runtime()?;
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
        tracing::debug!(%error, "PR_SET_IO_FLUSHER is not to be had: the daemon's allocations may wait for writeback");
    }
    let sampler = Sampler::new(&mut attached)?;
    // After the mark of above, which it inherits: what it writes waits less.
    let writing = directory.map(evidence::start).transpose();
    let writing = writing.context("the thread that writes evidence could not be started")?;
    let (sink, writer) = writing.map_or((Sink::memory_only(), None), |(sink, writer)| {
        (sink, Some(writer))
    });
    let (stop, stopped) = mpsc::channel();
    let thresholds = args.thresholds.thresholds.clone();
    let shelf = recording.as_ref().map(Recording::shelf).transpose()?;
    let shelf = shelf.unwrap_or_default();
    let recorder = recording
        .map(|recording| {
            let buckets = &args.kernel.buckets;
            recording.start(header(&attached, args.interval, buckets, &thresholds))
        })
        .transpose()?;
    let site = Site {
        telemetry_path: args.web.telemetry_path.clone(),
        shared,
        shelf: Arc::new(shelf),
        web,
    };
    let watch = Watch::new(attached, sampler, Engine::new(thresholds), recorder);
    let keeper = Keeper::new(args.guard.policy(), link);
    let ticker = Ticker::new(watch, publisher, sink, keeper, args.interval);
    let ticking = thread::Builder::new()
        .name("tick".into())
        .spawn(move || ticker.run(&stopped))
        .context("the thread that ticks could not be started")?;

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

/// One thread that serves, and a few that read recordings and hash passwords.
///
/// # Errors
///
/// What it needs of the kernel is not to be had.
pub fn runtime() -> anyhow::Result<Runtime> {
    /// A reader needs little; what it touches stays in memory.
    const STACK: usize = 256 * 1024;
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(http::BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .context("tokio")
}

/// What publishes, in the name of this process.
pub fn publisher(attached: &Attached, interval: Duration, kernel: &KernelArgs) -> Publisher {
    Publisher::new(Daemon {
        node: node_name(),
        version: env!("CARGO_PKG_VERSION").into(),
        revision: env!("THROTTLE_MONITOR_REVISION").into(),
        kernel: attached.facts.release.clone(),
        interval,
        bounds: kernel.buckets.clone(),
        recording: None,
    })
}

/// `uname -n`: in a pod with a network of its own the pod's. Empty: it has none.
fn node_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    // What a kernel is called that nobody named.
    if name == "(none)" {
        String::new()
    } else {
        name.into_owned()
    }
}

/// Says what privileges are missing.
///
/// # Errors
///
/// One without which nothing can be monitored.
pub fn preflight(kernel: &KernelArgs) -> anyhow::Result<()> {
    for missing in Privileges::of_this_process(&kernel.procfs).missing() {
        if missing.fatal {
            anyhow::bail!(
                "{} is missing: {}. To do: {}",
                missing.privilege,
                missing.loses,
                missing.remedy
            );
        }
        tracing::warn!(
            privilege = missing.privilege,
            lost = missing.loses,
            remedy = missing.remedy,
            "missing"
        );
    }
    Ok(())
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// The site cannot be served.
pub async fn serve(listeners: Vec<TcpListener>, site: Site) -> anyhow::Result<()> {
    let policy = site.web.policy();
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            let tls = policy.tls().is_some();
            tracing::info!(%address, path = site.telemetry_path, tls, passwords = policy.has_users(), "listening");
        }
    }
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(http::serve(listeners, site, shutdown).await?)
}

/// Says once how each signal is attached.
pub fn tell(attached: &Attached) {
    for report in &attached.reports {
        if report.is_lossy() {
            tracing::warn!(
                signal = %report.signal,
                strategy = %report.strategy,
                state = report.state.as_str(),
                lost = report.loses,
                reason = report.why(),
                "signal"
            );
        } else {
            let reason = if report.state == State::Attached {
                String::new()
            } else {
                report.why()
            };
            tracing::info!(signal = %report.signal, strategy = %report.strategy, reason, "signal");
        }
    }
}
