//! Tests of writing: continued files, and disks that are full or hang.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use monitor_verdict::Changes;

use monitor_model::observation::Observation;

use super::{header, node, read, recording};
use crate::recording::{
    Ending, FileSink, Header, OpenError, RecordSink, Recorder, Replayer, frame::file_head,
};

const SOON: Duration = Duration::from_secs(20);

fn record(all: &[Observation], sink: impl RecordSink) {
    let mut recorder = Recorder::start(header(), sink, None, "test".into()).unwrap();
    for one in all {
        recorder.observe(one, &Changes::default());
    }
    recorder.finish(SOON);
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < SOON, "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_file_holds_what_was_recorded_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let all = node::life(5, 0, 0);
    record(&all, FileSink::open(&path).unwrap());
    let (back, ending) = read(&fs::read(&path).unwrap());
    assert_eq!(back, all);
    assert_eq!(ending.unwrap(), Ending::Ended);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn whatever_is_left_of_a_crashed_recording_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let all = node::life(6, 0, 0);
    let bytes = recording(&all);
    for cut in (0..bytes.len()).step_by(11) {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (before, _) = read(&bytes[..cut]);
        record(&all[..2], FileSink::open(&path).unwrap());
        let (back, ending) = read(&fs::read(&path).unwrap());
        assert_eq!(back, [&before, &all[..2]].concat(), "cut at {cut}");
        assert_eq!(ending.unwrap(), Ending::Ended);
    }
}

#[test]
fn a_file_that_is_damaged_or_not_a_recording_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut damaged = recording(&node::life(3, 0, 0));
    damaged[40] ^= 1;
    for content in [b"a letter to a friend".to_vec(), damaged] {
        fs::write(&path, &content).unwrap();
        let error = FileSink::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Other(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_path_that_is_not_a_file_or_is_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let first = FileSink::open(&path).unwrap();
    assert!(matches!(FileSink::open(&path), Err(OpenError::Busy)));
    drop(first);
    assert!(FileSink::open(&path).is_ok());
    assert!(matches!(
        FileSink::open(Path::new("/dev/full")),
        Err(OpenError::NotRegular)
    ));
    assert!(matches!(FileSink::open(dir.path()), Err(OpenError::Io(_))));
}

type Content = Arc<Mutex<Vec<u8>>>;
type QueueRoom = Arc<Mutex<usize>>;

/// A disk of limited size that hangs until it is released.
struct Disk {
    content: Content,
    room: QueueRoom,
    hangs: Option<Receiver<()>>,
}

impl Disk {
    fn new(room: usize) -> (Self, Content, QueueRoom) {
        let content = Arc::new(Mutex::new(file_head().to_vec()));
        let room = Arc::new(Mutex::new(room));
        let disk = Self {
            content: Arc::clone(&content),
            room: Arc::clone(&room),
            hangs: None,
        };
        (disk, content, room)
    }

    fn hanging() -> (Self, Content, Sender<()>) {
        let (go_on, hangs) = channel();
        let (mut disk, content, _) = Self::new(usize::MAX);
        disk.hangs = Some(hangs);
        (disk, content, go_on)
    }
}

impl RecordSink for Disk {
    fn append(&mut self, frames: &[u8], _roll: bool) -> io::Result<()> {
        if let Some(hangs) = &self.hangs {
            let _ = hangs.recv();
        }
        if frames.len() > *self.room.lock().unwrap() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content.lock().unwrap().write_all(frames)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_leaves_a_gap_that_is_counted_and_the_rest_can_be_read() {
    let all = node::life(30, 0, 0);
    let (disk, content, room) = Disk::new(usize::MAX);
    let mut recorder = Recorder::start(header(), disk, None, "test".into()).unwrap();
    let observations = |content: &Mutex<Vec<u8>>| read(&content.lock().unwrap()).0;
    for one in &all[..10] {
        recorder.observe(one, &Changes::default());
    }
    until(|| observations(&content).len() == 10);
    *room.lock().unwrap() = 0;
    for (n, one) in (1..).zip(&all[10..20]) {
        recorder.observe(one, &Changes::default());
        until(|| recorder.lost() == n);
    }
    *room.lock().unwrap() = usize::MAX;
    for one in &all[20..] {
        recorder.observe(one, &Changes::default());
    }
    assert_eq!(recorder.lost(), 10);
    recorder.finish(SOON);
    assert_eq!(observations(&content), [&all[..10], &all[20..]].concat());
    let content = content.lock().unwrap();
    let part = Replayer::default().play(content.as_slice(), |_, _, _| {});
    assert!(
        part.notes[0].starts_with("10 observations are missing"),
        "{part:?}"
    );
}

#[test]
fn a_disk_that_hangs_does_not_block_the_tick_and_lost_observations_are_a_gap() {
    let all = node::life(1300, 0, 0);
    let (disk, content, go_on) = Disk::hanging();
    let mut recorder = Recorder::start(header(), disk, None, "test".into()).unwrap();
    for one in &all[..1200] {
        recorder.observe(one, &Changes::default());
    }
    let lost = recorder.lost();
    assert!((170..180).contains(&lost), "{lost} lost");
    drop(go_on);
    // The queue is empty again, so new observations are recorded.
    let missing = usize::try_from(lost).unwrap();
    until(|| read(&content.lock().unwrap()).0.len() == 1200 - missing);
    for one in &all[1200..] {
        recorder.observe(one, &Changes::default());
    }
    recorder.finish(SOON);
    let back = read(&content.lock().unwrap()).0;
    assert_eq!(back, [&all[..1200 - missing], &all[1200..]].concat());
}

#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs() {
    let (disk, _content, go_on) = Disk::hanging();
    let mut recorder = Recorder::start(header(), disk, None, "test".into()).unwrap();
    recorder.observe(&node::life(1, 0, 0)[0], &Changes::default());
    let start = Instant::now();
    recorder.finish(Duration::from_millis(50));
    assert!(start.elapsed() < SOON);
    drop(go_on);
}

#[test]
fn an_observation_beyond_all_bounds_is_left_out_and_the_next_one_is_not() {
    let mut all = node::life(3, 0, 0);
    let text = "x".repeat(1 << 20);
    all[1].topology = Arc::new(monitor_model::observation::Topology {
        incomplete: vec![text.into(); 9],
        ..Default::default()
    });
    let (disk, content, _) = Disk::new(usize::MAX);
    let mut recorder = Recorder::start(Header::default(), disk, None, "test".into()).unwrap();
    for one in &all {
        recorder.observe(one, &Changes::default());
    }
    assert_eq!(recorder.lost(), 1);
    recorder.finish(SOON);
    let back = read(&content.lock().unwrap()).0;
    assert_eq!(back, [all[0].clone(), all[2].clone()]);
}
