//! The guard's helper as a process of its own, on files that stand for the kernel's: what
//! ends it, and what is left then. The kernel itself: `./dev vm 6.12 guard-undo`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use monitor_model::{
    guard::{Action, DesiredState, Hold, Mode, Outcome},
    loops::Loop,
    observation::{Bdi, Observation},
};
use monitor_verdict::guard::Policy;
use tempfile::TempDir;
use throttle_monitor::guard::{Controller, Link, Report, Settings};

const PROGRAM: &str = env!("CARGO_BIN_EXE_throttle-monitor");
const STRICT: &str = "sys/class/bdi/0:29/strict_limit";
const RATIO: &str = "sys/class/bdi/0:29/max_ratio";

/// A node, and the helper that may change it.
struct Node {
    dir: TempDir,
    helper: Option<Child>,
}

impl Node {
    fn new() -> Self {
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
            helper: None,
        };
        for (path, text) in [
            (STRICT, "0\n"),
            (RATIO, "100\n"),
            ("proc/sys/vm/dirty_bytes", "0\n"),
            ("proc/sys/vm/dirty_ratio", "20\n"),
            ("proc/sys/kernel/random/boot_id", "one\n"),
            (
                "proc/vmstat",
                "nr_free_pages 9\nnr_dirty 1\nnr_dirty_threshold 5\n",
            ),
            ("proc/self/mountinfo", ""),
        ] {
            let path = node.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn get(&self, path: &str) -> String {
        let text = fs::read_to_string(self.path(path)).unwrap();
        text.trim().to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("guard").args(args);
        for (flag, path) in [
            ("--guard.state-file", "run/guard.json"),
            ("--path.procfs", "proc"),
            ("--path.sysfs", "sys"),
        ] {
            command.arg(flag).arg(self.path(path));
        }
        command
    }

    fn listen(&mut self) -> Link {
        let socket = self.path("run/guard.sock");
        let socket: &Path = &socket;
        let mut command = self.command(&["serve", "--listen", socket.to_str().unwrap()]);
        self.helper = Some(command.stderr(Stdio::inherit()).spawn().unwrap());
        Link::to(socket)
    }

    /// As the daemon does that has no helper yet.
    fn spawn(&self) -> Link {
        let settings = Settings {
            procfs: self.path("proc"),
            sysfs: self.path("sys"),
            journal: self.path("run/guard.json"),
            share: 60,
        };
        fs::create_dir_all(self.path("run")).unwrap();
        Link::spawn_program(Path::new(PROGRAM), &settings).unwrap()
    }

    /// Waits until this is the value, for so long.
    fn is_soon(&self, path: &str, value: &str, time: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < time {
            if self.get(path) == value {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn undo(&self) -> Output {
        self.command(&["undo"]).output().unwrap()
    }

    /// Its exit code, once it has ended; none: by the signal.
    fn ended(&mut self, signal: i32) -> Option<i32> {
        let mut helper = self.helper.take().unwrap();
        let pid = helper.id().try_into().unwrap();
        // SAFETY: a number goes to the kernel; the process is ours, and not yet reaped.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        helper.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            let _ = helper.kill();
            let _ = helper.wait();
        }
    }
}

fn held() -> DesiredState {
    DesiredState {
        holds: vec![Hold {
            loop_id: "0:29-nfsd".into(),
            action: Action::Prevent,
            bdi: "0:29".into(),
            strict_limit: true,
            max_ratio: Some(25),
            background_bytes: None,
        }],
        ease: Vec::new(),
    }
}

/// Asks until it is answered so.
fn until(link: &mut Link, wanted: &DesiredState, holds: impl Fn(&Report) -> bool) -> Report {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        link.want(wanted);
        thread::sleep(Duration::from_millis(20));
        if let Some(report) = link.reports().into_iter().find(&holds) {
            return report;
        }
    }
    panic!("it never answered so");
}

fn is_held(report: &Report) -> bool {
    report.active.len() == 2
}

#[test]
fn told_to_end_the_helper_puts_everything_back_first() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut node = Node::new();
        let mut link = node.listen();
        until(&mut link, &held(), is_held);
        assert!(link.is_up());
        assert_eq!(
            (node.get(STRICT), node.get(RATIO)),
            ("1".into(), "25".into())
        );
        assert_eq!(node.ended(signal), Some(0));
        assert_eq!(
            (node.get(STRICT), node.get(RATIO)),
            ("0".into(), "100".into())
        );
        link.want(&held());
        link.reports();
        assert!(!link.is_up());
    }
}

