//! What happened, for those who listen.

use crate::verdict::related::RelatedEvent;
use crate::verdict::{LoopEvent, Transition};

/// Events kept for those who come late, the newest ones.
pub const MAX_EVENTS: usize = 256;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Ascending, also over restarts of the daemon while the wall clock does
    /// not step back: microseconds since 1970 or a little more.
    pub id: u64,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// A loop came or went.
    Loop(LoopEvent),
    /// A related condition began or ended.
    Related(RelatedEvent),
    /// A state was entered.
    Verdict(Transition),
}

/// Numbers what happened in one tick; `last` is the newest number before.
pub(super) fn number(
    last: u64,
    unix_ms: u64,
    loops: &[LoopEvent],
    related: &[RelatedEvent],
    transitions: &[Transition],
) -> Vec<Event> {
    let loops = loops.iter().cloned().map(Happened::Loop);
    let related = related.iter().cloned().map(Happened::Related);
    let transitions = transitions.iter().cloned().map(Happened::Verdict);
    let first = last.saturating_add(1).max(unix_ms.saturating_mul(1000));
    (first..)
        .zip(loops.chain(related).chain(transitions))
        .map(|(id, what)| Event { id, what })
        .collect()
}
