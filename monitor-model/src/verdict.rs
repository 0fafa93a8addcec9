//! The types of a verdict.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::known_only::known_only;
use crate::words::words;

words! {
    /// How a livelock looks: which edge closes the cycle. In the order of preference between
    /// equals.
    Signature {
        /// A server thread is in `balance_dirty_pages` on its own, nearly clean
        /// BDI while the client's pages fill the dirty limit.
        DirtyThrottle = "dirty-throttle",
        /// A server thread reclaims memory, or sleeps in reclaim, while the
        /// client's BDI is congested.
        ReclaimCongestion = "reclaim-congestion",
        /// A server thread, kswapd or kcompactd waits until pages of the loop's own
        /// client are written or committed.
        CommitWait = "commit-wait",
        /// nfsd gets no pages for its requests while the client's BDI is congested.
        RequestStarvation = "request-starvation",
        /// A loop device (`/dev/loop0`) lies on the loop's client or under its
        /// server, and its worker takes part in the cycle.
        LoopDevice = "loop-device",
    }
}

impl Signature {
    /// Whether it was reproduced on a real kernel, so that the corpus has a recording of it.
    /// Without that, a loop is at most suspected: its edge may not distinguish a livelock from
    /// similar cases.
    #[must_use]
    pub const fn is_reproduced(self) -> bool {
        match self {
            Self::DirtyThrottle | Self::ReclaimCongestion | Self::CommitWait | Self::LoopDevice => {
                true
            }
            Self::RequestStarvation => false,
        }
    }
}

words! {
    /// The state of a loop.
    #[derive(Default)]
    LivelockState {
        /// No livelock.
        #[default]
        None = "none",
        /// Three of the four conditions, or all four for less than the
        /// confirmation time.
        Suspected = "suspected",
        /// All four for the confirmation time.
        Livelock = "livelock",
        /// A livelock in which no byte moves.
        Deadlock = "deadlock",
        /// A former livelock whose loop has resumed; becomes `none` after a while.
        Recovered = "recovered",
    }
}

impl LivelockState {
    /// The value of `throttle_livelock_state`; recovered counts as none.
    #[must_use]
    pub const fn metric(self) -> f64 {
        match self {
            Self::None | Self::Recovered => 0.0,
            Self::Suspected => 1.0,
            Self::Livelock => 2.0,
            Self::Deadlock => 3.0,
        }
    }

    /// Whether it is a livelock now.
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
    /// The deciding number, in the unit that the sentence names.
    pub value: Option<f64>,
    /// One sentence for people, with its numbers.
    pub why: String,
}

/// The four conditions of design.md, "When it is a livelock".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// The client has pages to write; the value is bytes.
    pub demand: Condition,
    /// Almost nothing moves; the value is bytes a second.
    pub no_progress: Condition,
    /// The server's busy threads wait; the value is a share, 0 to 1.
    pub blockage: Condition,
    /// They wait for the client's own pages. The value is the share that the signature's edge rests
    /// on: of the dirty pages, or of time.
    pub closing_edge: Condition,
}

impl Conditions {
    /// All four, by their names in JSON.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Condition); 4] {
        [
            ("demand", &self.demand),
            ("no_progress", &self.no_progress),
            ("blockage", &self.blockage),
            ("closing_edge", &self.closing_edge),
        ]
    }

    /// The number of conditions known to hold.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all()
            .iter()
            .filter(|(_, condition)| condition.holds == Some(true))
            .count()
    }
}

/// How far a verdict can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// 1: every input of the conditions was available. Each input that was missing or replaced by a
    /// weaker one reduces it.
    pub share: f64,
    /// The missing inputs and their substitutes, a sentence each.
    pub missing: Vec<String>,
}

impl Default for Confidence {
    fn default() -> Self {
        Self {
            share: 1.0,
            missing: Vec::new(),
        }
    }
}

/// The counters of one (loop, signature) since start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The signature.
    pub signature: Signature,
    /// Livelocks confirmed.
    pub detections: u64,
    /// Seconds in livelock or deadlock.
    pub livelock_seconds: f64,
}

/// The verdict on one loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The loop's id, `<client bdi>-<server>`.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The client's device.
    pub client_bdi: CompactString,
    /// The server: `nfsd`, or the name of its process.
    pub server: CompactString,
    /// The BDI that the server writes to, if known.
    pub server_bdi: Option<CompactString>,
    /// The edge that closes the cycle; in `none`, the one closest to it.
    pub signature: Signature,
    /// The state.
    pub state: LivelockState,
    /// The confidence in all this.
    pub confidence: Confidence,
    /// Beginning of the state, `CLOCK_MONOTONIC` milliseconds.
    pub since_ms: u64,
    /// The four conditions.
    pub conditions: Conditions,
    /// One sentence for people.
    pub reason: String,
    /// The counters since start, by signature, without those that were never confirmed.
    #[serde(deserialize_with = "known_only")]
    pub tallies: Vec<Tally>,
}

impl Verdict {
    /// The state under a signature: all but the active one are `none`.
    #[must_use]
    pub fn state_by(&self, signature: Signature) -> LivelockState {
        if self.signature == signature {
            self.state
        } else {
            LivelockState::None
        }
    }

    /// The counters of a signature.
    #[must_use]
    pub fn tally(&self, signature: Signature) -> Tally {
        let mut tallies = self.tallies.iter();
        let found = tallies.find(|tally| tally.signature == signature);
        found.copied().unwrap_or(Tally {
            signature,
            detections: 0,
            livelock_seconds: 0.0,
        })
    }

    /// Livelocks confirmed since start.
    #[must_use]
    pub fn detections(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.detections).sum()
    }

    /// Seconds in livelock or deadlock since start.
    #[must_use]
    pub fn livelock_seconds(&self) -> f64 {
        self.tallies
            .iter()
            .map(|tally| tally.livelock_seconds)
            .sum()
    }
}

/// A change of state: a line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Time, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The signature.
    pub signature: Signature,
    /// The state before.
    pub from: LivelockState,
    /// The state after.
    pub to: LivelockState,
    /// One sentence with the numbers that decided.
    pub reason: String,
}
