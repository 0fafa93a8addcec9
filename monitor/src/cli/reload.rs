//! Reloads the configuration of `run`, on SIGHUP and on `POST /-/reload`.
//!
//! The command line is parsed again, with the file as it is now: so a flag still overrides the
//! file. A file that `run` would refuse changes nothing.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel, sync_channel},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use monitor_collector::host::local_path::refuse_nfs;
use monitor_model::{api::ConfigStatus, guard::Mode};
use monitor_verdict::{Thresholds, guard::Policy};
use sd_notify::NotifyState;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::flags::Values;
use crate::{
    guard::{Link, silence},
    lifecycle::{Lifecycle, Outcome, Request},
    log::LevelHandle,
    pipeline::reload::{Reload, Settings},
};

/// Keys outside of `[thresholds]` that change without a restart.
const RELOADABLE: [&str; 5] = [
    "guard.hold-down",
    "guard.mode",
    "guard.per-hour",
    "log.level",
    "loops.server-names",
];

/// The key that needs a restart if the daemon has no helper and can no longer start one.
const MODE: &str = "guard.mode";

/// How long a reload waits for the tick that applies it.
const PATIENCE: Duration = Duration::from_secs(10);

/// SIGHUP, which no longer ends the process.
pub struct Hangup(Signal);

/// Listens for SIGHUP.
///
/// # Errors
///
/// The kernel refuses the handler.
pub fn listen(runtime: &Runtime) -> anyhow::Result<Hangup> {
    let _entered = runtime.enter();
    signal(SignalKind::hangup()).map(Hangup).context("SIGHUP")
}

impl Hangup {
    /// Requests a reload at each signal.
    pub async fn request(mut self, lifecycle: Lifecycle) {
        while self.0.recv().await.is_some() {
            lifecycle.request();
        }
    }
}

/// What changes without a restart, and the value of every key.
#[derive(Debug)]
pub struct Reloadable {
    /// The value of every key.
    pub values: Values,
    /// The settings of the guard.
    pub policy: Policy,
    /// The thresholds of the verdict, checked.
    pub thresholds: Thresholds,
    /// Names of userspace NFS servers.
    pub server_names: Vec<String>,
    /// Least severe level to log.
    pub log_level: String,
}

/// Reads the configuration as `run` would start with it now.
pub type Reread = fn() -> Result<Box<Reloadable>, String>;

/// What the daemon started with.
pub struct Setup {
    /// The file of `--config.file`.
    pub file: Option<PathBuf>,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// The socket of the guard's helper.
    pub socket: Option<PathBuf>,
    /// Time between two ticks.
    pub interval: Duration,
    /// Whether the guard has a helper.
    pub has_helper: bool,
    /// Changes the level of the log.
    pub level: LevelHandle,
    /// Reads the configuration.
    pub reread: Reread,
}

/// Reloads the configuration.
pub struct Reloader {
    setup: Setup,
    /// The values in effect.
    running: Values,
    mode: Mode,
    status: ConfigStatus,
    ticks: Sender<Reload>,
}

/// The difference between a new configuration and the one in effect.
#[derive(Debug, Default)]
struct Difference {
    taken: Vec<String>,
    needs_restart: Vec<String>,
}

impl Reloader {
    /// A reloader of this configuration, its state, and the receiver for the tick thread.
    pub fn new(running: &Reloadable, setup: Setup) -> (Self, ConfigStatus, Receiver<Reload>) {
        let (ticks, reloads) = channel();
        let file = setup.file.as_ref();
        let status = ConfigStatus {
            file: file.map(|path| path.display().to_string()),
            last_reload_successful: true,
            last_reload_success_unix_ms: unix_ms(),
            ..ConfigStatus::default()
        };
        let reloader = Self {
            setup,
            running: running.values.clone(),
            mode: running.policy.mode,
            status: status.clone(),
            ticks,
        };
        (reloader, status, reloads)
    }

    /// Starts the thread. It ends with the last requesting side.
    ///
    /// # Errors
    ///
    /// No thread is available.
    pub fn start(mut self, requests: Receiver<Request>) -> anyhow::Result<()> {
        thread::Builder::new()
            .name("reload".into())
            .spawn(move || {
                while let Ok(request) = requests.recv() {
                    let outcome = self.reload();
                    request.answer(outcome);
                }
            })
            .context("the thread that reloads the configuration could not be started")?;
        Ok(())
    }

