//! `replay --serve`: a colleague looks at a recorded livelock, without root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read as _},
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::dup,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

/// Longer than any of this takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name)
}

fn replay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle-monitor"));
    command.arg("replay").args(args);
    command
}

/// A recording that is served.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(recording: &str, args: &[&str]) -> Self {
        let path = corpus(recording);
        let listen = ["--serve", "--web.listen-address", "127.0.0.1:0"];
        let mut child = replay(&listen)
            .args(args)
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        // Nobody waits for the rest of it.
        thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        let address = line.split_once("http://").map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split_once('/'));
        let url = format!("http://{}", address.expect(&line).0);
        Self { child, url }
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let answer = ureq::get(format!("{}{path}", self.url)).call();
        let mut bytes = Vec::new();
        let mut body = answer.unwrap().into_body().into_reader();
        body.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path)).unwrap()
    }

    fn wait_for(&self, path: &str, until: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.json(path);
            if until(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{path} stays {answer}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> i32 {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LIVELOCK: &str = "6.12-netns-livelock.tmrec";

#[test]
fn a_recorded_livelock_is_served_as_the_daemon_served_it() {
    let served = Served::start(LIVELOCK, &["--speed", "1000"]);
    let printed = replay(&["--format", "json"]).arg(corpus(LIVELOCK)).output();
    let printed: Value = serde_json::from_slice(&printed.unwrap().stdout).unwrap();
    let expected = printed["transitions"].as_array().unwrap();
    let all = |answer: &Value| answer["timeline"].as_array().unwrap().len() == expected.len();
    let verdicts = served.wait_for("/api/v1/verdicts", all);
    for (shown, expected) in verdicts["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .zip(expected)
    {
        for key in ["unix_ms", "loop", "signature", "from", "to", "reason"] {
            assert_eq!(shown[key], expected[key], "{key}");
        }
    }
    let node = served.json("/api/v1/node");
    assert_eq!(node["daemon"]["recording"], LIVELOCK);
    assert_eq!(node["ready"], true);
    let id = verdicts["evidence"][0]["id"].as_str().unwrap();
    let evidence = served.json(&format!("/api/v1/evidence/{id}"));
    assert_eq!(evidence["occasion"], "confirmed");
    let metrics = String::from_utf8(served.get("/metrics")).unwrap();
    assert!(metrics.contains("throttle_livelock_detections_total"));
    // The colleague hands it on.
    let copy = served.get(&format!("/api/v1/recordings/now/{LIVELOCK}"));
    assert_eq!(copy, fs::read(corpus(LIVELOCK)).unwrap());
    assert_eq!(served.end(), 3, "a livelock was found");
}

#[test]
fn a_recording_that_is_skipped_into_and_slow_stays_where_it_is() {
    let args = ["--speed", "0.01", "--skip", "5s"];
    let served = Served::start(LIVELOCK, &args);
    let ticked = |node: &Value| node["unix_ms"].as_u64() > Some(0);
    let first = served.wait_for("/api/v1/node", ticked);
    assert_ne!(first["state"], "livelock", "{first}");
    assert_eq!(served.end(), 0, "it was not played to its end");
}

#[test]
fn a_socket_that_systemd_hands_over_is_served_on_and_without_one_it_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A descriptor that exec does not close.
    let inherited = dup(&listener).unwrap();
    let program = env!("CARGO_BIN_EXE_throttle-monitor");
    // systemd's protocol: from descriptor 3 on, for the process of this id.
    let handed = format!(
        "exec 3<&{}; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"",
        inherited.as_raw_fd()
    );
    let socket = "--web.systemd-socket";
    let mut child = Command::new("sh")
        .args(["-c", &handed, program, "replay", "--serve", socket])
        .arg(corpus(LIVELOCK))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer = ureq::get(format!("http://{address}/-/healthy")).call();
    let status = answer.map(|answer| answer.status().as_u16());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status.unwrap(), 200);
    let alone = replay(&["--serve", socket]).arg(corpus(LIVELOCK)).output();
    let words = String::from_utf8(alone.unwrap().stderr).unwrap();
    assert!(words.contains("has passed no socket"), "{words}");
}

#[test]
fn what_is_no_recording_is_refused_and_not_served() {
    let output = replay(&["--serve", "/etc/hostname"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("/etc/hostname"), "{words}");
    assert!(!words.contains("serving"), "{words}");
}

#[test]
fn flags_of_serving_need_serving() {
    for args in [
        ["--speed", "2"],
        ["--skip", "1s"],
        ["--web.listen-address", "127.0.0.1:0"],
        ["--web.config.file", "x"],
    ] {
        let output = replay(&args).arg(corpus(LIVELOCK)).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{words}");
        assert!(words.contains("--serve"), "{words}");
    }
}
