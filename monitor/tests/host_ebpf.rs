//! Real eBPF on the kernel of this machine, as root: `./dev test` runs these,
//! `cargo test` leaves them out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod host;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{HashMap, Map, MapData, loaded_maps};
use host::{Alone, Daemon, LoopDisk, PROGRAM, Pause, Sysctl, Trace, sh};

/// Writes into the directory until told to stop.
fn dd(dir: &std::path::Path, seconds: u64) -> std::process::Child {
    let script = format!(
        "end=$(($(date +%s) + {seconds})); while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of={}/file bs=1M \
         count=150 conv=notrunc; done",
        dir.display()
    );
    Command::new("sh")
        .args(["-c", &script])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "needs root and a loop device"]
fn throttled_writers_show_within_two_ticks_and_every_pause_is_counted() {
    let Some(disk) = LoopDisk::new(300) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "16000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let daemon = Daemon::start(&[]);
    let trace = Trace::balance_dirty_pages(&disk.bdi);
    let bdi = format!("bdi=\"{}\"", disk.bdi);
    let labels = [
        "cause=\"balance_dirty_pages\"",
        "class=\"user\"",
        bdi.as_str(),
    ];

    let mut writers: Vec<_> = (0..3).map(|_| dd(&disk.path(), 8)).collect();
    let start = Instant::now();
    let mut first_pause = None;
    let mut seen_after = None;
    let mut waiting = 0.0f64;
    while start.elapsed() < Duration::from_secs(9) {
        if first_pause.is_none() && trace.events() > 0 {
            first_pause = Some(Instant::now());
        }
        if let (Some(first), None) = (first_pause, seen_after)
            && daemon.metric("throttle_delay_seconds_count", &labels) > 0.0
        {
            seen_after = Some(first.elapsed());
        }
        waiting = waiting.max(daemon.metric("throttle_waiting_tasks", &labels[..2]));
        thread::sleep(Duration::from_millis(50));
    }
    for writer in &mut writers {
        writer.wait().unwrap();
    }
    thread::sleep(Duration::from_millis(2500));

    let seen_after = seen_after.expect("the throttled writers never showed");
    assert!(
        seen_after < Duration::from_millis(2500),
        "shown only after {seen_after:?}"
    );
    assert!(waiting >= 1.0, "no writer was ever seen waiting");
    let labels = ["cause=\"balance_dirty_pages\"", bdi.as_str()];
    let counted = daemon.metric("throttle_delay_seconds_count", &labels);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let traced = trace.events() as f64;
    println!(
        "{traced} pauses traced, {counted} counted, shown after {seen_after:?}, at most {waiting} waiting"
    );
    assert!(traced >= 100.0, "too few pauses to compare: {traced}");
    assert!(
        (counted - traced).abs() <= traced / 100.0,
        "{counted} counted, {traced} traced"
    );
    assert!(daemon.metric("throttle_delay_seconds_sum", &labels) > 0.0);
    // The disk's own worker writes its file, and is told from other workers.
    let by = |class| daemon.metric("throttle_delay_seconds_count", &[labels[0], class]);
    let (device, worker) = (by("class=\"loop_device\""), by("class=\"kworker\""));
    println!("{device} pauses of loop devices, {worker} of other workers");
    assert!(
        device > 0.0,
        "the loop device's worker was not told from others"
    );
    assert_eq!(daemon.stop(), Some(0));
}

