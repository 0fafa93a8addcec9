//! The program's exit codes, the same for every command: docs/metrics.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_throttle-monitor");

fn code(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words)
}

#[test]
fn a_wrong_command_line_is_78_whatever_the_command() {
    for args in [
        &[][..],
        &["runn"],
        &["run", "--no-such-flag"],
        &["run", "--interval", "1h"],
        &["run", "--guard.mode", "maybe"],
        &["run", "--guard.socket", "/x", "--guard.dirty-share", "50"],
        &["check", "--format", "xml"],
        &["explain", "dirty-throtle"],
        &["completions", "ksh93"],
        &["top", "--url", "nowhere"],
        &["replay"],
        &["record"],
        &["guard"],
        &["guard", "ease", "../../x"],
        &["io-flusher"],
    ] {
        let (code, words) = code(args);
        assert_eq!(code, Some(78), "{args:?}: {words}");
        assert!(!words.is_empty(), "{args:?} says why");
    }
}

#[test]
fn a_wrong_configuration_is_78_and_help_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let file = path.to_str().unwrap();
    for text in ["interval = 1s", "no-such-key = 1", "interval = \"1h\""] {
        fs::write(&path, text).unwrap();
        for command in ["run", "check"] {
            let (code, words) = code(&[command, "--config.file", file]);
            assert_eq!(code, Some(78), "{text}: {words}");
        }
    }
    let missing = dir.path().join("none.toml");
    let (found, _) = code(&["run", "--config.file", missing.to_str().unwrap()]);
    assert_eq!(found, Some(78));
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        assert_eq!(code(args).0, Some(0), "{args:?}");
    }
}

#[test]
fn what_could_not_be_done_is_2() {
    let (code, words) = code(&["top", "--once", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{words}");
    let (code, words) = self::code(&["replay", "/etc/hostname"]);
    assert_eq!(code, Some(2), "{words}");
}

/// node-problem-detector calls a program so: one line, cut at a number of bytes, and an exit code of
/// which it knows 0 and 1; all others mean unknown.
#[test]
fn the_plugin_of_node_problem_detector_calls_what_there_is() {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/node-problem-detector/throttle-monitor.json");
    let plugin: Value = serde_json::from_str(&fs::read_to_string(plugin).unwrap()).unwrap();
    let max = plugin["pluginConfig"]["max_output_length"]
        .as_u64()
        .unwrap();
    let conditions = plugin["conditions"].as_array().unwrap();
    for rule in plugin["rules"].as_array().unwrap() {
        assert!(
            rule["path"]
                .as_str()
                .unwrap()
                .ends_with("/throttle-monitor")
        );
        let args = rule["args"].as_array().unwrap().iter();
        let args = args.map(|arg| arg.as_str().unwrap());
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(matches!(output.status.code(), Some(0..=2)), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.trim().len() as u64 <= max, "{line}");
        let of_rule = |one: &&Value| one["type"] == rule["condition"];
        assert_eq!(conditions.iter().filter(of_rule).count(), 1);
    }
}
