//! What is to be changed: limits of BDIs, and a dirty limit that follows.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Action;

/// The share of the dirty limit that all clients of loops together may have, percent:
/// the rest is the servers'.
const ALL_RATIO: u32 = 50;

/// The same for a loop that stands still and whose server cannot be freed.
const BREAK_RATIO: u32 = 1;

/// Where it cannot be freed, what the server makes dirty is written at once. Else nobody
/// writes it before as much is dirty as `vm.dirty_background_ratio` says, and all of it
/// counts against the limit meanwhile.
const BACKGROUND_BYTES: u64 = 64 << 10;

/// Limits of a BDI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// What for.
    pub action: Action,
    /// The client's BDI, or the one that its server writes to, `major:minor`.
    pub bdi: CompactString,
    /// Whether `strict_limit` is to be set; else it stays as it is.
    pub strict_limit: bool,
    /// `max_ratio`, percent; `None`: it stays as it is.
    pub max_ratio: Option<u32>,
    /// `vm.dirty_background_bytes`; `None`: it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_bytes: Option<u64>,
}

impl Hold {
    /// What breaks a livelock: the BDI that the server writes to answers for its own
    /// pages only; where there is none such, the client is held.
    #[must_use]
    pub fn to_break(
        loop_id: CompactString,
        action: Action,
        client: CompactString,
        client_strict: bool,
        server: Option<CompactString>,
    ) -> Self {
        let max_ratio = server.is_none().then_some(BREAK_RATIO);
        let background_bytes = server.is_none().then_some(BACKGROUND_BYTES);
        Self {
            loop_id,
            action,
            strict_limit: server.is_some() || client_strict,
            bdi: server.unwrap_or(client),
            max_ratio,
            background_bytes,
        }
    }
}

/// What shall hold now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// At most one for each loop.
    pub holds: Vec<Hold>,
    /// For these loops the dirty limit follows what is dirty.
    pub ease: Vec<(CompactString, Action)>,
}

/// Many clients have less each.
pub(super) fn share(holds: &mut [Hold]) {
    let ratios = || holds.iter().filter_map(|hold| hold.max_ratio);
    let each = ALL_RATIO / u32::try_from(ratios().count()).unwrap_or(u32::MAX).max(1);
    for ratio in holds.iter_mut().filter_map(|hold| hold.max_ratio.as_mut()) {
        *ratio = (*ratio).min(each.max(1));
    }
}
