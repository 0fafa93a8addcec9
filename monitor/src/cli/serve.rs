//! `replay --serve`: serves a recording like a daemon.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use monitor_model::observation::Observation;
use monitor_verdict::{Changes, Engine};

use super::flags::duration;
use super::start;
use super::web::WebArgs;
use crate::pipeline::replay_publisher::ReplayPublisher;
use crate::{
    http::Site,
    recording::{Header, Reader, RecordingItem, RecordingStore},
};

/// Longer gaps in a recording are skipped: the daemon, or the node, slept.
const MAX_GAP: Duration = Duration::from_secs(10);

/// How a recording is served.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve the page, metrics and JSON over the recording, until SIGTERM or SIGINT.
    ///
    /// As the daemon did, tick by tick. At its end the last tick stays.
    #[arg(long)]
    serve: bool,
    /// Where and to whom.
    #[command(flatten)]
    web: WebArgs,
    /// How many seconds of the recording to play in one, 0.01 to 1000.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed, requires = "serve")]
    speed: f64,
    /// So much of it is played at once, before the first tick that is waited for.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration, requires = "serve")]
    skip: Duration,
}

impl ServeArgs {
    /// Whether the recording is served at all.
    pub const fn is_wanted(&self) -> bool {
        self.serve
    }
}

/// Serves the recording in these files until SIGTERM or SIGINT; `play` plays it.
///
/// # Errors
///
/// It cannot be served, or output or evidence cannot be written.
pub fn serve(
    args: &ServeArgs,
    files: &[PathBuf],
    play: impl FnOnce(Option<&mut Show>) -> anyhow::Result<u8> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    let Some(header) = files.first().and_then(header) else {
        // Playing it reports the problem with the file.
        return Ok(play(None)?.into());
    };
    let runtime = start::runtime()?;
    let web = args.web.web(Path::new("/proc"))?;
    let listeners = runtime.block_on(args.web.listeners())?;
    let stage = ReplayPublisher::new(&header, Some(names(files)));
    let site = Site {
        telemetry_path: args.web.telemetry_path.clone(),
        shared: stage.shared(),
        store: Arc::new(RecordingStore::Files(files.to_vec())),
        web,
        lifecycle: None,
    };
    let scheme = match site.web.policy().tls() {
        Some(_) => "https",
        None => "http",
    };
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            eprintln!("serving {scheme}://{address}/ (end it with Ctrl-C)");
        }
    }
    let (stop, stopped) = mpsc::channel();
    let livelock = Arc::new(AtomicBool::new(false));
    let mut show = Show {
        stage,
        livelock: Arc::clone(&livelock),
        speed: args.speed,
        skip: args.skip,
        before: None,
        stopped,
    };
    let playing = thread::Builder::new()
        .name("play".into())
        .spawn(move || play(Some(&mut show)))
        .context("the replay thread could not be started")?;
    runtime.block_on(start::serve(listeners, site))?;
    drop(stop);
    if !playing.is_finished() {
        // The code covers the part that was shown.
        let code = if livelock.load(Relaxed) { 3 } else { 0 };
        return Ok(code.into());
    }
    let code = playing.join();
    let code = code.map_err(|_| anyhow::anyhow!("the replay thread panicked: this is a bug"))?;
    Ok(code?.into())
}

/// Shows the ticks of a recording at their times.
#[derive(Debug)]
pub struct Show {
    stage: ReplayPublisher,
    /// Whether a livelock was shown.
    livelock: Arc<AtomicBool>,
    speed: f64,
    /// The remaining part that is played at once.
    skip: Duration,
    /// Time of the previous tick, `CLOCK_MONOTONIC` nanoseconds.
    before: Option<u64>,
    stopped: Receiver<()>,
}

impl Show {
    /// Waits for the tick's time and publishes it. After a stop it does neither.
    pub fn tick(&mut self, observation: &Observation, changes: &Changes, engine: &Engine) {
        if self.wait(observation.monotonic_ns) {
            let found = changes.transitions.iter().any(|one| one.to.is_livelock());
            self.livelock.fetch_or(found, Relaxed);
            self.stage
                .tick(observation, changes, engine, observation.unix_ms);
        }
    }

    fn wait(&mut self, now_ns: u64) -> bool {
        let before = self.before.replace(now_ns).unwrap_or(now_ns);
        // Another life of the daemon may belong to another boot.
        let gap = Duration::from_nanos(now_ns.saturating_sub(before)).min(MAX_GAP);
        let skipped = gap.min(self.skip);
        self.skip = self.skip.saturating_sub(skipped);
        let wait = gap.saturating_sub(skipped).div_f64(self.speed);
        let stopped = self.stopped.recv_timeout(wait);
        matches!(stopped, Err(RecvTimeoutError::Timeout))
    }
}

/// The header of a recording, if it is readable.
fn header(path: &PathBuf) -> Option<Header> {
    let mut reader = Reader::open(BufReader::new(fs::File::open(path).ok()?)).ok()?;
    match reader.item() {
        Ok(Some(RecordingItem::Segment(header))) => Some(*header),
        _ => None,
    }
}

/// The name of the recording on display.
fn names(files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    match files {
        [first, .., last] => format!("{} … {}", name(first), name(last)),
        [one] => name(one),
        [] => String::new(),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok();
    let speed = speed.filter(|speed| (0.01..=1000.0).contains(speed));
    speed.ok_or_else(|| "must be a number from 0.01 to 1000, such as 10".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::{Arc, mpsc},
        time::{Duration, Instant},
    };

    use super::{Show, names, speed};
    use crate::{pipeline::replay_publisher::ReplayPublisher, recording::Header};

    /// A show, and the sender that stops it.
    fn show(speed: f64, skip: Duration) -> (Show, mpsc::Sender<()>) {
        let (stop, stopped) = mpsc::channel();
        let show = Show {
            stage: ReplayPublisher::new(&Header::default(), None),
            livelock: Arc::default(),
            speed,
            skip,
            before: None,
            stopped,
        };
        (show, stop)
    }

    #[test]
    fn the_first_tick_what_is_skipped_and_another_boot_are_not_waited_for() {
        let (mut show, _stop) = show(0.01, Duration::from_secs(25));
        let start = Instant::now();
        for seconds in [100, 101, 3000, 3001, 3015, 7] {
            assert!(show.wait(seconds * 1_000_000_000), "{seconds}");
        }
        assert_eq!(show.skip, Duration::from_secs(3), "gaps count for ten");
        assert!(start.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn what_is_stopped_waits_no_more_and_shows_nothing() {
        let (mut show, stop) = show(0.01, Duration::ZERO);
        assert!(show.wait(1));
        drop(stop);
        assert!(!show.wait(9_000_000_001));
    }

    #[test]
    fn a_speed_is_a_number_within_reason() {
        assert_eq!(speed("10"), Ok(10.0));
        for bad in ["0", "-1", "nan", "inf", "1001", "fast", ""] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_display_name_has_the_names_of_the_files() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(names(&paths(&["/a/night.tmrec"])), "night.tmrec");
        assert_eq!(names(&paths(&["/a/1", "/b/2", "3"])), "1 … 3");
    }
}
