//! Recordings: observations in a file, from which the verdict can be derived again.
//!
//! A file is [`MAGIC`](frame::MAGIC), a version, then frames: kind, length, checksums, payload. The
//! payloads of a segment are one zstd stream that is flushed at every record. So everything written
//! is readable, and observations compress against earlier ones. The records are CBOR with field
//! names, so that fields can be added. docs/recording.md has the bytes.
//!
//! [`Recorder`] is the tick's side and never waits: it encodes and leaves the
//! bytes in a bounded queue, from which a thread writes them to a [`RecordSink`].
//! [`Reader`] trusts no byte; [`Replayer`] gives what it reads to an engine.

#![forbid(unsafe_code)]

mod cbor_limits;
mod directory;
mod encoder;
mod file;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header;
mod reader;
mod recorder;
mod replayer;
mod store;
mod stored;
#[cfg(test)]
mod tests;
mod writer;

pub use directory::{DirectorySink, WindowLimits};
pub use encoder::{EncodeError, Encoder};
pub use file::{FileSink, OpenError};
pub use frame::{MAX_FRAME, MAX_RECORD, VERSION};
pub use header::Header;
pub use reader::{Ending, ReadError, Reader, RecordingItem};
pub use recorder::{Recorder, Rolling};
pub use replayer::{PlayedPart, Replayer};
pub use store::RecordingStore;
pub use writer::RecordSink;
