//! What floods the daemon, on the kernel of this machine, as root: `./dev test` runs
//! these, `cargo test` leaves them out. docs/faults.md has what came of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod host;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use host::{Alone, Daemon, Undo, has_capabilities, skip};

/// A cgroup of memory with this process in it: whoever writes to its file has its pages
/// reclaimed, which is a wait, and a short one.
struct Cgroup {
    path: PathBuf,
    /// Where this process was.
    home: PathBuf,
    file: PathBuf,
    text: &'static str,
    _undo: Undo,
    _alone: Alone,
}

impl Cgroup {
    /// `None`, and says so, where this kernel or this container has none.
    fn join() -> Option<Self> {
        let alone = Alone::new();
        let found = [
            ("/sys/fs/cgroup/memory", ":memory:"),
            ("/sys/fs/cgroup", "0::"),
        ]
        .into_iter()
        .find(|(root, _)| Path::new(root).join("cgroup.procs").exists());
        let Some((root, prefix)) = found else {
            skip("no cgroup of memory is mounted");
            return None;
        };
        let root = Path::new(root);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.split_once(prefix));
        let home = root.join(own.unwrap().1.trim_start_matches('/'));
        let path = root.join(format!("throttle-monitor-test-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&path) {
            skip(&format!("{} cannot be made: {error}", path.display()));
            return None;
        }
        let ends = [path.to_str().unwrap(), home.to_str().unwrap()];
        let undo = Undo::shell(
            "while read -r pid; do echo $pid >\"$2/cgroup.procs\"; done <\"$1/cgroup.procs\"; rmdir \"$1\"",
            &ends,
        );
        let ways = [("memory.force_empty", "0"), ("memory.reclaim", "1M")];
        let ways = ways.map(|(file, text)| (path.join(file), text));
        let Some((file, text)) = ways.into_iter().find(|(file, _)| file.exists()) else {
            skip(
                "neither memory.force_empty nor memory.reclaim (Linux 5.19, with the controller on)",
            );
            return None;
        };
        let cgroup = Self {
            path,
            home,
            file,
            text,
            _undo: undo,
            _alone: alone,
        };
        enter(&cgroup.path);
        Some(cgroup)
    }

    /// One wait of the calling thread.
    fn wait(&self) {
        // That not all was available is what is wanted.
        let _ = fs::write(&self.file, self.text);
    }
}

fn enter(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let pid = std::process::id().to_string();
        let _ = fs::write(self.home.join("cgroup.procs"), pid);
    }
}

fn waits(daemon: &Daemon) -> f64 {
    daemon.metric("throttle_delay_seconds_count", &["cause=\"memcg_reclaim\""])
}

fn lost(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric(
        "throttle_monitor_lost_events_total",
        &[&format!("reason=\"{reason}\"")],
    )
}

fn ticks(daemon: &Daemon) -> f64 {
    let (_, text) = daemon.get("/metrics");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("throttle_monitor_tick_duration_seconds_count "));
    line.unwrap().parse().unwrap()
}

