//! Tests of the rolling window: what it removes and what it keeps.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use monitor_model::observation::Observation;

use super::{header, judged, node, read};
use crate::recording::{
    DirectorySink, Ending, Header, OpenError, Recorder, Replayer, Rolling, WindowLimits,
};

const WINDOW: Duration = Duration::from_mins(1);
const LIMITS: WindowLimits = WindowLimits {
    window: WINDOW,
    max_bytes: 1 << 20,
    keep: 2,
};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn record(dir: &Path, limits: WindowLimits, header: Header, all: &[Observation]) {
    let sink = DirectorySink::open(dir, limits).unwrap();
    let rolling = Rolling::new(limits.window, limits.max_bytes);
    let mut recorder = Recorder::start(header, sink, Some(rolling), "test".into()).unwrap();
    for (one, changes) in all.iter().zip(judged(all)) {
        recorder.observe(one, &changes);
    }
    recorder.finish(Duration::from_secs(20));
}

/// All observations of a directory's files, which must be complete.
fn all_in(dir: &Path) -> Vec<Observation> {
    let files = names(dir)
        .into_iter()
        .filter(|name| name.starts_with("segment-"));
    let observations = files.flat_map(|name| {
        let (all, ending) = read(&fs::read(dir.join(&name)).unwrap());
        assert_eq!(ending.unwrap(), Ending::Ended, "{name}");
        all
    });
    observations.collect()
}

fn age(file: &Path, by: Duration) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[test]
fn each_part_of_the_window_goes_to_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let all = node::life(50, 0, 0);
    record(dir.path(), LIMITS, header(), &all);
    let files = names(dir.path());
    assert_eq!(files.len(), 5, "12 s each: {files:?}");
    assert_eq!(files[0], "segment-0000000001.tmrec");
    assert_eq!(all_in(dir.path()), all);
}

#[test]
fn the_oldest_files_go_when_all_are_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let all = node::life(200, 0, 0);
    let limits = WindowLimits {
        max_bytes: 20_000,
        ..LIMITS
    };
    record(dir.path(), limits, header(), &all);
    let sizes = names(dir.path()).into_iter();
    let sizes: Vec<_> = sizes
        .map(|name| fs::metadata(dir.path().join(name)).unwrap().len())
        .collect();
    assert!(sizes.iter().sum::<u64>() < 20_000 + 4000, "{sizes:?}");
    let left = all_in(dir.path());
    assert!(left.len() > 60);
    assert_eq!(left, all[200 - left.len()..], "the newest are there");
}

#[test]
fn after_a_restart_what_is_older_than_the_window_goes_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let all = node::life(36, 0, 0);
    record(dir.path(), LIMITS, header(), &all);
    age(&dir.path().join("segment-0000000001.tmrec"), WINDOW * 2);
    age(&dir.path().join("segment-0000000002.tmrec"), WINDOW / 2);
    fs::write(dir.path().join("segment-x.tmrec"), "not ours").unwrap();
    record(dir.path(), LIMITS, Header { run: 8, ..header() }, &all[..2]);
    let expected = [
        "segment-0000000002.tmrec",
        "segment-0000000003.tmrec",
        "segment-0000000004.tmrec",
        "segment-x.tmrec",
    ];
    assert_eq!(names(dir.path()), expected);
}

#[test]
fn a_directory_has_one_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let first = DirectorySink::open(dir.path(), LIMITS).unwrap();
    assert!(matches!(
        DirectorySink::open(dir.path(), LIMITS),
        Err(OpenError::Busy)
    ));
    drop(first);
    assert!(DirectorySink::open(&dir.path().join("new/one"), LIMITS).is_ok());
}

#[test]
fn what_was_before_a_livelock_is_kept_when_the_window_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let all = node::life(30, 20, 600);
    record(
        dir.path(),
        WindowLimits {
            max_bytes: 20_000,
            ..LIMITS
        },
        header(),
        &all,
    );
    let kept: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|name| !name.starts_with("segment-"))
        .collect();
    let [kept] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    assert_eq!(kept, "20251009T085358.000Z-0.29-nfsd-dirty-throttle");
    let kept = dir.path().join(kept);
    let back = all_in(&kept);
    let confirmed = 38;
    let at = all.iter().position(|one| *one == back[0]).unwrap();
    assert!(at < 20, "begins {at} s after the start");
    assert!(at + back.len() > confirmed + 5, "{} of them", back.len());
    assert_eq!(back, all[at..at + back.len()]);
    let first = fs::read(dir.path().join(&names(dir.path())[1])).unwrap();
    assert!(!back.contains(&read(&first).0[0]), "the window has gone on");

    let mut livelocks = 0;
    let mut player = Replayer::default();
    for name in names(&kept) {
        player.play(File::open(kept.join(name)).unwrap(), |_, changes, _| {
            livelocks += changes
                .transitions
                .iter()
                .filter(|t| t.to.is_livelock())
                .count();
        });
    }
    assert!(livelocks > 0, "it is there to be replayed");
}

#[test]
fn of_many_livelocks_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("20200101T000000Z-notes");
    fs::create_dir(&foreign).unwrap();
    for (run, later) in [(1, 0), (2, 1_000_000), (3, 2_000_000)] {
        let mut all = node::life(10, 12, 0);
        for one in &mut all {
            one.unix_ms += later;
        }
        record(dir.path(), LIMITS, Header { run, ..header() }, &all);
    }
    let kept: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|name| name.contains("dirty-throttle"))
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].starts_with("20251009T0910"), "{kept:?}");
    assert!(kept[1].starts_with("20251009T0926"), "{kept:?}");
    assert!(foreign.exists(), "it is not ours");
    // All links of the second incident: of its own life and the previous one.
    assert!(all_in(&dir.path().join(&kept[0])).len() >= 40);
}
