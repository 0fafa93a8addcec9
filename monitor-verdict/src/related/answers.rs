//! What the conditions of silent servers share: the clock of answers, and the state of a server
//! process of this node.

use monitor_model::{observation::ServerExit, related::RelatedKind};

use super::view::{Node, RelatedView};
use crate::loops::words;
use crate::thresholds::nanos;
use crate::window::Window;
use crate::window::reduce::related::RelatedSample;

/// The time since a waiting client last had an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerClock {
    since_ns: u64,
    /// Whether there was an answer while it waited.
    is_answered: bool,
}

impl AnswerClock {
    /// A client that begins to wait.
    pub(super) const fn new(now_ns: u64) -> Self {
        Self {
            since_ns: now_ns,
            is_answered: false,
        }
    }

    /// Adds an answer.
    pub(super) const fn answer(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.is_answered = true;
    }

    /// The length of the silence; `None`: it is too short. An open condition ends by answers, not by
    /// clocks that restart.
    pub(super) fn silent_ns(
        &self,
        view: &RelatedView<'_>,
        kind: RelatedKind,
        bdi: &str,
    ) -> Option<u64> {
        let thresholds = &view.node.thresholds.related;
        let silent_ns = view.node.now.monotonic_ns.saturating_sub(self.since_ns);
        let is_silent = if view.holds(kind, bdi) {
            !self.is_answered || silent_ns >= nanos(thresholds.answers_apart)
        } else {
            silent_ns >= nanos(thresholds.silence)
        };
        is_silent.then_some(silent_ns)
    }
}

/// Describes a server process that ended or is stopped.
pub(super) fn halted(node: &Node<'_>, server: &str, tgid: Option<u32>) -> Option<String> {
    let is_it = |name: &str, its: u32| name == server && tgid.is_none_or(|tgid| tgid == its);
    let mut running = node.now.user_servers.iter();
    if let Some(one) = running.find(|one| is_it(&one.name, one.tgid)) {
        let who = words::process(&one.name, Some(one.tgid));
        let words = format!("its server {who} here is stopped (SIGSTOP or a debugger)");
        return one.stopped.then_some(words);
    }
    let exit = exit(node, server, tgid)?;
    let words = words::exit(exit, node.now.monotonic_ns);
    Some(format!("its server on this node, {words}"))
}

/// The end of a server's process. Without a process id, the last one of that name.
pub(super) fn exit<'a>(node: &Node<'a>, server: &str, tgid: Option<u32>) -> Option<&'a ServerExit> {
    let mut exits = node.now.server_exits.iter().rev();
    exits.find(|exit| exit.name == server && tgid.is_none_or(|tgid| tgid == exit.tgid))
}

/// Whether a userspace server would take a call. A server that is not visible counts as busy.
pub(super) fn server_is_free(window: &Window, signs: &RelatedSample, server: &str) -> bool {
    let stuck = |signs: &RelatedSample| {
        let mut servers = signs.user_servers.iter();
        servers.find(|(name, _)| name == server).map(|(_, n)| *n)
    };
    stuck(signs).is_some() && window.always(|signs| stuck(signs).is_none_or(|n| n == 0))
}
