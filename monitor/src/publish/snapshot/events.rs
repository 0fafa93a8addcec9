//! What happened, for those who listen.

use monitor_model::{
    guard::GuardEvent, loops::LoopEvent, related::RelatedEvent, verdict::Transition,
};

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
    /// The guard decided or did something.
    Guard(GuardEvent),
}

/// The end of the year 9999, milliseconds since 1970.
const LATEST_MS: u64 = 253_402_300_799_999;

/// Numbers what happened in one tick; `last` is the newest number before.
pub(super) fn number(
    last: u64,
    unix_ms: u64,
    loops: &[LoopEvent],
    related: &[RelatedEvent],
    transitions: &[Transition],
    guard: &[GuardEvent],
) -> Vec<Event> {
    let loops = loops.iter().cloned().map(Happened::Loop);
    let related = related.iter().cloned().map(Happened::Related);
    let transitions = transitions.iter().cloned().map(Happened::Verdict);
    let guard = guard.iter().cloned().map(Happened::Guard);
    // Of a time that a recording made up, there must be numbers left.
    let clock = unix_ms.min(LATEST_MS).saturating_mul(1000);
    let first = last.saturating_add(1).max(clock);
    (first..)
        .zip(loops.chain(related).chain(transitions).chain(guard))
        .map(|(id, what)| Event { id, what })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{LATEST_MS, number};
    use crate::publish::testing;

    #[test]
    fn a_clock_at_the_end_of_its_numbers_leaves_some_for_events() {
        let seen = testing::snapshot().timeline;
        let transitions: Vec<_> = seen.iter().cloned().collect();
        assert!(!transitions.is_empty());
        let events = number(0, u64::MAX, &[], &[], &transitions, &[]);
        assert_eq!(events[0].id, LATEST_MS * 1000);
        let later = number(events[0].id, u64::MAX, &[], &[], &transitions, &[]);
        assert_eq!(later[0].id, LATEST_MS * 1000 + 1);
    }
}
