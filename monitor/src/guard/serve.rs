//! The helper process: told what shall hold, it makes it hold. When it hears nothing for a
//! while, it puts everything back and waits; when the connection closes, it puts everything
//! back and ends, or serves the next one. It serves nobody else, reads nothing but the
//! settings and `/proc/vmstat`, and has no capabilities.

use std::{
    io::ErrorKind,
    os::{
        fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use compact_str::CompactString;
use monitor_collector::host::{hardening, privileges};
use monitor_model::guard::{Action, DesiredState};
use monitor_verdict::guard::to_break;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
        bind, listen as listen_on, recv, send, socket_with,
    },
};

use super::{
    Actuator, Report, Settings,
    message::{HelperMessage, MAX_MESSAGE, SILENCE},
    tunables::Bdi,
};

/// Between two steps of a limit that follows: the longest pause of a writer, halved.
const STEP: Duration = Duration::from_millis(100);

/// Whatever a daemon says, it is not waited for longer than this.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Between two looks at whether settings are still as they were set.
const LOOK: Duration = Duration::from_secs(1);

/// Serves the one who holds the other end of this socket. Signals do not end it: systemd
/// sends them to all processes of a service at once, and this one ends when the daemon is
/// gone.
///
/// # Errors
///
/// Nothing can be changed here: it is said before anything is served.
pub fn serve(socket: &OwnedFd, settings: &Settings) -> anyhow::Result<()> {
    let mut actuator = prepare(settings)?;
    let _signals = signals()?;
    attend(socket.as_fd(), None, &mut actuator);
    Ok(())
}

/// Serves one after the other of those who connect to this path, until SIGTERM or SIGINT.
///
/// # Errors
///
/// The path cannot be listened on, or nothing can be changed here.
pub fn listen(path: &Path, settings: &Settings) -> anyhow::Result<()> {
    let what = || format!("cannot listen on {}", path.display());
    let address = SocketAddrUnix::new(path).with_context(what)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(what)?;
    }
    let flags = SocketFlags::CLOEXEC;
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).with_context(what)?;
    // The journal's lock first: a socket is not taken from another that is at work.
    let mut actuator = Actuator::open(settings)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(what),
        _ => {}
    }
    bind(&listener, &address).with_context(what)?;
    // Whoever may connect may have limits set: root, and the group of the directory.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(what)?;
    listen_on(&listener, 1).with_context(what)?;
    confine()?;
    let signals = signals()?;
    loop {
        match ready(listener.as_fd(), Some(signals.as_fd()), None)? {
            Ready::Stop => return Ok(()),
            Ready::Time => {}
            Ready::Read => match accept_with(&listener, flags) {
                Ok(socket) => attend(socket.as_fd(), Some(signals.as_fd()), &mut actuator),
                Err(Errno::INTR | Errno::CONNABORTED | Errno::AGAIN) => {}
                Err(error) => return Err(error).with_context(what),
            },
        }
    }
}

/// Frees the server, or holds the client's BDI, and eases the dirty limit until SIGTERM or
/// SIGINT; what is done is handed to `tell`.
///
/// # Errors
///
/// Nothing can be changed here.
pub fn ease(
    bdi: &str,
    server: Option<&str>,
    settings: &Settings,
    mut tell: impl FnMut(&Report),
) -> anyhow::Result<()> {
    for bdi in [Some(bdi), server].into_iter().flatten() {
        Bdi::try_from(bdi.to_owned()).map_err(anyhow::Error::msg)?;
    }
    let mut actuator = prepare(settings)?;
    let signals = signals()?;
    let (name, server) = (CompactString::from(bdi), server.map(CompactString::from));
    actuator.want(DesiredState {
        holds: vec![to_break(
            name.clone(),
            Action::Break,
            name.clone(),
            actuator.offers_strict_limit(bdi),
            server,
        )],
        ease: vec![(name, Action::Break)],
    });
    loop {
        actuator.ease();
        tell(&actuator.report());
        if matches!(ready(signals.as_fd(), None, Some(STEP))?, Ready::Read) {
            break;
        }
    }
    actuator.undo_all();
    tell(&actuator.report());
    Ok(())
}

/// An actuator, and nothing that it does not need.
fn prepare(settings: &Settings) -> anyhow::Result<Actuator> {
    let actuator = Actuator::open(settings)?;
    confine()?;
    Ok(actuator)
}

/// It must go on when the node does not, and may do nothing but this.
fn confine() -> anyhow::Result<()> {
    let _ = rustix::thread::set_name(c"throttle-guard");
    let _ = hardening::io_flusher(true);
    hardening::raise_lock_limit();
    privileges::give_up_all().context("unneeded capabilities cannot be dropped")?;
    // Not before: what CAP_IPC_LOCK locked beyond the limit could not grow without it.
    let _ = hardening::lock_memory();
    Ok(())
}

