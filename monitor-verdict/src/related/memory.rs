//! `memory-starvation`: tasks spend their time in reclaim because almost no memory is available.

use compact_str::CompactString;
use monitor_model::{observation::Memory, related::RelatedKind::MemoryStarvation};

use super::view::{Finding, RelatedView};
use crate::text::percent;

/// Finds it on the node.
pub(super) fn judge(view: &RelatedView<'_>, found: &mut Vec<Finding>) {
    let window = view.node.window;
    let thresholds = &view.node.thresholds.related;
    let ease = view.ease(MemoryStarvation, "");
    let tasks = window.reclaimed().map(|m| m.bytes as f64 / m.ns as f64);
    let available = window.least(available);
    let low = available.map(|share| share < thresholds.available_share / ease);
    let kills = window.moved(|sample| sample.signs.memory.oom_kills);
    let kills = kills.map_or(0, |moved| moved.bytes);
    let reclaims = |share: f64| tasks.is_some_and(|tasks| tasks >= share);
    let starved = reclaims(thresholds.reclaim_share * ease) && low != Some(false);
    // Kills by a memory cgroup count too, but other tasks do not reclaim for them.
    let killed = kills > 0 && (low == Some(true) || reclaims(thresholds.oom_reclaim_share));
    if !starved && !killed {
        return;
    }
    let number = |known: Option<String>| known.unwrap_or_else(|| "an unknown share".to_owned());
    found.push(Finding {
        kind: MemoryStarvation,
        bdi: CompactString::default(),
        weight: tasks.unwrap_or(0.0),
        at_once: killed,
        reason: format!(
            "{} tasks on average are in reclaim or compaction, {} of the memory is available \
             without writing, {kills} OOM kills",
            tasks.map_or_else(|| "unknown".to_owned(), |tasks| format!("{tasks:.1}")),
            number(available.map(percent)),
        ),
    });
}

/// Share of the memory that is available without writing: `MemAvailable` counts
/// dirty pages as if they were available at once.
fn available(memory: &Memory) -> Option<f64> {
    let total = memory.total_bytes.filter(|&total| total > 0)?;
    let dirty = memory.dirty_bytes.unwrap_or(0);
    let unclean = dirty.saturating_add(memory.writeback_bytes.unwrap_or(0));
    let clean = memory.available_bytes?.saturating_sub(unclean);
    Some((clean as f64 / total as f64).min(1.0))
}
