//! The helper process: it applies the desired state that it receives. After a while without a
//! message it restores everything and waits. When the connection closes, it restores everything and
//! ends, or serves the next client. It serves one client at a time, reads only the settings and
//! `/proc/vmstat`, and has no capabilities.

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

/// Time between two steps of the moving limit: half of a writer's longest pause.
const STEP: Duration = Duration::from_millis(100);

/// Upper bound of the permitted silence, whatever the daemon requests.
const LONGEST_SILENCE: Duration = Duration::from_mins(5);

/// Time between two checks for changes by other processes.
const LOOK: Duration = Duration::from_secs(1);

/// Serves the peer on this socket. Signals do not end it: systemd sends them to all processes of a
/// service at once. It ends after the daemon.
///
/// # Errors
///
/// No setting can be changed here; this is reported before it serves.
pub fn serve(socket: &OwnedFd, settings: &Settings) -> anyhow::Result<()> {
    let mut actuator = prepare(settings)?;
    let _signals = signals()?;
    attend(socket.as_fd(), None, &mut actuator);
    Ok(())
}

/// Serves clients on this path, one after the other, until SIGTERM or SIGINT.
///
/// # Errors
///
/// It cannot listen on the path, or no setting can be changed here.
pub fn listen(path: &Path, settings: &Settings) -> anyhow::Result<()> {
    let what = || format!("cannot listen on {}", path.display());
    let address = SocketAddrUnix::new(path).with_context(what)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(what)?;
    }
    let flags = SocketFlags::CLOEXEC;
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).with_context(what)?;
    // Take the journal's lock before the socket, so that a running helper keeps it.
    let mut actuator = Actuator::open(settings)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(what),
        _ => {}
    }
    bind(&listener, &address).with_context(what)?;
    // Clients may set limits, so only root and the directory's group may connect.
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

/// Frees the server, or holds the client's BDI, and eases the dirty limit until SIGTERM or SIGINT.
/// It reports its actions to `tell`.
///
/// # Errors
///
/// No setting can be changed here.
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

/// Opens an actuator, and drops all other privileges.
fn prepare(settings: &Settings) -> anyhow::Result<Actuator> {
    let actuator = Actuator::open(settings)?;
    confine()?;
    Ok(actuator)
}

/// Keeps the process running while the node stalls, and confines it.
fn confine() -> anyhow::Result<()> {
    let _ = rustix::thread::set_name(c"throttle-guard");
    let _ = hardening::io_flusher(true);
    hardening::raise_lock_limit();
    privileges::give_up_all().context("unneeded capabilities cannot be dropped")?;
    // Only now: memory locked beyond the limit by CAP_IPC_LOCK could not grow without it.
    let _ = hardening::lock_memory();
    Ok(())
}

/// Serves until the other end closes, or a signal arrives.
fn attend(socket: BorrowedFd<'_>, stop: Option<BorrowedFd<'_>>, actuator: &mut Actuator) {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut told = Report::default();
    let mut silence = Silence::new();
    // The time of the next step or check.
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
                    // An invalid message has no effect and is not a sign of life.
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
        // The easing has just begun.
        due = due.min(now + rest);
        // Independent of the frequency of messages.
        if now >= due {
            if actuator.is_easing() {
                actuator.ease();
            } else {
                actuator.look_after();
            }
            due = now + rest;
        }
        // A daemon that hangs, is stopped or is in a debugger cannot withdraw its state. It gets
        // the report when it reads again.
        if silence.is_too_long() {
            let why = actuator.has_changed().then(|| silence.begin()).flatten();
            actuator.undo_all_because(why.as_deref());
            if let Some(why) = &why {
                say(why);
            }
        }
        let report = actuator.report();
        // Every message is answered, so that the daemon knows that the helper runs.
        if asked || !report.made.is_empty() || report.active != told.active {
            answer(socket, &report);
            told = report;
        }
    }
    actuator.undo_all();
    answer(socket, &actuator.report());
}

/// Prints to stderr, unless that would block.
fn say(words: &str) {
    let stderr = std::io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec::default();
    if matches!(poll(&mut fds, Some(&at_once)), Ok(1)) {
        let line = format!("throttle-monitor: {words}\n");
        let _ = rustix::io::write(&stderr, line.as_bytes());
    }
}

/// The time since the daemon's last message.
struct Silence {
    heard: Instant,
    longest: Duration,
    /// Whether a silence that was too long is reported.
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

    /// Records a message with the permitted length of silence.
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

    /// The time until the silence is too long; `None`: it is.
    fn left(&self) -> Option<Duration> {
        self.longest.checked_sub(self.heard.elapsed())
    }

    fn is_too_long(&self) -> bool {
        self.left().is_none_or(|left| left.is_zero())
    }

    /// The report of the silence, once.
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

/// Sends a report; it is dropped if the daemon does not read.
fn answer(socket: BorrowedFd<'_>, report: &Report) {
    if let Ok(text) = serde_json::to_vec(report) {
        let _ = send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// The first event.
enum Ready {
    /// There is a message.
    Read,
    /// A signal arrived.
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

/// SIGTERM, SIGINT and SIGHUP as a descriptor to poll. They no longer end this process.
fn signals() -> anyhow::Result<OwnedFd> {
    // SAFETY: the set is initialized by sigemptyset before its use, and outlives the calls. Only
    // this owns the descriptor of signalfd.
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
