//! `nfs-server-not-responding`: calls of an NFS client are unanswered, and no server of this node
//! causes that.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_model::{
    loops::NFSD,
    observation::{NfsClient, NfsMount, OpenCalls},
    related::RelatedKind::NfsServerNotResponding,
};

use super::answers::{AnswerClock, exit, halted, server_is_free};
use super::view::{Finding, Node, RelatedView, suspect};
use crate::loops;
use crate::loops::words;
use crate::text::{bytes, seconds};
use crate::window::Window;
use crate::window::reduce::related::RelatedSample;

/// Maximum number of waiting clients to track, by name.
const MAX_SILENCES: usize = 256;

/// Since when waiting clients have no answer.
#[derive(Clone, Debug, Default)]
pub struct ServerSilence {
    waiting: BTreeMap<CompactString, Silence>,
}

#[derive(Clone, Debug)]
struct Silence {
    /// Total WRITE and COMMIT calls with an answer or an error.
    answers: u64,
    /// Total calls of any kind that were sent and are no longer open.
    ended: u64,
    clock: AnswerClock,
    wants: Wants,
}

/// What a client waits for.
#[derive(Clone, Debug)]
struct Wants {
    writes: u64,
    commits: u64,
    held_bytes: Option<u64>,
    paused: u32,
    /// Open calls of any kind, if they are visible.
    open: Option<OpenCalls>,
    /// Whether the wait is certain even if the server still runs.
    certain: bool,
}

impl Wants {
    /// The beginning of the oldest open call.
    fn oldest(&self) -> Option<u64> {
        let open = self.open.as_ref().filter(|open| open.count > 0);
        open.map(|open| open.since_ns)
    }
}

impl ServerSilence {
    /// Adds a tick.
    pub fn tick(&mut self, node: &Node<'_>) {
        let signs = node.window.signs().filter(|signs| signs.sees_clients);
        let Some(signs) = signs else {
            self.waiting.clear();
            return;
        };
        let now = node.now.monotonic_ns;
        let before = std::mem::take(&mut self.waiting);
        for client in &node.now.clients {
            let calls = ClientCalls::of(node, &client.bdi);
            let wants = wants(node, signs, client, calls.open);
            // A client whose connection is refused begins no call: its tasks wait for the recovery
            // of its state.
            if !wants.certain && !is_gone(node, &client.bdi, before.get(&client.bdi)) {
                continue;
            }
            let answers = client.answers();
            let mut silence = before.get(&client.bdi).cloned().unwrap_or(Silence {
                answers,
                ended: calls.ended.unwrap_or(0),
                clock: AnswerClock::new(now),
                wants: wants.clone(),
            });
            // A call that is not sent yet is open too, so a smaller count is not an answer. For a
            // truncated list the oldest call counts.
            let ended = match calls.ended {
                Some(ended) => silence.ended < ended,
                None => silence.wants.oldest() != wants.oldest(),
            };
            if silence.answers != answers || ended {
                silence.clock.answer(now);
            }
            silence.answers = answers;
            silence.ended = silence.ended.max(calls.ended.unwrap_or(0));
            silence.wants = wants;
            self.waiting.insert(client.bdi.clone(), silence);
            if self.waiting.len() > MAX_SILENCES {
                self.waiting.pop_last();
            }
        }
    }

    /// Finds the clients whose silence lasts long enough.
    pub fn judge(&self, view: &RelatedView<'_>, found: &mut Vec<Finding>) {
        let now = view.node.now.monotonic_ns;
        for (bdi, silence) in &self.waiting {
            let Some(silent_ns) = silence.clock.silent_ns(view, NfsServerNotResponding, bdi) else {
                continue;
            };
            let wants = &silence.wants;
            let server = if wants.certain {
                not_ours(view, bdi)
            } else {
                gone(view, bdi)
            };
            let Some(server) = server else {
                continue;
            };
            let held = wants
                .held_bytes
                .map_or_else(|| "unknown bytes".to_owned(), |held| bytes(held as f64));
            let reason = if wants.certain {
                format!(
                    "no answer for {}: {} WRITE and {} COMMIT calls of {bdi} are open{}, {held} \
                     dirty or in writeback, {} writers are paused; {server}",
                    seconds(silent_ns),
                    wants.writes,
                    wants.commits,
                    others(wants, now),
                    wants.paused,
                )
            } else {
                format!("{server}; {bdi} has no known open call")
            };
            found.push(Finding {
                kind: NfsServerNotResponding,
                bdi: bdi.clone(),
                weight: wants.held_bytes.unwrap_or(0) as f64,
                at_once: false,
                reason,
            });
        }
    }
}