/// Writers whose pauses are short: what is shown as waiting is what sleeps.
#[test]
#[ignore = "needs root and a loop device"]
fn a_task_is_shown_as_waiting_for_as_long_as_its_pause_and_no_longer() {
    let Some(disk) = LoopDisk::new(700) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "8000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let daemon = Daemon::start(&["--interval", "100ms"]);
    let script = "end=$(($(date +%s) + 40)); while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of=$0 bs=64k \
                  count=320 conv=notrunc; done";
    let writers = (0..24).map(|number| {
        let mut shell = Command::new("sh");
        let to = disk.path().join(number.to_string());
        shell.arg("-c").arg(script).arg(to);
        shell.stderr(std::process::Stdio::null()).spawn().unwrap()
    });
    let mut writers: Vec<_> = writers.collect();
    thread::sleep(Duration::from_secs(3));
    let labels = ["cause=\"balance_dirty_pages\"", "class=\"user\""];
    let trace = Trace::balance_dirty_pages(&disk.bdi);
    let start = Instant::now();
    let (mut shown, mut oldest) = (Vec::new(), Vec::new());
    while start.elapsed() < Duration::from_secs(34) {
        shown.push(daemon.metric("throttle_waiting_tasks", &labels));
        oldest.push(daemon.metric("throttle_oldest_wait_seconds", &labels));
        thread::sleep(Duration::from_millis(70));
    }
    let seconds = start.elapsed().as_secs_f64();
    let pauses = trace.pauses();
    drop(trace);
    for writer in &mut writers {
        writer.wait().unwrap();
    }
    let of_user = pauses
        .iter()
        .map(|pause| pause.announced.as_secs_f64())
        .sum::<f64>()
        / seconds;
    let mean = |all: &[f64]| all.iter().sum::<f64>() / f64::from(u32::try_from(all.len()).unwrap());
    let longest = pauses.iter().map(|pause| pause.announced).max().unwrap();
    let (call, late) = longest_call(&pauses);
    let oldest = oldest.into_iter().fold(0.0, f64::max);
    println!(
        "{} pauses, the longest {longest:?}, of a call {call:?}, woken up to {late:?} late: {of_user:.2} tasks sleep, {:.2} are shown, the oldest \
         for {oldest:.3} s",
        pauses.len(),
        mean(&shown),
    );
    assert!(pauses.len() > 500, "{} pauses are too few", pauses.len());
    assert!(
        (mean(&shown) / of_user - 1.0).abs() < 0.2,
        "{} are shown, {of_user} sleep",
        mean(&shown)
    );
    // A wait is as old as its call, of several pauses.
    let call = (call + late).as_secs_f64();
    assert!(
        oldest < call + 0.05,
        "{oldest} s, the longest call {call} s"
    );
    thread::sleep(Duration::from_millis(300));
    let now = |name| daemon.metric(name, &labels);
    assert!(now("throttle_waiting_tasks") < 0.5);
    assert!(now("throttle_oldest_wait_seconds") < 0.05);
}

/// The longest call, as announced, and how late at most a task was woken from a pause that was not
/// its call's last one: on a busy machine that is a part of each wait.
fn longest_call(pauses: &[Pause]) -> (Duration, Duration) {
    let announced = pauses.iter().map(|pause| pause.before + pause.announced);
    let longest = announced.max().unwrap();
    let mut last = BTreeMap::new();
    let mut late = Duration::ZERO;
    for pause in pauses {
        let Some(before) = last.insert(&pause.task, pause) else {
            continue;
        };
        if pause.before > before.before {
            late = late.max(pause.at.saturating_sub(before.at + before.announced));
        }
    }
    (longest, late)
}

