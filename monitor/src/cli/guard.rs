//! `guard`: undo, ease, or serve as a daemon's helper. Also the guard's flags of `run`.

use std::{
    io::Write as _,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum, builder::PossibleValue};
use monitor_collector::host::local_path::refuse_nfs;
use monitor_model::guard::{Mode, Outcome};
use monitor_verdict::guard::Policy;

use super::{
    exit,
    explain::bdi,
    flags::{Invalid, KernelArgs, duration},
};
use crate::guard::{self, Actuator, JOURNAL, Link, Made, Report, Settings, silence};

/// Minimum of the hold-down: faster changes are pointless.
const LEAST_HOLD_DOWN: Duration = Duration::from_secs(1);

/// Percent of the memory that can be dirty.
const DIRTY_SHARE: u8 = 60;

/// What may be changed on the node.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// What to do about a loop. off: nothing. advise: log what prevent would do. prevent: limit the
    /// client before the loop can stall, and break a livelock that comes anyway. break: break a
    /// livelock. The last two change settings of the node, and need root or --guard.socket; see
    /// docs/guard.md.
    #[arg(
        id = "guard.mode",
        long = "guard.mode",
        value_name = "MODE",
        default_value = "off"
    )]
    pub mode: ModeArg,
    /// Time between two actions for the same loop.
    #[arg(id = "guard.hold-down", long = "guard.hold-down", value_name = "DURATION", default_value = "30s", value_parser = hold_down)]
    pub hold_down: Duration,
    /// How many livelocks may be broken within an hour, on the whole node.
    #[arg(id = "guard.per-hour", long = "guard.per-hour", value_name = "COUNT", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub per_hour: u32,
    /// Socket of a separate helper (`throttle-monitor guard serve --listen`), which has its own
    /// state file and share. Without it, the daemon starts a helper.
    #[arg(id = "guard.socket", long = "guard.socket", value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Settings of the helper.
    #[command(flatten)]
    pub helper: HelperArgs,
}

/// Settings of the helper.
#[derive(Debug, Args)]
pub struct HelperArgs {
    /// File with the undo journal of the guard. On a tmpfs, so that no disk can delay it; never on
    /// NFS.
    #[arg(id = "guard.state-file", long = "guard.state-file", value_name = "FILE", default_value = JOURNAL)]
    pub state_file: PathBuf,
    /// Highest dirty limit that the guard may set, as percent of the memory that can be dirty
    /// (free, or page cache), 1 to 80.
    #[arg(id = "guard.dirty-share", long = "guard.dirty-share", value_name = "PERCENT", default_value_t = DIRTY_SHARE, value_parser = clap::value_parser!(u8).range(1..=80))]
    pub dirty_share: u8,
}

/// [`Mode`] for clap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeArg(pub Mode);

impl ValueEnum for ModeArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ModeArg; 4] = [
            ModeArg(Mode::Off),
            ModeArg(Mode::Advise),
            ModeArg(Mode::Prevent),
            ModeArg(Mode::Break),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()))
    }
}

/// Arguments of `guard`.
#[derive(Debug, Args)]
pub struct GuardCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: GuardAction,
}

