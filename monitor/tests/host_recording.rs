//! Recordings of the kernel of this machine, as root: `./dev test` runs these,
//! `cargo test` leaves them out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "host/undo.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod undo;

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use throttle_monitor::recording::{PlayedPart, Replayer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_throttle-monitor");
// Emulated machines, too.
const SOON: Duration = Duration::from_mins(3);

/// The program, recording.
struct Recorder {
    child: Child,
    log: PathBuf,
}

impl Recorder {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let log = dir.join("log");
        let child = Command::new(PROGRAM)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn wait_for(&self, what: &str, is: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap();
            if is(&log) {
                return;
            }
            assert!(start.elapsed() < SOON, "never {what}: {log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a file has so many observations.
    fn wait_for_observations(&self, file: &Path, count: u64) {
        let has = |_: &str| file.exists() && part(file).observations >= count;
        self.wait_for(&format!("{count} observations"), has);
    }

    /// Ends it by a signal; what it printed and its exit code.
    fn end(mut self, signal: rustix::process::Signal) -> (String, Option<i32>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let mut printed = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut printed).unwrap();
        (printed, self.child.wait().unwrap().code())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn part(file: &Path) -> PlayedPart {
    let file = BufReader::new(File::open(file).unwrap());
    Replayer::default().play(file, |_, _, _| {})
}

fn replay(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg("replay")
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[ignore = "needs root"]
fn what_was_printed_live_is_what_a_replay_prints_also_after_a_crash() {
    use rustix::process::Signal;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let file = path.to_str().unwrap();
    let recorder = Recorder::start(dir.path(), &["record", "-o", file]);
    recorder.wait_for_observations(&path, 4);
    let (first, _) = recorder.end(Signal::KILL);
    let crashed = part(&path);
    assert!(crashed.error.is_none(), "{crashed:?}");
    assert_eq!(
        crashed.header.unwrap().kernel,
        rustix::system::uname().release().to_str().unwrap()
    );

    let args = ["record", "-o", file, "--interval", "200ms"];
    let recorder = Recorder::start(dir.path(), &args);
    recorder.wait_for_observations(&path, crashed.observations + 10);
    let (second, code) = recorder.end(Signal::TERM);
    assert_eq!(code, Some(0));
    let whole = part(&path);
    assert!(whole.error.is_none() && whole.notes.is_empty(), "{whole:?}");

    let replayed = replay(&[file]);
    assert_eq!(text(&replayed.stdout), first + &second);
    assert_eq!(replayed.status.code(), Some(0));
    let summary = text(&replayed.stderr);
    assert!(
        summary.contains(&format!("{} observations read", whole.observations)),
        "{summary}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_recording_ends_by_itself_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let args = ["record", "--duration", "3s", "-o", path.to_str().unwrap()];
    let status = Command::new(PROGRAM).args(args).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!((2..=5).contains(&part(&path).observations));
}

#[test]
#[ignore = "needs root"]
fn the_rolling_window_of_the_daemon_can_be_replayed_in_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let window = dir.path().join("window");
    let first = window.join("segment-0000000001.tmrec");
    let args = [
        "run",
        "--web.listen-address",
        "127.0.0.1:0",
        "--record.dir",
        window.to_str().unwrap(),
        "--record.window",
        "10s",
        "--interval",
        "500ms",
    ];
    let recorder = Recorder::start(dir.path(), &args);
    recorder.wait_for_observations(&first, 4);
    let second = window.join("segment-0000000002.tmrec");
    recorder.wait_for_observations(&second, 1);
    assert_eq!(recorder.end(rustix::process::Signal::TERM).1, Some(0));
    let replayed = replay(&[
        first.to_str().unwrap(),
        second.to_str().unwrap(),
        "--format",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{json}");
    assert_eq!(json["livelock"], false);
    for recording in json["recordings"].as_array().unwrap() {
        assert_eq!(recording["notes"], serde_json::json!([]), "{recording}");
        assert!(recording["error"].is_null(), "{recording}");
    }
    let alone = replay(&[second.to_str().unwrap()]);
    assert!(text(&alone.stderr).contains("observations before: replay does not know"));
}

/// A file system of a few pages.
struct SmallDisk {
    // Before the directory.
    _undo: undo::Undo,
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        let args = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", at];
        assert!(Command::new("mount").args(args).status().unwrap().success());
        let undo = undo::Undo::new("umount", &["-l", at]);
        Self { _undo: undo, dir }
    }
}

#[test]
#[ignore = "needs root, to mount a tmpfs"]
fn on_a_full_disk_the_recording_stops_and_goes_on_when_there_is_room() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), SmallDisk::new());
    let filler = disk.dir.path().join("filler");
    fs::write(&filler, vec![1; 52 << 10]).unwrap();
    let path = disk.dir.path().join("recording");
    let file = path.to_str().unwrap();
    let args = [
        "record",
        "-o",
        file,
        "--interval",
        "100ms",
        "--log.level",
        "info",
    ];
    let recorder = Recorder::start(dir.path(), &args);
    let full = "observations are lost until it can";
    recorder.wait_for("full", |log| log.contains(full));
    thread::sleep(Duration::from_secs(1));
    let stopped = part(&path);
    assert!(
        stopped.error.is_none() && stopped.observations > 0,
        "{stopped:?}"
    );

    fs::remove_file(&filler).unwrap();
    recorder.wait_for("resumed", |log| log.contains("the recording continues"));
    recorder.wait_for_observations(&path, stopped.observations + 5);
    let log = fs::read_to_string(&recorder.log).unwrap();
    assert_eq!(log.matches(full).count(), 1, "{log}");
    assert_eq!(recorder.end(rustix::process::Signal::TERM).1, Some(0));
    let whole = part(&path);
    assert!(whole.error.is_none(), "{whole:?}");
    assert!(
        whole.notes[0].contains("observations are missing here"),
        "{whole:?}"
    );
}

#[test]
fn a_file_that_is_none_or_has_nothing_in_it_ends_replay_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (content, why) in [
        (&b"something else"[..], "not a recording"),
        (b"", "not one observation"),
    ] {
        fs::write(&path, content).unwrap();
        let replayed = replay(&[path.to_str().unwrap()]);
        assert_eq!(replayed.status.code(), Some(2));
        assert!(text(&replayed.stderr).contains(why), "{replayed:?}");
    }
    let missing = replay(&[dir.path().join("missing").to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        text(&missing.stderr).contains("No such file"),
        "{missing:?}"
    );
}

#[test]
fn the_recording_of_version_1_is_a_livelock_and_ends_replay_with_3() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/recording/tests/version-1.tmrec"
    );
    let replayed = replay(&[file, "--default-thresholds"]);
    assert_eq!(replayed.status.code(), Some(3), "{replayed:?}");
    assert!(
        text(&replayed.stdout).contains("-> livelock by dirty-throttle"),
        "{replayed:?}"
    );
    assert_eq!(
        replay(&[file, "--thresholds.confirm", "1min"])
            .status
            .code(),
        Some(0)
    );
}