#[test]
fn what_a_killed_helper_left_is_put_back_by_undo_or_by_the_next_one() {
    let mut node = Node::new();
    let mut link = node.listen();
    until(&mut link, &held(), is_held);
    assert_eq!(node.ended(libc::SIGKILL), None);
    assert_eq!(node.get(RATIO), "25");
    let undo = node.undo();
    assert!(undo.status.success(), "{undo:?}");
    assert_eq!(node.get(RATIO), "100");
    let again = String::from_utf8(node.undo().stdout).unwrap();
    assert_eq!(again, "nothing had been changed\n");

    let mut link = node.listen();
    until(&mut link, &held(), is_held);
    node.ended(libc::SIGKILL);
    fs::write(node.path(RATIO), "37\n").unwrap();
    let mut link = node.listen();
    let put_back = |report: &Report| report.made.iter().any(|made| made.action == Action::Undo);
    let report = until(&mut link, &DesiredState::default(), put_back);
    assert_eq!(report.made[0].result, Outcome::LeftAlone, "{report:?}");
    assert_eq!(
        (node.get(STRICT), node.get(RATIO)),
        ("0".into(), "37".into())
    );
}

#[test]
fn a_daemon_that_goes_away_has_its_limits_put_back_and_the_next_one_is_served() {
    let mut node = Node::new();
    let mut first = node.listen();
    until(&mut first, &held(), is_held);
    drop(first);
    let mut second = Link::to(&node.path("run/guard.sock"));
    until(&mut second, &DesiredState::default(), |report| {
        report.active.is_empty()
    });
    assert_eq!(node.get(RATIO), "100");
    until(&mut second, &held(), is_held);
}