/// What the client waits for. A call whose end was missed stays open for ever. Then no page is held
/// and later calls have answers, so the wait is not certain.
fn wants(
    node: &Node<'_>,
    signs: &RelatedSample,
    client: &NfsClient,
    open: Option<OpenCalls>,
) -> Wants {
    let writes = client.pending_writes();
    let commits = client.commits_sent.saturating_sub(client.commits_done);
    let paused = signs.device(&client.bdi).map_or(0, |d| d.waiting);
    let others = open.as_ref().is_some_and(|open| open.count > 0);
    let mut bdis = node.now.bdis.iter();
    let bdi = bdis.find(|bdi| bdi.bdi == client.bdi);
    let held_bytes = bdi.and_then(|bdi| match (bdi.dirty_bytes, bdi.writeback_bytes) {
        (None, None) => None,
        (dirty, writeback) => Some(dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0))),
    });
    let calls = writes > 0 || commits > 0;
    let floor = node.thresholds.demand_floor_bytes;
    let certain = calls && held_bytes.is_some_and(|held| held > 0)
        || paused > 0 && held_bytes.is_none_or(|held| held >= floor)
        || writes > 0 && client.last_sent_ns > client.last_acked_ns
        || others;
    Wants {
        writes,
        commits,
        held_bytes,
        paused,
        open,
        certain,
    }
}

/// The open calls of a mount's RPC clients.
#[derive(Default)]
struct ClientCalls {
    open: Option<OpenCalls>,
    /// Sent and no longer open: answered or retransmitted. `None`: the number of open calls is
    /// unknown.
    ended: Option<u64>,
}

impl ClientCalls {
    fn of(node: &Node<'_>, bdi: &str) -> Self {
        let now = node.now;
        let mount = mount(node, bdi);
        let clients = loops::rpc_clients(bdi, mount, &now.topology, &now.rpc_clients, |c| c);
        let mut calls = Self {
            ended: Some(0),
            ..Self::default()
        };
        for client in clients {
            let Some(open) = &client.open else {
                continue;
            };
            let ended = client.calls.saturating_sub(open.count.into());
            calls.ended = calls.ended.filter(|_| !open.more);
            calls.ended = calls.ended.map(|sum| sum.saturating_add(ended));
            let sum = calls.open.get_or_insert_default();
            let older = sum.count == 0 || open.since_ns < sum.since_ns;
            if open.count > 0 && older {
                sum.since_ns = open.since_ns;
                sum.procedure.clone_from(&open.procedure);
            }
            sum.count = sum.count.saturating_add(open.count);
            sum.more |= open.more;
        }
        calls
    }
}

/// Describes open calls other than WRITE and COMMIT.
fn others(wants: &Wants, now: u64) -> String {
    let counted = wants.writes.saturating_add(wants.commits);
    let open = wants.open.as_ref().filter(|open| open.count > 0);
    open.filter(|open| u64::from(open.count) > counted)
        .map_or_else(String::new, |open| {
            let age = seconds(now.saturating_sub(open.since_ns));
            let (count, procedure) = (open.count, &open.procedure);
            let least = if open.more { "at least " } else { "" };
            format!(" of {least}{count} calls in all, the oldest ({procedure}) for {age}")
        })
}

fn mount<'a>(node: &Node<'a>, bdi: &str) -> Option<&'a NfsMount> {
    let mut mounts = node.now.topology.mounts.iter();
    mounts.find(|mount| mount.bdi == bdi)
}

