//! Tests that the documentation matches the program. The program's own parser accepts every command
//! line in it, and every `./dev` command and every linked file exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use monitor_model::verdict::Signature;

use super::args::Cli;

const PROGRAM: &str = "throttle-monitor";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page: its path and its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md")];
    let mut directories = vec![root().join("docs"), root().join("deploy")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                directories.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The words of the command lines that run `program`: lines of `sh` blocks, and those after a `$`
/// in other blocks. Pipes and redirections are dropped.
fn commands(page: &str, program: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| {
        let typed = |line: &&str| block.starts_with("sh\n") || line.starts_with("$ ");
        let joined = block.replace("\\\n", " ");
        let lines = joined.lines().filter(typed).map(str::to_owned);
        lines.collect::<Vec<_>>()
    });
    lines.filter_map(|line| command(&line, program)).collect()
}

fn command(line: &str, program: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if first != program && first.rsplit('/').next() != Some(program) {
        return None;
    }
    let ends = [" |", " #", ";", " >", " &", " 2>"];
    let end = ends.iter().filter_map(|end| rest.find(end)).min();
    let rest = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
    let words = rest
        .split_whitespace()
        .map(|word| word.replace(['\'', '"'], ""));
    Some(std::iter::once(program.to_owned()).chain(words).collect())
}

#[test]
fn every_command_in_the_documentation_is_one_that_the_program_takes() {
    let mut tried = 0;
    for (path, page) in pages() {
        for words in commands(&page, PROGRAM) {
            tried += 1;
            // The runbooks ask the reader to set these first.
            let words: Vec<String> = words
                .iter()
                .map(|word| word.replace("$bdi", "0:29"))
                .collect();
            let parsed = Cli::try_parse_from(&words);
            let shows = |error: &clap::Error| error.exit_code() == 0;
            let said = parsed.err().filter(|error| !shows(error));
            assert!(
                said.is_none(),
                "{}: {words:?}: {}",
                path.display(),
                said.unwrap()
            );
        }
    }
    assert!(tried > 20, "only {tried} were found");
}

#[test]
fn every_command_of_dev_in_the_documentation_is_one_that_it_has() {
    let dev = fs::read_to_string(root().join("dev")).unwrap();
    let mut tried = BTreeSet::new();
    for (path, page) in pages() {
        for words in commands(&page, "dev") {
            let Some(name) = words.get(1) else { continue };
            let known = dev.contains(&format!("    {name}) "));
            assert!(known, "{}: ./dev {name}", path.display());
            tried.insert(name.clone());
        }
    }
    assert!(tried.len() > 2, "only {tried:?} were found");
}

#[test]
fn dashboards_have_a_colour_for_every_signature() {
    let words = root().join("deploy/mixin/dashboards/lib/words.libsonnet");
    let words = fs::read_to_string(words).unwrap();
    for signature in Signature::ALL {
        let word = format!("'{}'", signature.as_str());
        assert!(words.contains(&word), "{word}");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut tried = 0;
    for (path, page) in pages() {
        for target in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
        {
            let file = target.0.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            tried += 1;
            let there = path.parent().unwrap().join(file).exists();
            assert!(there, "{}: {file}", path.display());
        }
    }
    assert!(tried > 50, "only {tried} were found");
}

#[test]
fn a_command_line_ends_at_a_shell_operator() {
    let words = |line| command(line, PROGRAM).map(|words| words.join(" "));
    let line = "$ sudo ./throttle-monitor check --format json | jq .   # all";
    assert_eq!(
        words(line).as_deref(),
        Some("throttle-monitor check --format json")
    );
    assert_eq!(words("cat throttle-monitor"), None);
    assert_eq!(words("throttle-monitors run"), None);
}
