//! The outermost layer: the headers of a file and of a frame.

use std::io;

/// The first bytes of a recording. As in PNG, they mark it as binary and reveal converted line
/// ends.
pub const MAGIC: [u8; 8] = *b"\x89TMREC\r\n";
/// The version in use, little endian, after the magic.
pub const VERSION: u32 = 1;
/// Bytes of magic and version.
pub const FILE_HEAD: usize = 12;
/// Bytes of kind, length and two checksums.
pub const FRAME_HEAD: usize = 13;
/// Maximum bytes of an observation as CBOR. 10,000 waiting tasks take 1 MB.
pub const MAX_RECORD: usize = 8 << 20;
/// Maximum bytes of a payload: zstd grows a record by 0.4 % at worst.
pub const MAX_FRAME: usize = MAX_RECORD + (64 << 10);

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The header of a segment: a zstd stream begins.
    Segment = 1,
    /// An observation, which continues the stream.
    Observation = 2,
    /// The recorder ended in order; without a payload.
    End = 3,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The content of the frame.
    pub kind: FrameKind,
    /// Bytes of its payload, at most [`MAX_FRAME`].
    pub length: usize,
    /// CRC-32 of the payload.
    pub checksum: u32,
}

impl FrameHeader {
    /// Parses a header; an error describes the problem.
    ///
    /// The header has its own checksum, to distinguish a damaged length from a truncated file.
    pub fn parse(bytes: [u8; FRAME_HEAD]) -> Result<Self, String> {
        let number = |at| {
            let four: [u8; 4] = std::array::from_fn(|n| bytes[at + n]);
            u32::from_le_bytes(four)
        };
        if crc32fast::hash(&bytes[..9]) != number(9) {
            return Err("the checksum of its head does not match".to_owned());
        }
        let kind = match bytes[0] {
            1 => FrameKind::Segment,
            2 => FrameKind::Observation,
            3 => FrameKind::End,
            other => return Err(format!("it is of the unknown kind {other}")),
        };
        let length = number(1) as usize;
        if length > MAX_FRAME {
            return Err(format!(
                "it would be {length} bytes long, more than the {MAX_FRAME} that a frame may have"
            ));
        }
        Ok(Self {
            kind,
            length,
            checksum: number(5),
        })
    }

    fn bytes(kind: FrameKind, payload: &[u8]) -> [u8; FRAME_HEAD] {
        let mut bytes = [0; FRAME_HEAD];
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        bytes[0] = kind as u8;
        bytes[1..5].copy_from_slice(&length.to_le_bytes());
        bytes[5..9].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let own = crc32fast::hash(&bytes[..9]);
        bytes[9..].copy_from_slice(&own.to_le_bytes());
        bytes
    }
}

/// Adds a frame with a payload from `payload`.
///
/// # Errors
///
/// Those of `payload`; what it added before stays.
pub fn append(
    kind: FrameKind,
    to: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let start = to.len();
    to.extend_from_slice(&[0; FRAME_HEAD]);
    payload(to)?;
    let (head, payload) = to[start..].split_at_mut(FRAME_HEAD);
    head.copy_from_slice(&FrameHeader::bytes(kind, payload));
    Ok(())
}

/// The first bytes of a file.
pub fn file_head() -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..].copy_from_slice(&VERSION.to_le_bytes());
    head
}
