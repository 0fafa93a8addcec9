//! Tests with real directories.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_collector::host::local_path::PlacementError;
use tempfile::TempDir;

use super::directory::WriteError;
use super::writer::start_with;
use super::{
    Document, EvidenceDirectory, EvidenceLimits, EvidenceWriter, MAX_BYTES, MAX_DOCUMENTS, Results,
    Sink, keep_newest,
};
use crate::publish::testing::evidence;

const LIMITS: EvidenceLimits = EvidenceLimits {
    files: 4,
    bytes: 4000,
};
const SOON: Duration = Duration::from_millis(50);

fn id(n: u32) -> String {
    evidence(n).id.into()
}

fn name(n: u32) -> String {
    format!("{}.json", id(n))
}

fn directory(path: &Path) -> EvidenceDirectory {
    EvidenceDirectory::new(Path::new("/proc"), path, LIMITS).unwrap()
}

/// The names in a directory, sorted.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn writing(path: &Path, files: usize) -> (Sink, EvidenceWriter) {
    let limits = EvidenceLimits {
        files,
        bytes: 1 << 20,
    };
    let directory = EvidenceDirectory::new(Path::new("/proc"), path, limits).unwrap();
    start_with(directory, SOON).unwrap()
}

/// Waits for a condition; the test fails if that takes too long.
fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn results(sink: &Sink) -> Results {
    sink.results().unwrap()
}

#[test]
fn a_document_is_written_whole_readable_by_its_group_and_nothing_is_left_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = directory(dir.path()).write(&id(1), b"{}\n").unwrap();
    assert_eq!(path, dir.path().join(name(1)));
    assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(names(dir.path()), [name(1)]);
}

#[test]
fn a_missing_directory_is_made_and_a_missing_parent_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    directory(&path).write(&id(1), b"{}").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o750
    );
    let error = directory(&path.join("a/b"))
        .write(&id(1), b"{}")
        .unwrap_err();
    let words = error.to_string();
    assert!(
        words.starts_with("cannot open ") && words.contains("a/b"),
        "{words}"
    );
}

#[test]
fn the_oldest_give_way_by_number_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let directory = directory(dir.path());
    for n in 0..6 {
        directory.write(&id(n), &[b' '; 100]).unwrap();
    }
    assert_eq!(names(dir.path()), [name(2), name(3), name(4), name(5)]);
    directory.write(&id(6), &[b' '; 3850]).unwrap();
    assert_eq!(names(dir.path()), [name(5), name(6)]);
    directory.write(&id(7), &[b' '; 4000]).unwrap();
    assert_eq!(names(dir.path()), [name(7)]);
    let error = directory.write(&id(8), &[b' '; 4001]).unwrap_err();
    assert!(matches!(
        error,
        WriteError::TooLarge {
            bytes: 4001,
            most: 4000
        }
    ));
    assert_eq!(
        names(dir.path()),
        [name(7)],
        "nothing gives way to what has no room"
    );
}

#[test]
fn a_document_of_a_clock_that_was_set_back_is_not_the_one_that_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let directory = directory(dir.path());
    for n in (0..6).rev() {
        directory.write(&id(n), b"{}").unwrap();
        assert!(names(dir.path()).contains(&name(n)));
    }
    assert_eq!(names(dir.path()).len(), LIMITS.files);
}

#[test]
fn one_of_the_same_name_is_replaced_and_no_other_gives_way_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let directory = directory(dir.path());
    for n in 0..4 {
        directory.write(&id(n), b"old").unwrap();
    }
    directory.write(&id(2), b"new").unwrap();
    assert_eq!(names(dir.path()), [name(0), name(1), name(2), name(3)]);
    assert_eq!(fs::read(dir.path().join(name(2))).unwrap(), b"new");
}

