//! The words of a verdict.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// How a livelock looks: which edge closes the cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// A server thread is in `balance_dirty_pages` on its own, nearly clean
    /// BDI while the client's pages fill the dirty limit.
    DirtyThrottle,
}

impl Signature {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DirtyThrottle => "dirty-throttle",
        }
    }
}

/// The state of a (loop, signature).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LivelockState {
    /// Nothing of the kind.
    #[default]
    None,
    /// Three of the four conditions, or all four for less than the
    /// confirmation time.
    Suspected,
    /// All four for the confirmation time.
    Livelock,
    /// A livelock in which nothing at all moves any more.
    Deadlock,
    /// It was one and goes on again; becomes `none` after a while.
    Recovered,
}

impl LivelockState {
    /// The word in JSON and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Suspected => "suspected",
            Self::Livelock => "livelock",
            Self::Deadlock => "deadlock",
            Self::Recovered => "recovered",
        }
    }

    /// The value of `throttle_livelock_state`; recovered is none again.
    #[must_use]
    pub const fn metric(self) -> f64 {
        match self {
            Self::None | Self::Recovered => 0.0,
            Self::Suspected => 1.0,
            Self::Livelock => 2.0,
            Self::Deadlock => 3.0,
        }
    }

    /// Whether it is one now.
    #[must_use]
    pub const fn is_livelock(self) -> bool {
        matches!(self, Self::Livelock | Self::Deadlock)
    }
}

/// One of the four conditions, over the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it holds; `None`: an input is missing.
    pub holds: Option<bool>,
    /// The number that decided, in the unit that the sentence names.
    pub value: Option<f64>,
    /// One sentence for people, with its numbers.
    pub why: String,
}

/// The four conditions of design.md, "When it is a livelock".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The client has pages to write; the value is bytes.
    pub demand: Condition,
    /// Nothing worth naming moves; the value is bytes a second.
    pub no_progress: Condition,
    /// The server's busy threads wait; the value is a share, 0 to 1.
    pub blockage: Condition,
    /// They wait for the client's own pages; the value is the client's share
    /// of the dirty pages over the limit.
    pub closing_edge: Condition,
}

impl Conditions {
    /// All four, by the names that they have in JSON.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Condition); 4] {
        [
            ("demand", &self.demand),
            ("no_progress", &self.no_progress),
            ("blockage", &self.blockage),
            ("closing_edge", &self.closing_edge),
        ]
    }

    /// How many of them hold for certain.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all()
            .iter()
            .filter(|(_, condition)| condition.holds == Some(true))
            .count()
    }
}

/// What is to be said of one (loop, signature) now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The loop's id, `<client bdi>-<server>`.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The client's device.
    pub client_bdi: CompactString,
    /// Who serves: `nfsd`.
    pub server: CompactString,
    /// What the server writes to, where it is known.
    pub server_bdi: Option<CompactString>,
    /// Which edge closes the cycle.
    pub signature: Signature,
    /// The state.
    pub state: LivelockState,
    /// Since when, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// The four numbers.
    pub conditions: Conditions,
    /// One sentence for people.
    pub reason: String,
    /// Livelocks confirmed on this (loop, signature) since start.
    pub detections: u64,
    /// Seconds in livelock or deadlock since start.
    pub livelock_seconds: f64,
}

/// A change of state: a line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// Which signature.
    pub signature: Signature,
    /// The state before.
    pub from: LivelockState,
    /// The state after.
    pub to: LivelockState,
    /// One sentence with the numbers that decided.
    pub reason: String,
}
