//! The outermost layer: the head of a file and of a frame.

use std::io;

/// The first bytes of a recording. As PNG's: not text, broken by who changes
/// line ends.
pub const MAGIC: [u8; 8] = *b"\x89TMREC\r\n";
/// The version that is written, little endian, after the magic.
pub const VERSION: u32 = 1;
/// Bytes of magic and version.
pub const FILE_HEAD: usize = 12;
/// Bytes of kind, length and two checksums.
pub const FRAME_HEAD: usize = 13;
/// Bytes of an observation as CBOR, at most. 10,000 tasks that wait are 1 MB.
pub const MAX_RECORD: usize = 8 << 20;
/// Bytes of a payload at most: zstd makes a record longer by 0.4 % at worst.
pub const MAX_FRAME: usize = MAX_RECORD + (64 << 10);

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The header of a segment: a zstd stream begins.
    Segment = 1,
    /// An observation: the stream goes on.
    Observation = 2,
    /// The recorder ended in order; without a payload.
    End = 3,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame holds.
    pub kind: FrameKind,
    /// Bytes of its payload, at most [`MAX_FRAME`].
    pub length: usize,
    /// CRC-32 of the payload.
    pub checksum: u32,
}

impl FrameHeader {
    /// Reads one; else what is wrong with it.
    ///
    /// The head has a checksum of its own: a length that is damaged is told
    /// apart from a file that ends early.
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

/// Adds a frame whose payload is written by `payload`.
///
/// # Errors
///
/// Those of `payload`; what was added until then stays.
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
