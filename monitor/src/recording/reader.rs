//! Reads a recording without trusting any byte.

use std::io::{self, Read};

use ciborium::de::from_reader_with_buffer;
use monitor_model::observation::Observation;
use serde::de::DeserializeOwned;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::{
    cbor_limits,
    frame::{FILE_HEAD, FRAME_HEAD, FrameHeader, FrameKind, MAGIC, MAX_RECORD, VERSION},
    header::Header,
    stored::{Before, Stored},
};

/// Streams with a larger window are refused: 1 MiB.
const WINDOW_LOG_MAX: u32 = 20;

/// The reason why a recording, or the rest of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A system error.
    #[error("it cannot be read at byte {offset}")]
    Io {
        /// The position.
        offset: u64,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The first bytes are different.
    #[error("it is not a recording: the first bytes are not those of one")]
    NoRecording,
    /// The version is unknown.
    #[error(
        "it is a recording of version {0}, and this program reads version {VERSION}: use a newer throttle-monitor"
    )]
    Newer(u32),
    /// The bytes were changed, or never were a recording.
    #[error("the frame at byte {offset} is corrupt: {what}")]
    Corrupt {
        /// The start of the frame.
        offset: u64,
        /// The problem.
        what: String,
    },
    /// The bytes are unchanged, but this version cannot interpret them.
    #[error(
        "the frame at byte {offset}, written by throttle-monitor {program}, cannot be read by {here}: {what}",
        here = env!("CARGO_PKG_VERSION")
    )]
    NotUnderstood {
        /// The start of the frame.
        offset: u64,
        /// The version that wrote it, if known.
        program: String,
        /// The part that is not understood.
        what: String,
    },
}

/// The end of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The end mark.
    Ended,
    /// The end of a frame without an end mark: the recorder was killed, still records, or continued
    /// in another file.
    Open,
    /// Within a frame: the recorder or the machine stopped during a write, or the file was not
    /// copied completely.
    Cut {
        /// The start of that frame: everything before it was read.
        offset: u64,
    },
}

/// An item of a recording.
#[derive(Debug)]
pub enum RecordingItem {
    /// The start of a segment.
    Segment(Box<Header>),
    /// An observation.
    Observation(Box<Observation>),
}

/// Reads a recording, item by item, in bounded memory.
pub struct Reader<R> {
    from: R,
    /// Bytes read.
    offset: u64,
    /// The end of the last complete frame.
    whole: u64,
    payload: Vec<u8>,
    record: Vec<u8>,
    /// A buffer for the strings of a record.
    scratch: Vec<u8>,
    stream: Decoder<'static>,
    /// The version that wrote this segment; `None`: there was no segment yet.
    program: Option<String>,
    before: Before,
    last: Option<FrameKind>,
    ending: Option<Ending>,
}

impl<R: Read> Reader<R> {
    /// Reads the file's header. Pass a buffered reader.
    ///
    /// # Errors
    ///
    /// It is not a recording, or of a newer version.
    pub fn open(from: R) -> Result<Self, ReadError> {
        let mut stream = Decoder::new().map_err(|source| ReadError::Io { offset: 0, source })?;
        stream
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|source| ReadError::Io { offset: 0, source })?;
        let mut reader = Self {
            from,
            offset: 0,
            whole: 0,
            payload: Vec::new(),
            record: Vec::new(),
            scratch: Vec::new(),
            stream,
            program: None,
            before: Before::default(),
            last: None,
            ending: None,
        };
        let mut head = [0; FILE_HEAD];
        let read = reader.fill(&mut head)?;
        let magic = &head[..read.min(MAGIC.len())];
        if *magic != MAGIC[..magic.len()] {
            return Err(ReadError::NoRecording);
        }
        if read < FILE_HEAD {
            reader.ending = Some(Ending::Cut { offset: 0 });
            return Ok(reader);
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version == 0 {
            return Err(ReadError::NoRecording);
        }
        if version > VERSION {
            return Err(ReadError::Newer(version));
        }
        reader.whole = reader.offset;
        Ok(reader)
    }

    /// The kind of its end; `None` until everything was read.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Bytes up to the end of the last complete frame.
    #[must_use]
    pub const fn whole(&self) -> u64 {
        self.whole
    }

    /// The next item; `None` at the end. Do not call it after an error.
    ///
    /// # Errors
    ///
    /// What comes next cannot be read; what came before was right.
    pub fn item(&mut self) -> Result<Option<RecordingItem>, ReadError> {
        while let Some(kind) = self.frame()? {
            self.last = Some(kind);
            let item = match kind {
                FrameKind::Segment => RecordingItem::Segment(Box::new(self.header()?)),
                FrameKind::Observation => RecordingItem::Observation(Box::new(self.observation()?)),
                FrameKind::End if self.payload.is_empty() => {
                    self.whole = self.offset;
                    continue;
                }
                FrameKind::End => return Err(self.corrupt("an end has no payload")),
            };
            self.whole = self.offset;
            return Ok(Some(item));
        }
        Ok(None)
    }

