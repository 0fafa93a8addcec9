//! The node at a glance: one document of what a person looks at first, for the
//! page, for `top`, and for whoever asks `/api/v1/node`.

mod headline;
mod now;

use compact_str::CompactString;
use monitor_model::{observation::Observation, verdict::LivelockState};

pub use monitor_model::api::{
    BdiNow, DaemonInfo, Line, LoopNow, MAX_BDIS, MAX_LINES, MAX_LOOPS, MAX_TASKS, Node, RelatedNow,
    Server, Waits,
};

use super::ready::NotReady;
use super::snapshot::Snapshot;
use super::tasks::{self, TaskQuery};

pub use now::waiting_by_bdi;

impl Snapshot {
    /// The node at a glance, as of the tick.
    #[must_use]
    pub fn node(&self, not_ready: &[NotReady]) -> Node {
        let seen = &self.observation;
        let wanted = TaskQuery {
            limit: MAX_TASKS,
            ..TaskQuery::default()
        };
        let related = self.related.iter().map(|related| RelatedNow {
            since_unix_ms: self.unix_ms(related.since_ms.saturating_mul(1_000_000)),
            related: related.clone(),
        });
        Node {
            unix_ms: seen.unix_ms,
            daemon: self.daemon.info.clone(),
            ready: not_ready.is_empty(),
            not_ready: not_ready.iter().map(ToString::to_string).collect(),
            state: headline::worst(self).map_or(LivelockState::None, |worst| worst.state),
            headline: headline::headline(self, not_ready),
            loops: now::loops(self),
            loops_total: self.verdicts.len(),
            incomplete: incomplete(seen),
            related: related.collect(),
            servers: now::servers(seen),
            waits: now::waits(seen),
            tasks: tasks::rows(self, &wanted),
            memory: seen.memory,
            bdis: now::bdis(self),
            bdis_total: seen.bdis.len().saturating_add(seen.bdis_left_out as usize),
            signals: self.probes.signals.clone(),
            lost: seen.lost,
            lines: now::lines(self),
            config: self.config.as_deref().cloned(),
        }
    }
}

/// What could not be seen of the node.
fn incomplete(seen: &Observation) -> Vec<CompactString> {
    let looked_up = seen.topology.incomplete.iter().cloned();
    looked_up.chain(seen.bdis_gap()).collect()
}

#[cfg(test)]
mod tests;
