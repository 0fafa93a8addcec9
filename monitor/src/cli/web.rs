//! The listeners and the access control.

use std::{
    net::{SocketAddr, TcpListener as Bound},
    os::fd::{AsFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::{ArgAction, Args};
use rustix::net::{
    AddressFamily,
    sockopt::{socket_acceptconn, socket_domain},
};
use tokio::net::TcpListener;

use super::{exit::BadConfiguration, flags::address};
use crate::access::Web;
use crate::http;
use crate::http::PathError;

/// Flags of all that serves, in the style of Prometheus' exporters.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// Address and port to listen on; repeatable.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9746",
        value_parser = address
    )]
    pub listen: Vec<SocketAddr>,
    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// File with TLS, client certificates and passwords, YAML, in the format of Prometheus'
    /// exporter-toolkit; see docs/web.md.
    ///
    /// It and the files that it names are reloaded when they change. They must not be on NFS.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Listen on the sockets that systemd passes (a .socket unit), instead of --web.listen-address.
    #[arg(
        long = "web.systemd-socket",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub systemd_socket: bool,
}

impl WebArgs {
    /// The access control.
    ///
    /// # Errors
    ///
    /// The file is invalid: the message names the position and the reason.
    pub fn web(&self, procfs: &Path) -> anyhow::Result<Arc<Web>> {
        let Some(path) = &self.config_file else {
            return Ok(Arc::default());
        };
        Web::of_file(procfs, path).map_err(|error| {
            BadConfiguration(format!("cannot use --web.config.file: {error}")).into()
        })
    }

    /// All listeners, bound.
    ///
    /// # Errors
    ///
    /// One address is unavailable.
    pub async fn listeners(&self) -> anyhow::Result<Vec<TcpListener>> {
        if self.systemd_socket {
            return handed_over();
        }
        let mut listeners = Vec::new();
        for address in &self.listen {
            let listener = TcpListener::bind(address).await.with_context(|| {
                format!(
                    "cannot listen on {address} (--web.listen-address): another throttle-monitor runs, or the address is not this host's"
                )
            })?;
            listeners.push(listener);
        }
        Ok(listeners)
    }
}

/// The sockets that systemd has bound.
fn handed_over() -> anyhow::Result<Vec<TcpListener>> {
    let fds = sd_notify::listen_fds().context("LISTEN_FDS (--web.systemd-socket)")?;
    if fds.len() == 0 {
        anyhow::bail!(
            "systemd has passed no socket (--web.systemd-socket): start it by a .socket unit, see docs/web.md"
        );
    }
    fds.map(|fd| {
        // SAFETY: by the protocol this process owns these, and asks for them once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        listener(fd).context("cannot serve on a socket from systemd (--web.systemd-socket)")
    })
    .collect()
}

fn listener(fd: OwnedFd) -> anyhow::Result<TcpListener> {
    let domain = socket_domain(fd.as_fd()).context("it is not a socket")?;
    let is_tcp = matches!(domain, AddressFamily::INET | AddressFamily::INET6);
    if !is_tcp || !socket_acceptconn(fd.as_fd())? {
        anyhow::bail!(
            "it must listen for TCP: ListenStream= with an address or a port, and Accept=no"
        );
    }
    let bound = Bound::from(fd);
    bound.set_nonblocking(true)?;
    Ok(TcpListener::from_std(bound)?)
}

fn telemetry_path(path: &str) -> Result<String, PathError> {
    http::check_telemetry_path(path).map(|()| path.to_owned())
}
