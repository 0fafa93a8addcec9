//! The program's exit codes, the same for every command: docs/metrics.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

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
