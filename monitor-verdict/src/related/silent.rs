//! `server-not-responding`: requests of a client other than NFS are unanswered, and no server of
//! this node causes that.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use compact_str::CompactString;
use monitor_model::{
    observation::{Bdi, ClientKind, Observation, Progress, ServerKind},
    related::RelatedKind::ServerNotResponding,
};

use super::answers::{AnswerClock, exit, halted, server_is_free};
use super::limit_held::{LimitHeld, name, short};
use super::view::{Finding, Node, RelatedView, suspect};
use crate::loops::words;
use crate::text::{bytes, seconds};
use crate::window::reduce::related::RelatedSample;

/// Maximum number of waiting devices to track, by name.
const MAX_WAITING: usize = 256;

/// Since when waiting devices have no answer.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceSilence {
    waiting: BTreeMap<CompactString, WaitingDevice>,
}

#[derive(Clone, Debug)]
struct WaitingDevice {
    client: WatchedClient,
    /// Whether the last look-up has it. Its connection may be gone.
    is_connected: bool,
    done: Completed,
    clock: AnswerClock,
    demand: Demand,
}

/// A device and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WatchedClient {
    kind: ClientKind,
    name: CompactString,
    server: WatchedServer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WatchedServer {
    /// At this address, at no known process of this node.
    Far(CompactString),
    /// A process of this node.
    Process {
        name: CompactString,
        tgid: Option<u32>,
        /// Whether it has ended. The record of that expires.
        is_gone: bool,
    },
}

/// What a device waits for.
#[derive(Clone, Debug)]
struct Demand {
    in_flight: u64,
    writeback_bytes: u64,
    held_bytes: u64,
    paused: u32,
}

/// What a device has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completed {
    requests: Option<u64>,
    acked_bytes: Option<u64>,
    written_bytes: Option<u64>,
}

impl DeviceSilence {
    /// Adds a tick.
    pub(super) fn tick(&mut self, node: &Node<'_>) {
        let Some(signs) = node.window.signs() else {
            self.waiting.clear();
            return;
        };
        let now = node.now.monotonic_ns;
        let clients = clients(node.now);
        let before = std::mem::take(&mut self.waiting);
        for bdi in &node.now.bdis {
            let last = before.get(&bdi.bdi);
            let (client, is_connected) = match clients.get(bdi.bdi.as_str()) {
                Some(client) => (client.clone(), true),
                None => (last.map(|last| last.client.clone()), false),
            };
            let Some(mut client) = client else {
                continue;
            };
            // Without a counter of what is completed, nothing is claimed.
            let (Some(demand), Some(done)) = (
                Demand::of(node, signs, bdi),
                Completed::of(bdi, client.kind),
            ) else {
                continue;
            };
            client.server.note_exit(node);
            let mut clock = last.map_or_else(|| AnswerClock::new(now), |last| last.clock);
            if last.is_some_and(|last| last.done != done) {
                clock.answer(now);
            }
            let waiting = WaitingDevice {
                client,
                is_connected,
                done,
                clock,
                demand,
            };
            self.waiting.insert(bdi.bdi.clone(), waiting);
            if self.waiting.len() > MAX_WAITING {
                self.waiting.pop_last();
            }
        }
    }

    /// Finds the devices whose silence lasts long enough.
    pub(super) fn judge(
        &self,
        view: &RelatedView<'_>,
        limit: &LimitHeld,
        found: &mut Vec<Finding>,
    ) {
        for (bdi, waiting) in &self.waiting {
            let Some(silent_ns) = waiting.clock.silent_ns(view, ServerNotResponding, bdi) else {
                continue;
            };
            let demand = &waiting.demand;
            // Its writers wait for the pages of another device.
            if !demand.is_sent() && limit.holds_back(bdi) {
                continue;
            }
            let Some(server) = waiting.server(view, bdi) else {
                continue;
            };
            found.push(Finding {
                kind: ServerNotResponding,
                bdi: bdi.clone(),
                weight: demand.held_bytes as f64,
                at_once: false,
                reason: format!(
                    "no answer for {}: {} has {}; {server}",
                    seconds(silent_ns),
                    waiting.words(view.node.now, bdi),
                    demand.words(),
                ),
            });
        }
    }
}

