//! The daemon's end of the way to the helper. It never waits for the other end,
//! except for a moment when it stops.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use monitor_model::guard::Wanted;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
        connect, recv, send, shutdown, socket_with, socketpair,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    Report, Settings,
    restart::{Restarts, Wait},
};

/// The largest message: 256 loops, each with its limits.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// A helper that hears nothing for so long puts everything back. The daemon speaks at
/// every tick, and `--interval` is at most 5 s.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Ticks that may be missing before a helper takes the daemon for gone.
const SILENT_TICKS: u32 = 3;

/// How long the daemon's end waits for settings to be put back.
const PATIENCE: Duration = Duration::from_secs(3);

/// One that has said nothing for so long, though it was asked each tick, is not there.
const NO_ANSWER: Duration = Duration::from_secs(5);

/// How long a helper may take until it is known whether it can work.
const START: Duration = Duration::from_secs(6);

/// What the helper is told at each tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    /// After how many milliseconds without a message everything is put back.
    #[serde(default = "silence_ms")]
    pub(super) silence_ms: u64,
}

fn silence_ms() -> u64 {
    u64::try_from(SILENCE.as_millis()).unwrap_or(u64::MAX)
}

/// How long the helper of a daemon that ticks so often waits for the next message.
#[must_use]
pub fn silence(interval: Duration) -> Duration {
    SILENCE.max(interval.saturating_mul(SILENT_TICKS))
}

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It cannot be started.
    #[error("the guard's helper process cannot be started")]
    Start(#[source] io::Error),
    /// It said why on stderr.
    #[error("the guard's helper process cannot work here (it said why above)")]
    Ended,
}

/// Where the helper comes from.
#[derive(Debug)]
enum Source {
    /// It listens there.
    At(PathBuf),
    /// The daemon starts it, and starts it again when it ends.
    Own(Box<Own>),
}

#[derive(Debug)]
struct Own {
    program: PathBuf,
    settings: Settings,
    child: Option<Child>,
    restarts: Restarts,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Link {
    socket: Option<OwnedFd>,
    source: Source,
    silence: Duration,
    /// When it last said something, or was found.
    heard: Option<Instant>,
    buffer: Vec<u8>,
}

/// A helper that can work, and the daemon's end of its socket.
#[derive(Debug)]
pub(super) struct Started {
    socket: OwnedFd,
    child: Child,
}

impl Link {
    /// Starts a helper of its own, before the daemon gives up what that needs.
    ///
    /// # Errors
    ///
    /// It cannot be started, or cannot work.
    pub fn spawn(settings: &Settings) -> Result<Self, LinkError> {
        Self::spawn_program(Path::new("/proc/self/exe"), settings)
    }

    /// [`Self::spawn`] with a program that need not be this one.
    ///
    /// # Errors
    ///
    /// It cannot be started, or cannot work.
    pub fn spawn_program(program: &Path, settings: &Settings) -> Result<Self, LinkError> {
        let Started { socket, child } = start(program, settings)?;
        let own = Own {
            program: program.to_owned(),
            settings: settings.clone(),
            child: Some(child),
            restarts: Restarts::default(),
        };
        Ok(Self {
            socket: Some(socket),
            heard: Some(Instant::now()),
            ..Self::from(Source::Own(Box::new(own)))
        })
    }

    /// The one that listens there, now or later.
    #[must_use]
    pub fn to(path: &Path) -> Self {
        Self::from(Source::At(path.to_owned()))
    }

    fn from(source: Source) -> Self {
        Self {
            socket: None,
            source,
            silence: SILENCE,
            heard: None,
            buffer: vec![0; MAX_MESSAGE],
        }
    }

    /// With another time after which a helper that hears nothing puts everything back.
    #[must_use]
    pub fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How often its own helper was started again; `None`: it is none of its own.
    #[must_use]
    pub fn restarts(&self) -> Option<u64> {
        match &self.source {
            Source::Own(own) => Some(own.restarts.count()),
            Source::At(_) => None,
        }
    }

    /// The process id of its own helper, while there is one.
    #[must_use]
    pub fn helper_pid(&self) -> Option<u32> {
        match &self.source {
            Source::Own(own) => own.child.as_ref().map(Child::id),
            Source::At(_) => None,
        }
    }

    /// Whether its own helper ended so often that it is not started any more.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        matches!(&self.source, Source::Own(own) if self.socket.is_none() && own.restarts.has_given_up())
    }

    /// Finds a helper where there is none, without waiting.
    fn find(&mut self) {
        match &mut self.source {
            Source::At(path) => self.socket = connected(path).ok(),
            Source::Own(own) => {
                if let Some(Started { socket, child }) = own.again() {
                    (self.socket, own.child) = (Some(socket), Some(child));
                }
            }
        }
        self.heard = self.socket.is_some().then(Instant::now);
    }

