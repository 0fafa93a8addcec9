//! A terminal: its other end is read as a terminal would show it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::fcntl_dupfd_cloexec,
    process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    stdio::stdin,
    termios::{LocalModes, OutputModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// Longer than any of this takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What came to the terminal.
struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

/// A program in a terminal of its own.
pub struct Pty {
    master: Option<OwnedFd>,
    /// Kept, so that what the program left can be looked at when it is over.
    slave: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Seen>>,
    gone: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
    pub child: Child,
}

fn size(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    let number = |number| NonZeroU16::new(number).unwrap();
    (number(rows), number(columns))
}

impl Pty {
    /// `throttle-monitor top` with these arguments, at this size.
    pub fn top(args: &[&str], columns: u16, rows: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_throttle-monitor"));
        command.arg("top").args(args).env_remove("NO_COLOR");
        Self::start(command, columns, rows, true)
    }

    /// A program in a terminal that calls itself so.
    pub fn start_as(mut command: Command, term: &str, columns: u16, rows: u16) -> Self {
        command.env("TERM", term);
        Self::start(command, columns, rows, true)
    }

    /// A program; the terminal controls it (it is sent SIGHUP and SIGWINCH), or
    /// not.
    pub fn start(mut command: Command, columns: u16, rows: u16, controls: bool) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let end = || fcntl_dupfd_cloexec(&slave, 3).unwrap();
        command.stdin(end()).stdout(end()).stderr(end());
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm-256color");
        }
        command.env("LC_ALL", "C.UTF-8");
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                if controls {
                    ioctl_tiocsctty(stdin())?;
                }
                Ok(())
            });
        }
        let (height, width) = size(rows, columns);
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(height, width, 100),
            bytes: Vec::new(),
        }));
        set_size(&master, columns, rows);
        let gone = Arc::new(AtomicBool::new(false));
        let end = File::from(fcntl_dupfd_cloexec(&master, 3).unwrap());
        let paused = Arc::new(AtomicBool::new(false));
        let both = [Arc::clone(&gone), Arc::clone(&paused)];
        let reading = read(end, Arc::clone(&seen), both);
        let child = command.spawn().unwrap();
        Self {
            master: Some(master),
            slave,
            before,
            seen,
            gone,
            paused,
            reading: Some(reading),
            child,
        }
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the screen shows.
    pub fn contents(&self) -> String {
        self.seen(|seen| seen.screen.screen().contents())
    }

    /// Everything that was ever written to it.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen(|seen| seen.bytes.clone())
    }

    /// Whether anything is coloured.
    pub fn has_colours(&self) -> bool {
        self.seen(|seen| {
            let screen = seen.screen.screen();
            let (rows, columns) = screen.size();
            let mut all = (0..rows.get()).flat_map(|y| (0..columns.get()).map(move |x| (y, x)));
            all.any(|(y, x)| {
                let cell = screen.cell(y, x).unwrap();
                let plain = vt100::Color::Default;
                cell.fgcolor() != plain || cell.bgcolor() != plain
            })
        })
    }

    /// Types.
    pub fn send(&self, keys: &str) {
        let master = self.master.as_ref().unwrap();
        let mut file = File::from(fcntl_dupfd_cloexec(master, 3).unwrap());
        file.write_all(keys.as_bytes()).unwrap();
    }

    /// Somebody draws at the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (height, width) = size(rows, columns);
        let mut seen = self.seen.lock().unwrap();
        seen.screen.set_size(height, width);
        drop(seen);
        set_size(self.master.as_ref().unwrap(), columns, rows);
    }

    /// Until the screen is so.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let contents = self.contents();
            if is_so(&contents) {
                return contents;
            }
            assert!(start.elapsed() < PATIENCE, "never {what}:\n{contents}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Until it shows these words.
    pub fn wait(&self, words: &str) -> String {
        self.wait_for(words, |contents| contents.contains(words))
    }

    /// Nobody reads it any more, as after Ctrl-S.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// A signal comes.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The connection is gone.
    pub fn hang_up(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        self.reading.take().unwrap().join().unwrap();
        self.master = None;
    }

    /// How it ended.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it does not end:\n{}", self.contents());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as it was before: who types sees it, and where.
    pub fn is_restored(&self) {
        // What was written last may still be on its way.
        let start = Instant::now();
        let left = |seen: &Seen| {
            let screen = seen.screen.screen();
            !screen.alternate_screen() && !screen.hide_cursor()
        };
        while !self.seen(left) {
            let late = start.elapsed() > Duration::from_secs(10);
            assert!(!late, "not given back:\n{}", self.contents());
            thread::sleep(Duration::from_millis(20));
        }
        let now = tcgetattr(&self.slave).unwrap();
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(now.output_modes, self.before.output_modes);
        assert_eq!(now.input_modes, self.before.input_modes);
        let usual = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(now.local_modes.contains(usual));
        assert!(now.output_modes.contains(OutputModes::OPOST));
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(master: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}

/// Reads until it is told to let go.
fn read(
    mut master: File,
    seen: Arc<Mutex<Seen>>,
    [gone, paused]: [Arc<AtomicBool>; 2],
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while !gone.load(Ordering::Relaxed) {
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: 50_000_000,
            };
            if paused.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let mut ready = [PollFd::new(&master, PollFlags::IN)];
            if poll(&mut ready, Some(&pause)).unwrap() == 0 {
                continue;
            }
            let Ok(length @ 1..) = master.read(&mut bytes) else {
                return;
            };
            let mut seen = seen.lock().unwrap();
            seen.screen.process(&bytes[..length]);
            seen.bytes.extend_from_slice(&bytes[..length]);
        }
    })
}
