//! The writer thread, the only one that waits for the disk.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Maximum number of queued bytes: most of an hour at 0.3 KB a second.
const MAX_BYTES: usize = 1 << 20;
/// Maximum number of queued messages: 17 minutes of ticks.
const MAX_MESSAGES: usize = 1024;
/// Enough for a path and a line of the log.
const STACK: usize = 256 << 10;

/// The destination of a recording.
pub trait RecordSink: Send + 'static {
    /// Adds frames, whole or not at all. `roll`: they begin a segment that
    /// goes to a file of its own, where there are several.
    ///
    /// # Errors
    ///
    /// No frame was appended; the next ones may succeed.
    fn append(&mut self, frames: &[u8], roll: bool) -> io::Result<()>;

    /// Keeps the existing files under a name. There is nothing to do if none is ever removed.
    ///
    /// # Errors
    ///
    /// Some of the files may be missing.
    fn keep(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    /// Ends the recording in order, on the disk.
    ///
    /// # Errors
    ///
    /// The end mark, or more, may not be on the disk.
    fn finish(&mut self) -> io::Result<()>;
}

/// A task of the writer.
pub enum WriterMessage {
    /// Frames to append.
    Frames {
        bytes: Vec<u8>,
        /// They begin a segment, so they are readable on their own.
        begins: bool,
        /// They go to a new file.
        roll: bool,
    },
    /// A livelock: keep the existing files under this name.
    Keep(String),
}

#[derive(Debug, Default)]
struct QueueState {
    bytes: AtomicUsize,
    lost: AtomicU64,
    broken: AtomicBool,
}

/// The sending side, which never blocks.
#[derive(Debug)]
pub struct Queue {
    messages: SyncSender<WriterMessage>,
    shared: Arc<QueueState>,
    /// It disconnects when everything is written.
    done: Receiver<()>,
}

impl Queue {
    /// Starts the thread; `what` names the recording in the log.
    pub fn start(sink: impl RecordSink, what: String) -> io::Result<Self> {
        let (messages, received) = sync_channel(MAX_MESSAGES);
        let (ended, done) = sync_channel(0);
        let shared = Arc::new(QueueState::default());
        let mut writer = WriterThread {
            sink,
            what,
            shared: Arc::clone(&shared),
            out_of_step: false,
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("recording".to_owned())
            .stack_size(STACK);
        thread.spawn(move || {
            while let Ok(message) = received.recv() {
                writer.write(message);
            }
            writer.finish();
            // Close the sink before reporting its end.
            drop(writer);
            drop(ended);
        })?;
        Ok(Self {
            messages,
            shared,
            done,
        })
    }

    /// Queues a message; returns whether there was room.
    pub fn send(&self, message: WriterMessage) -> bool {
        let bytes = message.bytes();
        let queued = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A message that exceeds the whole limit is accepted if the queue is empty.
        let fits = queued == 0 || queued + bytes <= MAX_BYTES;
        if fits && self.messages.try_send(message).is_ok() {
            return true;
        }
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Counts an observation that was lost on this side.
    pub fn lose(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of observations lost so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Whether a write was lost since the last call. Then only a new segment is readable.
    pub fn broke(&self) -> bool {
        self.shared.broken.swap(false, Ordering::Relaxed)
    }

    /// Ends the recording; returns whether all of it was written before the deadline.
    pub fn finish(self, deadline: Duration) -> bool {
        drop(self.messages);
        self.done.recv_timeout(deadline) != Err(RecvTimeoutError::Timeout)
    }
}

impl WriterMessage {
    const fn bytes(&self) -> usize {
        match self {
            Self::Frames { bytes, .. } => bytes.len(),
            Self::Keep(name) => name.len(),
        }
    }
}

struct WriterThread<S> {
    sink: S,
    what: String,
    shared: Arc<QueueState>,
    /// Whether a frame was lost: then everything until the next segment is unreadable.
    out_of_step: bool,
    failing: bool,
}

impl<S: RecordSink> WriterThread<S> {
    fn write(&mut self, message: WriterMessage) {
        self.shared
            .bytes
            .fetch_sub(message.bytes(), Ordering::Relaxed);
        match message {
            WriterMessage::Frames { begins: false, .. } if self.out_of_step => self.lose(),
            WriterMessage::Frames { bytes, roll, .. } => {
                let result = self.sink.append(&bytes, roll);
                self.appended(result);
            }
            WriterMessage::Keep(name) => match self.sink.keep(&name) {
                Ok(()) => tracing::info!(recording = self.what, name, "recording kept"),
                Err(error) => {
                    tracing::warn!(recording = self.what, name, %error, "a recording of the minutes before a livelock could not be kept completely");
                }
            },
        }
    }

    fn appended(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if self.failing {
                    let lost = self.shared.lost.load(Ordering::Relaxed);
                    tracing::info!(recording = self.what, lost, "the recording continues");
                }
                self.failing = false;
                self.out_of_step = false;
            }
            Err(error) => {
                self.lose();
                self.out_of_step = true;
                self.shared.broken.store(true, Ordering::Relaxed);
                if !self.failing {
                    tracing::warn!(recording = self.what, %error, "the recording cannot be written: observations are lost until it can");
                }
                self.failing = true;
            }
        }
    }

    fn lose(&self) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn finish(&mut self) {
        if let Err(error) = self.sink.finish() {
            tracing::warn!(recording = self.what, %error, "the recording could not be ended properly");
        }
    }
}