    /// Tells what shall hold.
    pub fn want(&mut self, wanted: &Wanted) {
        if self.socket.is_none() {
            self.find();
        }
        let message = Message {
            wanted: wanted.clone(),
            silence_ms: u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX),
        };
        let (Some(socket), Ok(text)) = (&self.socket, serde_json::to_vec(&message)) else {
            return;
        };
        match send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // The next tick says it again.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.socket = None,
        }
    }

    /// Whether somebody is there, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let heard = self.heard.filter(|_| self.socket.is_some());
        heard.is_some_and(|heard| heard.elapsed() < NO_ANSWER)
    }

    /// What it has reported since.
    pub fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while let Some(socket) = &self.socket {
            match recv(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.socket = None,
                Ok((length, _)) => {
                    let text = self.buffer.get(..length).unwrap_or_default();
                    reports.extend(serde_json::from_slice::<Report>(text).ok());
                    self.heard = Some(Instant::now());
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_) => self.socket = None,
            }
        }
        reports
    }

    /// Lets go: the helper puts everything back, and its own one is waited for.
    /// What it reported last.
    #[must_use]
    pub fn finish(mut self) -> Vec<Report> {
        if let Some(socket) = &self.socket {
            let _ = shutdown(socket, Shutdown::Write);
        }
        let begin = Instant::now();
        if let Source::Own(own) = &mut self.source
            && let Some(child) = &mut own.child
        {
            while matches!(child.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.reports()
    }
}

impl Own {
    /// One that was started again, when it is there. A program is read from a disk that may
    /// hang, and a helper first puts back what the last one left: that is for another thread.
    fn again(&mut self) -> Option<Started> {
        if let Some(child) = &mut self.child {
            // One that still puts things back has the state file.
            if matches!(child.try_wait(), Ok(None)) {
                return None;
            }
            let status = child.wait().map(|status| status.to_string());
            let status = status.unwrap_or_else(|error| error.to_string());
            self.child = None;
            let wait = self.restarts.ended(Instant::now());
            tell_ended(&status, wait);
        }
        let (program, settings) = (self.program.clone(), self.settings.clone());
        let started = self
            .restarts
            .poll(Instant::now(), move || start(&program, &settings))?;
        match started {
            Ok(started) => {
                tracing::info!("the guard's helper is started again");
                Some(started)
            }
            Err(error) => {
                let wait = self.restarts.ended(Instant::now());
                tell_ended(&anyhow::Error::new(error), wait);
                None
            }
        }
    }
}

fn tell_ended(why: &dyn std::fmt::Display, wait: Wait) {
    match wait {
        Wait::For(time) => tracing::warn!(
            %why,
            again_in = ?time,
            "the guard's helper has ended: it is started again, and first puts back what was changed"
        ),
        Wait::Forever => tracing::error!(
            %why,
            "the guard's helper ends again and again, and is not started any more: restart the daemon, or put \
             back what was changed with: throttle-monitor guard --undo"
        ),
    }
}

/// Starts a helper, and waits until it is known whether it can work.
fn start(program: &Path, settings: &Settings) -> Result<Started, LinkError> {
    let (socket, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| LinkError::Start(error.into()))?;
    let mut command = Command::new(program);
    command
        .arg0("throttle-monitor")
        .args(["guard", "--serve", "--guard-state-file"])
        .arg(&settings.ledger)
        .arg("--guard-dirty-share")
        .arg(settings.share.to_string())
        .arg("--path.procfs")
        .arg(&settings.procfs)
        .arg("--path.sysfs")
        .arg(&settings.sysfs)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null());
    let child = command.spawn().map_err(LinkError::Start)?;
    // The command holds the helper's end: were it not closed, the end of the
    // helper would never be seen.
    drop(command);
    let mut started = Started { socket, child };
    if started.can_work() {
        return Ok(started);
    }
    // One that is late may not come to life beside the next one.
    drop(started.socket);
    let _ = started.child.kill();
    let _ = started.child.wait();
    Err(LinkError::Ended)
}

impl Started {
    /// Waits until it has read a first message, or has ended.
    fn can_work(&mut self) -> bool {
        let begin = Instant::now();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = serde_json::to_vec(&Message::default())
            .is_ok_and(|text| send(&self.socket, &text, flags).is_ok());
        while sent && begin.elapsed() < START {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
            if self.is_read() {
                return self.is_there();
            }
        }
        false
    }

    /// Whether the other end is open.
    fn is_there(&self) -> bool {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let mut buffer = [0; 1];
        matches!(
            recv(&self.socket, &mut buffer, flags),
            Err(Errno::AGAIN) | Ok((1.., _))
        )
    }

    /// Whether the helper has read all that was sent.
    fn is_read(&self) -> bool {
        let mut bytes: libc::c_int = 0;
        // SAFETY: SIOCOUTQ writes one int to where it is told to.
        let result = unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(&self.socket),
                libc::TIOCOUTQ,
                &raw mut bytes,
            )
        };
        (result, bytes) == (0, 0)
    }
}

fn connected(path: &Path) -> rustix::io::Result<OwnedFd> {
    // One who serves another already, with others waiting, is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_waits_for_three_ticks_and_at_least_fifteen_seconds() {
        assert_eq!(silence(Duration::from_millis(100)), SILENCE);
        assert_eq!(silence(Duration::from_secs(5)), SILENCE);
        assert_eq!(silence(Duration::from_secs(20)), Duration::from_mins(1));
    }

    #[test]
    fn a_daemon_that_does_not_say_how_long_it_may_be_silent_may_be_so_for_fifteen_seconds() {
        let message: Message = serde_json::from_str(r#"{"holds":[],"ease":[]}"#).unwrap();
        assert_eq!(message.silence_ms, 15_000);
        assert_eq!(message.wanted, Wanted::default());
    }
}
