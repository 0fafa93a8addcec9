//! The changes that the guard wants: limits of BDIs, and a dirty limit that follows.

use compact_str::CompactString;
use monitor_model::guard::{Action, Hold};

/// The share of the dirty limit that all clients of loops together may use, in percent. The rest is
/// left for the servers.
const ALL_RATIO: u32 = 50;

/// The same for a stalled loop whose server cannot be freed.
const BREAK_RATIO: u32 = 1;

/// If the server cannot be freed, the kernel must write its dirty pages at once. Otherwise they
/// count against the limit until `vm.dirty_background_ratio` is reached.
const BACKGROUND_BYTES: u64 = 64 << 10;

/// Breaks a livelock: with `strict_limit`, the server's BDI answers for its own pages only. Without
/// it, the client is held.
#[must_use]
pub fn to_break(
    loop_id: CompactString,
    action: Action,
    client: CompactString,
    client_strict: bool,
    server: Option<CompactString>,
) -> Hold {
    let max_ratio = server.is_none().then_some(BREAK_RATIO);
    let background_bytes = server.is_none().then_some(BACKGROUND_BYTES);
    Hold {
        loop_id,
        action,
        strict_limit: server.is_some() || client_strict,
        bdi: server.unwrap_or(client),
        max_ratio,
        background_bytes,
    }
}

/// With many clients, each gets a smaller share.
pub(super) fn share(holds: &mut [Hold]) {
    let ratios = || holds.iter().filter_map(|hold| hold.max_ratio);
    let each = ALL_RATIO / u32::try_from(ratios().count()).unwrap_or(u32::MAX).max(1);
    for ratio in holds.iter_mut().filter_map(|hold| hold.max_ratio.as_mut()) {
        *ratio = (*ratio).min(each.max(1));
    }
}