    /// Skips one frame without parsing it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// It is corrupt.
    pub fn skip(&mut self) -> Result<bool, ReadError> {
        let frame = self.frame()?;
        if frame.is_some() {
            self.whole = self.offset;
            self.last = frame;
        }
        Ok(frame.is_some())
    }

    /// Reads the next frame into `payload`; `None`: there is none, and `ending` gives the reason.
    fn frame(&mut self) -> Result<Option<FrameKind>, ReadError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD];
        let read = self.fill(&mut head)?;
        let cut = Ending::Cut { offset: self.whole };
        if read < FRAME_HEAD {
            self.ending = Some(match (read, self.last) {
                (0, Some(FrameKind::End)) => Ending::Ended,
                (0, _) => Ending::Open,
                _ => cut,
            });
            return Ok(None);
        }
        if head == [0; FRAME_HEAD] && self.only_zeros()? {
            // Zeros are what file systems leave after a power failure.
            self.ending = Some(cut);
            return Ok(None);
        }
        let head = FrameHeader::parse(head).map_err(|what| self.corrupt(&what))?;
        // The buffer grows with the bytes of the file, not with the claimed length.
        self.payload.clear();
        let read = (&mut self.from)
            .take(head.length as u64)
            .read_to_end(&mut self.payload)
            .map_err(|source| self.io(source))?;
        self.offset += read as u64;
        if read < head.length {
            self.ending = Some(cut);
            return Ok(None);
        }
        if crc32fast::hash(&self.payload) != head.checksum {
            return Err(self.corrupt("its checksum does not match"));
        }
        Ok(Some(head.kind))
    }

    fn header(&mut self) -> Result<Header, ReadError> {
        self.stream.reinit().map_err(|source| self.io(source))?;
        self.program = None;
        self.decompress()?;
        let header: Header = self.parse()?;
        self.program = Some(header.program.chars().take(64).collect());
        self.before = Before::default();
        Ok(header)
    }

    fn observation(&mut self) -> Result<Observation, ReadError> {
        if self.program.is_none() {
            return Err(self.corrupt("an observation without a segment"));
        }
        self.decompress()?;
        let stored: Stored<'_> = self.parse()?;
        Ok(stored.into_observation(&mut self.before))
    }

    /// Decompresses the payload into `record`.
    fn decompress(&mut self) -> Result<(), ReadError> {
        self.record.clear();
        let mut input = InBuffer::around(&self.payload);
        loop {
            let (read, at) = (input.pos(), self.record.len());
            if at > MAX_RECORD {
                let what = format!("it decompresses to more than {MAX_RECORD} bytes");
                return Err(self.corrupt(&what));
            }
            self.record.reserve(64 << 10);
            let mut output = OutBuffer::around_pos(&mut self.record, at);
            if let Err(error) = self.stream.run(&mut input, &mut output) {
                return Err(self.corrupt(&format!("it cannot be decompressed: {error}")));
            }
            let full = output.pos() == output.capacity();
            if input.pos() == self.payload.len() && !full {
                return Ok(());
            }
            if input.pos() == read && self.record.len() == at {
                return Err(self.corrupt("it cannot be decompressed: the stream is cut off"));
            }
        }
    }

    fn parse<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        if !cbor_limits::are_few(&self.record) {
            return Err(self.corrupt("it holds more than a record can have"));
        }
        // Longer strings are refused, and no valid one exceeds the record.
        self.scratch.resize(self.record.len(), 0);
        let mut rest = self.record.as_slice();
        let parsed = from_reader_with_buffer(&mut rest, &mut self.scratch);
        let what = match parsed {
            Ok(parsed) if rest.is_empty() => return Ok(parsed),
            Ok(_) => "something follows what should be all".to_owned(),
            Err(ciborium::de::Error::Semantic(_, what)) => what,
            Err(error) => error.to_string(),
        };
        Err(ReadError::NotUnderstood {
            offset: self.whole,
            program: self.program.clone().unwrap_or_default(),
            what,
        })
    }

    /// Reads until `to` is full or the file ends; returns the number of bytes.
    fn fill(&mut self, to: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < to.len() {
            match self.from.read(&mut to[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.io(source)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn only_zeros(&mut self) -> Result<bool, ReadError> {
        let mut rest = [0; 4096];
        loop {
            match self.fill(&mut rest)? {
                0 => return Ok(true),
                read if rest[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }

    const fn io(&self, source: io::Error) -> ReadError {
        let offset = self.offset;
        ReadError::Io { offset, source }
    }

    fn corrupt(&self, what: &str) -> ReadError {
        ReadError::Corrupt {
            offset: self.whole,
            what: what.to_owned(),
        }
    }
}
