//! The corpus: recordings of real kernels, each with what is right to say of
//! it. Prints the confusion matrix and fails on any miss.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "corpus/judge.rs"]
mod judge;
#[path = "corpus/label.rs"]
mod label;
#[path = "corpus/matrix.rs"]
mod matrix;
#[path = "../src/recording/tests/node.rs"]
mod node;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
};

use judge::{Played, judge};
use label::{Expect, Label, Labels};
use matrix::Matrix;
use monitor_model::{related::RelatedKind, verdict::Signature};
use monitor_verdict::Thresholds;
use throttle_monitor::recording::{self, Encoder, Header};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Plays a file by the thresholds of today: those are what is tested.
fn play(path: &Path) -> Played {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Played::of(BufReader::new(file), Thresholds::default())
}

/// Files without a label and labels without a file, each a sentence.
fn unmatched(labels: &Labels, files: &BTreeSet<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut words = Vec::new();
    for label in &labels.recording {
        if !known.insert(label.file.clone()) {
            words.push(format!("{} has two labels", label.file));
        }
    }
    let without = files.difference(&known);
    words.extend(without.map(|file| format!("{file} has no label in labels.toml")));
    let missing = known.difference(files);
    words.extend(missing.map(|file| format!("{file} is in labels.toml and not there")));
    words
}

#[test]
fn every_recording_of_the_corpus_is_judged_right() {
    let corpus = corpus();
    let labels = fs::read_to_string(corpus.join("labels.toml")).unwrap();
    let labels: Labels = toml::from_str(&labels).unwrap();
    let files = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|entry| PathBuf::from(entry.file_name()));
    let files = files.filter(|name| name.extension().is_some_and(|ext| ext == "tmrec"));
    let files = files.map(|name| name.into_os_string().into_string().unwrap());
    let files = files.collect();
    let mut wrong = unmatched(&labels, &files);
    let mut matrix = Matrix::default();
    for label in &labels.recording {
        if files.contains(&label.file) {
            let judged = judge(label, &play(&corpus.join(&label.file)));
            wrong.extend(
                judged
                    .wrong
                    .iter()
                    .map(|why| format!("{}: {why}", label.file)),
            );
            matrix.add(label, &judged);
        }
    }
    // Past the test's capture: the matrix is to be seen where all is well.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "\n{matrix}").unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the made-up node's clock shows at first, in seconds.
const START: f64 = 1001.0;

/// A made-up recording that freezes after 20 s, for 20 s; with a label that is
/// right.
fn freeze() -> (Label, Played) {
    let label = Label {
        file: "freeze.tmrec".into(),
        scenario: "freeze".into(),
        kernel: "6.12".into(),
        expect: Expect::Livelock,
        signature: vec![Signature::DirtyThrottle],
        onset: Some(START + 20.0),
        within: 10.0,
        helped_out: Some(START + 40.0),
        moves_again: Some(START + 40.0),
        related: Vec::new(),
        not_related: vec![RelatedKind::HungFileSystem],
    };
    (label, made_up(20, 20, 20))
}

fn made_up(works: usize, frozen: usize, again: usize) -> Played {
    let mut bytes = b"\x89TMREC\r\n\x01\0\0\0".to_vec();
    let mut encoder = Encoder::new(Header::default()).unwrap();
    for one in node::life(works, frozen, again) {
        encoder.observation(&one, &mut bytes).unwrap();
    }
    assert_eq!(recording::VERSION, 1);
    Played::of(bytes.as_slice(), Thresholds::default())
}

#[test]
fn a_right_label_is_a_true_positive_in_the_matrix() {
    let (label, played) = freeze();
    let judged = judge(&label, &played);
    assert_eq!(judged.wrong, [""; 0]);
    let mut matrix = Matrix::default();
    matrix.add(&label, &judged);
    let text = matrix.to_string();
    assert!(text.contains("TP 1  FN 0  FP 0  TN 0"), "{text}");
    assert!(text.contains("signature right 1, wrong 0"), "{text}");
    assert!(text.contains("\nnfs/nfsd  TP 1  FN 0"), "{text}");
}

#[test]
fn each_way_of_being_wrong_is_told() {
    let wrong = |change: fn(&mut Label)| {
        let (mut label, played) = freeze();
        change(&mut label);
        judge(&label, &played).wrong.join("; ")
    };
    assert!(wrong(|l| l.expect = Expect::None).contains("false alarm"));
    assert!(wrong(|l| l.within = 2.0).contains("later than 2 s"));
    assert!(wrong(|l| l.onset = Some(START + 5.0)).contains("later than 10 s"));
    assert!(wrong(|l| l.onset = Some(START + 50.0)).contains("before its onset"));
    assert!(wrong(|l| l.signature = vec![Signature::CommitWait]).contains("not commit-wait"));
    assert!(wrong(|l| l.moves_again = Some(START + 20.0)).contains("it moved again, later"));
    assert!(wrong(|l| l.helped_out = Some(START + 60.0)).contains("before it was helped out"));
    assert!(wrong(|l| l.related = vec![RelatedKind::SlowDisk]).contains("slow-disk is not told"));
}

#[test]
fn a_quiet_recording_is_a_true_negative_and_no_positive() {
    let (mut label, _) = freeze();
    let quiet = made_up(60, 0, 0);
    assert!(judge(&label, &quiet).wrong.join("").contains("no livelock"));
    label.expect = Expect::None;
    label.signature.clear();
    label.moves_again = None;
    assert_eq!(judge(&label, &quiet).wrong, [""; 0]);
}

#[test]
fn a_recording_that_cannot_be_read_whole_is_wrong_whatever_its_label_says() {
    let (mut label, _) = freeze();
    label.expect = Expect::None;
    label.signature.clear();
    for bytes in [&b"\x89TMREC\r\n\x01\0\0\0"[..], b"something"] {
        let judged = judge(&label, &Played::of(bytes, Thresholds::default()));
        assert!(!judged.wrong.is_empty());
    }
}

#[test]
fn files_and_labels_must_match() {
    let (label, _) = freeze();
    let labels = Labels {
        recording: vec![label.clone(), label],
    };
    let files = BTreeSet::from(["other.tmrec".to_owned()]);
    let words = unmatched(&labels, &files).join("; ");
    assert!(words.contains("freeze.tmrec has two labels"), "{words}");
    assert!(words.contains("other.tmrec has no label"), "{words}");
    assert!(
        words.contains("freeze.tmrec is in labels.toml and not there"),
        "{words}"
    );
}

#[test]
fn a_label_is_written_as_the_comment_in_labels_toml_says() {
    let labels = fs::read_to_string(corpus().join("labels.toml")).unwrap();
    let example = labels.lines().skip_while(|line| !line.starts_with("# [["));
    let example: Vec<_> = example.map_while(|line| line.strip_prefix("# ")).collect();
    let labels: Labels = toml::from_str(&example.join("\n")).unwrap();
    assert_eq!(labels.recording[0].signature, [Signature::DirtyThrottle]);
    assert_eq!(labels.recording[0].related, [RelatedKind::SlowDisk]);
    assert!(toml::from_str::<Labels>("[[recording]]\nfle = 'x'").is_err());
}
