//! Evidence on disks that are full or read-only, as root: `./dev test` runs
//! these, `cargo test` leaves them out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "host/undo.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod undo;

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use monitor_model::evidence::Evidence;
use tempfile::TempDir;
use throttle_monitor::evidence::{EvidenceDirectory, EvidenceLimits, Results, Sink, start};

/// A file system of 64 KiB in memory, gone with the test.
struct Small {
    // Before the directory.
    _undo: undo::Undo,
    dir: TempDir,
}

impl Small {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let small = Self {
            _undo: undo::Undo::new("umount", &["-l", dir.path().to_str().unwrap()]),
            dir,
        };
        small.run("mount", &["-t", "tmpfs", "-o", "size=64k", "evidence"]);
        small
    }

    fn remount(&self, how: &str) {
        self.run("mount", &["-o", &format!("remount,{how}")]);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = Command::new(program)
            .args(args)
            .arg(self.dir.path())
            .status();
        assert!(status.unwrap().success(), "{program} {args:?}");
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.path()).unwrap().count()
    }

    fn start(&self) -> Sink {
        let limits = EvidenceLimits {
            files: 64,
            bytes: 64 << 20,
        };
        let directory = EvidenceDirectory::new(Path::new("/proc"), self.path(), limits).unwrap();
        start(directory).unwrap().0
    }
}

/// The one of the docs; each second another.
fn evidence(second: u32) -> Evidence {
    let docs = include_str!("../../docs/evidence.md");
    let json = docs.split("```json\n").nth(1).unwrap();
    let mut one: Evidence = serde_json::from_str(json.split("```").next().unwrap()).unwrap();
    one.id = format!("20251009T0853{second:02}.000Z-0.29-nfsd-dirty-throttle-confirmed").into();
    one
}

fn until(sink: &Sink, is: impl Fn(Results) -> bool) -> Results {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let results = sink.results().unwrap();
        if is(results) {
            return results;
        }
        assert!(Instant::now() < end, "{results:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root: ./dev test"]
fn a_full_disk_loses_nothing_that_memory_has_and_leaves_no_half_file() {
    let small = Small::mount();
    fs::write(small.path().join("hog"), vec![0; 64 << 10]).unwrap();
    let sink = small.start();
    let documents = sink.take(&[evidence(1)]);
    until(&sink, |results| results.failed == 1);
    assert_eq!(small.files(), 1, "only what filled it");
    fs::remove_file(small.path().join("hog")).unwrap();
    until(&sink, |results| results.written == 1);
    assert_eq!(
        fs::read(documents[0].file().unwrap()).unwrap(),
        documents[0].json()
    );
    assert_eq!(small.files(), 1);
}

#[test]
#[ignore = "needs root: ./dev test"]
fn a_disk_that_becomes_read_only_is_written_to_when_it_no_longer_is() {
    let small = Small::mount();
    let sink = small.start();
    let _first = sink.take(&[evidence(1)]);
    until(&sink, |results| results.written == 1);
    small.remount("ro");
    let _second = sink.take(&[evidence(2)]);
    until(&sink, |results| results.failed == 1);
    small.remount("rw");
    let results = until(&sink, |results| results.written == 2);
    assert_eq!((results.failed, results.dropped), (1, 0));
    assert_eq!(small.files(), 2);
}
