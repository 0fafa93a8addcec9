//! The screen in a real terminal.

use std::{
    env,
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use throttle_monitor::terminal::Screen;

use crate::{
    http::{Served, pretender, program},
    pty::Pty,
};

/// Set, a test of this file is a program that panics.
const PANIC: &str = "THROTTLE_MONITOR_TOP_PANICS";

fn livelock() -> Served {
    Served::start("6.12-netns-livelock")
}

#[test]
fn it_shows_a_livelock_takes_keys_and_gives_the_terminal_back() {
    let served = livelock();
    let mut pty = Pty::top(&["--url", &served.url], 80, 24);
    let screen = pty.wait("q quit");
    assert!(screen.starts_with(" LIVELOCK"), "{screen}");
    assert!(pty.has_colours());
    pty.send("?");
    pty.wait("ctrl-c");
    pty.send("\x1b");
    pty.wait("BDIS 2");
    pty.send("/nfsd");
    pty.wait("TASKS 1/5");
    pty.send("\r");
    pty.wait("filter: nfsd  (esc: all)");
    pty.send("\r");
    pty.wait("class nfsd");
    pty.send("q");
    pty.wait("TASKS 1/5");
    pty.send("q");
    assert_eq!(pty.end().code(), Some(0));
    pty.is_restored();
}

#[test]
fn signals_and_ctrl_c_give_the_terminal_back() {
    let served = livelock();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut pty = Pty::top(&["--url", &served.url], 80, 24);
        pty.wait("q quit");
        pty.signal(signal);
        assert_eq!(pty.end().code(), Some(0), "{signal:?}");
        pty.is_restored();
    }
    let mut pty = Pty::top(&["--url", &served.url], 80, 24);
    pty.wait("q quit");
    pty.send("\x03");
    assert_eq!(pty.end().code(), Some(0));
    pty.is_restored();
}

