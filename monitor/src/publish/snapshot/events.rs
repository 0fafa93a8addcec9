//! What happened, for those who listen.

use monitor_model::api::Happened;

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

/// The end of the year 9999, milliseconds since 1970.
const LATEST_MS: u64 = 253_402_300_799_999;

/// Numbers what happened in one tick; `last` is the newest number before.
pub(super) fn number(
    last: u64,
    unix_ms: u64,
    happened: impl Iterator<Item = Happened>,
) -> Vec<Event> {
    // Of a time that a recording made up, there must be numbers left.
    let clock = unix_ms.min(LATEST_MS).saturating_mul(1000);
    let first = last.saturating_add(1).max(clock);
    (first..)
        .zip(happened)
        .map(|(id, what)| Event { id, what })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Happened, LATEST_MS, number};
    use crate::publish::testing;

    #[test]
    fn a_clock_at_the_end_of_its_numbers_leaves_some_for_events() {
        let happened = || [Happened::Verdict(testing::transition_at(1))].into_iter();
        let events = number(0, u64::MAX, happened());
        assert_eq!(events[0].id, LATEST_MS * 1000);
        let later = number(events[0].id, u64::MAX, happened());
        assert_eq!(later[0].id, LATEST_MS * 1000 + 1);
    }
}
