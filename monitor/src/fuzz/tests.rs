//! Each target over its corpus and over some thousands of changes of it.

mod memory;
mod mutate;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::{TARGETS, run};
use mutate::Mutator;

/// Inputs that each target is given beside its corpus.
const MUTATIONS: usize = 2000;

/// What draws a screen, renders metrics or builds a command line takes longer.
const SLOW: [(&str, usize); 10] = [
    ("config", 400),
    ("daemon_loops", 400),
    ("daemon_node", 100),
    ("http_connection", 400),
    ("http_request", 400),
    ("recording", 400),
    ("records", 400),
    ("replay", 120),
    ("telemetry_path", 400),
    ("web_config", 1000),
];

/// Bytes that a target may take at once. The most is for a recording: a record of 8
/// MiB, its payload, the window, and what comes of it.
const MOST_MEMORY: usize = 256 << 20;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = package().join("corpus").join(target);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs it; a crash is told with the input.
fn try_one(target: &str, input: &[u8]) -> Result<(), String> {
    let (ended, most) = memory::most(|| catch_unwind(AssertUnwindSafe(|| run(target, input))));
    let what = match ended {
        Ok(()) if most <= MOST_MEMORY => return Ok(()),
        Ok(()) => format!("takes {most} bytes"),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            format!("panicked: {}", words.unwrap_or("see above"))
        }
    };
    let hex = data_encoding::HEXLOWER.encode(input);
    Err(format!(
        "{target} {what}\nKeep it when that is mended: echo {hex} | xxd -r -p > monitor/fuzz/corpus/{target}/NAME\n"
    ))
}

/// The first finding of a target.
fn tried(target: &str) -> Result<(), String> {
    let corpus = corpus(target);
    try_one(target, b"")?;
    for input in &corpus {
        try_one(target, input)?;
    }
    let slow = SLOW.iter().find(|(name, _)| *name == target);
    let mut mutator = Mutator::new(target, &corpus);
    for _ in 0..slow.map_or(MUTATIONS, |(_, count)| *count) {
        try_one(target, &mutator.next())?;
    }
    Ok(())
}

fn all_tried(targets: impl Iterator<Item = &'static str>) {
    let found: Vec<String> = targets.filter_map(|one| tried(one).err()).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn all() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|(name, _)| *name)
}

/// In two halves, for the processors that there are.
#[test]
fn hostile_input_harms_no_parser_of_the_first_half() {
    all_tried(all().step_by(2));
}

#[test]
fn hostile_input_harms_no_parser_of_the_second_half() {
    all_tried(all().skip(1).step_by(2));
}

#[test]
fn every_target_has_a_corpus_and_a_file_and_nothing_else_has() {
    let known: BTreeSet<String> = all().map(str::to_owned).collect();
    assert_eq!(known.len(), TARGETS.len(), "a name is there twice");
    assert!(TARGETS.is_sorted_by_key(|(name, _)| name));
    let there = |dir: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(package().join(dir)).unwrap();
        let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| name(entry.unwrap().path())).collect()
    };
    assert_eq!(there("corpus"), known);
    assert_eq!(there("fuzz_targets"), known);
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    for name in &known {
        assert!(!corpus(name).is_empty(), "{name}");
        let path = format!("fuzz_targets/{name}.rs");
        let file = fs::read_to_string(package().join(&path)).unwrap();
        assert!(file.contains(&format!("run({name:?}, data)")), "{file}");
        assert!(manifest.contains(&format!("path = {path:?}")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), known.len());
    for (name, _) in SLOW {
        assert!(known.contains(name), "{name}");
    }
}

/// What a daemon answers in a livelock, for `top` and `explain`.
#[test]
#[ignore = "writes a part of the corpus"]
fn write_the_answers_of_a_daemon() {
    let asked = |path: &str| {
        let said = crate::http::fuzz::answer(path);
        let text = String::from_utf8(said).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let write = |target: &str, paths: &[&str]| {
        let answers: Vec<_> = paths.iter().map(|path| asked(path)).collect();
        let path = package().join("corpus").join(target).join("livelock");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, answers.join("\n%%\n")).unwrap();
    };
    let node = ["node", "tasks?limit=3", "tasks/71", "history"];
    write("daemon_node", &node);
    write("daemon_loops", &["loops", "bdis", "stalls", "probes"]);
}

#[test]
fn a_corpus_is_small() {
    for name in all() {
        let sizes = corpus(name).iter().map(Vec::len).collect::<Vec<_>>();
        let most = sizes.iter().copied().max().unwrap_or(0);
        let sum: usize = sizes.iter().sum();
        assert!(most <= 24 << 10 && sum <= 128 << 10, "{name}: {sizes:?}");
    }
}
