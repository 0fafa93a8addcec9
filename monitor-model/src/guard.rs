//! The guard's modes, actions and outcomes, as text and as labels.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::observation::Observation;
use crate::words::words;

words! {
    /// The actions that the guard may take.
    #[derive(Default)]
    Mode {
        /// None.
        #[default]
        Off = "off",
        /// Report the actions without taking them.
        Advise = "advise",
        /// Limit the client of a loop before it can stall. Break the livelock if that was
        /// ineffective.
        Prevent = "prevent",
        /// Break the livelock of a stalled loop.
        Break = "break",
    }
}

impl Mode {
    /// The value of `throttle_guard_mode`.
    #[must_use]
    pub const fn metric(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::Advise => 1.0,
            Self::Prevent => 2.0,
            Self::Break => 3.0,
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn acts(self) -> bool {
        matches!(self, Self::Prevent | Self::Break)
    }
}

words! {
    /// An action that was taken, or would have been.
    Action {
        /// Set limits before any stall.
        Prevent = "prevent",
        /// Set limits and a dirty limit that follows, for a stalled loop.
        Break = "break",
        /// Restore the settings.
        Undo = "undo",
    }
}

words! {
    /// The outcome of an action.
    Outcome {
        /// Reported only.
        Advised = "advised",
        /// Decided; nothing has changed yet.
        Decided = "decided",
        /// Refused: too soon or too often, or no action helps.
        Refused = "refused",
        /// Done.
        Done = "done",
        /// The kernel refused it, or no helper runs.
        Failed = "failed",
        /// Another process changed the setting meanwhile, so it stays.
        LeftAlone = "left_alone",
    }
}

impl Outcome {
    /// All outcomes that are counted.
    pub const COUNTED: [Self; 5] = [
        Self::Advised,
        Self::Refused,
        Self::Done,
        Self::Failed,
        Self::LeftAlone,
    ];
}

/// An event of the guard: a line of the log, an event, a part of the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardEvent {
    /// Time, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The loop's id; empty: a previous daemon left the change.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The action.
    pub action: Action,
    /// The outcome.
    pub result: Outcome,
    /// One sentence for people.
    pub reason: String,
    /// The commands that do the same.
    pub commands: Vec<String>,
    /// The commands that undo it.
    pub undo: Vec<String>,
}

impl GuardEvent {
    /// An event with the current time, without commands.
    #[must_use]
    pub fn new(
        node: &Observation,
        id: &str,
        action: Action,
        result: Outcome,
        reason: String,
    ) -> Self {
        Self {
            monotonic_ms: node.monotonic_ns / 1_000_000,
            unix_ms: node.unix_ms,
            loop_id: format_compact!("{id}"),
            action,
            result,
            reason,
            commands: Vec::new(),
            undo: Vec::new(),
        }
    }
}

/// Limits of a BDI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The action that it belongs to.
    pub action: Action,
    /// The BDI of the client or of its server, `major:minor`.
    pub bdi: CompactString,
    /// Whether to set `strict_limit`; otherwise it stays as it is.
    pub strict_limit: bool,
    /// `max_ratio`, percent; `None`: it stays as it is.
    pub max_ratio: Option<u32>,
    /// `vm.dirty_background_bytes`; `None`: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_bytes: Option<u64>,
}

/// The desired state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Limits, at most one for each loop.
    pub holds: Vec<Hold>,
    /// The loops for which the dirty limit follows the dirty pages.
    pub ease: Vec<(CompactString, Action)>,
}
