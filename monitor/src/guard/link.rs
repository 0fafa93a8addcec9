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

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
        connect, recv, send, shutdown, socket_with, socketpair,
    },
};

use super::{Report, Settings};
use crate::verdict::guard::Wanted;

/// The largest message: 256 loops, each with its limits.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// How long the daemon's end waits for settings to be put back.
const PATIENCE: Duration = Duration::from_secs(3);

/// One that has said nothing for so long, though it was asked each tick, is not there.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a helper may take until it is known whether it can work.
const START: Duration = Duration::from_secs(6);

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

/// The daemon's end.
#[derive(Debug)]
pub struct Link {
    socket: Option<OwnedFd>,
    child: Option<Child>,
    /// Where somebody else's helper listens.
    path: Option<PathBuf>,
    /// When it last said something, or was found.
    heard: Option<Instant>,
    buffer: Vec<u8>,
}

impl Link {
    /// Starts one of its own, before the daemon gives up what that needs.
    ///
    /// # Errors
    ///
    /// It cannot be started, or cannot work.
    pub fn spawn(settings: &Settings) -> Result<Self, LinkError> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| LinkError::Start(error.into()))?;
        let mut command = Command::new("/proc/self/exe");
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
        let mut link = Self {
            socket: Some(ours),
            child: Some(child),
            path: None,
            heard: Some(Instant::now()),
            buffer: vec![0; MAX_MESSAGE],
        };
        link.begin()?;
        Ok(link)
    }

    /// The one that listens there, now or later.
    #[must_use]
    pub fn to(path: &Path) -> Self {
        Self {
            socket: None,
            child: None,
            path: Some(path.to_owned()),
            heard: None,
            buffer: vec![0; MAX_MESSAGE],
        }
    }

    /// Waits until it answers, or has ended.
    fn begin(&mut self) -> Result<(), LinkError> {
        let begin = Instant::now();
        self.want(&Wanted::default());
        while begin.elapsed() < START {
            let child = self.child.as_mut();
            if child.is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_))) {
                return Err(LinkError::Ended);
            }
            thread::sleep(Duration::from_millis(10));
            if self.is_read() {
                return if self.is_there() {
                    Ok(())
                } else {
                    Err(LinkError::Ended)
                };
            }
        }
        Err(LinkError::Ended)
    }

    /// Whether the other end is open.
    fn is_there(&mut self) -> bool {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let socket = self.socket.as_ref();
        socket.is_some_and(|socket| {
            matches!(
                recv(socket, &mut self.buffer[..], flags),
                Err(Errno::AGAIN) | Ok((1.., _))
            )
        })
    }

    /// Whether the helper has read all that was sent.
    fn is_read(&self) -> bool {
        let unread = self.socket.as_ref().map(|socket| {
            let mut bytes: libc::c_int = 0;
            // SAFETY: SIOCOUTQ writes one int to where it is told to.
            let result = unsafe {
                libc::ioctl(
                    std::os::fd::AsRawFd::as_raw_fd(socket),
                    libc::TIOCOUTQ,
                    &raw mut bytes,
                )
            };
            (result, bytes)
        });
        matches!(unread, Some((0, 0)))
    }

    /// Whether somebody is there, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let heard = self.heard.filter(|_| self.socket.is_some());
        heard.is_some_and(|heard| heard.elapsed() < SILENCE)
    }

    /// Tells what shall hold.
    pub fn want(&mut self, wanted: &Wanted) {
        if self.socket.is_none() {
            self.socket = self.path.as_deref().and_then(|path| connected(path).ok());
            self.heard = self.socket.is_some().then(Instant::now);
        }
        let (Some(socket), Ok(text)) = (&self.socket, serde_json::to_vec(wanted)) else {
            return;
        };
        match send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // The next tick says it again.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.socket = None,
        }
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
                Err(_) => break,
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
        if let Some(child) = &mut self.child {
            while matches!(child.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.reports()
    }
}

fn connected(path: &Path) -> rustix::io::Result<OwnedFd> {
    // One who serves another already, with others waiting, is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
