//! Encodes observations as frames.

use std::io::{self, Write};

use monitor_model::observation::Observation;
use monitor_verdict::Thresholds;
use serde::Serialize;
use zstd::{
    stream::raw::{self, CParameter, InBuffer, Operation as _, OutBuffer},
    zstd_safe::Strategy,
};

use super::{
    frame::{self, FrameKind, MAX_RECORD},
    header::Header,
    stored::{Before, Stored},
};

/// Measured on observations of 2.8 KB with 18 waits, in which nearly all numbers change: 314 bytes
/// each in 30 us, with 1 MB of memory. zstd's level 3: 348 bytes and 1.8 MB; level 19: 309 bytes
/// and 84 MB. As JSON, 389.
const PARAMETERS: [CParameter; 6] = [
    CParameter::Strategy(Strategy::ZSTD_lazy2),
    // 128 KiB covers the previous observation even of a large node.
    CParameter::WindowLog(17),
    CParameter::HashLog(14),
    CParameter::ChainLog(14),
    CParameter::SearchLog(4),
    CParameter::MinMatch(4),
];

/// The reason why an observation was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is too large.
    #[error("an observation is longer than {MAX_RECORD} bytes")]
    TooLarge,
    /// It has no CBOR form: a bug.
    #[error("an observation has no CBOR: {0}")]
    Cbor(String),
    /// zstd lacks memory, or has a bug.
    #[error("zstd refuses an observation")]
    Zstd(#[source] io::Error),
}

/// Encodes the frames of one life of a daemon.
pub struct Encoder {
    header: Header,
    stream: raw::Encoder<'static>,
    record: Vec<u8>,
    before: Before,
    begins: bool,
}

impl Encoder {
    /// Begins with a segment, and fills in the segment's part of the header.
    ///
    /// # Errors
    ///
    /// zstd lacks memory.
    pub fn new(header: Header) -> io::Result<Self> {
        let mut stream = raw::Encoder::new(0)?;
        for parameter in PARAMETERS {
            stream.set_parameter(parameter)?;
        }
        Ok(Self {
            header: Header {
                before: 0,
                ..header
            },
            stream,
            record: Vec::new(),
            before: Before::default(),
            begins: true,
        })
    }

    /// The next observation begins a segment, which is readable on its own.
    pub const fn begin(&mut self) {
        self.begins = true;
    }

    /// The thresholds from the next observation on, which begins a segment: its header has them.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.header.thresholds = thresholds;
        self.begin();
    }

    /// Whether the next observation begins a segment.
    #[must_use]
    pub const fn begins(&self) -> bool {
        self.begins
    }

    /// Adds the frames of the next observation. An error adds nothing, and the next one begins a
    /// segment.
    ///
    /// # Errors
    ///
    /// It is too large, or zstd fails.
    pub fn observation(
        &mut self,
        observation: &Observation,
        to: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = to.len();
        let result = self.frames(observation, to);
        self.header.before += 1;
        self.begins = result.is_err();
        if result.is_err() {
            to.truncate(start);
        }
        result
    }

    fn frames(&mut self, observation: &Observation, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.begins {
            self.header.unix_ms = observation.unix_ms;
            self.header.monotonic_ns = observation.monotonic_ns;
            cbor(&self.header, &mut self.record)?;
            self.stream.reinit().map_err(EncodeError::Zstd)?;
            self.frame(FrameKind::Segment, to)?;
        }
        let stored = Stored::of(observation, &mut self.before, self.begins);
        cbor(&stored, &mut self.record)?;
        self.frame(FrameKind::Observation, to)
    }

    /// Adds a frame with the content of `record`.
    fn frame(&mut self, kind: FrameKind, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (stream, record) = (&mut self.stream, &self.record);
        frame::append(kind, to, |to| compress(stream, record, to)).map_err(EncodeError::Zstd)
    }
}

/// Adds the end mark of a recording.
pub fn end(to: &mut Vec<u8>) {
    // The payload is empty, so this cannot fail.
    let _ = frame::append(FrameKind::End, to, |_| Ok(()));
}

fn compress(stream: &mut raw::Encoder<'_>, record: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(record);
    loop {
        // Enough for most observations.
        to.reserve(4096);
        let at = to.len();
        let mut output = OutBuffer::around_pos(to, at);
        if input.pos() < record.len() {
            stream.run(&mut input, &mut output)?;
        } else if stream.flush(&mut output)? == 0 {
            return Ok(());
        }
    }
}

fn cbor(value: &impl Serialize, to: &mut Vec<u8>) -> Result<(), EncodeError> {
    use ciborium::ser::Error;
    to.clear();
    ciborium::into_writer(value, Bounded(to)).map_err(|error| match error {
        Error::Io(_) => EncodeError::TooLarge,
        Error::Value(what) => EncodeError::Cbor(what),
    })
}

/// A writer that fails beyond [`MAX_RECORD`] bytes.
struct Bounded<'a>(&'a mut Vec<u8>);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RECORD {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
