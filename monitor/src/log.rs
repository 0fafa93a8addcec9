//! The log: one line per event on stderr, logfmt or JSON.

#![forbid(unsafe_code)]

mod queue;

use std::io::{self, Write};
use std::time::Duration;

use monitor_model::{
    guard::{GuardEvent, Outcome},
    loops::{Loop, LoopChange, LoopEvent},
    related::{RelatedEvent, RelatedKind},
    verdict::Transition,
};
use tracing::Subscriber;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, registry, reload};

/// The values of `--log.level`.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// How long the process waits at its end for the last lines.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// The words of `--log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The reason why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not one of [`LEVELS`].
    #[error("{0:?} is not a log level: use one of {words}", words = LEVELS.join(", "))]
    Level(String),
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// [`init`] ran before, or another logger is installed.
    #[error("a logger is installed already")]
    Twice,
}

/// Writes what is still queued when it is dropped. Hold it until the end of
/// `main`.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct Guard {
    queue: queue::LogQueue,
    level: LevelHandle,
}

impl Guard {
    /// Changes the level of the running log.
    #[must_use]
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.flush(FLUSH_DEADLINE);
    }
}

/// Changes the level of a running log.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<LevelFilter, Registry>);

impl LevelHandle {
    /// Logs from this level on.
    ///
    /// # Errors
    ///
    /// For an unknown level.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        let level = parse_level(level)?;
        // It fails only after the log is gone.
        let _ = self.0.reload(level);
        log::set_max_level(level.as_log());
        Ok(())
    }
}

/// Starts the log on stderr, for `tracing` and for `log` (aya-log's records).
///
/// Logging never waits for stderr or fails with it. A thread writes the lines. If it cannot keep
/// up, lines are dropped, and the next line reports their number.
///
/// # Errors
///
/// For an unknown level, a second call, or when no thread can be started.
pub fn init(level: &str, format: LogFormat) -> Result<Guard, LogError> {
    let level = parse_level(level)?;
    let queue = queue::LogQueue::start(io::stderr()).map_err(LogError::Thread)?;
    let (subscriber, handle) = subscriber(level, format, queue.clone());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    let bridge = LogTracer::builder().with_max_level(level.as_log());
    bridge.init().map_err(|_| LogError::Twice)?;
    Ok(Guard {
        queue,
        level: LevelHandle(handle),
    })
}

fn parse_level(word: &str) -> Result<LevelFilter, LogError> {
    match word {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        other => Err(LogError::Level(other.to_owned())),
    }
}

fn subscriber<W>(
    level: LevelFilter,
    format: LogFormat,
    writer: W,
) -> (
    impl Subscriber + Send + Sync,
    reload::Handle<LevelFilter, Registry>,
)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // With internal errors on, a failed write ends in eprintln!, which panics
    // when stderr is gone.
    let layer = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .layer()
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .log_internal_errors(false)
            .boxed(),
    };
    let (level, handle) = reload::Layer::new(level);
    (registry().with(level).with(layer), handle)
}

/// Logs a change of state: a warning when it is a livelock or a deadlock now.
pub fn transition(transition: &Transition) {
    let Transition {
        loop_id,
        signature,
        from,
        to,
        reason,
        ..
    } = transition;
    let (loop_id, signature) = (loop_id.as_str(), signature.as_str());
    let (from, to, reason) = (from.as_str(), to.as_str(), reason.as_str());
    if transition.to.is_livelock() {
        tracing::warn!(
            "loop" = loop_id,
            signature,
            from,
            to,
            reason,
            "livelock state changed"
        );
    } else {
        tracing::info!(
            "loop" = loop_id,
            signature,
            from,
            to,
            reason,
            "livelock state changed"
        );
    }
}

/// Logs the beginning or end of a loop: a warning with recommendations if there is a new risk.
/// `found`: the loop, unless it ended.
pub fn loop_event(event: &LoopEvent, found: Option<&Loop>) {
    let (loop_id, message) = (event.loop_id.as_str(), event.message.as_str());
    let change = event.change.as_str();
    let words = |words: fn(&Loop) -> &[String]| found.map(|one| words(one).join("; "));
    let (risk, recommendations) = (words(|one| &one.risk), words(|one| &one.recommendations));
    let threatens = found.is_none_or(|one| !one.risk.is_empty());
    let own_client = found.is_some_and(|one| one.became_own_client);
    match event.change {
        LoopChange::Appeared if threatens => {
            tracing::warn!(
                "loop" = loop_id,
                change,
                reason = message,
                risk,
                recommendations,
                "loop"
            );
        }
        LoopChange::Proven if own_client => {
            tracing::warn!(
                "loop" = loop_id,
                change,
                reason = message,
                risk,
                recommendations,
                "loop"
            );
        }
        LoopChange::Appeared | LoopChange::Proven | LoopChange::Ended => {
            tracing::info!("loop" = loop_id, change, reason = message, "loop");
        }
    }
}

/// Logs the beginning or end of a related condition. It is a warning at the beginning, except for
/// conditions that are common on busy nodes.
pub fn related_event(event: &RelatedEvent) {
    let (kind, bdi) = (event.kind.as_str(), event.bdi.as_str());
    // Empty: the condition concerns the node.
    let bdi = Some(bdi).filter(|bdi| !bdi.is_empty());
    let change = if event.began { "began" } else { "ended" };
    let reason = event.reason.as_str();
    let ordinary = match event.kind {
        RelatedKind::DirtyThrottling | RelatedKind::SlowDisk | RelatedKind::DiskSaturated => true,
        RelatedKind::NfsServerNotResponding
        | RelatedKind::ServerNotResponding
        | RelatedKind::MemoryStarvation
        | RelatedKind::HungFileSystem
        | RelatedKind::DirtyLimitHeld => false,
    };
    if event.began && !ordinary {
        tracing::warn!(kind, bdi, change, reason, "related condition");
    } else {
        tracing::info!(kind, bdi, change, reason, "related condition");
    }
}

/// Logs an event of the guard. It is a warning if it changes the node.
pub fn guard_event(event: &GuardEvent) {
    let (loop_id, action) = (event.loop_id.as_str(), event.action.as_str());
    let (result, reason) = (event.result.as_str(), event.reason.as_str());
    let commands = Some(event.commands.join("; ")).filter(|words| !words.is_empty());
    let undo = Some(event.undo.join("; ")).filter(|words| !words.is_empty());
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                "loop" = loop_id,
                action,
                result,
                reason,
                commands,
                undo,
                "guard"
            )
        };
    }
    match event.result {
        Outcome::Failed => tell!(error),
        Outcome::Advised => tell!(info),
        _ => tell!(warn),
    }
}

/// Writes and always reports success, for writers whose failures cannot be reported anywhere.
fn write_or_lose(to: &mut impl Write, line: &[u8]) {
    let _ = to.write_all(line).and_then(|()| to.flush());
}

#[cfg(test)]
mod tests;