#[test]
#[ignore = "needs root and a loop device"]
fn pauses_of_many_writers_are_all_counted_though_the_daemon_stands_still_meanwhile() {
    let Some(disk) = LoopDisk::new(700) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "8000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let daemon = Daemon::start(&[]);
    let trace = Trace::balance_dirty_pages(&disk.bdi);
    let at = |number: u32| {
        let path = disk.path().join(number.to_string());
        fs::create_dir(&path).unwrap();
        path
    };
    let script = "end=$(($(date +%s) + 8)); while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of=$0/file bs=1M \
                  count=20 conv=notrunc; done";
    let writers = (0..32).map(|number| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(at(number));
        shell.stderr(std::process::Stdio::null()).spawn().unwrap()
    });
    let mut writers: Vec<_> = writers.collect();
    thread::sleep(Duration::from_secs(2));
    daemon.signal(rustix::process::Signal::STOP);
    thread::sleep(Duration::from_secs(3));
    daemon.signal(rustix::process::Signal::CONT);
    for writer in &mut writers {
        writer.wait().unwrap();
    }
    thread::sleep(Duration::from_millis(2500));

    let bdi = format!("bdi=\"{}\"", disk.bdi);
    let labels = ["cause=\"balance_dirty_pages\"", bdi.as_str()];
    let counted = daemon.metric("throttle_delay_seconds_count", &labels);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let traced = trace.events() as f64;
    assert!(traced > 3000.0, "{traced} pauses are too few");
    assert!(
        (counted - traced).abs() < 0.5,
        "{counted} pauses counted of {traced}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
#[ignore = "needs root"]
fn check_says_how_each_signal_comes_in_and_ends_with_its_exit_code() {
    let output = Command::new(PROGRAM)
        .args(["check", "--verbose"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(!text.contains('\u{1b}'), "no colour in a pipe");
    for signal in [
        "balance_dirty_pages",
        "reclaim_throttle",
        "direct_reclaim",
        "nfsd_writes",
    ] {
        assert!(text.contains(signal), "{signal} is not in\n{text}");
    }
    // Which of the two depends on this kernel; `2` would be a monitor that
    // cannot see dirty throttling on a kernel that has tracepoints.
    let code = output.status.code().unwrap();
    let words = ["degraded", "unavailable", "not seen", "missing"];
    let lossy = words
        .iter()
        .any(|word| text.contains(&format!("\n  {word} ")));
    assert_eq!(code, i32::from(lossy), "{text}");
}

#[test]
#[ignore = "needs root, to become another user"]
fn check_and_run_tell_an_ordinary_user_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    sh("chmod", &["755", dir.path().to_str().unwrap()]);
    let program = dir.path().join("throttle-monitor");
    fs::copy(PROGRAM, &program).unwrap();
    for command in ["check", "run"] {
        let output = Command::new(&program)
            .arg(command)
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains("CAP_BPF") && text.contains("no eBPF program can be loaded"),
            "{text}"
        );
        assert!(text.contains("run as root"), "{text}");
    }
}

#[test]
#[ignore = "needs root"]
fn every_thread_of_the_daemon_has_only_what_it_needs_and_can_get_no_more() {
    // CAP_DAC_READ_SEARCH, IPC_LOCK (without SYS_RESOURCE), SYS_PTRACE, SYS_ADMIN,
    // SYS_RESOURCE, PERFMON, BPF.
    let needed = [2, 14, 19, 21, 24, 38, 39]
        .iter()
        .map(|bit| 1_u64 << bit)
        .sum::<u64>();
    let daemon = Daemon::start(&[]);
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key} in {status}"))
                .trim()
                .to_owned()
        };
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let has = u64::from_str_radix(&value(set), 16).unwrap();
            assert_eq!(has & !needed, 0, "{set} of {}", value("Name:"));
        }
        assert_eq!(u64::from_str_radix(&value("CapInh:"), 16), Ok(0));
        assert_eq!(value("NoNewPrivs:"), "1");
        threads += 1;
    }
    assert!(threads >= 3, "{threads} threads");
}

