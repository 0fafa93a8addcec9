//! The tick's side of a recording. It never blocks.

use std::{io, time::Duration};

use monitor_verdict::{Changes, Thresholds, evidence::incident};

use monitor_model::{observation::Observation, verdict::Transition};

use super::{
    encoder::Encoder,
    header::Header,
    writer::{Queue, RecordSink, WriterMessage},
};

/// Number of finished files in a window, beside the current one.
const FILES: u32 = 5;

/// The rule for new files.
#[derive(Clone, Copy, Debug)]
pub struct Rolling {
    every_ns: u64,
    every_bytes: u64,
    /// The end of the current one, `CLOCK_MONOTONIC` nanoseconds.
    ends_ns: u64,
    bytes: u64,
}

impl Rolling {
    /// The rule for a window of this time and size.
    #[must_use]
    pub fn new(window: Duration, max_bytes: u64) -> Self {
        Self {
            every_ns: u64::try_from((window / FILES).as_nanos()).unwrap_or(u64::MAX),
            every_bytes: max_bytes / u64::from(FILES),
            ends_ns: 0,
            bytes: 0,
        }
    }

    const fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.ends_ns || self.bytes >= self.every_bytes
    }

    const fn restart(&mut self, now_ns: u64) {
        self.ends_ns = now_ns.saturating_add(self.every_ns);
    }
}

/// Records observations.
pub struct Recorder {
    encoder: Encoder,
    rolling: Option<Rolling>,
    queue: Queue,
    /// Whether the last observation was lost here.
    losing: bool,
}

impl Recorder {
    /// Starts the thread that writes to `sink`; `what` names it in the log.
    ///
    /// # Errors
    ///
    /// No thread or no memory is available.
    pub fn start(
        header: Header,
        sink: impl RecordSink,
        rolling: Option<Rolling>,
        what: String,
    ) -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::new(header)?,
            rolling,
            queue: Queue::start(sink, what)?,
            losing: false,
        })
    }

    /// The thresholds by which the next observation is judged, and those after it.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.encoder.set_thresholds(thresholds);
    }

    /// Records an observation. If it confirms a livelock, the observations before it are kept.
    pub fn observe(&mut self, observation: &Observation, changes: &Changes) {
        if self.queue.broke() {
            self.encoder.begin();
        }
        let now_ns = observation.monotonic_ns;
        let roll = self.rolling.is_some_and(|rolling| rolling.is_due(now_ns));
        if roll {
            self.encoder.begin();
        }
        let begins = self.encoder.begins();
        let mut bytes = Vec::new();
        let encoded = self.encoder.observation(observation, &mut bytes);
        let length = bytes.len() as u64;
        let sent = match encoded {
            Ok(()) => self.queue.send(WriterMessage::Frames {
                bytes,
                begins,
                roll,
            }),
            Err(error) => {
                tracing::debug!(%error, "an observation is not recorded");
                false
            }
        };
        self.sent(sent);
        if let (true, Some(rolling)) = (sent, &mut self.rolling) {
            if roll {
                rolling.restart(now_ns);
                rolling.bytes = 0;
            }
            rolling.bytes += length;
        }
        for transition in changes.transitions.iter().filter(|t| is_confirmed(t)) {
            self.keep(transition, now_ns);
        }
    }

    fn sent(&mut self, sent: bool) {
        if !sent {
            self.queue.lose();
            self.encoder.begin();
            if !self.losing {
                tracing::warn!(
                    "an observation is missing from the recording: the disk does not keep up"
                );
            }
        }
        self.losing = !sent;
    }

    /// The observations right after it go to the same file.
    fn keep(&mut self, transition: &Transition, now_ns: u64) {
        let Some(rolling) = &mut self.rolling else {
            return;
        };
        rolling.restart(now_ns);
        let (loop_id, signature) = (&transition.loop_id, transition.signature);
        let name = incident(transition.unix_ms, loop_id, signature).into();
        if !self.queue.send(WriterMessage::Keep(name)) {
            tracing::warn!("the minutes before a livelock are not kept: the disk does not keep up");
        }
    }

    /// The number of observations lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Ends the recording in order, if the disk finishes before the deadline.
    pub fn finish(self, deadline: Duration) {
        if !self.queue.finish(deadline) {
            tracing::warn!(
                "the end of the recording could not be written: what was written can be read"
            );
        }
    }
}

fn is_confirmed(transition: &Transition) -> bool {
    transition.to.is_livelock() && !transition.from.is_livelock()
}
