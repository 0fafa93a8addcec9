//! Compares the counters of sockets in a thread of its own.
//!
//! The thread enters network namespaces, and the kernel may make it wait for a socket's lock as long
//! as a stuck task holds that. Nobody waits for it beyond [`PATIENCE`], and there is one at most.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::namespaces::Namespaces;
use super::stream::{Sockets, Watched, watch};
use super::tcp_info::{Entry, Refused, TcpInfo};
use super::warnings::LookupWarnings;

/// More than all looks take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Processes to try for a namespace, in turn: the first may have ended.
const REPRESENTATIVES: usize = 3;

/// Starts the thread, and remembers one that did not come back.
#[derive(Default)]
pub struct Watcher {
    late: Option<Receiver<Answer>>,
    computed: Duration,
}

struct Answer {
    watched: Watched,
    refused: Refused,
    computed: Duration,
}

impl Watcher {
    /// Compares these sockets. `None`: there is no answer.
    pub fn watch(
        &mut self,
        spaces: &Namespaces,
        sockets: Sockets,
        warnings: &mut LookupWarnings,
    ) -> Option<Watched> {
        if let Some(late) = &self.late
            && matches!(late.try_recv(), Err(TryRecvError::Empty))
        {
            stuck(warnings);
            return None;
        }
        self.late = None;
        let entries = entries(spaces, &sockets);
        let (answer, answered) = sync_channel(1);
        let thread = thread::Builder::new().name("streams".into());
        let spawned = thread.spawn(move || {
            let _ = answer.send(compare(&sockets, entries));
        });
        if let Err(error) = spawned {
            warnings.note(&format_args!("TCP streams are not compared: {error}."));
            return None;
        }
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => {
                self.computed += answer.computed;
                for sentence in &answer.refused.0 {
                    warnings.note(sentence);
                }
                if answer.watched.too_many {
                    warnings.note(&"Too many TCP streams are alike: a server behind a translated address is not found.");
                }
                Some(answer.watched)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.late = Some(answered);
                stuck(warnings);
                None
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// The CPU time of its threads since the last call.
    pub fn take_computed(&mut self) -> Duration {
        std::mem::take(&mut self.computed)
    }
}

fn stuck(warnings: &mut LookupWarnings) {
    warnings.note(&"The kernel does not answer about a TCP connection, which a stuck task keeps locked: a server behind a translated address is not found.");
}

fn compare(sockets: &Sockets, entries: Vec<Entry>) -> Answer {
    let mut info = TcpInfo::enter(entries);
    let watched = watch(sockets, &mut info);
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Answer {
        watched,
        refused: info.refused,
        computed: Duration::try_from(time).unwrap_or_default(),
    }
}

/// The namespaces of these sockets, those of the clients first.
fn entries(spaces: &Namespaces, sockets: &Sockets) -> Vec<Entry> {
    let Sockets {
        clients,
        servers,
        rivals,
    } = sockets;
    let mut entries: Vec<Entry> = Vec::new();
    for stream in clients.iter().chain(servers).chain(rivals) {
        if entries.iter().all(|(net, _)| *net != stream.net) {
            let pids = spaces.nets.get(&stream.net).into_iter().flatten();
            let files = pids.take(REPRESENTATIVES);
            let files = files.map(|pid| spaces.process(*pid).join("ns/net"));
            entries.push((stream.net, files.collect()));
        }
    }
    entries
}