#[test]
#[ignore = "needs root"]
fn a_directory_that_is_no_procfs_or_sysfs_is_said_and_nothing_runs() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for command in ["check", "run"] {
        for (flag, name) in [("--path.procfs", "procfs"), ("--path.sysfs", "sysfs")] {
            let output = Command::new(PROGRAM)
                .args([command, flag, empty])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{text}");
            let words = format!("{empty} is not a {name} (");
            assert!(text.contains(&words) && text.contains(flag), "{text}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_port_in_use_is_said_before_anything_is_loaded() {
    let daemon = Daemon::start(&[]);
    let output = Command::new(PROGRAM)
        .args(["run", "--web.listen-address", daemon.address()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("cannot listen on 127.0.0.1:") && text.contains("another throttle-monitor"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root"]
fn without_any_tracepoint_nothing_is_monitored_and_readiness_says_so() {
    let check = Command::new(PROGRAM)
        .args(["check", "--probe.avoid", "tracepoint"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{text}");
    assert!(text.contains("dirty throttling is not visible"), "{text}");
}

#[test]
#[ignore = "needs root and a loop device"]
fn the_programs_log_only_when_they_are_told_to() {
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "16000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let logged = |args: &[&str]| {
        let disk = LoopDisk::new(300)?;
        let daemon = Daemon::start(args);
        dd(&disk.path(), 3).wait().unwrap();
        thread::sleep(Duration::from_millis(1500));
        let bdi = format!("bdi=\"{}\"", disk.bdi);
        assert!(daemon.metric("throttle_delay_seconds_count", &[&bdi]) > 0.0);
        Some(daemon.log().contains("first pause on BDI"))
    };
    let Some(quiet) = logged(&["--log.level", "debug"]) else {
        return;
    };
    assert!(!quiet);
    assert_eq!(logged(&["--log.level", "debug", "--log.ebpf"]), Some(true));
}

#[test]
#[ignore = "needs root"]
fn whatever_is_mounted_for_the_daemon_alone_is_seen_by_nobody_else() {
    let _alone = Alone::new();
    // The kernel mounts tracefs below debugfs for whoever looks there first.
    let _ = fs::read_dir("/sys/kernel/debug/tracing");
    let mounts = |of: &str| {
        let text = fs::read_to_string(format!("/proc/{of}/mountinfo")).unwrap();
        // What else is mounted meanwhile is somebody else's.
        let ours = |line: &&str| {
            [" - tracefs ", " - debugfs "]
                .iter()
                .any(|kind| line.contains(kind))
        };
        text.lines()
            .filter(ours)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = mounts("self");
    let daemon = Daemon::start(&[]);
    assert_eq!(mounts("self"), before);
    let own = mounts(&daemon.pid().to_string());
    assert_eq!(own, before, "the daemon itself stays where it was");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(mounts("self"), before);
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_process_named_like_a_userspace_nfs_server_counts_as_one() {
    let Some(disk) = LoopDisk::new(300) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "16000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let daemon = Daemon::start(&[]);
    let server = disk.path().join("ganesha.nfsd");
    fs::copy("/bin/dd", &server).unwrap();
    for _ in 0..3 {
        let to = format!("of={}/file", disk.path().display());
        let args = ["if=/dev/zero", &to, "bs=1M", "count=200", "conv=notrunc"];
        sh(server.to_str().unwrap(), &args);
    }
    thread::sleep(Duration::from_millis(1500));
    let bdi = format!("bdi=\"{}\"", disk.bdi);
    let counted = |class: &str| {
        let class = format!("class=\"{class}\"");
        daemon.metric("throttle_delay_seconds_count", &[&bdi, &class])
    };
    assert!(counted("server") > 0.0);
    assert!(counted("user") < counted("server"));
}

/// Writes the file in `$0` by the shell itself, without a child, and again and again.
const WRITE: &str = "x=$(head -c 1000000 /dev/zero | tr '\\0' x)\n\
    write() { i=0; while [ $i -lt 20 ]; do echo \"$x\"; i=$((i + 1)); done 1<>\"$1/file\"; }\n";

#[test]
#[ignore = "needs root and a loop device"]
fn a_shell_that_was_paused_and_then_executes_a_server_counts_as_one() {
    let Some(disk) = LoopDisk::new(300) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "16000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let server = disk.path().join("ganesha.nfsd");
    // The kernel names a process after the script, not after its interpreter.
    let script = format!("#!/bin/sh\n{WRITE}while :; do write \"$1\"; done\n");
    fs::write(&server, script).unwrap();
    sh("chmod", &["+x", server.to_str().unwrap()]);
    let daemon = Daemon::start(&[]);
    let script = format!(
        "{WRITE}until [ -e \"$0/go\" ]; do write \"$0\"; done; exec \"$0/ganesha.nfsd\" \"$0\""
    );
    let shell = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(disk.path())
        .spawn();
    let mut shell = Ended(shell.unwrap());
    let bdi = format!("bdi=\"{}\"", disk.bdi);
    let counted = |class: &str| {
        let class = format!("class=\"{class}\"");
        daemon.metric("throttle_delay_seconds_count", &[&bdi, &class])
    };
    let pid = shell.0.id();
    let tasks = || daemon.get("/api/v1/tasks").1;
    wait_for("the shell itself was never paused", &|| {
        tasks().contains(&format!("\"tid\":{pid},"))
    });
    assert!(counted("server") < 1.0);
    fs::write(disk.path().join("go"), "").unwrap();
    let comm = format!("/proc/{pid}/comm");
    wait_for("the shell never executed the server", &|| {
        fs::read_to_string(&comm).unwrap() == "ganesha.nfsd\n"
    });
    wait_for("its pauses are still those of no server", &|| {
        counted("server") > 0.0
    });
    // A tick more, for what was counted before.
    thread::sleep(Duration::from_millis(1500));
    let (user, server) = (counted("user"), counted("server"));
    wait_for("the server is not paused any more", &|| {
        counted("server") > server + 5.0
    });
    assert!(counted("user") <= user, "some of its pauses are a user's");
    let tasks = tasks();
    let named = tasks.contains("\"comm\":\"ganesha.nfsd\"");
    assert!(named && shell.0.try_wait().unwrap().is_none(), "{tasks}");
}

/// Waits until the condition holds.
fn wait_for(what: &str, condition: &dyn Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        // A minute, for emulated machines.
        assert!(start.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The programs' map of server processes, of this daemon and of any other that runs.
fn told_servers() -> Vec<HashMap<MapData, u32, u8>> {
    let maps = loaded_maps().flatten();
    let maps = maps.filter(|map| map.name_as_str() == Some("SERVERS"));
    let maps = maps.filter_map(|map| MapData::from_id(map.id()).ok());
    maps.filter_map(|map| HashMap::try_from(Map::HashMap(map)).ok())
        .collect()
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_process_counts_as_a_server_as_soon_as_the_programs_are_told_and_no_longer() {
    let Some(disk) = LoopDisk::new(300) else {
        return;
    };
    let Some(_limit) = Sysctl::set(
        "/proc/sys/vm/dirty_bytes",
        "16000000",
        "/proc/sys/vm/dirty_ratio",
    ) else {
        return;
    };
    let daemon = Daemon::start(&[]);
    let script = format!("{WRITE}while :; do write \"$0\"; done");
    let shell = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(disk.path())
        .spawn();
    let shell = Ended(shell.unwrap());
    let bdi = format!("bdi=\"{}\"", disk.bdi);
    let counted = |class: &str| {
        let class = format!("class=\"{class}\"");
        daemon.metric("throttle_delay_seconds_count", &[&bdi, &class])
    };
    wait_for("the shell was never paused", &|| counted("user") > 10.0);
    assert!(counted("server") < 1.0);
    let mut servers = told_servers();
    assert!(!servers.is_empty(), "no map of servers");
    for map in &mut servers {
        map.insert(shell.0.id(), 1, 0).unwrap();
    }
    let start = Instant::now();
    wait_for("it does not count as a server", &|| counted("server") > 0.0);
    println!("a server after {:?}", start.elapsed());
    thread::sleep(Duration::from_millis(1500));
    let user = counted("user");
    let server = counted("server");
    wait_for("it is not paused any more", &|| {
        counted("server") > server + 5.0
    });
    assert!(
        counted("user") <= user,
        "some of its pauses are still a user's"
    );
    for map in &mut servers {
        map.remove(&shell.0.id()).unwrap();
    }
    wait_for("it still counts as a server", &|| {
        counted("user") > user + 5.0
    });
}

/// A child that does not outlive the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