#[test]
fn what_is_not_ours_stays_whatever_the_limits_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let strange = [
        "notes.txt",
        ".hidden",
        "x.json",
        ".x.json.tmp",
        "20231114.json",
    ];
    for name in strange {
        fs::write(at(name), [b' '; 9000]).unwrap();
    }
    fs::create_dir(at(&name(0))).unwrap();
    symlink("notes.txt", at(&name(1))).unwrap();
    let directory = directory(dir.path());
    for n in 10..20 {
        directory.write(&id(n), b"{}").unwrap();
    }
    directory.tidy().unwrap();
    for name in strange.iter().copied().chain([name(0).as_str(), &name(1)]) {
        assert!(fs::symlink_metadata(at(name)).is_ok(), "{name}");
    }
    assert_eq!(names(dir.path()).len(), strange.len() + 2 + LIMITS.files);
}

#[test]
fn the_start_removes_what_a_crash_left_and_what_new_limits_forbid() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..7 {
        fs::write(dir.path().join(name(n)), b"{}").unwrap();
    }
    fs::write(dir.path().join(format!(".{}.tmp", name(9))), b"half").unwrap();
    directory(dir.path()).tidy().unwrap();
    assert_eq!(names(dir.path()), [name(3), name(4), name(5), name(6)]);
}

#[test]
fn a_leftover_of_the_same_name_is_replaced_and_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join(format!(".{}.tmp", name(1)));
    let victim = dir.path().join("victim");
    fs::write(&victim, b"mine").unwrap();
    symlink(&victim, &beside).unwrap();
    directory(dir.path()).write(&id(1), b"{}").unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(fs::read(dir.path().join(name(1))).unwrap(), b"{}");
}

/// A procfs with an NFS mount at this path.
fn procfs_with_nfs_at(path: &Path) -> TempDir {
    let procfs = tempfile::tempdir().unwrap();
    fs::create_dir(procfs.path().join("self")).unwrap();
    let text = format!(
        "1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:29 / {} rw - nfs4 10.9.0.2:/ rw\n",
        path.display()
    );
    fs::write(procfs.path().join("self/mountinfo"), text).unwrap();
    procfs
}

#[test]
fn a_directory_on_nfs_is_refused_at_the_start_and_when_it_becomes_one() {
    let dir = tempfile::tempdir().unwrap();
    let procfs = procfs_with_nfs_at(dir.path());
    let refused = EvidenceDirectory::new(procfs.path(), &dir.path().join("x"), LIMITS);
    assert!(matches!(refused, Err(PlacementError::Nfs { .. })));

    let elsewhere = procfs_with_nfs_at(Path::new("/nowhere"));
    let directory = EvidenceDirectory::new(elsewhere.path(), dir.path(), LIMITS).unwrap();
    directory.write(&id(1), b"{}").unwrap();
    let mounted = fs::read(procfs.path().join("self/mountinfo")).unwrap();
    fs::write(elsewhere.path().join("self/mountinfo"), mounted).unwrap();
    let error = directory.write(&id(2), b"{}").unwrap_err();
    assert!(
        matches!(error, WriteError::Placement(PlacementError::Nfs { .. })),
        "{error}"
    );
    assert_eq!(names(dir.path()), [name(1)]);
}

#[test]
fn the_thread_writes_what_the_tick_hands_it_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let (sink, writer) = writing(dir.path(), 64);
    let documents = sink.take(&[evidence(1), evidence(2)]);
    drop(sink);
    writer.finish(Duration::from_secs(20));
    assert_eq!(names(dir.path()), [name(1), name(2)]);
    for document in &documents {
        let file = document.file().unwrap();
        assert_eq!(fs::read(file).unwrap(), document.json());
    }
}

#[test]
fn what_cannot_be_written_stays_in_memory_is_counted_once_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("missing/evidence");
    let (sink, writer) = writing(&path, 64);
    let documents = sink.take(&[evidence(1)]);
    until("it fails", || results(&sink).failed == 1);
    std::thread::sleep(SOON * 4);
    assert_eq!(
        results(&sink),
        Results {
            failed: 1,
            ..Results::default()
        }
    );
    assert_eq!(documents[0].file(), None);

    fs::create_dir(dir.path().join("missing")).unwrap();
    until("it is written", || results(&sink).written == 1);
    assert_eq!(names(&path), [name(1)]);

    fs::remove_dir_all(&path).unwrap();
    let later = sink.take(&[evidence(2)]);
    until("the directory is made again", || later[0].file().is_some());
    assert_eq!(
        results(&sink),
        Results {
            written: 2,
            failed: 1,
            dropped: 0
        }
    );
    drop(sink);
    writer.finish(Duration::from_secs(20));
}

