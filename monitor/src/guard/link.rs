//! The daemon's link to the helper. It never blocks, except for a moment at the end.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use monitor_model::guard::DesiredState;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
        connect, recv, send, shutdown, socket_with,
    },
};

use super::{
    Report, Settings,
    message::{HelperMessage, MAX_MESSAGE, SILENCE},
    restart::{Restarts, Wait},
    start::{LinkError, Started, start},
};

/// Missing ticks after which a helper considers the daemon dead.
const SILENT_TICKS: u32 = 3;

/// How long the daemon waits at its end for settings to be restored.
const PATIENCE: Duration = Duration::from_secs(3);

/// A helper without any answer for this time counts as unavailable. It is asked at each tick.
const NO_ANSWER: Duration = Duration::from_secs(5);

/// How long the helper waits for the next message of a daemon with this interval.
#[must_use]
pub fn silence(interval: Duration) -> Duration {
    SILENCE.max(interval.saturating_mul(SILENT_TICKS))
}

/// The origin of the helper.
#[derive(Debug)]
enum HelperSource {
    /// It listens on this path.
    At(PathBuf),
    /// The daemon starts it, and restarts it when it ends.
    Own(Box<OwnHelper>),
}

#[derive(Debug)]
struct OwnHelper {
    program: PathBuf,
    settings: Settings,
    child: Option<Child>,
    restarts: Restarts,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Link {
    socket: Option<OwnedFd>,
    source: HelperSource,
    silence: Duration,
    /// The last sign of life.
    heard: Option<Instant>,
    buffer: Vec<u8>,
}

impl Link {
    /// Starts an own helper, before the daemon drops the privileges for that.
    ///
    /// # Errors
    ///
    /// It cannot be started, or cannot work.
    pub fn spawn(settings: &Settings) -> Result<Self, LinkError> {
        Self::spawn_program(Path::new("/proc/self/exe"), settings)
    }

    /// [`Self::spawn`] with another program.
    ///
    /// # Errors
    ///
    /// It cannot be started, or cannot work.
    pub fn spawn_program(program: &Path, settings: &Settings) -> Result<Self, LinkError> {
        let Started { socket, child } = start(program, settings)?;
        let own = OwnHelper {
            program: program.to_owned(),
            settings: settings.clone(),
            child: Some(child),
            restarts: Restarts::default(),
        };
        Ok(Self {
            socket: Some(socket),
            heard: Some(Instant::now()),
            ..Self::from(HelperSource::Own(Box::new(own)))
        })
    }

    /// Uses the helper that listens on this path, now or later.
    #[must_use]
    pub fn to(path: &Path) -> Self {
        Self::from(HelperSource::At(path.to_owned()))
    }

    fn from(source: HelperSource) -> Self {
        Self {
            socket: None,
            source,
            silence: SILENCE,
            heard: None,
            buffer: vec![0; MAX_MESSAGE],
        }
    }

    /// Sets the silence after which the helper restores everything.
    #[must_use]
    pub fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// The number of restarts of its own helper; `None`: the helper is a separate service.
    #[must_use]
    pub fn restarts(&self) -> Option<u64> {
        match &self.source {
            HelperSource::Own(own) => Some(own.restarts.count()),
            HelperSource::At(_) => None,
        }
    }

    /// The process id of its own helper, while there is one.
    #[must_use]
    pub fn helper_pid(&self) -> Option<u32> {
        match &self.source {
            HelperSource::Own(own) => own.child.as_ref().map(Child::id),
            HelperSource::At(_) => None,
        }
    }

    /// Whether its own helper ended too often, so that it is no longer restarted.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        matches!(&self.source, HelperSource::Own(own) if self.socket.is_none() && own.restarts.has_given_up())
    }

    /// Connects to a helper if there is none, without blocking.
    fn find(&mut self) {
        match &mut self.source {
            HelperSource::At(path) => self.socket = connected(path).ok(),
            HelperSource::Own(own) => {
                if let Some(Started { socket, child }) = own.again() {
                    (self.socket, own.child) = (Some(socket), Some(child));
                }
            }
        }
        self.heard = self.socket.is_some().then(Instant::now);
    }

    /// Sends the desired state.
    pub fn want(&mut self, wanted: &DesiredState) {
        if self.socket.is_none() {
            self.find();
        }
        let message = HelperMessage {
            wanted: wanted.clone(),
            silence_ms: u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX),
        };
        let (Some(socket), Ok(text)) = (&self.socket, serde_json::to_vec(&message)) else {
            return;
        };
        match send(socket, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // The next tick sends it again.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.socket = None,
        }
    }

    /// Whether a helper is available, as far as known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let heard = self.heard.filter(|_| self.socket.is_some());
        heard.is_some_and(|heard| heard.elapsed() < NO_ANSWER)
    }

    /// The reports since the last call.
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

    /// Disconnects: the helper restores everything. Its own helper is waited for. Returns the last
    /// reports.
    #[must_use]
    pub fn finish(mut self) -> Vec<Report> {
        if let Some(socket) = &self.socket {
            let _ = shutdown(socket, Shutdown::Write);
        }
        let begin = Instant::now();
        if let HelperSource::Own(own) = &mut self.source
            && let Some(child) = &mut own.child
        {
            while matches!(child.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.reports()
    }
}

impl OwnHelper {
    /// A restarted helper, once it is ready. Another thread starts it: the program's disk may hang,
    /// and the helper first restores what its predecessor left.
    fn again(&mut self) -> Option<Started> {
        if let Some(child) = &mut self.child {
            // A helper that still restores settings holds the state file's lock.
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
                tracing::info!("the guard's helper is restarted");
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
            "the guard's helper has ended: it is restarted, and first restores what was changed"
        ),
        Wait::Forever => tracing::error!(
            %why,
            "the guard's helper ends repeatedly and is not restarted: restart the daemon, or restore the settings with: throttle-monitor guard undo"
        ),
    }
}

fn connected(path: &Path) -> rustix::io::Result<OwnedFd> {
    // Do not wait for a helper that is busy and has others waiting.
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
}
