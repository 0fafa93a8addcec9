//! The common start of the commands that watch or serve.

use std::time::Duration;

use anyhow::Context as _;
use monitor_collector::{
    host::boot::boot_id,
    kernel::{attach::Attached, preflight::Privileges},
};
use monitor_model::{api::DaemonInfo, observation::State};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use super::flags::KernelArgs;
use crate::{
    http::{self, Site},
    publish::snapshot::{Daemon, Publisher},
};

/// A runtime with one serving thread, and a few that read recordings and hash passwords.
///
/// # Errors
///
/// The kernel refuses its resources.
pub fn runtime() -> anyhow::Result<Runtime> {
    /// Small stacks are enough, and touched pages stay in memory.
    const STACK: usize = 256 * 1024;
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(http::BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .context("tokio")
}

/// The publisher of this process.
pub fn publisher(attached: &Attached, interval: Duration, kernel: &KernelArgs) -> Publisher {
    Publisher::new(Daemon {
        info: DaemonInfo {
            node: node_name(),
            version: env!("CARGO_PKG_VERSION").into(),
            revision: env!("THROTTLE_MONITOR_REVISION").into(),
            kernel: attached.facts.release.clone(),
            interval_seconds: interval.as_secs_f64(),
            recording: None,
        },
        boot_id: boot_id(&kernel.procfs),
        bounds: kernel.buckets.clone(),
    })
}

/// `uname -n`. In a pod with its own network, it is the pod's name. Empty: there is none.
pub(super) fn node_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    // The kernel reports this if no name is set.
    if name == "(none)" {
        String::new()
    } else {
        name.into_owned()
    }
}

/// Logs the missing privileges.
///
/// # Errors
///
/// A privilege is missing without which nothing can be monitored.
pub fn preflight(kernel: &KernelArgs) -> anyhow::Result<()> {
    for missing in Privileges::of_this_process(&kernel.procfs).missing() {
        if missing.fatal {
            anyhow::bail!(
                "{} is missing: {}. To do: {}",
                missing.privilege,
                missing.limitation,
                missing.remedy
            );
        }
        tracing::warn!(
            privilege = missing.privilege,
            lost = missing.limitation,
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

/// Logs once how each signal is attached.
pub fn tell(attached: &Attached) {
    for report in &attached.reports {
        if report.is_lossy() {
            tracing::warn!(
                signal = %report.signal,
                strategy = %report.strategy,
                state = report.state.as_str(),
                lost = report.limitation,
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