#[test]
fn a_file_in_place_of_the_directory_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"mine").unwrap();
    let (sink, writer) = writing(&path, 64);
    let _documents = sink.take(&[evidence(1)]);
    until("it fails", || results(&sink).failed == 1);
    drop(sink);
    writer.finish(Duration::from_secs(20));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn of_what_waits_for_a_broken_directory_the_newest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/evidence");
    let (sink, writer) = writing(&path, 64);
    let most = u32::try_from(MAX_DOCUMENTS).unwrap();
    for n in 0..most + 5 {
        let _kept = sink.take(&[evidence(n)]);
        until("it is tried", || results(&sink).failed == u64::from(n) + 1);
    }
    fs::create_dir(dir.path().join("missing")).unwrap();
    until("they are written", || {
        results(&sink).written == u64::from(most)
    });
    let expected: Vec<String> = (5..most + 5).map(name).collect();
    assert_eq!(names(&path), expected);
    drop(sink);
    writer.finish(Duration::from_secs(20));
}

#[test]
fn a_directory_that_hangs_blocks_no_tick_and_dropped_documents_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    // Opening a pipe for reading waits for a writer, so the thread blocks until the test's process
    // ends.
    let procfs = tempfile::tempdir().unwrap();
    let limits = LIMITS;
    fs::create_dir(procfs.path().join("self")).unwrap();
    let mountinfo = procfs.path().join("self/mountinfo");
    fs::write(&mountinfo, "1 0 254:0 / / rw - ext4 /dev/vda rw\n").unwrap();
    let directory = EvidenceDirectory::new(procfs.path(), dir.path(), limits).unwrap();
    fs::remove_file(&mountinfo).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &mountinfo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (sink, writer) = start_with(directory, SOON).unwrap();
    let start = Instant::now();
    for n in 0..40 {
        let documents = sink.take(&[evidence(n)]);
        assert_eq!(documents.len(), 1, "it is in memory all the same");
    }
    let most = u64::try_from(MAX_DOCUMENTS).unwrap();
    assert_eq!(
        results(&sink),
        Results {
            dropped: 40 - most,
            ..Results::default()
        }
    );
    drop(sink);
    writer.finish(Duration::from_millis(100));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

fn document(n: u32, bytes: usize) -> Arc<Document> {
    let mut one = evidence(n);
    one.cycle = vec!["x".repeat(bytes)];
    Arc::new(Document::new(&one).unwrap())
}

fn kept(kept: &VecDeque<Arc<Document>>) -> Vec<String> {
    kept.iter().map(|one| one.head.id.to_string()).collect()
}

#[test]
fn memory_holds_the_newest_documents_bounded_in_number_and_size() {
    let mut all = Arc::new(VecDeque::new());
    let most = u32::try_from(MAX_DOCUMENTS).unwrap();
    for n in 0..most + 3 {
        keep_newest(&mut all, vec![document(n, 10)]);
    }
    assert_eq!(kept(&all), (3..most + 3).map(id).collect::<Vec<_>>());
    let third = MAX_BYTES / 3;
    keep_newest(&mut all, (100..104).map(|n| document(n, third)).collect());
    assert_eq!(kept(&all), [id(102), id(103)]);
    keep_newest(&mut all, vec![document(200, MAX_BYTES)]);
    assert_eq!(kept(&all), [id(200)], "the newest is kept in any case");
}

#[test]
fn without_a_directory_nothing_is_counted() {
    let sink = Sink::memory_only();
    assert_eq!(sink.take(&[evidence(1)]).len(), 1);
    assert_eq!(sink.results(), None);
}
