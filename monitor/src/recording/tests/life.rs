//! Tests that replay a daemon's life: from one file, from several, with gaps.

use std::time::Duration;

use monitor_verdict::{Engine, Thresholds, timeline};

use monitor_model::observation::Observation;

use super::{header, judged, node, read, recording};
use crate::recording::{Encoder, Header, PlayedPart, Replayer, encoder, frame::file_head};

/// The timeline of recordings replayed in a row, and the summary of each.
fn play(files: &[&[u8]], thresholds: Option<Thresholds>) -> (String, Vec<PlayedPart>) {
    let mut player = Replayer::new(thresholds);
    let mut lines = String::new();
    let each =
        |file: &&[u8]| player.play(*file, |_, changes, _| lines += &timeline::lines(changes));
    let parts = files.iter().map(each).collect();
    (lines, parts)
}

fn live(all: &[Observation]) -> String {
    judged(all).iter().map(timeline::lines).collect()
}

/// The same life in several files of `each` observations.
fn rolled(all: &[Observation], each: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(header()).unwrap();
    let files = all.chunks(each).map(|some| {
        let mut bytes = file_head().to_vec();
        encoder.begin();
        for one in some {
            encoder.observation(one, &mut bytes).unwrap();
        }
        encoder::end(&mut bytes);
        bytes
    });
    files.collect()
}

#[test]
fn a_livelock_is_replayed_as_it_was_seen() {
    let all = node::life(10, 20, 20);
    let (lines, parts) = play(&[&recording(&all)], None);
    assert_eq!(lines, live(&all));
    for state in ["suspected", "livelock", "recovered", "none"] {
        assert!(
            lines.contains(&format!("-> {state} by dirty-throttle")),
            "{lines}"
        );
    }
    assert_eq!(parts[0].observations, 50);
    assert_eq!(parts[0].notes, [""; 0]);
}

#[test]
fn a_life_in_several_files_is_replayed_as_in_one() {
    let all = node::life(10, 20, 20);
    for each in [1, 7, 23] {
        let files = rolled(&all, each);
        let files: Vec<_> = files.iter().map(Vec::as_slice).collect();
        let (lines, parts) = play(&files, None);
        assert_eq!(lines, live(&all), "{each} in a file");
        assert!(parts.iter().all(|part| part.notes.is_empty()), "{parts:?}");
    }
}

#[test]
fn each_file_can_be_read_alone() {
    let all = node::life(10, 20, 20);
    for (file, some) in rolled(&all, 7).iter().zip(all.chunks(7)) {
        assert_eq!(read(file).0, some);
    }
}

#[test]
fn a_file_from_the_middle_of_a_life_is_judged_alone_with_a_note() {
    let all = node::life(10, 20, 20);
    let file = &rolled(&all, 25)[1];
    let (lines, parts) = play(&[file], None);
    assert_eq!(lines, live(&all[25..]));
    assert!(
        parts[0].notes[0].contains("had seen 25 observations before"),
        "{parts:?}"
    );
}

#[test]
fn a_missing_file_is_reported_and_the_engine_continues() {
    let all = node::life(10, 20, 20);
    let files = rolled(&all, 5);
    let without: Vec<_> = [&files[..3], &files[4..]].concat();
    let without: Vec<_> = without.iter().map(Vec::as_slice).collect();
    let (lines, parts) = play(&without, None);
    let seen = [&all[..15], &all[20..]].concat();
    assert_eq!(lines, live(&seen));
    assert!(
        parts[3].notes[0].starts_with("5 observations are missing"),
        "{parts:?}"
    );
}

#[test]
fn files_in_the_wrong_order_are_reported() {
    let files = rolled(&node::life(10, 0, 0), 5);
    let (_, parts) = play(&[&files[1], &files[0]], None);
    assert!(parts[1].notes[0].contains("not in order"), "{parts:?}");
}

#[test]
fn where_the_daemon_began_anew_the_engine_does() {
    let all = node::life(10, 20, 0);
    let first = recording(&all);
    let mut second = Encoder::new(Header { run: 8, ..header() }).unwrap();
    let mut bytes = first.clone();
    for one in &all {
        second.observation(one, &mut bytes).unwrap();
    }
    let (lines, parts) = play(&[&bytes], None);
    assert_eq!(lines, live(&all).repeat(2));
    assert_eq!(parts[0].observations, 60);
}

#[test]
fn the_thresholds_are_those_of_the_recording_or_those_that_are_given() {
    let all = node::life(10, 20, 0);
    let never = Thresholds {
        confirm: Duration::from_mins(1),
        ..Thresholds::default()
    };
    let mut bytes = file_head().to_vec();
    let mut encoder = Encoder::new(Header {
        thresholds: never,
        ..header()
    })
    .unwrap();
    for one in &all {
        encoder.observation(one, &mut bytes).unwrap();
    }
    let livelock = "-> livelock";
    assert!(!play(&[&bytes], None).0.contains(livelock));
    assert!(
        play(&[&bytes], Some(Thresholds::default()))
            .0
            .contains(livelock)
    );
}

#[test]
fn unreasonable_thresholds_are_reported_and_not_used() {
    let all = node::life(10, 20, 0);
    let mut bytes = file_head().to_vec();
    let mut encoder = Encoder::new(Header {
        before: 3,
        thresholds: Thresholds {
            hysteresis: 99.0,
            ..Thresholds::default()
        },
        ..header()
    })
    .unwrap();
    for one in &all {
        encoder.observation(one, &mut bytes).unwrap();
    }
    let (lines, parts) = play(&[&bytes], None);
    assert_eq!(lines, live(&all));
    assert!(
        parts[0].notes[0].contains("`hysteresis` is 99"),
        "{parts:?}"
    );
}

/// A life in which the configuration is reloaded before the observation `at`.
fn reloaded(all: &[Observation], at: usize, thresholds: &Thresholds) -> (String, Vec<u8>) {
    let mut engine = Engine::new(Thresholds::default());
    let mut encoder = Encoder::new(header()).unwrap();
    let mut bytes = file_head().to_vec();
    let mut lines = String::new();
    for (number, one) in all.iter().enumerate() {
        if number == at {
            engine.set_thresholds(thresholds.clone());
            encoder.set_thresholds(thresholds.clone());
        }
        lines += &timeline::lines(&engine.observe(one));
        encoder.observation(one, &mut bytes).unwrap();
    }
    encoder::end(&mut bytes);
    (lines, bytes)
}

#[test]
fn thresholds_that_change_while_it_records_are_replayed_from_that_observation_on() {
    let all = node::life(10, 20, 20);
    let slower = Thresholds {
        confirm: Duration::from_secs(9),
        ..Thresholds::default()
    };
    let mut different = 0;
    for at in [1, 9, 12, 14, 20, 31, 49] {
        let (lines, bytes) = reloaded(&all, at, &slower);
        let (played, parts) = play(&[&bytes], None);
        assert_eq!(played, lines, "reloaded at {at}");
        let note = "the daemon reloaded its configuration here: the thresholds changed";
        assert_eq!(parts[0].notes, [note], "reloaded at {at}");
        different += usize::from(lines != live(&all));
    }
    assert!(different > 2, "only {different} differ from no reload");
}

#[test]
fn thresholds_of_ones_own_stay_in_effect_where_the_daemon_changed_its() {
    let all = node::life(10, 20, 20);
    let slower = Thresholds {
        confirm: Duration::from_secs(9),
        ..Thresholds::default()
    };
    let (_, bytes) = reloaded(&all, 12, &slower);
    let (played, _) = play(&[&bytes], Some(Thresholds::default()));
    assert_eq!(played, live(&all));
}