/// Until the other end is closed, or it is told to stop.
fn attend(socket: BorrowedFd<'_>, stop: Option<BorrowedFd<'_>>, actuator: &mut Actuator) {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut told = Report::default();
    let mut silence = Silence::new();
    // When the next step or look is.
    let mut due = Instant::now();
    loop {
        let wait = due.saturating_duration_since(Instant::now());
        let mut asked = false;
        match ready(
            socket,
            stop,
            Some(silence.left().map_or(wait, |left| wait.min(left))),
        ) {
            Ok(Ready::Read) => match recv(socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => break,
                Ok((length, _)) => {
                    asked = true;
                    // What it does not understand it does not do, and is not a sign of life.
                    if let Some(message) = buffer
                        .get(..length)
                        .and_then(|text| serde_json::from_slice(text).ok())
                    {
                        let HelperMessage { wanted, silence_ms } = message;
                        silence.end(Duration::from_millis(silence_ms));
                        actuator.want(wanted);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            },
            Ok(Ready::Time) => {}
            Ok(Ready::Stop) | Err(_) => break,
        }
        let rest = if actuator.is_easing() { STEP } else { LOOK };
        let now = Instant::now();
        // It just began to ease.
        due = due.min(now + rest);
        // However often the daemon speaks.
        if now >= due {
            if actuator.is_easing() {
                actuator.ease();
            } else {
                actuator.look_after();
            }
            due = now + rest;
        }
        // A daemon that hangs, is stopped or is in a debugger cannot take back what it
        // wanted. It is told when it reads again.
        if silence.is_too_long() {
            let why = actuator.has_changed().then(|| silence.begin()).flatten();
            actuator.undo_all_because(why.as_deref());
            if let Some(why) = &why {
                say(why);
            }
        }
        let report = actuator.report();
        // Whoever asks is answered: so the daemon knows that somebody is there.
        if asked || !report.made.is_empty() || report.active != told.active {
            answer(socket, &report);
            told = report;
        }
    }
    actuator.undo_all();
    answer(socket, &actuator.report());
}

/// On stderr, unless that would have to be waited for.
fn say(words: &str) {
    let stderr = std::io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec::default();
    if matches!(poll(&mut fds, Some(&at_once)), Ok(1)) {
        let line = format!("throttle-monitor: {words}\n");
        let _ = rustix::io::write(&stderr, line.as_bytes());
    }
}

/// How long the daemon has said nothing.
struct Silence {
    heard: Instant,
    longest: Duration,
    /// It was too long, and that was said.
    said: bool,
}

impl Silence {
    fn new() -> Self {
        Self {
            heard: Instant::now(),
            longest: SILENCE,
            said: false,
        }
    }

    /// The daemon speaks, and says how long it may be silent.
    fn end(&mut self, longest: Duration) {
        if self.said {
            say("the daemon is heard from again");
        }
        *self = Self {
            heard: Instant::now(),
            longest: longest.min(LONGEST_SILENCE),
            said: false,
        };
    }

    /// Until it is too long; `None`: it is.
    fn left(&self) -> Option<Duration> {
        self.longest.checked_sub(self.heard.elapsed())
    }

    fn is_too_long(&self) -> bool {
        self.left().is_none_or(|left| left.is_zero())
    }

    /// What is to be said of it, once.
    fn begin(&mut self) -> Option<String> {
        let is_new = !std::mem::replace(&mut self.said, true);
        is_new.then(|| {
            format!(
                "no message from the daemon for {:.1} s: everything is restored",
                self.heard.elapsed().as_secs_f64()
            )
        })
    }
}

/// One that is not read is not waited for.
fn answer(socket: BorrowedFd<'_>, report: &Report) {
    if let Ok(text) = serde_json::to_vec(report) {
        let _ = send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// What happened first.
enum Ready {
    /// There is something to read.
    Read,
    /// It is told to stop.
    Stop,
    /// The time is over.
    Time,
}

fn ready(
    read: BorrowedFd<'_>,
    stop: Option<BorrowedFd<'_>>,
    time: Option<Duration>,
) -> rustix::io::Result<Ready> {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    let mut fds: Vec<PollFd<'_>> = [Some(read), stop]
        .into_iter()
        .flatten()
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    match poll(&mut fds, time.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ok(Ready::Time),
        Ok(_) if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) => Ok(Ready::Stop),
        Ok(_) => Ok(Ready::Read),
        Err(error) => Err(error),
    }
}

/// SIGTERM, SIGINT and SIGHUP, which no longer end this process: to be polled.
fn signals() -> anyhow::Result<OwnedFd> {
    // SAFETY: the set is made by sigemptyset before it is used, and outlives the calls;
    // the descriptor that signalfd gives is nobody else's.
    let fd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, number);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    };
    fd.with_context(|| {
        format!(
            "signals are unavailable: {}",
            std::io::Error::last_os_error()
        )
    })
}
