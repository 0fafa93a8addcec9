//! With the HTTP of a real recording, and of what only pretends to be a daemon;
//! without a screen.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

/// `replay --serve` of a recording of the corpus, at its end.
pub struct Served {
    child: Child,
    pub url: String,
}

impl Served {
    pub fn start(name: &str) -> Self {
        Self::at(name, "127.0.0.1:0", "1h")
    }

    /// At an address; so much of it is played at once.
    pub fn at(name: &str, address: &str, skip: &str) -> Self {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let mut child = program()
            .args(["replay", "--serve", "--skip", skip])
            .args(["--web.listen-address", address])
            .arg(corpus.join(format!("{name}.tmrec")))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.split_once("http://").map(|(_, rest)| rest);
        let address = address.and_then(|rest| rest.split_once('/'));
        let url = format!("http://{}", address.expect(&line).0);
        let all = "observations read";
        if skip == "1h" {
            while !line.contains(all) {
                line.clear();
                assert!(stderr.read_line(&mut line).unwrap() > 0, "{name}");
            }
        }
        // Nobody waits for the rest of it.
        thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        Self { child, url }
    }

    /// The address without the scheme.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub fn get(&self, path: &str) -> String {
        let answer = ureq::get(format!("{}/api/v1/{path}", self.url)).call();
        answer.unwrap().body_mut().read_to_string().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What pretends: each answer in turn, the last one again and again; `None` is
/// no answer at all. Gives its URL, and how often it was asked.
pub fn pretender(answers: Vec<Option<String>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let at = count.fetch_add(1, Ordering::Relaxed);
            match &answers[at.min(answers.len() - 1)] {
                None => silent.push(stream),
                Some(body) => {
                    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
                    let answer = format!("{head}{}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        }
    });
    (url, asked)
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle-monitor"));
    command.env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
    command
}

fn top(args: &[&str]) -> Output {
    program().arg("top").args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_pipe_gets_one_plain_view_and_the_code_of_a_livelock() {
    let served = Served::start("6.12-netns-livelock");
    for args in [
        &["--url", &served.url][..],
        &["--once", "--url", &served.url],
    ] {
        let output = top(args);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{text}{}", stderr(&output));
        assert!(text.starts_with(" LIVELOCK"), "{text}");
        for words in [
            "TYPE    throttle-monitor guard ease 0:28",
            "ACKED",
            "nfsd",
            "TASKS 5",
            "BDIS 2",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 100));
    }
}

#[test]
fn colours_are_escape_codes_only_where_they_are_asked_for() {
    let served = Served::start("6.12-netns-livelock");
    let output = top(&["--once", "--color", "always", "--url", &served.url]);
    assert!(stdout(&output).contains("\x1b["));
    let plain = top(&["--once", "--color", "never", "--url", &served.url]);
    assert!(!stdout(&plain).contains('\x1b'));
}

#[test]
fn json_is_the_node_as_the_daemon_tells_it() {
    let served = Served::start("6.12-netns-livelock");
    let output = top(&["--once", "--format", "json", "--url", &served.url]);
    assert_eq!(output.status.code(), Some(3));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    let printed: Value = serde_json::from_str(&text).unwrap();
    let mut told: Value = serde_json::from_str(&served.get("node")).unwrap();
    told.as_object_mut().unwrap().remove("at");
    assert_eq!(printed, told);
}

#[test]
fn json_is_a_line_for_each_tick_until_nobody_reads() {
    let served = Served::at("6.12-netns-livelock", "127.0.0.1:0", "0s");
    let mut child = program()
        .args([
            "top",
            "--format",
            "json",
            "--interval",
            "100ms",
            "--url",
            &served.url,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut tick = || {
        let line = lines.next().unwrap().unwrap();
        let node: Value = serde_json::from_str(&line).unwrap();
        node["unix_ms"].as_u64().unwrap()
    };
    let (first, second) = (tick(), tick());
    assert!(first < second);
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn who_reads_no_more_of_one_view_is_no_error() {
    let served = Served::start("6.12-netns-livelock");
    let mut child = program()
        .args(["top", "--once", "--url", &served.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(3), String::new())
    );
}

#[test]
fn a_node_without_a_livelock_is_code_0_and_one_that_cannot_tell_is_2() {
    let served = Served::start("6.12-loopback-healthy");
    let output = top(&["--once", "--url", &served.url]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).starts_with(" NO LIVELOCK"));
    let mut node: Value = serde_json::from_str(&served.get("node")).unwrap();
    node["ready"] = false.into();
    node["not_ready"] = vec!["the probes are not attached yet"].into();
    let history = served.get("history");
    let (url, _) = pretender(vec![
        Some(node.to_string()),
        Some(node.to_string()),
        Some(history),
    ]);
    let output = top(&["--once", "--url", &url]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}{}", stderr(&output));
    assert!(text.starts_with(" NOT READY") && text.contains("the probes are not attached yet"));
}

#[test]
fn no_daemon_and_something_else_are_errors_with_the_address() {
    let output = top(&["--once", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("127.0.0.1:1/api/v1/node does not answer (--url)"));
    let (url, _) = pretender(vec![Some("<html>".to_owned())]);
    let output = top(&["--once", "--url", &url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is not an answer of throttle-monitor"));
    let (url, _) = pretender(vec![Some(format!("[{}", "1,".repeat(4 << 20)))]);
    let output = top(&["--once", "--url", &url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("reading http://"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_dumb_terminal_gets_text() {
    let served = Served::start("6.12-netns-livelock");
    let mut command = program();
    command.args(["top", "--url", &served.url]);
    // Where it is set, libraries write colours to any terminal.
    command.env("CI", "true");
    let mut pty = crate::pty::Pty::start_as(command, "dumb", 80, 24);
    assert_eq!(pty.end().code(), Some(3));
    pty.wait("BDIS 2");
    thread::sleep(Duration::from_millis(200));
    assert!(!pty.bytes().contains(&0x1b));
}