#[test]
fn a_terminal_that_takes_nothing_keeps_nobody_from_ending_it() {
    let served = livelock();
    let mut pty = Pty::top(&["--url", &served.url], 200, 60);
    pty.wait("q quit");
    pty.pause();
    // More than the kernel keeps for it.
    for _ in 0..40 {
        pty.send("\x0c");
        thread::sleep(Duration::from_millis(60));
    }
    pty.signal(Signal::TERM);
    let start = Instant::now();
    assert_eq!(pty.end().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// Under `nohup`, or started by what is not a shell, no SIGHUP comes.
#[test]
fn a_connection_that_is_gone_ends_it_even_without_a_signal() {
    let served = livelock();
    for controls in [true, false] {
        let mut command = program();
        command.args(["top", "--url", &served.url]);
        let mut pty = Pty::start(command, 80, 24, controls);
        pty.wait("q quit");
        pty.hang_up();
        let start = Instant::now();
        assert_eq!(pty.end().code(), Some(0), "controls: {controls}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_panic_is_told_on_a_terminal_that_was_given_back() {
    let mut command = Command::new(env::current_exe().unwrap());
    let test = "live::a_program_that_panics_while_it_has_the_screen";
    command
        .args(["--exact", test, "--nocapture"])
        .env(PANIC, "1")
        .env("RUST_BACKTRACE", "0");
    let mut pty = Pty::start(command, 80, 24, true);
    assert!(!pty.end().success());
    pty.is_restored();
    pty.wait("panicked on purpose");
    let bytes = String::from_utf8_lossy(&pty.bytes()).into_owned();
    let taken = bytes.find("\x1b[?1049h").expect("it was taken");
    let left = bytes.find("\x1b[?1049l").expect("it was given back");
    let told = bytes.find("panicked on purpose").unwrap();
    assert!(taken < left && left < told, "{bytes:?}");
}

/// Nothing to test but for the one above.
#[test]
fn a_program_that_panics_while_it_has_the_screen() {
    if env::var_os(PANIC).is_none() {
        return;
    }
    let mut screen = Screen::open().unwrap();
    screen.terminal.draw(|_| ()).unwrap();
    // As with `panic = "abort"`: nothing is dropped.
    std::mem::forget(screen);
    panic!("panicked on purpose");
}

#[test]
fn any_size_is_drawn_and_the_next_one_is_whole_again() {
    let served = livelock();
    let mut pty = Pty::top(&["--url", &served.url], 80, 24);
    pty.wait("q quit");
    for (columns, rows) in [(1, 1), (2, 50), (500, 2), (20, 5)] {
        pty.resize(columns, rows);
        thread::sleep(Duration::from_millis(400));
        assert!(pty.child.try_wait().unwrap().is_none(), "{columns}x{rows}");
    }
    pty.resize(200, 60);
    let screen = pty.wait("4 of 4 conditions");
    assert!(
        screen.contains("CLASS") && screen.contains("q quit"),
        "{screen}"
    );
    pty.send("q");
    assert_eq!(pty.end().code(), Some(0));
}

#[test]
fn without_colours_there_are_none_and_the_words_are_the_same() {
    let served = livelock();
    for (args, no_color) in [(&["--color", "never"][..], ""), (&[], "1")] {
        let mut command = program();
        command.args(["top", "--url", &served.url]).args(args);
        command.env("NO_COLOR", no_color);
        let mut pty = Pty::start(command, 80, 24, true);
        let screen = pty.wait("q quit");
        assert!(screen.starts_with(" LIVELOCK") && !pty.has_colours());
        pty.send("q");
        assert_eq!(pty.end().code(), Some(0));
    }
}

#[test]
fn a_daemon_that_goes_away_is_said_on_top_and_comes_back() {
    let served = livelock();
    let address = served.address().to_owned();
    let mut pty = Pty::top(&["--url", &served.url], 80, 24);
    pty.wait("q quit");
    drop(served);
    let screen = pty.wait("NO ANSWER from");
    assert!(screen.starts_with(" LAST SEEN: LIVELOCK"), "{screen}");
    assert!(
        screen.contains("TASKS 5"),
        "the last data is kept: {screen}"
    );
    pty.wait_for("for how long", |screen| {
        screen.contains("for 2 s: ") || screen.contains("for 3 s: ")
    });
    let _again = Served::at("6.12-loopback-healthy", &address, "1h");
    let screen = pty.wait("NO LIVELOCK");
    assert!(!screen.contains("NO ANSWER"), "{screen}");
    pty.send("q");
    assert_eq!(pty.end().code(), Some(0));
}

#[test]
fn a_daemon_that_is_silent_or_tells_garbage_keeps_nobody_from_the_keys() {
    let served = livelock();
    let node = Some(served.get("node"));
    let history = Some(served.get("history"));
    let known = [node.clone(), node.clone(), history];
    for (last, words) in [
        (None, "NO ANSWER"),
        (Some("<html>".to_owned()), "expected value"),
    ] {
        let mut answers = known.to_vec();
        answers.push(last);
        let (url, _) = pretender(answers);
        let mut pty = Pty::top(&["--url", &url], 100, 24);
        pty.wait(words);
        pty.send("?");
        pty.wait("KEYS");
        let start = Instant::now();
        pty.send("qq");
        assert_eq!(pty.end().code(), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "it waited for the daemon"
        );
        pty.is_restored();
    }
}

#[test]
fn no_more_is_asked_for_than_fits() {
    let served = livelock();
    let node = Some(served.get("node"));
    let known = vec![node.clone(), node, Some(served.get("history")), None];
    let (url, asked) = pretender(known);
    let pty = Pty::top(&["--url", &url], 80, 24);
    pty.wait("q quit");
    thread::sleep(Duration::from_secs(2));
    // The node, which has the tasks that fit; the history; the node again.
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 4);
}

/// With the programs of its own, on this kernel.
#[test]
#[ignore = "needs root"]
fn on_its_own_it_says_so_and_shows_the_node() {
    if TcpStream::connect("127.0.0.1:9746").is_ok() {
        eprintln!("a daemon runs here: nothing to see");
        return;
    }
    let mut pty = Pty::top(&["--interval", "200ms"], 100, 30);
    let screen = pty.wait("in this process, no daemon");
    assert!(
        screen.starts_with(" NO LIVELOCK") || screen.starts_with(" NOT READY"),
        "{screen}"
    );
    pty.wait("NO LIVELOCK");
    pty.send("i");
    pty.wait("balance_dirty_pages: ");
    pty.wait("task_class: ");
    pty.send("qq");
    assert_eq!(pty.end().code(), Some(0));
    pty.is_restored();
}