#[test]
fn those_who_wait_for_a_helper_that_serves_another_never_wait_in_it() {
    let mut node = Node::new();
    let mut first = node.listen();
    until(&mut first, &held(), is_held);
    let begin = Instant::now();
    let mut others: Vec<Link> = (0..8)
        .map(|_| Link::to(&node.path("run/guard.sock")))
        .collect();
    for other in &mut others {
        other.want(&held());
        assert!(other.reports().is_empty(), "nobody answers it");
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_cannot_be_put_back_is_said_and_can_be_tried_again() {
    let mut node = Node::new();
    let mut link = node.listen();
    until(&mut link, &held(), is_held);
    node.ended(libc::SIGKILL);
    let aside = node.path("sys/class/bdi/0:29/aside");
    fs::rename(node.path(RATIO), &aside).unwrap();
    // A directory in its place can neither be read nor written.
    fs::create_dir(node.path(RATIO)).unwrap();
    let undo = node.undo();
    assert_eq!(undo.status.code(), Some(2), "{undo:?}");
    let words = String::from_utf8(undo.stderr).unwrap();
    assert!(words.contains("try again"), "{words}");
    fs::remove_dir(node.path(RATIO)).unwrap();
    fs::rename(&aside, node.path(RATIO)).unwrap();
    assert!(node.undo().status.success());
    assert_eq!(
        (node.get(STRICT), node.get(RATIO)),
        ("0".into(), "100".into())
    );
}

/// A daemon that hangs or is stopped (SIGSTOP, a debugger, a frozen cgroup) holds its end of
/// the socket open and says nothing.
#[test]
fn a_daemon_that_falls_silent_has_its_limits_put_back_and_is_served_again_when_it_speaks() {
    const SILENCE: Duration = Duration::from_millis(600);
    let mut node = Node::new();
    let mut link = node.listen().with_silence(SILENCE);
    until(&mut link, &held(), is_held);
    thread::sleep(SILENCE / 3);
    assert_eq!(node.get(RATIO), "25", "not before its time");
    assert!(node.is_soon(RATIO, "100", SILENCE * 5));
    assert!(node.is_soon(STRICT, "0", SILENCE));
    let begin = Instant::now();
    let mut undone = None;
    while undone.is_none() && begin.elapsed() < Duration::from_secs(5) {
        let mut made = link.reports().into_iter().flat_map(|report| report.made);
        undone = made.find(|made| made.action == Action::Undo);
        thread::sleep(Duration::from_millis(5));
    }
    let words = &undone.expect("it says so").words;
    assert!(
        words.starts_with("no message from the daemon for "),
        "{words}"
    );
    assert!(link.is_up(), "the connection stays");
    until(&mut link, &held(), is_held);
    assert_eq!(node.get(RATIO), "25");
    // One that speaks often enough is left alone.
    let begin = Instant::now();
    while begin.elapsed() < SILENCE * 3 {
        link.want(&held());
        link.reports();
        assert_eq!(node.get(RATIO), "25");
        thread::sleep(SILENCE / 6);
    }
}

/// The same with easing, whose steps take the helper's time.
#[test]
fn a_limit_that_follows_does_not_follow_for_a_daemon_that_has_fallen_silent() {
    const SILENCE: Duration = Duration::from_millis(600);
    let mut node = Node::new();
    fs::write(
        node.path("proc/vmstat"),
        "nr_free_pages 900000\nnr_dirty 10000\nnr_dirty_threshold 5000\n",
    )
    .unwrap();
    let eased = DesiredState {
        ease: vec![("0:29-nfsd".into(), Action::Break)],
        ..held()
    };
    let mut link = node.listen().with_silence(SILENCE);
    until(&mut link, &eased, |report| report.active.len() == 3);
    assert_ne!(node.get("proc/sys/vm/dirty_bytes"), "0");
    // As the kernel does.
    fs::write(node.path("proc/sys/vm/dirty_ratio"), "0\n").unwrap();
    assert!(node.is_soon("proc/sys/vm/dirty_ratio", "20", SILENCE * 5));
    assert!(node.is_soon(RATIO, "100", SILENCE));
}

#[test]
fn a_helper_of_the_daemon_s_own_that_is_killed_is_started_again_and_first_puts_everything_back() {
    let node = Node::new();
    let mut link = node.spawn();
    until(&mut link, &held(), is_held);
    assert_eq!(link.restarts(), Some(0));
    let first = link.helper_pid().unwrap();
    // SAFETY: a number goes to the kernel; the process is ours, and not yet reaped.
    let killed = unsafe { libc::kill(first.try_into().unwrap(), libc::SIGKILL) };
    assert_eq!(killed, 0);
    // The file that was killed over says what was before.
    assert_eq!(node.get(RATIO), "25");
    let put_back = |report: &Report| report.made.iter().any(|made| made.action == Action::Undo);
    until(&mut link, &DesiredState::default(), put_back);
    assert_eq!(
        (node.get(STRICT), node.get(RATIO)),
        ("0".into(), "100".into())
    );
    assert_eq!(link.restarts(), Some(1));
    assert!(link.helper_pid().is_some_and(|pid| pid != first));
    assert!(link.is_up() && !link.has_given_up());
    until(&mut link, &held(), is_held);
    assert_eq!(node.get(RATIO), "25");
    // All is put back at the end, as ever.
    let _ = link.finish();
    assert_eq!(node.get(RATIO), "100");
}

/// A loop at risk, as the look-up finds it.
fn at_risk() -> Loop {
    serde_json::from_value(serde_json::json!({
        "loop": "0:29-nfsd", "client_bdi": "0:29", "server": "nfsd", "server_bdi": "254:0",
        "server_fstype": "ext4", "server_device": "/dev/vda", "proof": "xid",
        "scope": "cross-netns", "since_ms": 0, "since_unix_ms": 0, "became_own_client": false,
        "localio": false, "mounts": [], "version": "4.2", "server_address": null,
        "client_netns": null, "server_netns": null, "client_containers": [], "calls": 0,
        "server_container": null, "calls_served_here": 0, "risk": [], "recommendations": [],
    }))
    .unwrap()
}

#[test]
fn a_mode_that_is_reloaded_to_off_releases_the_limits_and_can_come_back() {
    let node = Node::new();
    let policy = |mode| Policy {
        mode,
        hold_down: Duration::ZERO,
        per_hour: 3,
    };
    let mut controller = Controller::new(policy(Mode::Prevent), Some(node.spawn()));
    let mut seen = Observation {
        kernel: "6.12.0".into(),
        ..Observation::default()
    };
    let loops = [at_risk()];
    let mut until = |controller: &mut Controller, strict: &str| {
        let mut undone = false;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(30) {
            seen.monotonic_ns += 1_000_000_000;
            let is_held = node.get(STRICT) == "1";
            seen.bdis = vec![Bdi {
                bdi: "0:29".into(),
                max_ratio: Some(100),
                strict_limit: Some(is_held),
                ..Bdi::default()
            }];
            let events = controller.tick(&seen, &loops, &[], |_| {});
            undone |= events.iter().any(|event| {
                event.action == Action::Undo && event.reason.contains("mode is off now")
            });
            if node.get(STRICT) == strict && controller.now().active.is_empty() == (strict == "0") {
                return undone;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("strict_limit stays {}", node.get(STRICT));
    };
    until(&mut controller, "1");
    controller.set_policy(policy(Mode::Off), None);
    assert!(until(&mut controller, "0"), "it says so");
    assert_eq!(node.get(RATIO), "100");
    assert_eq!(controller.now().mode, Mode::Off);
    controller.set_policy(policy(Mode::Prevent), None);
    until(&mut controller, "1");
    controller.finish(|_| {});
    assert_eq!(
        (node.get(STRICT), node.get(RATIO)),
        ("0".into(), "100".into())
    );
}
