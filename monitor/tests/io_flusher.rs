//! `io-flusher` as a process: what it executes, with which flags, and how it ends.
//!
//! Where this machine has no `CAP_SYS_RESOURCE` to give, the kernel's refusal is tested
//! instead of the flag; `./dev vm KERNEL io-flusher` tests both on every kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_throttle-monitor");
/// `PF_LOCAL_THROTTLE`, include/linux/sched.h.
const LOCAL_THROTTLE: u64 = 0x0010_0000;

fn io_flusher(args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("io-flusher").args(args).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether the kernel grants the exemption to this process.
fn granted() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    // CAP_SYS_RESOURCE.
    effective >> 24 & 1 == 1
}

/// The flags in the text of /proc/PID/stat.
fn flags(stat: &str) -> u64 {
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(6).unwrap().parse().unwrap()
}

#[test]
fn the_command_has_the_flag_or_is_not_started() {
    let output = io_flusher(&["--", "cat", "/proc/self/stat"]);
    if granted() {
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        let stat = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_ne!(flags(&stat) & LOCAL_THROTTLE, 0, "{stat}");
        assert_eq!(said(&output), "");
    } else {
        refused(&output);
    }
}

fn refused(output: &Output) {
    let said = said(output);
    assert_eq!(code(output), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "the command was started");
    for word in ["PR_SET_IO_FLUSHER", "CAP_SYS_RESOURCE", "cat", "--try"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
#[ignore = "needs root, to become another user"]
fn an_ordinary_user_is_refused_and_goes_on_with_try() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("throttle-monitor");
    fs::copy(PROGRAM, &program).unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("io-flusher").args(args).uid(65534).gid(65534);
        command.output().unwrap()
    };
    refused(&as_nobody(&["--", "cat", "/proc/self/stat"]));
    let output = as_nobody(&["--try", "--", "cat", "/proc/self/stat"]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let stat = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(flags(&stat) & LOCAL_THROTTLE, 0, "{stat}");
    let said = said(&output);
    assert!(said.contains("without the exemption"), "{said}");
}

#[test]
fn the_command_takes_the_place_of_the_process_and_its_exit_code_is_that_of_both() {
    let mut command = Command::new(PROGRAM);
    command.args(["io-flusher", "--try", "--", "sh", "-c", "echo $$; exit 7"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = child.spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(7));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.trim(), pid.to_string());
}

#[test]
fn its_arguments_are_its_own_though_they_look_like_flags_of_this_program() {
    let output = io_flusher(&["--try", "--", "echo", "--try", "--help", "--", "-x"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, "--try --help -- -x\n");
}

#[test]
fn a_command_that_is_not_there_or_is_none_ends_as_with_other_wrappers() {
    let missing = io_flusher(&["--try", "--", "no-such-command-of-anybody"]);
    assert_eq!(code(&missing), Some(127), "{}", said(&missing));
    assert!(said(&missing).contains("no-such-command-of-anybody: No such file"));
    let no_program = io_flusher(&["--try", "--", "/proc/self/stat"]);
    assert_eq!(code(&no_program), Some(126), "{}", said(&no_program));
    assert!(said(&no_program).contains("not an executable file"));
}

#[test]
fn without_a_command_nothing_is_done() {
    let none = io_flusher(&["--"]);
    assert_ne!(code(&none), Some(0));
    assert!(said(&none).contains("COMMAND"), "{}", said(&none));
}
