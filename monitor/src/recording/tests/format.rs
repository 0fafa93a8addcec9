//! Tests that written recordings read back.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{anything::observations, judged, node, read, recording};
use crate::recording::{Ending, Header, Reader, RecordingItem, Replayer};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_observations_come_back_as_they_were(all in observations()) {
        let (back, ending) = read(&recording(&all));
        prop_assert_eq!(back, all);
        prop_assert_eq!(ending.unwrap(), Ending::Ended);
    }

    #[test]
    fn a_replay_says_what_an_engine_that_saw_the_same_says(all in observations()) {
        let mut said = Vec::new();
        let part = Replayer::default().play(recording(&all).as_slice(), |_, changes, _| said.push(changes.clone()));
        prop_assert!(part.error.is_none());
        prop_assert_eq!(said, judged(&all));
    }
}

#[test]
fn an_hour_of_a_quiet_node_is_small() {
    let bytes = recording(&node::life(3600, 0, 0)).len();
    assert!(bytes < 300 << 10, "{bytes} bytes for an hour");
}

#[test]
fn what_does_not_change_is_written_once() {
    let mut all = node::life(2, 0, 0);
    for (n, one) in all.iter_mut().enumerate() {
        let mut topology = (*one.topology).clone();
        topology.incomplete = (0..2000).map(|n| format!("{n}").into()).collect();
        topology.read_ns = n as u64;
        one.topology = topology.into();
    }
    let (once, twice) = (recording(&all[..1]).len(), recording(&all).len());
    assert!(twice < once + 400, "{once} and then {twice} bytes");
    assert_eq!(read(&recording(&all)).0, all);
}

#[test]
fn a_header_has_the_recorder_and_the_time() {
    let all = node::life(1, 0, 0);
    let bytes = recording(&all);
    let mut reader = Reader::open(bytes.as_slice()).unwrap();
    let Some(RecordingItem::Segment(header)) = reader.item().unwrap() else {
        panic!("it does not begin with a segment");
    };
    let Header {
        program,
        kernel,
        run,
        before,
        unix_ms,
        monotonic_ns,
        ..
    } = *header;
    assert_eq!(
        (&*program, &*kernel, run, before),
        ("0.1.0", "6.12.0", 7, 0)
    );
    assert_eq!(
        (unix_ms, monotonic_ns),
        (all[0].unix_ms, all[0].monotonic_ns)
    );
}

/// The observations of the committed file of version 1.
fn of_version_1() -> Vec<monitor_model::observation::Observation> {
    node::life(4, 14, 6)
}

#[test]
fn a_recording_of_version_1_stays_readable() {
    let bytes = include_bytes!("version-1.tmrec");
    let (all, ending) = read(bytes);
    // A field that was added later has its default here.
    assert_eq!(all, of_version_1());
    assert_eq!(ending.unwrap(), Ending::Ended);
}

/// For the next version of the format. The file of this version is never rewritten.
#[test]
#[ignore = "writes the fixture"]
fn write_the_recording_of_this_version() {
    let name = format!(
        "src/recording/tests/version-{}.tmrec",
        crate::recording::VERSION
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    assert!(!path.exists(), "{} is there", path.display());
    fs::write(path, recording(&of_version_1())).unwrap();
}