    fn reload(&mut self) -> Outcome {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, now]);
        }
        let path = self.status.file.clone().unwrap_or_default();
        let (settings, outcome) = match self.read() {
            Ok(new) => {
                let (settings, difference) = self.take(&new);
                self.succeeded(&path, &difference);
                (Some(settings), Ok(difference.needs_restart))
            }
            Err(error) => {
                tracing::error!(
                    path,
                    error,
                    "the configuration cannot be reloaded: the previous one stays in effect; correct the file and reload again"
                );
                self.status.last_reload_successful = false;
                self.status.error = Some(error.clone());
                (None, Err(error))
            }
        };
        self.publish(settings);
        notify(&[NotifyState::Ready]);
        outcome
    }

    fn read(&self) -> Result<Box<Reloadable>, String> {
        if let Some(path) = &self.setup.file {
            refuse_nfs(&self.setup.procfs, path).map_err(|error| error.to_string())?;
        }
        (self.setup.reread)()
    }

    /// Takes what changes without a restart into effect.
    fn take(&mut self, new: &Reloadable) -> (Settings, Difference) {
        let mut difference = difference(&self.running, &new.values);
        let mut policy = new.policy.clone();
        let mut link = None;
        if policy.mode.acts() && !self.setup.has_helper {
            if let Some(path) = &self.setup.socket {
                link = Some(Link::to(path).with_silence(silence(self.setup.interval)));
                self.setup.has_helper = true;
            } else {
                // The privileges that start a helper are dropped.
                policy.mode = self.mode;
                difference.taken.retain(|key| key != MODE);
                difference.needs_restart.push(MODE.to_owned());
            }
        }
        self.mode = policy.mode;
        for key in &difference.taken {
            let value = new.values.get(key).cloned().flatten();
            self.running.insert(key.clone(), value);
        }
        let has = |begin: &str| difference.taken.iter().any(|key| key.starts_with(begin));
        if has("log.level")
            && let Err(error) = self.setup.level.set(&new.log_level)
        {
            tracing::warn!(%error, "the level of the log cannot be changed");
        }
        let settings = Settings {
            thresholds: has("thresholds.").then(|| new.thresholds.clone()),
            server_names: has("loops.server-names").then(|| new.server_names.clone()),
            guard: has("guard.").then_some(policy),
            link,
        };
        (settings, difference)
    }

    fn succeeded(&mut self, path: &str, difference: &Difference) {
        let Difference {
            taken,
            needs_restart,
        } = difference;
        let changed = taken.join(", ");
        if path.is_empty() {
            tracing::info!("there is no --config.file: nothing to reload");
        } else {
            tracing::info!(path, changed, "the configuration was reloaded");
        }
        if !needs_restart.is_empty() {
            tracing::warn!(path, "needs a restart: {}", needs_restart.join(", "));
        }
        self.status.last_reload_successful = true;
        self.status.last_reload_success_unix_ms = unix_ms();
        self.status.error = None;
        self.status.needs_restart.clone_from(needs_restart);
    }

    /// Gives it to the tick thread, and waits until a tick with it is published.
    fn publish(&self, settings: Option<Settings>) {
        let (published, received) = sync_channel(1);
        let reload = Reload {
            settings,
            status: self.status.clone(),
            published,
        };
        if self.ticks.send(reload).is_ok() && received.recv_timeout(PATIENCE).is_err() {
            tracing::warn!(
                "the tick is late: it applies the reloaded configuration when it continues"
            );
        }
    }
}

/// The keys that differ.
fn difference(running: &Values, new: &Values) -> Difference {
    let changed = new
        .iter()
        .filter(|(key, value)| running.get(*key) != Some(*value));
    let keys = changed.map(|(key, _)| key.clone());
    let (taken, needs_restart) = keys.partition(|key| is_reloadable(key));
    Difference {
        taken,
        needs_restart,
    }
}

fn is_reloadable(key: &str) -> bool {
    key.starts_with(super::thresholds::PREFIX) || RELOADABLE.contains(&key)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be notified");
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{RELOADABLE, Values, difference, is_reloadable};
    use crate::cli::args::Cli;

    fn values(all: &[(&str, &str)]) -> Values {
        let one = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
        all.iter().map(one).collect()
    }

    #[test]
    fn what_changes_is_taken_or_needs_a_restart_and_the_rest_is_neither() {
        let before = values(&[
            ("guard.mode", "off"),
            ("interval", "1s"),
            ("record.dir", "/a"),
            ("thresholds.confirm", "5s"),
            ("thresholds.window", "3s"),
        ]);
        let mut after = before.clone();
        after.insert("guard.mode".to_owned(), Some("advise".to_owned()));
        after.insert("record.dir".to_owned(), None);
        after.insert("thresholds.confirm".to_owned(), Some("7s".to_owned()));
        let difference = difference(&before, &after);
        assert_eq!(difference.taken, ["guard.mode", "thresholds.confirm"]);
        assert_eq!(difference.needs_restart, ["record.dir"]);
    }

    #[test]
    fn every_key_that_changes_without_a_restart_is_a_flag() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for key in RELOADABLE {
            let mut flags = run.get_arguments().filter_map(clap::Arg::get_long);
            assert!(flags.any(|flag| flag == key), "{key}");
        }
        assert!(is_reloadable("thresholds.loops.half-life"));
        assert!(!is_reloadable("guard.socket"));
    }
}
