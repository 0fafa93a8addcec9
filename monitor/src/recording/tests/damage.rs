//! Tests with files that were cut, changed or crafted.

use std::io::Write as _;

use monitor_model::observation::Observation;
use proptest::prelude::*;

use super::{anything::observations, node, read, recording};
use crate::recording::{
    Ending, MAX_FRAME, MAX_RECORD, PlayedPart, ReadError, Replayer,
    frame::{FILE_HEAD, FRAME_HEAD, FrameKind, append, file_head},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_file_that_is_cut_anywhere_gives_all_before_the_cut(all in observations(), at in any::<prop::sample::Index>()) {
        let bytes = recording(&all);
        let at = at.index(bytes.len());
        let (back, ending) = read(&bytes[..at]);
        prop_assert!(all.starts_with(&back));
        prop_assert!(matches!(ending, Ok(Ending::Open | Ending::Cut { .. })), "{ending:?}");
        // A complete record is read.
        if at == bytes.len() - FRAME_HEAD {
            prop_assert_eq!(back.len(), all.len());
        }
    }

    #[test]
    fn a_byte_that_is_changed_is_found_and_nothing_wrong_is_read(
        all in observations(),
        at in any::<prop::sample::Index>(),
        by in 1..=255u8,
    ) {
        let mut bytes = recording(&all);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        let (back, ending) = read(&bytes);
        prop_assert!(all.starts_with(&back));
        prop_assert!(ending.is_err(), "{ending:?}");
    }

    #[test]
    fn anything_after_the_head_of_a_file_is_read_without_a_panic(junk in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = file_head().to_vec();
        bytes.extend(&junk);
        let _ = read(&bytes);
    }

    #[test]
    fn any_payload_with_right_checksums_is_read_without_a_panic(junk in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&segment(&junk)).1.is_err());
    }

    #[test]
    fn any_bytes_as_cbor_are_read_without_a_panic(junk in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(read(&segment(&zstd(&junk))).1.is_err());
    }
}

fn segment(payload: &[u8]) -> Vec<u8> {
    let mut bytes = file_head().to_vec();
    let write = |to: &mut Vec<u8>| {
        to.extend(payload);
        Ok(())
    };
    append(FrameKind::Segment, &mut bytes, write).unwrap();
    bytes
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    let (_, ending) = read(bytes);
    ending.expect_err("must be refused").to_string()
}

#[test]
fn every_cut_of_a_recording_is_a_prefix_and_the_cut_is_reported() {
    let all = node::life(3, 3, 0);
    let bytes = recording(&all);
    let mut seen = 0;
    for at in 0..bytes.len() {
        let (back, ending) = read(&bytes[..at]);
        assert!(all.starts_with(&back), "cut at {at}");
        assert!(back.len() >= seen, "cut at {at}");
        seen = back.len();
        match ending.unwrap() {
            Ending::Ended => panic!("cut at {at}: the end is not there"),
            Ending::Open => assert!(at == FILE_HEAD || back.len() == seen),
            Ending::Cut { offset } => assert!(offset <= at as u64),
        }
    }
    assert_eq!(seen, all.len());
}

#[test]
fn the_readable_part_is_reported_with_the_position_of_the_damage() {
    let all = node::life(9, 0, 0);
    let mut bytes = recording(&all);
    let at = recording(&all[..5]).len() - FRAME_HEAD;
    bytes[at + FRAME_HEAD + 3] ^= 1;
    let mut times = Vec::new();
    let part = Replayer::default().play(bytes.as_slice(), |one, _, _| times.push(one.unix_ms));
    let PlayedPart {
        observations,
        first_unix_ms,
        last_unix_ms,
        error,
        ..
    } = part;
    assert_eq!(observations, 5);
    assert_eq!(first_unix_ms, Some(all[0].unix_ms));
    assert_eq!(last_unix_ms, Some(all[4].unix_ms));
    let error = error.unwrap().to_string();
    assert_eq!(
        error,
        format!("the frame at byte {at} is corrupt: its checksum does not match")
    );
}

#[test]
fn a_tail_of_zeros_as_a_power_failure_leaves_it_is_a_cut() {
    let all = node::life(4, 0, 0);
    let whole = recording(&all).len() - FRAME_HEAD;
    for zeros in [FRAME_HEAD, 5000, 20_000] {
        let mut bytes = recording(&all)[..whole].to_vec();
        bytes.resize(whole + zeros, 0);
        let (back, ending) = read(&bytes);
        assert_eq!(back.len(), 4);
        assert_eq!(
            ending.unwrap(),
            Ending::Cut {
                offset: whole as u64
            }
        );
        bytes.push(1);
        assert!(read(&bytes).1.is_err(), "these are not only zeros");
    }
}

#[test]
fn a_file_that_is_too_new_or_not_a_recording_is_reported_as_such() {
    assert!(refused(b"MZ and something").contains("not a recording"));
    let mut newer = recording(&[]);
    newer[8] = 2;
    assert!(refused(&newer).contains("of version 2"));
    assert!(refused(&newer).contains("use a newer throttle-monitor"));
    newer[8] = 0;
    assert!(refused(&newer).contains("not a recording"));
}

