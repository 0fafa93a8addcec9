//! The thread that ticks: sample, judge, publish, once an interval.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use aya_log::EbpfLogger;

use crate::{
    export::{
        evidence::Sink,
        log,
        process::ProcessSampler,
        snapshot::{self, ProbeReport, Publisher},
    },
    kernel::{attach::Attached, cost, report},
    sample::{Sampler, TaskDelay},
    verdict::{Engine, Verdict},
};

/// Owns everything that a tick needs.
pub struct Ticker {
    attached: Attached,
    ebpf_log: Option<EbpfLogger<&'static dyn ::log::Log>>,
    sampler: Sampler,
    engine: Engine,
    publisher: Publisher,
    evidence: Sink,
    process: ProcessSampler,
    interval: Duration,
    tasks: Vec<TaskDelay>,
    announced: bool,
}

impl Ticker {
    /// Ready to tick.
    pub fn new(
        mut attached: Attached,
        sampler: Sampler,
        engine: Engine,
        mut publisher: Publisher,
        evidence: Sink,
        interval: Duration,
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
        publisher.probes(probes(&attached));
        Self {
            attached,
            ebpf_log,
            sampler,
            engine,
            publisher,
            evidence,
            process: ProcessSampler::started_now(),
            interval,
            tasks: Vec::new(),
            announced: false,
        }
    }

    /// Ticks until the sender is gone.
    pub fn run(mut self, stopped: &Receiver<()>) {
        let mut next = Instant::now();
        loop {
            self.tick();
            let now = Instant::now();
            next += self.interval;
            if next < now {
                // Stopped, suspended or late: no burst of ticks to catch up.
                next = now;
            }
            match stopped.recv_timeout(next - now) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tick(&mut self) {
        let start = Instant::now();
        self.attach_late();
        if let Some(log) = &mut self.ebpf_log {
            log.flush();
        }
        let signals = self
            .attached
            .reports
            .iter()
            .map(report::SignalReport::status)
            .collect();
        let tick = self.sampler.tick(signals);
        let changes = self.engine.observe(&tick.observation);
        for event in &changes.loops {
            let mut loops = self.engine.loops().iter();
            log::loop_event(event, loops.find(|one| one.id == event.loop_id));
        }
        for transition in &changes.transitions {
            log::transition(transition);
        }
        let verdicts = self.engine.verdicts();
        explain(&verdicts);
        if let Some(tasks) = tick.tasks {
            self.tasks = tasks;
        } else {
            self.tasks
                .iter_mut()
                .for_each(|task| task.recent_delay_ns = 0);
        }
        self.publisher.tick(snapshot::Tick {
            verdicts,
            observation: tick.observation,
            transitions: changes.transitions,
            loops: self.engine.loops().to_vec(),
            loop_events: changes.loops,
            evidence: self.evidence.take(&changes.evidence),
            evidence_results: self.evidence.results(),
            tasks: self.tasks.clone(),
            stalls: tick.stalls,
            costs: cost::read(&self.attached.ebpf, &self.attached.settings().procfs),
            process: Some(self.process.sample()),
            took: start.elapsed(),
        });
        self.notify();
    }

    fn attach_late(&mut self) {
        match self.attached.attach_late() {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => {
                for report in changed {
                    tracing::info!(
                        signal = %report.signal,
                        strategy = %report.strategy,
                        state = report.state.as_str(),
                        "a module was loaded: its signal is known"
                    );
                }
                self.publisher.probes(probes(&self.attached));
            }
            Err(error) => {
                tracing::error!(%error, "signals of a module that was loaded cannot be attached");
            }
        }
    }

    /// Tells systemd: ready after the first tick, alive after each.
    fn notify(&mut self) {
        use sd_notify::NotifyState;
        let states: &[NotifyState<'_>] = if self.announced {
            &[NotifyState::Watchdog]
        } else {
            &[NotifyState::Ready, NotifyState::Watchdog]
        };
        self.announced = true;
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "systemd cannot be notified");
        }
    }
}

/// With `--log.level debug`: why each loop is judged as it is, at every tick.
fn explain(verdicts: &[Verdict]) {
    for verdict in verdicts.iter().filter(|v| v.conditions.count() > 0) {
        for (name, condition) in verdict.conditions.all() {
            tracing::debug!(
                r#loop = %verdict.loop_id,
                state = verdict.state.as_str(),
                condition = name,
                holds = ?condition.holds,
                why = condition.why,
                "condition"
            );
        }
    }
}

fn probes(attached: &Attached) -> ProbeReport {
    let signals = attached
        .reports
        .iter()
        .map(|report| snapshot::SignalReport {
            signal: report.signal.clone(),
            strategy: report.strategy.clone(),
            state: report.state,
            reason: report.why(),
            loses: report.loses.clone(),
            remedy: report.remedy(&attached.facts).unwrap_or_default(),
            applies: report.applies == report::Applies::Yes,
            needed: report.needed,
        });
    ProbeReport {
        kernel: attached.facts.release.clone(),
        signals: signals.collect(),
    }
}
