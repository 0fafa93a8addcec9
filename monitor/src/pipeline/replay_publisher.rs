//! Publishes a recording again, as the daemon did.

use std::sync::Arc;

use monitor_verdict::{Changes, Engine};

use monitor_model::{api::DaemonInfo, observation::Observation};

use crate::{
    evidence::Document,
    publish::snapshot::{Daemon, ProbeReport, Publisher, Shared, SignalReport, Tick},
    recording::Header,
};

/// Publishes the ticks of a recording. Data that recordings lack is not shown: totals of tasks,
/// resource use of the daemon and its programs, details of signals.
#[derive(Debug)]
pub struct ReplayPublisher {
    publisher: Publisher,
}

impl ReplayPublisher {
    /// A publisher in the name of the recording daemon; `recording` is the name of the recording on
    /// display.
    #[must_use]
    pub fn new(header: &Header, recording: Option<String>) -> Self {
        Self {
            publisher: Publisher::new(Daemon {
                info: DaemonInfo {
                    node: String::new(),
                    version: header.program.clone(),
                    revision: header.revision.clone(),
                    kernel: header.kernel.clone(),
                    interval_seconds: header.interval_ms as f64 / 1000.0,
                    recording,
                },
                boot_id: String::new(),
                bounds: header.bucket_bounds.clone(),
            }),
        }
    }

    /// The shared snapshots.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        self.publisher.shared()
    }

    /// Publishes a tick with its original time.
    pub fn tick(
        &mut self,
        observation: &Observation,
        changes: &Changes,
        engine: &Engine,
        unix_ms: u64,
    ) {
        self.probes(observation);
        // A document that cannot be rendered is skipped, as in the daemon.
        let evidence = changes.evidence.iter();
        let evidence = evidence.filter_map(|one| Document::new(one).ok().map(Arc::new));
        self.publisher.tick(Tick {
            observation: Observation {
                unix_ms,
                ..observation.clone()
            },
            verdicts: engine.verdicts(),
            loops: engine.loops().to_vec(),
            loop_events: changes.loops.clone(),
            related: engine.related().to_vec(),
            related_events: changes.related.clone(),
            related_tallies: engine.related_tallies().into(),
            remote: engine.remote().to_vec(),
            transitions: changes.transitions.clone(),
            evidence: evidence.collect(),
            ..Tick::default()
        });
    }

    fn probes(&mut self, observation: &Observation) {
        let daemon = Arc::clone(&self.shared().load().daemon);
        let known = Arc::clone(&self.shared().load().probes);
        let same = known
            .signals
            .iter()
            .map(|s| (&s.signal, &s.strategy, s.state))
            .eq(observation
                .signals
                .iter()
                .map(|s| (&s.signal, &s.strategy, s.state)));
        if same {
            return;
        }
        let signals = observation.signals.iter().map(|one| SignalReport {
            signal: one.signal.clone(),
            strategy: one.strategy.clone(),
            state: one.state,
            reason: "not kept in recordings".to_owned(),
            limitation: String::new(),
            remedy: String::new(),
            applies: false,
            needed: false,
        });
        self.publisher.probes(ProbeReport {
            kernel: daemon.info.kernel.clone(),
            signals: signals.collect(),
        });
    }
}
