use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use monitor_model::{loops::LoopChange, related::RelatedKind, verdict::LivelockState};
use serde_json::Value;
use tracing::subscriber::with_default;

use super::queue::{LogQueue, MAX_LINES};
use super::{
    LevelFilter, LogError, LogFormat, loop_event, parse_level, related_event, subscriber,
    transition,
};
use crate::publish::testing;
use crate::publish::testing::transition_at;

#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of `act` at `level`.
fn logged(level: LevelFilter, format: LogFormat, act: impl FnOnce()) -> String {
    let memory = CapturedLog::default();
    let writer = memory.clone();
    with_default(subscriber(level, format, move || writer.clone()).0, act);
    String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_livelock_is_a_warning_with_its_words_as_json_fields() {
    let text = logged(LevelFilter::INFO, LogFormat::Json, || {
        transition(&transition_at(1));
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    let expected = [
        ("level", "WARN"),
        ("loop", "0:29-nfsd"),
        ("signature", "dirty-throttle"),
        ("from", "suspected"),
        ("to", "livelock"),
        ("reason", "all four hold"),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {text}");
    }
}

#[test]
fn a_recovery_is_not_a_warning_and_reads_as_logfmt() {
    let mut recovery = transition_at(1);
    recovery.to = LivelockState::Recovered;
    let text = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
        transition(&recovery);
    });
    for word in [
        "level=info",
        "loop=0:29-nfsd",
        "to=recovered",
        "reason=\"all four hold\"",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_loop_that_appears_is_a_warning_with_its_danger_and_what_to_do() {
    let text = logged(LevelFilter::INFO, LogFormat::Json, || {
        loop_event(&testing::loop_event(), Some(&testing::found_loop()));
    });
    let line: Value = serde_json::from_str(&text).unwrap();
    let expected = [
        ("level", "WARN"),
        ("loop", "0:29-nfsd"),
        ("change", "appeared"),
        ("reason", "0:29 is served by this node's own nfsd"),
        ("risk", "nfsd is not exempt; no limit"),
        ("recommendations", "run them apart; or hold it"),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field} in {text}");
    }
}

#[test]
fn a_loop_without_risk_is_not_a_warning() {
    let mut found = testing::found_loop();
    found.risk.clear();
    let text = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
        loop_event(&testing::loop_event(), Some(&found));
    });
    assert!(text.contains("level=info"), "{text}");
}

#[test]
fn a_better_proof_and_an_end_are_no_warnings_save_where_the_node_is_its_own_client_now() {
    for (change, own, level) in [
        (LoopChange::Ended, false, "level=info"),
        (LoopChange::Proven, false, "level=info"),
        (LoopChange::Proven, true, "level=warn"),
    ] {
        let mut event = testing::loop_event();
        event.change = change;
        let mut found = testing::found_loop();
        found.became_own_client = own;
        let found = (change != LoopChange::Ended).then_some(&found);
        let text = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
            loop_event(&event, found);
        });
        assert!(text.contains(level), "{text}");
    }
}

#[test]
fn a_related_condition_is_a_warning_when_it_begins_unless_it_is_ordinary() {
    for kind in RelatedKind::ALL {
        for began in [true, false] {
            let mut event = testing::related_event(began);
            event.kind = kind;
            let text = logged(LevelFilter::INFO, LogFormat::Json, || {
                related_event(&event);
            });
            let line: Value = serde_json::from_str(&text).unwrap();
            let ordinary = [
                RelatedKind::DirtyThrottling,
                RelatedKind::SlowDisk,
                RelatedKind::DiskSaturated,
            ]
            .contains(&kind);
            let level = if began && !ordinary { "WARN" } else { "INFO" };
            assert_eq!(line["level"], level, "{text}");
            assert_eq!(line["kind"], kind.as_str());
            assert_eq!(line["bdi"], "254:0");
            assert_eq!(line["change"], if began { "began" } else { "ended" });
            assert_eq!(line["reason"], "the disk is <busy>");
        }
    }
    let mut event = testing::related_event(true);
    event.bdi = "".into();
    let text = logged(LevelFilter::INFO, LogFormat::Logfmt, || {
        related_event(&event);
    });
    assert!(!text.contains("bdi"), "it is about the node: {text}");
}

#[test]
fn a_reason_with_line_breaks_and_quotes_stays_one_line() {
    for format in [LogFormat::Logfmt, LogFormat::Json] {
        let mut hostile = transition_at(1);
        hostile.reason = "a\nlevel=error msg=\"faked\"\r\n".to_owned();
        let text = logged(LevelFilter::INFO, format, || transition(&hostile));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("faked"));
    }
}

#[test]
fn what_is_below_the_level_is_not_written() {
    let act = || {
        tracing::info!("quiet");
        tracing::warn!("loud");
    };
    let text = logged(LevelFilter::WARN, LogFormat::Logfmt, act);
    assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
}

#[test]
fn an_unknown_level_is_refused_with_the_words_that_are_known() {
    let error = parse_level("verbose").unwrap_err();
    assert!(matches!(error, LogError::Level(_)));
    assert_eq!(
        error.to_string(),
        "\"verbose\" is not a log level: use one of error, warn, info, debug, trace"
    );
    for level in super::LEVELS {
        assert!(parse_level(level).is_ok(), "{level}");
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_stderr_neither_stops_the_one_who_logs_nor_the_thread_that_writes() {
    let queue = LogQueue::start(Closed).unwrap();
    for _ in 0..3 * MAX_LINES {
        (&queue).write_all(b"line\n").unwrap();
    }
    let start = Instant::now();
    queue.flush(Duration::from_mins(1));
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "the thread no longer answers"
    );
}

/// A writer that blocks until it is released.
struct Stuck {
    written: Sender<Vec<u8>>,
    gate: Arc<Mutex<()>>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _open = self.gate.lock().unwrap();
        self.written.send(bytes.to_vec()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_unread_stderr_blocks_no_thread_and_costs_no_more_than_the_queue() {
    let (written, lines) = channel();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap();
    let queue = LogQueue::start(Stuck {
        written,
        gate: Arc::clone(&gate),
    })
    .unwrap();
    for _ in 0..10 * MAX_LINES {
        // A blocking queue would hang here for ever.
        (&queue).write_all(b"line\n").unwrap();
    }
    let start = Instant::now();
    queue.flush(Duration::from_millis(50));
    assert!(
        start.elapsed() >= Duration::from_millis(50),
        "flushed what cannot be written"
    );
    drop(closed);
    queue.flush(Duration::from_mins(1));
    let kept = lines.try_iter().count();
    assert!(
        (MAX_LINES..=MAX_LINES + 1).contains(&kept),
        "{kept} lines were kept"
    );
}
