//! A bounded queue of lines and the thread that writes them.
//!
//! `tracing-appender` is unsuitable: if its guard cannot flush, it prints to stdout and stderr.
//! Printing to a closed one panics, and with `panic = "abort"` a clean end becomes a crash.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of lines that wait for stderr.
pub(super) const MAX_LINES: usize = 512;
/// Enough to format one event.
const STACK: usize = 128 * 1024;

enum LogMessage {
    Line(Vec<u8>),
    /// Acknowledged when everything before it is written.
    Flush(SyncSender<()>),
}

/// The sending side.
#[derive(Clone, Debug)]
pub(super) struct LogQueue {
    messages: SyncSender<LogMessage>,
    lost: Arc<AtomicU64>,
}

impl LogQueue {
    pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, received) = sync_channel(MAX_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK);
        thread.spawn(move || write_all(&received, to, &counted))?;
        Ok(Self { messages, lost })
    }

    /// Waits until all earlier lines are written, or until the deadline.
    pub(super) fn flush(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let (done, wait) = sync_channel(1);
        let mut message = LogMessage::Flush(done);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = back;
            thread::sleep(Duration::from_millis(5));
        }
        let _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn write_all(messages: &Receiver<LogMessage>, mut to: impl Write, lost: &AtomicU64) {
    while let Ok(message) = messages.recv() {
        match message {
            LogMessage::Line(line) => super::write_or_lose(&mut to, &line),
            LogMessage::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(
                lines,
                "log lines were lost: stderr was not read fast enough"
            );
        }
    }
}

/// One event. It is dropped if the queue is full, and never fails.
impl Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self
            .messages
            .try_send(LogMessage::Line(line.to_vec()))
            .is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}