/// Kilobytes that are its own.
fn anonymous(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Until the daemon has counted what was done.
fn counted() {
    thread::sleep(Duration::from_millis(2500));
}

#[test]
#[ignore = "needs root and a cgroup of memory"]
fn the_waits_of_a_crowd_of_short_lived_tasks_are_all_counted_in_bounded_memory() {
    // A million, for docs/faults.md.
    let tasks = std::env::var("THROTTLE_MONITOR_TEST_TASKS");
    let tasks: u32 = tasks.map_or(20_000, |tasks| tasks.parse().unwrap());
    let Some(cgroup) = Cgroup::join() else {
        return;
    };
    let own = vec![1_u8; 1 << 20];
    let daemon = Daemon::start(&[]);
    counted();
    let (before, at_first, since) = (waits(&daemon), ticks(&daemon), Instant::now());
    let mut memory = Vec::new();
    for done in 0..tasks {
        // A thread is a task, and one that ends at once.
        thread::scope(|scope| scope.spawn(|| cgroup.wait()).join().unwrap());
        if done % (tasks / 10) == 0 {
            memory.push(anonymous(&daemon));
        }
    }
    let took = since.elapsed().as_secs_f64();
    counted();
    std::hint::black_box(&own);
    let (seen, ticked) = (waits(&daemon) - before, ticks(&daemon) - at_first);
    println!(
        "{tasks} tasks in {took:.1} s: {seen} waits counted, {ticked} ticks, {} totals evicted, its own memory {memory:?} kB",
        lost(&daemon, "evicted")
    );
    assert!(seen >= f64::from(tasks), "{seen} waits of {tasks} tasks");
    assert!((lost(&daemon, "map_full") - 0.0).abs() < 0.5);
    // An emulated machine on a busy host has no time for more.
    let emulated = std::env::var_os("THROTTLE_MONITOR_TEST_EMULATED").is_some();
    let wanted = took * if emulated { 0.2 } else { 0.8 };
    assert!(ticked >= wanted, "{ticked} ticks in {took} s");
    let (first, last) = (memory[memory.len() / 2], anonymous(&daemon));
    assert!(
        last < first + 1024,
        "its memory grows: {memory:?} kB, then {last}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
#[ignore = "needs root and a cgroup of memory"]
fn of_a_flood_of_records_some_are_lost_and_said_and_every_wait_is_counted() {
    let Some(cgroup) = Cgroup::join() else {
        return;
    };
    let own = vec![1_u8; 1 << 20];
    // Each wait leaves a record.
    let daemon = Daemon::start(&["--stall-threshold", "1us"]);
    counted();
    let (before, at_first) = (waits(&daemon), ticks(&daemon));
    let since = Instant::now();
    let mut done = 0_u32;
    while since.elapsed() < Duration::from_secs(5) {
        cgroup.wait();
        done += 1;
    }
    counted();
    std::hint::black_box(&own);
    let (seen, missed) = (waits(&daemon) - before, lost(&daemon, "ringbuf"));
    println!("{done} writes in 5 s: {seen} waits counted, {missed} records lost");
    assert!(missed > 0.0, "it was not a flood: {done} writes");
    assert!(seen >= f64::from(done), "{seen} waits of {done} writes");
    assert!(ticks(&daemon) - at_first >= 5.0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
#[ignore = "needs root, to become another user"]
fn an_ordinary_user_with_three_capabilities_sees_the_waits() {
    let dir = tempfile::tempdir().unwrap();
    host::sh("chmod", &["755", dir.path().to_str().unwrap()]);
    let program = dir.path().join("throttle-monitor");
    fs::copy(host::PROGRAM, &program).unwrap();
    // Whose tracefs is mounted, as systemd does it; this machine may have none.
    let capabilities = "-all,+bpf,+perfmon,+dac_read_search";
    if !has_capabilities(&[2, 38, 39]) {
        skip("this container has not got the three capabilities");
        return;
    }
    let script = format!(
        "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
         --inh-caps={capabilities} --ambient-caps={capabilities} {} check --format json",
        program.display()
    );
    let said = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    // A level that Debian and Ubuntu have added: perf events need CAP_SYS_ADMIN then.
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<i32>().unwrap() > 2 {
        assert_eq!(said.status.code(), Some(2), "{text}");
        assert!(text.contains("perf_event_paranoid"), "{text}");
        return;
    }
    assert_eq!(
        said.status.code(),
        Some(1),
        "{text}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let state = |wanted: &str| {
        let mut signals = json["signals"].as_array().unwrap().iter();
        let signal = signals.find(|one| one["signal"] == wanted).unwrap();
        signal["state"].as_str().unwrap().to_owned()
    };
    for signal in ["balance_dirty_pages", "direct_reclaim", "memcg_reclaim"] {
        assert_ne!(state(signal), "unavailable", "{signal} in {text}");
    }
    let missing = json["missing_privileges"].as_array().unwrap();
    println!("missing for {}: {missing:#?}", said.status);
    assert!(!missing.is_empty(), "what more would buy is said");
    assert!(
        missing.iter().all(|one| one["fatal"] != true),
        "{missing:?}"
    );
}
