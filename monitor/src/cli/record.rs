//! `record`: writes the daemon's observations into a file. Also the flags of `run` for a rolling
//! window.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use monitor_collector::{
    host::{hardening, local_path::refuse_nfs},
    kernel::attach::{self, Attached},
    sample::Sampler,
};
use monitor_verdict::{Engine, Thresholds, timeline};
use tokio::signal::unix::{SignalKind, signal};

use super::flags::{KernelArgs, duration, interval};
use super::size::at_least;
use super::start;
use crate::pipeline::watch;
use crate::pipeline::watch::Watch;
use crate::{
    log::{self, LogFormat},
    recording::{
        DirectorySink, FileSink, Header, RecordSink, Recorder, RecordingStore, Rolling,
        WindowLimits,
    },
};

/// Maximum number of texts that wait for stdout.
const MAX_TEXTS: usize = 256;
/// Minimum of `--record.max-size`.
const LEAST_SIZE: u64 = 1 << 20;

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// File to record into; never on NFS.
    #[arg(short, long = "output", value_name = "FILE")]
    pub output: PathBuf,
    /// How long to record; without it, until SIGTERM or SIGINT.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Least severe level to log on stderr: error, warn, info, debug, trace.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "warn")]
    pub log_level: String,
    /// Time between two observations.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// How long all four conditions must hold before a livelock is confirmed.
    #[arg(long = "thresholds.confirm", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub confirm: Duration,
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// The rolling window of `run`.
#[derive(Debug, Args)]
pub struct RollingArgs {
    /// Record the last minutes into this directory, and keep those before a livelock; never on NFS.
    #[arg(id = "record.dir", long = "record.dir", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How much time to keep; older parts are removed.
    #[arg(id = "record.window", long = "record.window", value_name = "DURATION", default_value = "15m", value_parser = window)]
    pub window: Duration,
    /// Largest size of the recorded minutes.
    #[arg(id = "record.max-size", long = "record.max-size", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub max_size: u64,
    /// Number of livelocks whose minutes before are kept, the newest; each up to --record.max-size.
    #[arg(id = "record.keep", long = "record.keep", value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
}

/// The destination of a recording, before its header is known.
pub struct Recording<S> {
    sink: S,
    rolling: Option<Rolling>,
    what: String,
}

impl RollingArgs {
    /// Opens the directory, if one is configured.
    ///
    /// # Errors
    ///
    /// It is on NFS, or cannot be made or written.
    pub fn open(&self, procfs: &Path) -> anyhow::Result<Option<Recording<DirectorySink>>> {
        let Some(path) = &self.dir else {
            return Ok(None);
        };
        refuse_nfs(procfs, path)?;
        let limits = WindowLimits {
            window: self.window,
            max_bytes: self.max_size,
            keep: self.keep.into(),
        };
        let what = path.display().to_string();
        let sink = DirectorySink::open(path, limits)
            .with_context(|| format!("cannot record into {what} (--record.dir)"))?;
        Ok(Some(Recording {
            sink,
            rolling: Some(Rolling::new(self.window, self.max_size)),
            what,
        }))
    }
}

impl Recording<DirectorySink> {
    /// The recordings for readers.
    ///
    /// # Errors
    ///
    /// No file descriptor is available.
    pub fn store(&self) -> anyhow::Result<RecordingStore> {
        self.sink
            .handle()
            .map(RecordingStore::Window)
            .context("--record.dir")
    }
}

impl<S: RecordSink> Recording<S> {
    /// Starts to record.
    ///
    /// # Errors
    ///
    /// No thread is available.
    pub fn start(self, header: Header) -> anyhow::Result<Recorder> {
        Recorder::start(header, self.sink, self.rolling, self.what)
            .context("the thread that records could not be started")
    }
}

/// The header of this daemon's recording.
pub fn header(
    attached: &Attached,
    interval: Duration,
    buckets: &[f64],
    thresholds: &Thresholds,
) -> Header {
    let kernel = &attached.facts.release;
    Header::new(kernel, interval, buckets, thresholds.clone())
}

/// Records until a signal or the end of the duration.
///
/// # Errors
///
/// The recording cannot start.
pub fn record(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let _ = hardening::io_flusher(true);
    let _log = log::init(&args.log_level, LogFormat::Logfmt)?;
    let (texts, printed) = print()?;
    let _ = hardening::io_flusher(false);
    start::preflight(&args.kernel)?;
    refuse_nfs(&args.kernel.procfs, &args.output)?;
    let what = args.output.display().to_string();
    let sink =
        FileSink::open(&args.output).with_context(|| format!("cannot record into {what}"))?;
    let thresholds = Thresholds {
        confirm: args.confirm,
        ..Thresholds::default()
    };
    thresholds.check()?;
    let mut attached = attach::attach_all(args.kernel.settings())?;
    start::tell(&attached);
    if let Err(error) = hardening::lock_memory() {
        tracing::warn!(%error, "memory cannot be locked: the recorder may be swapped out when it is needed");
    }
    let _ = hardening::io_flusher(true);
    let sampler = Sampler::new(&mut attached)?;
    let recording = Recording {
        sink,
        rolling: None,
        what,
    };
    let recorder = recording.start(header(
        &attached,
        args.interval,
        &args.kernel.buckets,
        &thresholds,
    ))?;
    let engine = Engine::new(thresholds);
    let mut watch = Watch::new(attached, sampler, engine, Some(recorder));

    let (stop, stopped) = mpsc::channel();
    let interval = args.interval;
    let ticking = thread::Builder::new().name("tick".into()).spawn(move || {
        watch::every(interval, &stopped, || {
            let lines = timeline::lines(&watch.tick().changes);
            if let (false, Err(TrySendError::Full(_))) = (lines.is_empty(), texts.try_send(lines)) {
                tracing::warn!(
                    "lines of the timeline were not printed: stdout was not read fast enough"
                );
            }
        });
        watch.finish();
    });
    let ticking = ticking.context("the thread that ticks could not be started")?;
    let waited = wait(args.duration);
    drop(stop);
    if ticking.join().is_err() {
        anyhow::bail!("the thread that ticks panicked: this is a bug");
    }
    // A blocked stdout must not prevent the end.
    let _ = printed.recv_timeout(Duration::from_secs(1));
    waited?;
    Ok(ExitCode::SUCCESS)
}

/// Prints texts in its own thread, so that no tick waits for stdout. The receiver disconnects when
/// all is printed and the sender is dropped.
fn print() -> anyhow::Result<(SyncSender<String>, Receiver<()>)> {
    let (texts, received) = mpsc::sync_channel::<String>(MAX_TEXTS);
    let (ended, printed) = mpsc::sync_channel(0);
    let thread = thread::Builder::new().name("print".into());
    thread
        .spawn(move || {
            let mut stdout = std::io::stdout();
            while let Ok(text) = received.recv() {
                let _ = stdout
                    .write_all(text.as_bytes())
                    .and_then(|()| stdout.flush());
            }
            drop(ended);
        })
        .context("the thread that prints could not be started")?;
    Ok((texts, printed))
}

/// Waits for SIGTERM, SIGINT, or this duration.
fn wait(duration: Option<Duration>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        let over = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = over => {}
        }
        Ok(())
    })
}

fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    if window < Duration::from_secs(10) || window > Duration::from_hours(24 * 7) {
        return Err("must be between 10s and 7days".into());
    }
    Ok(window)
}

fn size(text: &str) -> Result<u64, String> {
    at_least(LEAST_SIZE, text)
}
