//! Starts the helper process.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};

use super::{Settings, message::HelperMessage};

/// How long a helper may take to report that it can work.
const START: Duration = Duration::from_secs(6);

/// The reason why no helper runs.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It cannot be started.
    #[error("the guard's helper process cannot be started")]
    Start(#[source] io::Error),
    /// It has printed the reason on stderr.
    #[error("the guard's helper process cannot work here (it said why above)")]
    Ended,
}

/// A helper that works, and the daemon's end of its socket.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) socket: OwnedFd,
    pub(super) child: Child,
}

/// Starts a helper, and waits until it works or fails.
pub(super) fn start(program: &Path, settings: &Settings) -> Result<Started, LinkError> {
    let (socket, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| LinkError::Start(error.into()))?;
    #[allow(clippy::disallowed_methods, reason = "the helper")]
    let mut command = Command::new(program);
    command
        .arg0("throttle-monitor")
        .args(["guard", "serve", "--guard.state-file"])
        .arg(&settings.journal)
        .arg("--guard.dirty-share")
        .arg(settings.share.to_string())
        .arg("--path.procfs")
        .arg(&settings.procfs)
        .arg("--path.sysfs")
        .arg(&settings.sysfs)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null());
    let child = command.spawn().map_err(LinkError::Start)?;
    // The command holds the helper's end. Without this, the end of the helper would stay unnoticed.
    drop(command);
    let mut started = Started { socket, child };
    if started.can_work() {
        return Ok(started);
    }
    // A late helper must not run beside the next one.
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
        let sent = serde_json::to_vec(&HelperMessage::default())
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

    /// Whether the helper has read all messages.
    fn is_read(&self) -> bool {
        let mut bytes: libc::c_int = 0;
        // SAFETY: SIOCOUTQ writes one int to the given address.
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