/// What `guard` does.
#[derive(Debug, Subcommand)]
pub enum GuardAction {
    /// Undo what a guard has changed and left so, because it was killed.
    Undo(NodeArgs),
    /// Hold the client's BDI, and let the dirty limit follow the dirty pages, until SIGINT or
    /// SIGTERM; then restore both.
    Ease {
        /// BDI of the loop's client, `major:minor`.
        #[arg(value_name = "BDI", value_parser = bdi)]
        bdi: String,
        /// BDI that the server writes to: it is then limited by its own pages only (`strict_limit`,
        /// Linux 6.2), and the client is not held.
        #[arg(long, value_name = "BDI", value_parser = bdi)]
        server_bdi: Option<String>,
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Be the helper of a daemon, until it or this process ends; then put everything back.
    Serve {
        /// Listen on this path, for a daemon that runs as another user (`run --guard.socket`).
        /// Without it, the daemon is at the other end of stdin.
        #[arg(long, value_name = "SOCKET")]
        listen: Option<PathBuf>,
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// What is changed, and where.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Settings of the helper.
    #[command(flatten)]
    pub helper: HelperArgs,
    /// Where procfs is mounted.
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,
}

impl NodeArgs {
    /// The settings, with a state file that is not on NFS.
    fn settings(&self) -> anyhow::Result<Settings> {
        let settings = Settings {
            procfs: self.procfs.clone(),
            sysfs: self.sysfs.clone(),
            journal: self.helper.state_file.clone(),
            share: self.helper.dirty_share,
        };
        refuse_nfs(&settings.procfs, &settings.journal)?;
        Ok(settings)
    }
}

impl GuardArgs {
    /// Checks that the values are consistent: clap only sees those of the command line, not those
    /// of the file.
    ///
    /// # Errors
    ///
    /// A flag for the daemon's own helper is set together with a separate helper.
    pub fn check(&self) -> Result<(), Invalid> {
        let HelperArgs {
            state_file,
            dirty_share,
        } = &self.helper;
        let (key, value) = if self.socket.is_none() {
            return Ok(());
        } else if *dirty_share != DIRTY_SHARE {
            ("guard.dirty-share", dirty_share.to_string())
        } else if state_file != Path::new(JOURNAL) {
            ("guard.state-file", state_file.display().to_string())
        } else {
            return Ok(());
        };
        Err(Invalid {
            key: key.to_owned(),
            value,
            rule: "omitted with `guard.socket`: that helper has it on its own command line \
                   (throttle-monitor guard serve --listen)"
                .to_owned(),
        })
    }

    /// The guard's settings.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        Policy {
            mode: self.mode.0,
            hold_down: self.hold_down,
            per_hour: self.per_hour,
        }
    }

    /// The link to the helper, if the mode needs one.
    ///
    /// # Errors
    ///
    /// No setting can be changed here.
    pub fn link(&self, kernel: &KernelArgs, interval: Duration) -> anyhow::Result<Option<Link>> {
        if !self.mode.0.acts() {
            return Ok(None);
        }
        if let Some(path) = &self.socket {
            return Ok(Some(Link::to(path).with_silence(silence(interval))));
        }
        let settings = Settings {
            procfs: kernel.procfs.clone(),
            sysfs: kernel.sysfs.clone(),
            journal: self.helper.state_file.clone(),
            share: self.helper.dirty_share,
        };
        let mode = self.mode.0.as_str();
        let link = Link::spawn(&settings)
            .with_context(|| format!("cannot guard (--guard.mode {mode})"))?;
        Ok(Some(link.with_silence(silence(interval))))
    }
}

/// Runs the subcommand.
///
/// # Errors
///
/// No setting can be changed here.
pub fn guard(args: &GuardCommand) -> anyhow::Result<ExitCode> {
    match &args.action {
        GuardAction::Undo(node) => return undo(&node.settings()?),
        GuardAction::Ease {
            bdi,
            server_bdi,
            node,
        } => guard::ease(bdi, server_bdi.as_deref(), &node.settings()?, tell)?,
        GuardAction::Serve {
            listen: Some(path),
            node,
        } => guard::listen(path, &node.settings()?)?,
        GuardAction::Serve { listen: None, node } => {
            let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
            guard::serve(&socket, &node.settings()?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn undo(settings: &Settings) -> anyhow::Result<ExitCode> {
    // Opening it restores what is left.
    let Report { made, .. } = Actuator::open(settings)?.report();
    let mut out = anstream::stdout();
    if made.is_empty() {
        writeln!(out, "nothing had been changed")?;
    }
    for Made { words, .. } in &made {
        writeln!(out, "{words}")?;
    }
    anyhow::ensure!(
        made.iter().all(|one| one.result != Outcome::Failed),
        "not everything could be restored: the rest is still in {}; try again",
        settings.journal.display()
    );
    let all = made.iter().all(|one| one.result == Outcome::Done);
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::DEGRADED)
    })
}

fn tell(report: &Report) {
    let mut out = anstream::stdout();
    for Made { words, .. } in &report.made {
        // A closed stdout does not end the easing.
        let _ = writeln!(out, "{words}");
    }
}

fn hold_down(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let rule = "must be between 1s and 1day";
    if (LEAST_HOLD_DOWN..=Duration::from_hours(24)).contains(&time) {
        Ok(time)
    } else {
        Err(rule.to_owned())
    }
}
