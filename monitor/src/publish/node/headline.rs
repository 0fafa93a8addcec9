//! The state of the node in one sentence: the worst first, and nothing said
//! that is not known.

use std::fmt::Write as _;

use monitor_verdict::timeline;

use monitor_model::verdict::Verdict;

use crate::publish::ready;
use crate::publish::ready::NotReady;
use crate::publish::snapshot::Snapshot;

/// The verdict in the worst state; of equals the one that came into it first.
pub fn worst(snapshot: &Snapshot) -> Option<&Verdict> {
    let bad = |verdict: &&Verdict| verdict.state.metric() > 0.0;
    snapshot.verdicts.iter().filter(bad).min_by(|a, b| {
        let worse = b.state.metric().total_cmp(&a.state.metric());
        worse.then(a.since_ms.cmp(&b.since_ms))
    })
}

pub fn headline(snapshot: &Snapshot, not_ready: &[NotReady]) -> String {
    let mut line = match worst(snapshot) {
        Some(verdict) => found(snapshot, verdict),
        None if !snapshot.verdicts.is_empty() => "No livelock.".to_owned(),
        None if snapshot.ticked() && not_ready.is_empty() => {
            "No livelock: no loop is known.".to_owned()
        }
        None => String::new(),
    };
    if !not_ready.is_empty() {
        let told = if line.is_empty() {
            ""
        } else {
            " As of the last tick; now "
        };
        let _ = write!(line, "{told}{}.", ready::sentence(not_ready));
    } else if line.is_empty() {
        line.push_str("The first tick has not finished yet.");
    }
    line
}

fn found(snapshot: &Snapshot, verdict: &Verdict) -> String {
    let since = snapshot.unix_ms(verdict.since_ms.saturating_mul(1_000_000));
    let (state, signature) = (verdict.state.as_str(), verdict.signature.as_str());
    let id = &verdict.loop_id;
    let found = snapshot.loops.iter().find(|one| one.id == *id);
    let place = found.and_then(|one| one.mounts.first()).map_or_else(
        || format!("loop {id}"),
        |mount| format!("{} (loop {id})", mount.mount_point),
    );
    format!(
        "{state} ({signature}) on {place} since {}: {}.",
        timeline::time(since),
        verdict.reason
    )
}
