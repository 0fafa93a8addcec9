//! `nfs-server-not-responding`: calls of an NFS client are unanswered, and no
//! server of this node is what keeps them waiting.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::RelatedKind::NfsServerNotResponding;
use super::view::{Finding, Node, View, suspect};
use crate::loops::NFSD;
use crate::observation::NfsClient;
use crate::reduce::related::Signs;
use crate::text::{bytes, seconds};
use crate::thresholds::nanos;
use crate::window::Window;

/// Clients that wait for an answer and are watched at most, by name.
const MAX_SILENCES: usize = 256;

/// Since when the clients that want one have no answer.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    waiting: BTreeMap<CompactString, Silence>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Calls answered, well or with an error, total.
    answers: u64,
    since_ns: u64,
    /// When an answer was last seen while it waited.
    answered_ns: Option<u64>,
    wants: Wants,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
struct Wants {
    writes: u64,
    commits: u64,
    held_bytes: Option<u64>,
    paused: u32,
}

impl Silences {
    /// Takes in a tick.
    pub fn tick(&mut self, node: &Node<'_>) {
        let signs = node.window.signs().filter(|signs| signs.sees_clients);
        let Some(signs) = signs else {
            self.waiting.clear();
            return;
        };
        let now = node.now.monotonic_ns;
        let before = std::mem::take(&mut self.waiting);
        for client in &node.now.clients {
            let Some(wants) = wants(node, signs, client) else {
                continue;
            };
            let failed = client.writes_failed.saturating_add(client.commits_done);
            let answers = client.writes_acked.saturating_add(failed);
            let mut silence = match before.get(&client.bdi) {
                Some(silence) => *silence,
                None => Silence {
                    answers,
                    since_ns: now,
                    answered_ns: None,
                    wants,
                },
            };
            if silence.answers != answers {
                (silence.answers, silence.since_ns) = (answers, now);
                silence.answered_ns = Some(now);
            }
            silence.wants = wants;
            self.waiting.insert(client.bdi.clone(), silence);
            if self.waiting.len() > MAX_SILENCES {
                self.waiting.pop_last();
            }
        }
    }

    /// Finds those without an answer for long enough.
    pub fn judge(&self, view: &View<'_>, found: &mut Vec<Finding>) {
        let now = view.node.now.monotonic_ns;
        let thresholds = &view.node.thresholds.related;
        for (bdi, silence) in &self.waiting {
            let silent_ns = now.saturating_sub(silence.since_ns);
            // What is told is over by answers, not by clocks that start anew.
            let silent = if view.holds(NfsServerNotResponding, bdi) {
                silence.answered_ns.is_none() || silent_ns >= nanos(thresholds.answers_apart)
            } else {
                silent_ns >= nanos(thresholds.silence)
            };
            if !silent {
                continue;
            }
            let Some(server) = not_ours(view, bdi) else {
                continue;
            };
            let wants = silence.wants;
            let held = wants
                .held_bytes
                .map_or_else(|| "unknown bytes".to_owned(), |held| bytes(held as f64));
            found.push(Finding {
                kind: NfsServerNotResponding,
                bdi: bdi.clone(),
                weight: wants.held_bytes.unwrap_or(0) as f64,
                at_once: false,
                reason: format!(
                    "no answer for {}: {} WRITE and {} COMMIT calls of {bdi} are open, {held} \
                     dirty or in writeback, {} writers are paused; {server}",
                    seconds(silent_ns),
                    wants.writes,
                    wants.commits,
                    wants.paused,
                ),
            });
        }
    }
}

/// `None`: nothing for certain. A call whose end was missed stays open for
/// ever: then no page is held and later calls were answered.
fn wants(node: &Node<'_>, signs: &Signs, client: &NfsClient) -> Option<Wants> {
    let writes = client.pending_writes();
    let commits = client.commits_sent.saturating_sub(client.commits_done);
    let paused = signs.device(&client.bdi).map_or(0, |d| d.waiting);
    if writes == 0 && commits == 0 && paused == 0 {
        return None;
    }
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
        || writes > 0 && client.last_sent_ns > client.last_acked_ns;
    certain.then_some(Wants {
        writes,
        commits,
        held_bytes,
        paused,
    })
}

/// Why no server of this node is what keeps this client waiting, in words;
/// `None`: one may be.
fn not_ours(view: &View<'_>, bdi: &str) -> Option<String> {
    let node = view.node;
    let window = node.window;
    if node.told_by(bdi, suspect).is_some() {
        return None;
    }
    let mut own = node.loops.iter();
    let own = own.find(|one| one.stands && one.client_bdi == bdi);
    let Some(own) = own else {
        // Before mounts and servers are looked up, a loop may not be known.
        let looked = node.now.topology.read_ns > 0 || nfsd_is_free(window, view.signs);
        return looked.then(|| "no server of this node is known to serve it".to_owned());
    };
    // Past the server's threads, theirs is not what it waits for.
    if own.localio {
        return None;
    }
    if own.server != NFSD {
        let free = server_is_free(window, view.signs, own.server);
        return free.then(|| format!("its server {} here waits for nothing", own.server));
    }
    if !nfsd_is_free(window, view.signs) {
        return None;
    }
    Some(match view.signs.nfsd {
        Some(nfsd) if nfsd.threads > 0 => {
            let (idle, all) = (nfsd.idle, nfsd.threads);
            format!("its server is this node's nfsd, of which {idle} of {all} threads are idle")
        }
        _ => "its server is this node's nfsd, which does not run".to_owned(),
    })
}

/// Whether a call that reached nfsd would be taken: at every sample a thread
/// was idle and none throttled, and none slept all the time.
fn nfsd_is_free(window: &Window, signs: &Signs) -> bool {
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

/// The same of a server in userspace; one that is not seen is not free.
fn server_is_free(window: &Window, signs: &Signs, server: &str) -> bool {
    let stuck = |signs: &Signs| {
        let mut servers = signs.user_servers.iter();
        servers.find(|(name, _)| name == server).map(|(_, n)| *n)
    };
    stuck(signs).is_some() && window.always(|signs| stuck(signs).is_none_or(|n| n == 0))
}
