//! Hostile input: recordings, and names of recordings.

use std::{fs, io::Write as _, sync::OnceLock};

use super::{
    Ending, Reader, RecordingItem, RecordingStore, Replayer,
    directory::{is_kept, number},
    encoder::Encoder,
    frame::{FrameKind, append, file_head},
};
use crate::fuzz_input::text;

/// A file as it is: reading ends within its length, and replays as many observations as it reads.
pub fn recording(data: &[u8]) {
    let (observations, error) = read(data);
    let part = Replayer::default().play(data, |_, _, _| {});
    assert_eq!(part.observations, observations);
    assert_eq!(part.error.map(|error| error.to_string()), error);
}

/// The number of observations, and the reason why reading ended.
fn read(file: &[u8]) -> (u64, Option<String>) {
    let mut reader = match Reader::open(file) {
        Ok(reader) => reader,
        Err(error) => return (0, Some(error.to_string())),
    };
    let mut observations = 0;
    loop {
        match reader.item() {
            Ok(Some(RecordingItem::Observation(_))) => observations += 1,
            Ok(Some(RecordingItem::Segment(_))) => {}
            Ok(None) => {
                let whole = reader.whole();
                assert!(whole <= file.len() as u64, "{whole}");
                match reader.ending() {
                    Some(Ending::Cut { offset }) => assert_eq!(offset, whole),
                    Some(Ending::Ended | Ending::Open) => assert_eq!(whole, file.len() as u64),
                    None => panic!("nothing more, and no end"),
                }
                return (observations, None);
            }
            Err(error) => return (observations, Some(error.to_string())),
        }
    }
}

/// CBOR records, each after its length in two bytes, in frames with correct checksums. Each
/// resulting observation is the same after it is written and read again.
pub fn records(data: &[u8]) {
    let file = framed(data);
    let mut all = Vec::new();
    Replayer::default().play(file.as_slice(), |observation, _, _| {
        all.push(observation.clone());
    });
    let Ok(mut encoder) = Encoder::new(super::Header::default()) else {
        return;
    };
    let mut again = file_head().to_vec();
    for observation in &all {
        if encoder.observation(observation, &mut again).is_err() {
            return;
        }
    }
    let mut read = Vec::new();
    Replayer::default().play(again.as_slice(), |observation, _, _| {
        read.push(observation.clone());
    });
    assert!(all == read, "what was read is written as something else");
}

/// A recording of these records; the first one begins the segment.
pub(crate) fn framed(data: &[u8]) -> Vec<u8> {
    let mut file = file_head().to_vec();
    let mut rest = data;
    let mut kind = FrameKind::Segment;
    let Ok(mut stream) = zstd::stream::Encoder::new(Vec::new(), 1) else {
        return file;
    };
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (record, after) = after.split_at(length);
        rest = after;
        let written = stream.write_all(record).and_then(|()| stream.flush());
        let payload = std::mem::take(stream.get_mut());
        if written
            .and_then(|()| append(kind, &mut file, |to| to.write_all(&payload)))
            .is_err()
        {
            return file;
        }
        kind = FrameKind::Observation;
    }
    file
}

/// The names of a set and of a file in it, a line each: they never open a file outside the set.
pub fn store(data: &[u8]) {
    static ROOT: OnceLock<Option<RecordingStore>> = OnceLock::new();
    let text = text(data);
    let (set, name) = text.split_once('\n').unwrap_or((&text, ""));
    assert!(
        !is_kept(set) || !set.contains('/'),
        "{set:?} leads elsewhere"
    );
    assert!(
        number(name).is_none() || !name.contains('/'),
        "{name:?} leads elsewhere"
    );
    // The root directory, which contains no recordings.
    let root = || Some(RecordingStore::Window(fs::File::open("/").ok()?.into()));
    if let Some(store) = ROOT.get_or_init(root) {
        let opened = store.open(set, name);
        assert!(matches!(opened, Ok(None)), "{opened:?}");
    }
}