/// The devices that have a server, by BDI; `None`: the server is not judged. The kernel's own ones
/// do not tell whether they are free.
fn clients(now: &Observation) -> BTreeMap<&str, Option<WatchedClient>> {
    let mut clients = BTreeMap::new();
    for one in &now.topology.remote {
        let client = WatchedClient {
            kind: one.kind,
            name: one.name.clone(),
            server: WatchedServer::Far(one.address.clone()),
        };
        clients.insert(one.bdi.as_str(), Some(client));
    }
    for one in &now.topology.served {
        let is_judged = !matches!(one.kind, ClientKind::Nfs | ClientKind::Loop)
            && one.server.kind == ServerKind::Process;
        let client = is_judged.then(|| WatchedClient {
            kind: one.kind,
            name: one.name.clone(),
            server: WatchedServer::Process {
                name: one.server.name.clone(),
                tgid: one.server.tgid,
                is_gone: false,
            },
        });
        clients.insert(one.bdi.as_str(), client);
    }
    clients
}

impl Demand {
    /// `None`: nothing is certain to be waited for.
    fn of(node: &Node<'_>, signs: &RelatedSample, bdi: &Bdi) -> Option<Self> {
        let writeback_bytes = bdi.writeback_bytes.unwrap_or(0);
        let dirty_bytes = bdi.dirty_bytes.unwrap_or(0);
        let demand = Self {
            in_flight: bdi.disk_in_flight.unwrap_or(0),
            writeback_bytes,
            held_bytes: writeback_bytes.saturating_add(dirty_bytes),
            paused: signs.device(&bdi.bdi).map_or(0, |device| device.waiting),
        };
        let floor = node.thresholds.demand_floor_bytes;
        let is_held = demand.paused > 0 && demand.held_bytes >= floor;
        (demand.is_sent() || is_held).then_some(demand)
    }

    /// Whether something of it is on its way to the server.
    const fn is_sent(&self) -> bool {
        self.in_flight > 0 || self.writeback_bytes > 0
    }

    fn words(&self) -> String {
        let mut words = String::new();
        match self.in_flight {
            0 => {}
            1 => words.push_str("1 request in flight, "),
            n => {
                let _ = write!(words, "{n} requests in flight, ");
            }
        }
        let held = bytes(self.held_bytes as f64);
        let _ = write!(words, "{held} dirty or in writeback");
        match self.paused {
            0 => {}
            1 => words.push_str(", 1 writer is paused"),
            n => {
                let _ = write!(words, ", {n} writers are paused");
            }
        }
        words
    }
}

impl Completed {
    /// `None`: unknown.
    fn of(bdi: &Bdi, kind: ClientKind) -> Option<Self> {
        let nothing = Self {
            requests: None,
            acked_bytes: None,
            written_bytes: None,
        };
        let done = match kind.progress() {
            Progress::NfsCalls => nothing,
            Progress::Disk => Self {
                requests: bdi.disk_requests,
                ..nothing
            },
            Progress::Written => Self {
                acked_bytes: bdi.acked_bytes,
                written_bytes: bdi.written_bytes,
                ..nothing
            },
        };
        (done != nothing).then_some(done)
    }
}

impl WatchedServer {
    /// Remembers the end of its process.
    fn note_exit(&mut self, node: &Node<'_>) {
        if let Self::Process {
            name,
            tgid,
            is_gone,
        } = self
        {
            let mut running = node.now.user_servers.iter();
            let runs = running.any(|one| one.name == *name && tgid.is_none_or(|id| id == one.tgid));
            *is_gone = !runs && (*is_gone || exit(node, name, *tgid).is_some());
        }
    }
}

impl WaitingDevice {
    /// Describes the device: `/mnt (8:0), /dev/sda,`.
    fn words(&self, now: &Observation, bdi: &str) -> String {
        let place = name(now, bdi);
        let own = short(&self.client.name);
        if own.is_empty() || place.contains(&own) {
            return place;
        }
        if place == bdi {
            return format!("{own} ({bdi})");
        }
        format!("{place}, {own},")
    }

    /// Describes the server, and why no task of this node keeps this device waiting; `None`: one may
    /// do so.
    fn server(&self, view: &RelatedView<'_>, bdi: &str) -> Option<String> {
        let node = view.node;
        if node.told_by(bdi, suspect).is_some() {
            return None;
        }
        match &self.client.server {
            WatchedServer::Far(address) if self.is_connected => Some(format!(
                "the other end of its connection to {address} is no known process of this node"
            )),
            WatchedServer::Far(address) => Some(format!(
                "its connection to {address}, whose other end was no known process of this node, is \
                 gone"
            )),
            WatchedServer::Process {
                name,
                tgid,
                is_gone,
            } => {
                let who = words::process(name, *tgid);
                if let Some(words) = halted(node, name, *tgid) {
                    return Some(words);
                }
                if *is_gone {
                    return Some(format!("its server on this node, {who}, has ended"));
                }
                let is_free = self.is_connected && server_is_free(node.window, view.signs, name);
                is_free.then(|| format!("its server {who} here is not waiting"))
            }
        }
    }
}
