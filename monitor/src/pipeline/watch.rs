//! A tick of `run` and `record`: attach new signals, sample, judge, record.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use aya_log::EbpfLogger;
use compact_str::CompactString;
use monitor_collector::{
    kernel::{attach::Attached, report},
    sample::{self, Sampler},
};
use monitor_model::verdict::{LivelockState, Verdict};
use monitor_verdict::{Changes, Engine, Thresholds};

use crate::recording::Recorder;

/// How long the process waits at its end for the end of a recording.
const FINISH_DEADLINE: Duration = Duration::from_secs(2);

/// The programs, the sampler and the engine.
pub struct Watch {
    attached: Attached,
    ebpf_log: Option<EbpfLogger<&'static dyn log::Log>>,
    sampler: Sampler,
    engine: Engine,
    recorder: Option<Recorder>,
}

/// The results of one tick.
pub struct Seen {
    /// The sample.
    pub tick: sample::Tick,
    /// The changes.
    pub changes: Changes,
    /// The verdict on every loop.
    pub verdicts: Vec<Verdict>,
    /// Whether signals of a newly loaded module are available.
    pub new_signals: bool,
}

impl Watch {
    /// A watch before its first tick.
    #[must_use]
    pub fn new(
        mut attached: Attached,
        sampler: Sampler,
        engine: Engine,
        recorder: Option<Recorder>,
    ) -> Self {
        let log = attached
            .settings()
            .log
            .then(|| EbpfLogger::init(&mut attached.ebpf));
        let ebpf_log = log.and_then(|log| {
            log.inspect_err(
                |error| tracing::warn!(%error, "messages of the eBPF programs cannot be read"),
            )
            .ok()
        });
        Self {
            attached,
            ebpf_log,
            sampler,
            engine,
            recorder,
        }
    }

    /// The attached programs.
    #[must_use]
    pub const fn attached(&self) -> &Attached {
        &self.attached
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Judges by other thresholds from the next tick on; a recording notes them.
    pub fn set_thresholds(&mut self, thresholds: &Thresholds) {
        self.engine.set_thresholds(thresholds.clone());
        if let Some(recorder) = &mut self.recorder {
            recorder.set_thresholds(thresholds.clone());
        }
    }

    /// Uses other names of userspace NFS servers from the next tick on.
    pub fn set_server_names(&mut self, names: &[String]) {
        if let Err(error) = self.attached.set_nfs_servers(names.to_vec()) {
            tracing::warn!(%error, "the names of userspace NFS servers (loops.server-names) cannot be changed completely: restart the daemon");
        }
        self.sampler.set_nfs_servers(names.to_vec());
    }

    /// Runs one tick.
    pub fn tick(&mut self) -> Seen {
        let new_signals = self.attach_late();
        if let Some(log) = &mut self.ebpf_log {
            log.flush();
        }
        let signals = self
            .attached
            .reports
            .iter()
            .map(report::SignalReport::status)
            .collect();
        let mut tick = self.sampler.tick(signals);
        if let Some(recorder) = &self.recorder {
            tick.observation.lost.recording = recorder.lost();
        }
        let changes = self.engine.observe(&tick.observation);
        if let Some(recorder) = &mut self.recorder {
            recorder.observe(&tick.observation, &changes);
        }
        let verdicts = self.engine.verdicts();
        self.sampler.watch_closely(verdicts.iter().any(is_suspect));
        self.sampler.set_loop_bdis(bdis_of(&verdicts).into_iter());
        Seen {
            tick,
            changes,
            verdicts,
            new_signals,
        }
    }

    /// Ends the recording.
    pub fn finish(self) {
        if let Some(recorder) = self.recorder {
            recorder.finish(FINISH_DEADLINE);
        }
    }

    fn attach_late(&mut self) -> bool {
        match self.attached.attach_late() {
            Ok(changed) => {
                for report in &changed {
                    tracing::info!(
                        signal = %report.signal,
                        strategy = %report.strategy,
                        state = report.state.as_str(),
                        "a module was loaded: its signal was attached"
                    );
                }
                !changed.is_empty()
            }
            Err(error) => {
                tracing::error!(%error, "signals of a module that was loaded cannot be attached");
                false
            }
        }
    }
}

/// Whether a loop is stalled or suspected.
fn is_suspect(verdict: &Verdict) -> bool {
    verdict.state == LivelockState::Suspected || verdict.state.is_livelock()
}

/// The BDIs that loops write to, those of suspected loops first.
fn bdis_of(verdicts: &[Verdict]) -> Vec<CompactString> {
    let mut verdicts: Vec<_> = verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| !is_suspect(verdict));
    let both = |verdict: &&Verdict| {
        let client = Some(verdict.client_bdi.clone());
        client.into_iter().chain(verdict.server_bdi.clone())
    };
    verdicts.iter().flat_map(both).collect()
}

/// Calls `tick` once per interval until the sender is dropped.
pub fn every(interval: Duration, stopped: &Receiver<()>, mut tick: impl FnMut()) {
    let mut next = Instant::now();
    loop {
        tick();
        let now = Instant::now();
        next += interval;
        if next < now {
            // After a stop or suspend, skip the missed ticks instead of catching up.
            next = now;
        }
        match stopped.recv_timeout(next.saturating_duration_since(now)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
