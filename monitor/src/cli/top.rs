//! `top`: a live view in the terminal, of a running daemon or on its own.

use std::{
    io::{IsTerminal as _, stderr},
    process::ExitCode,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ColorChoice};
use monitor_collector::{host::hardening, kernel::attach, sample::Sampler};
use monitor_model::api::{Node, Rows, Task, TaskQuery, Track, Tracks};
use monitor_verdict::Engine;

use super::{
    daemon::{self, Access, AccessArgs, DaemonClient, PATIENCE},
    flags::{ConfigArgs, Format, KernelArgs, interval},
    start,
    thresholds::ThresholdArgs,
};
use crate::{
    evidence::Sink,
    guard::Controller,
    pipeline::{tick::Ticker, watch::Watch},
    publish::{ready, snapshot::Shared, tasks},
    terminal::{Origin, Source, Theme, View, has_screen, live, once},
};

/// How long somebody waits for a daemon that may not be there.
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// URL of a running daemon. Without it: the one at `http://127.0.0.1:9746` if it answers, else
    /// monitor in this process (as root).
    #[arg(long, value_name = "URL", value_parser = daemon::url)]
    pub url: Option<String>,
    /// How to log in to it.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Print one view as text, and exit.
    ///
    /// Without a daemon it takes about ten seconds, the time to confirm a livelock.
    #[arg(long)]
    pub once: bool,
    /// Output format; json: one document per tick, one per line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colours; auto: on a terminal, unless `NO_COLOR` is set.
    ///
    /// Without them a screen has bold and reversed words.
    #[arg(long, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Time between two refreshes, 100ms to 5s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The numbers of the verdict, on its own.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
    /// Flags shared with `run`, on its own.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Shows it until somebody has seen enough.
///
/// # Errors
///
/// The daemon does not answer, or on its own it may not look at the kernel.
pub fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    args.kernel.check()?;
    args.thresholds.check()?;
    let access = args.access.access()?;
    let (is_text, interval) = (args.format == Format::Text, args.interval);
    let is_screen = has_screen() && !args.once && is_text;
    let origin = origin(args, &access)?;
    let source: Box<dyn Source> = match &origin {
        Origin::Daemon(url) => Box::new(DaemonClient::new(url, PATIENCE, &access)),
        Origin::Own => {
            let own = own(args)?;
            if args.once || (is_text && !is_screen) {
                // What was just attached has seen nothing yet: a livelock that is there
                // is found within the window and the time of confirmation.
                let thresholds = &args.thresholds.thresholds;
                let window = thresholds.window.saturating_add(thresholds.confirm);
                let patience = window.saturating_add(interval.saturating_mul(2));
                once::look_for(&own, patience, interval)?;
            }
            Box::new(own)
        }
    };
    if !is_text {
        return once::json(&*source, args.once, interval);
    }
    let view = View::new(origin, Theme::of_stdout(args.color), interval);
    if is_screen {
        live(source, view, interval)
    } else {
        once::text(&*source, view)
    }
}

/// Where to look.
fn origin(args: &TopArgs, access: &Access) -> anyhow::Result<Origin> {
    if let Some(url) = &args.url {
        DaemonClient::new(url, PATIENCE, access).get::<Node>("node")?;
        return Ok(Origin::Daemon(url.clone()));
    }
    let url = daemon::DEFAULT;
    match DaemonClient::new(url, LOOK_AROUND, access).get::<Node>("node") {
        Ok(_) => Ok(Origin::Daemon(url.to_owned())),
        Err(error) => {
            let why = error.root_cause().to_string();
            start::preflight(&args.kernel).with_context(|| {
                format!("no daemon answers at {url} ({why}), and this process cannot monitor by itself (another daemon: --url)")
            })?;
            Ok(Origin::Own)
        }
    }
}

impl Source for DaemonClient {
    fn node(&self) -> anyhow::Result<Node> {
        self.get("node")
    }

    fn rows(&self, wanted: &TaskQuery) -> anyhow::Result<Rows> {
        let mut query = vec![
            ("limit", wanted.limit.to_string()),
            ("sort", wanted.sort.as_str().to_owned()),
        ];
        if !wanted.matching.is_empty() {
            query.push(("match", wanted.matching.clone()));
        }
        let mut rows: Rows = self.find("tasks", &query)?.unwrap_or_default();
        // Whatever answers there.
        rows.tasks.truncate(wanted.limit);
        Ok(rows)
    }

    fn task(&self, tid: u32) -> anyhow::Result<Task> {
        let found = self.find(&format!("tasks/{tid}"), &[])?;
        Ok(found.unwrap_or_else(|| Task {
            tid,
            ..Task::default()
        }))
    }

    fn tracks(&self) -> anyhow::Result<Vec<Track>> {
        Ok(self.get::<Tracks>("history")?.tracks)
    }
}

/// The thread that ticks, and what it leaves.
struct Own {
    shared: Arc<Shared>,
    /// It ticks until this is gone.
    _stop: mpsc::Sender<()>,
    ticking: JoinHandle<()>,
}

/// What `run` does, without HTTP, log, evidence files and recording.
fn own(args: &TopArgs) -> anyhow::Result<Own> {
    if stderr().is_terminal() {
        eprintln!("throttle-monitor: attaching the eBPF programs");
    }
    let mut attached = attach::attach_all(args.kernel.settings())?;
    let publisher = start::publisher(&attached, args.interval, &args.kernel);
    let shared = publisher.shared();
    // A node that is stuck is what it is for. Without these it goes on, too.
    let _ = hardening::lock_memory();
    let _ = hardening::io_flusher(true);
    let sampler = Sampler::new(&mut attached)?;
    let engine = Engine::new(args.thresholds.thresholds.clone());
    let watch = Watch::new(attached, sampler, engine, None);
    let (sink, guard) = (Sink::memory_only(), Controller::default());
    let ticker = Ticker::new(watch, publisher, sink, guard, args.interval);
    let (stop, stopped) = mpsc::channel();
    let thread = thread::Builder::new().name("tick".into());
    let ticking = thread.spawn(move || ticker.run(&stopped));
    Ok(Own {
        shared,
        _stop: stop,
        ticking: ticking.context("the thread that ticks could not be started")?,
    })
}

impl Source for Own {
    fn node(&self) -> anyhow::Result<Node> {
        anyhow::ensure!(
            !self.ticking.is_finished(),
            "the thread that ticks panicked: this is a bug"
        );
        let snapshot = self.shared.load();
        Ok(snapshot.node(&ready::not_ready_now(&snapshot)))
    }

    fn rows(&self, wanted: &TaskQuery) -> anyhow::Result<Rows> {
        Ok(tasks::rows(&self.shared.load(), wanted))
    }

    fn task(&self, tid: u32) -> anyhow::Result<Task> {
        Ok(tasks::task(&self.shared.load(), tid))
    }

    /// It has just begun.
    fn tracks(&self) -> anyhow::Result<Vec<Track>> {
        Ok(Vec::new())
    }
}
