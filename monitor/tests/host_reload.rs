//! Reloads of a running daemon on the kernel of this machine, as root: `./dev test` runs these,
//! `cargo test` leaves them out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod host;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use host::Daemon;
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
const SUCCESSFUL: &str = "throttle_monitor_config_last_reload_successful";
const WHEN: &str = "throttle_monitor_config_last_reload_success_timestamp_seconds";

/// A daemon with a file.
struct Reloaded {
    daemon: Daemon,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Reloaded {
    fn start(text: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let mut all = vec!["--config.file", file.to_str().unwrap()];
        all.extend(flags);
        Self {
            daemon: Daemon::start(&all),
            file,
            _dir: dir,
        }
    }

    fn write(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
    }

    /// Sends SIGHUP and waits until the log has this.
    fn hang_up(&self, expected: &str) {
        self.daemon.signal(Signal::HUP);
        self.wait_for(expected);
    }

    fn wait_for(&self, expected: &str) {
        let start = Instant::now();
        while !self.daemon.log().contains(expected) {
            assert!(
                start.elapsed() < SOON,
                "no {expected}: {}",
                self.daemon.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn post(&self) -> (u16, String) {
        let mut stream = TcpStream::connect(self.daemon.address()).unwrap();
        let text = "POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn value(&self, name: &str) -> f64 {
        let (_, text) = self.daemon.get("/metrics");
        let lines = text.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().unwrap().parse().unwrap()
    }

    fn config(&self) -> Value {
        let (_, text) = self.daemon.get("/api/v1/node");
        let node: Value = serde_json::from_str(&text).unwrap();
        node["config"].clone()
    }

    fn mode(&self) -> String {
        let (_, text) = self.daemon.get("/api/v1/guard");
        let guard: Value = serde_json::from_str(&text).unwrap();
        guard["mode"].as_str().unwrap().to_owned()
    }

    fn ticks(&self) -> f64 {
        self.value("throttle_monitor_tick_duration_seconds_count")
    }
}

const LIFECYCLE: &[&str] = &["--web.enable-lifecycle"];

#[test]
#[ignore = "needs root"]
fn a_changed_file_is_in_effect_after_sighup_and_nothing_is_lost() {
    let one = Reloaded::start("guard.mode = \"off\"\n", &[]);
    let (before, ticks) = (one.value(WHEN), one.ticks());
    assert_eq!((one.value(SUCCESSFUL), &*one.mode()), (1.0, "off"));
    one.write("guard.mode = \"advise\"\nthresholds.confirm = \"8s\"\nlog.level = \"debug\"\n");
    one.hang_up("message=\"the configuration was reloaded\"");
    let start = Instant::now();
    while one.mode() != "advise" {
        assert!(start.elapsed() < SOON, "{}", one.mode());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(one.value(WHEN) > before);
    assert!(one.ticks() > ticks, "the daemon began anew");
    let log = one.daemon.log();
    assert!(
        log.contains("changed=\"guard.mode, log.level, thresholds.confirm\""),
        "{log}"
    );
    assert_eq!(one.post().0, 403);
    assert_eq!(one.daemon.stop(), Some(0));
}

#[test]
#[ignore = "needs root"]
fn a_bad_file_changes_nothing_and_says_where_it_is_wrong() {
    let one = Reloaded::start("guard.mode = \"advise\"\n", LIFECYCLE);
    let when = one.value(WHEN);
    one.write("guard.mode = \"off\"\nthresholds.confrim = \"8s\"\n");
    let (status, body) = one.post();
    assert_eq!(status, 500, "{body}");
    let place = format!("{}:2: ", one.file.display());
    let begin = format!("failed to reload config: {place}");
    assert!(body.starts_with(&begin), "{body}");
    assert!(
        body.contains("did you mean `thresholds.confirm`?"),
        "{body}"
    );
    assert_eq!((one.value(SUCCESSFUL), one.value(WHEN)), (0.0, when));
    assert_eq!(one.mode(), "advise");
    assert_eq!(one.config()["last_reload_successful"], false);
    let error = one.config()["error"].clone();
    assert!(error.as_str().unwrap().starts_with(&place), "{error}");
    one.wait_for("the previous one stays in effect; correct the file and reload again");

    one.write("guard.mode = \"off\"\n");
    assert_eq!(one.post(), (200, String::new()));
    assert_eq!((one.value(SUCCESSFUL), &*one.mode()), (1.0, "off"));
    assert_eq!(one.config()["error"], Value::Null);
}

#[test]
#[ignore = "needs root"]
fn flags_win_over_the_file_and_keys_that_need_a_restart_are_named() {
    let flags = ["--web.enable-lifecycle", "--guard.mode", "advise"];
    let one = Reloaded::start("", &flags);
    one.write("guard.mode = \"off\"\ninterval = \"2s\"\nthresholds.confirm = \"7s\"\n");
    let answer = (200, "needs a restart: interval\n".to_owned());
    assert_eq!(one.post(), answer);
    assert_eq!(one.mode(), "advise");
    assert_eq!(one.config()["needs_restart"][0], "interval");
    one.wait_for("changed=thresholds.confirm");
    // It still does, until the file has the old value again.
    assert_eq!(one.post(), answer);
    one.write("");
    assert_eq!(one.post(), (200, String::new()));
    assert_eq!(one.config()["needs_restart"], Value::Array(Vec::new()));
}

#[test]
#[ignore = "needs root"]
fn a_guard_without_a_helper_needs_a_restart_to_act() {
    let one = Reloaded::start("guard.mode = \"advise\"\n", LIFECYCLE);
    one.write("guard.mode = \"break\"\n");
    assert_eq!(
        one.post(),
        (200, "needs a restart: guard.mode\n".to_owned())
    );
    assert_eq!(one.mode(), "advise");
}

#[test]
#[ignore = "needs root"]
fn a_guard_with_a_helper_goes_off_and_comes_back_without_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("guard.json");
    let text = format!("guard.mode = \"break\"\nguard.state-file = {path:?}\n");
    let one = Reloaded::start(&text, LIFECYCLE);
    assert!(one.value("throttle_guard_helper_up") > 0.0);
    for mode in ["off", "prevent", "break"] {
        one.write(&text.replace("break", mode));
        assert_eq!(one.post(), (200, String::new()), "{mode}");
        assert_eq!(one.mode(), mode);
    }
    assert!(one.value("throttle_guard_helper_up") > 0.0);
}

#[test]
#[ignore = "needs root"]
fn sighup_does_not_end_a_daemon_without_a_file() {
    let daemon = Daemon::start(&[]);
    for _ in 0..20 {
        daemon.signal(Signal::HUP);
    }
    let start = Instant::now();
    while !daemon.log().contains("nothing to reload") {
        assert!(start.elapsed() < SOON, "{}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(daemon.get("/-/ready").0, 200);
    assert_eq!(daemon.stop(), Some(0));
}