#[test]
fn an_observation_without_a_segment_is_refused() {
    let mut bytes = file_head().to_vec();
    append(FrameKind::Observation, &mut bytes, |_| Ok(())).unwrap();
    assert!(refused(&bytes).contains("without a segment"));
}

#[test]
fn a_length_beyond_all_bounds_is_refused_before_anything_is_read() {
    let mut bytes = file_head().to_vec();
    append(FrameKind::Segment, &mut bytes, |_| Ok(())).unwrap();
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap();
    bytes[FILE_HEAD + 1..FILE_HEAD + 5].copy_from_slice(&too_long.to_le_bytes());
    let own = crc32fast::hash(&bytes[FILE_HEAD..FILE_HEAD + 9]);
    bytes[FILE_HEAD + 9..].copy_from_slice(&own.to_le_bytes());
    assert!(refused(&bytes).contains("bytes long, more than"));
}

#[test]
fn a_bomb_is_refused_as_soon_as_it_is_too_large() {
    let bomb = zstd(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let error = refused(&segment(&bomb));
    assert!(
        error.contains(&format!("more than {MAX_RECORD}")),
        "{error}"
    );
}

#[test]
fn a_stream_that_wants_a_gigabyte_of_window_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(b"x").unwrap();
    let error = refused(&segment(&encoder.finish().unwrap()));
    assert!(error.contains("cannot be decompressed"), "{error}");
}

#[test]
fn a_payload_that_ends_within_its_stream_or_continues_after_it_is_refused() {
    let header = ciborium::Value::Map(Vec::new());
    let mut cbor = Vec::new();
    ciborium::into_writer(&header, &mut cbor).unwrap();
    assert!(read(&segment(&zstd(&cbor))).1.is_ok(), "all defaults");
    cbor.push(0);
    assert!(refused(&segment(&zstd(&cbor))).contains("something follows"));
    let whole = zstd(&cbor);
    assert!(refused(&segment(&whole[..whole.len() - 2])).contains("cannot be read by"));
    assert!(refused(&segment(&[])).contains("cannot be read by"));
}

#[test]
fn arrays_in_arrays_without_end_are_refused() {
    let nested = vec![0x81; 100_000];
    assert!(refused(&segment(&zstd(&nested))).contains("cannot be read by"));
    // The value of an unknown field, which is skipped.
    let mut unknown = vec![0xa1, 0x61, b'x'];
    unknown.extend(nested);
    assert!(refused(&segment(&zstd(&unknown))).contains("cannot be read by"));
}

#[test]
fn a_string_or_a_list_that_claims_to_be_endless_takes_no_memory() {
    for head in [0x5b, 0x7b, 0x9b, 0xbb] {
        let mut claim = vec![0xa1, 0x67];
        claim.extend(b"program");
        claim.push(head);
        claim.extend(u64::MAX.to_be_bytes());
        assert!(refused(&segment(&zstd(&claim))).contains("cannot be read by"));
    }
}

#[test]
fn a_list_of_more_than_a_record_can_have_is_refused_before_it_takes_memory() {
    let mut many = vec![0xa1, 0x64];
    many.extend(b"bdis");
    many.push(0x9a);
    many.extend((7u32 << 20).to_be_bytes());
    many.resize(many.len() + (7 << 20), 0xa0);
    assert!(refused(&segment(&zstd(&many))).contains("more than a record can have"));
}

#[test]
fn a_word_that_is_not_known_yet_names_the_version_that_wrote_it() {
    let mut bytes = file_head().to_vec();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let map = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let frame = |value: &serde_json::Value, encoder: &mut zstd::stream::Encoder<'_, Vec<u8>>| {
        ciborium::into_writer(value, &mut *encoder).unwrap();
        encoder.flush().unwrap();
        std::mem::take(encoder.get_mut())
    };
    let header = frame(&map(r#"{"program": "9.9.9"}"#), &mut encoder);
    append(FrameKind::Segment, &mut bytes, |to| to.write_all(&header)).unwrap();
    let wait = r#"{"signals": [{"signal": "a", "strategy": "b", "state": "dreaming"}]}"#;
    let wait = frame(&map(wait), &mut encoder);
    append(FrameKind::Observation, &mut bytes, |to| to.write_all(&wait)).unwrap();
    let error = refused(&bytes);
    assert!(
        error.contains("written by throttle-monitor 9.9.9"),
        "{error}"
    );
    assert!(error.contains("dreaming"), "{error}");
    assert!(matches!(
        read(&bytes).1,
        Err(ReadError::NotUnderstood { .. })
    ));
}

#[test]
fn an_observation_of_which_nothing_is_known_is_an_empty_one() {
    let mut bytes = file_head().to_vec();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    for kind in [FrameKind::Segment, FrameKind::Observation] {
        encoder
            .write_all(&[0xa1, 0x63, b'n', b'e', b'w', 0x01])
            .unwrap();
        encoder.flush().unwrap();
        let frame = std::mem::take(encoder.get_mut());
        append(kind, &mut bytes, |to| to.write_all(&frame)).unwrap();
    }
    let (all, ending) = read(&bytes);
    assert_eq!(all, [Observation::default()]);
    assert_eq!(ending.unwrap(), Ending::Open);
}