/// Describes why no server of this node keeps this client waiting; `None`: one may do so.
fn not_ours(view: &RelatedView<'_>, bdi: &str) -> Option<String> {
    let node = view.node;
    let window = node.window;
    if node.told_by(bdi, suspect).is_some() {
        return None;
    }
    let mut own = node.loops.iter();
    let own = own.find(|one| one.stands && one.client_bdi == bdi);
    let Some(own) = own else {
        let mut former = node.former.iter();
        if let Some(former) = former.find(|former| former.client_bdi == bdi) {
            return Some(formerly(view, &former.server, former.tgid));
        }
        // Until the first look-up of mounts and servers, a loop may be unknown.
        let looked = node.now.topology.read_ns > 0 || nfsd_is_free(window, view.signs);
        return looked.then(|| far_end(node, bdi));
    };
    // This client writes past the server's threads, so it does not wait for them.
    if own.localio {
        return None;
    }
    if own.server != NFSD {
        if let Some(words) = halted(node, own.server, own.server_tgid) {
            return Some(words);
        }
        let free = server_is_free(window, view.signs, own.server);
        let who = words::process(own.server, own.server_tgid);
        return free.then(|| format!("its server {who} here is not waiting"));
    }
    if !nfsd_is_free(window, view.signs) {
        return None;
    }
    Some(match view.signs.nfsd {
        Some(nfsd) if nfsd.threads > 0 => {
            let (idle, all) = (nfsd.idle, nfsd.threads);
            format!("its server is this node's nfsd, of which {idle} of {all} threads are idle")
        }
        _ => NFSD_STOPPED.to_owned(),
    })
}

const NFSD_STOPPED: &str = "its server is this node's nfsd, which is stopped: it has no threads";

/// Whether the process that served this client has ended and no other of its name runs. The exit
/// record itself expires.
fn is_gone(node: &Node<'_>, bdi: &str, before: Option<&Silence>) -> bool {
    let Some((server, tgid)) = served(node, bdi) else {
        return false;
    };
    let mut running = node.now.user_servers.iter();
    let was_gone = before.is_some_and(|before| !before.wants.certain);
    !running.any(|one| one.name == server) && (was_gone || exit(node, server, tgid).is_some())
}

/// The current or last server of this client on this node.
fn served<'a>(node: &Node<'a>, bdi: &str) -> Option<(&'a str, Option<u32>)> {
    let mut loops = node.loops.iter();
    let own = loops.find(|one| one.stands && one.client_bdi == bdi);
    own.map(|own| (own.server, own.server_tgid)).or_else(|| {
        let mut former = node.former.iter();
        let former = former.find(|former| former.client_bdi == bdi)?;
        Some((former.server.as_str(), former.tgid))
    })
}

/// Describes a server whose process has ended; `None` beside an open verdict.
fn gone(view: &RelatedView<'_>, bdi: &str) -> Option<String> {
    if view.node.told_by(bdi, suspect).is_some() {
        return None;
    }
    let (server, tgid) = served(view.node, bdi)?;
    Some(formerly(view, server, tgid))
}

/// Describes the former server.
fn formerly(view: &RelatedView<'_>, server: &str, tgid: Option<u32>) -> String {
    if server == NFSD {
        return match view.signs.nfsd {
            Some(nfsd) if nfsd.threads > 0 => {
                "it was served by this node's nfsd, which still runs".to_owned()
            }
            _ => NFSD_STOPPED.to_owned(),
        };
    }
    halted(view.node, server, tgid).unwrap_or_else(|| {
        let who = words::process(server, tgid);
        format!("its server on this node was {who}, which is no longer connected to it")
    })
}

/// Describes the other end of its connection.
fn far_end(node: &Node<'_>, bdi: &str) -> String {
    let mount = mount(node, bdi);
    let Some((server, netns)) = mount.and_then(|mount| Some((mount.server?, mount.netns?))) else {
        return "it is served by no known server of this node".to_owned();
    };
    let mut ends = node.now.topology.far_ends.iter();
    let end = ends.find(|end| end.client_netns == netns && loops::same(end.server, server));
    match end {
        Some(end) if end.translated => format!(
            "its server is most likely {} on this node, which sees the client's address behind a \
             translation of {server}",
            words::process(&end.name, end.tgid)
        ),
        Some(end) => format!(
            "its connection to {server} ends in {} on this node, which is not an NFS server and \
             may relay it",
            words::process(&end.name, end.tgid)
        ),
        None => {
            format!("the other end of its connection to {server} is no known process of this node")
        }
    }
}

/// Whether nfsd would take a call. At every sample a thread was idle and none throttled, and none
/// slept all the time.
fn nfsd_is_free(window: &Window, signs: &RelatedSample) -> bool {
    match signs.nfsd {
        None => true,
        Some(nfsd) if nfsd.threads == 0 => true,
        Some(_) => {
            let free = window.crew_always(|crew| crew.idle > 0 && crew.throttled == 0);
            let asleep = window.crew_always(|crew| crew.blocked > 0);
            signs.sees_dirty && free == Some(true) && asleep == Some(false)
        }
    }
}
