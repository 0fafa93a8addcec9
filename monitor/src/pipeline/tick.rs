//! The tick thread: it samples, judges and publishes once per interval.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use monitor_model::{api::ConfigStatus, observation::TaskDelay, verdict::Verdict};

use monitor_collector::kernel::{attach::Attached, cost, report};

use super::{
    reload::{Reload, Settings},
    watch::{self, Seen, Watch},
};
use crate::{
    evidence::Sink,
    guard::Controller,
    log,
    publish::{
        process::ProcessSampler,
        snapshot::{self, ProbeReport, Publisher},
    },
};

/// The inputs of a tick.
pub struct Ticker {
    watch: Watch,
    publisher: Publisher,
    evidence: Sink,
    controller: Controller,
    process: ProcessSampler,
    interval: Duration,
    tasks: Vec<TaskDelay>,
    announced: bool,
    reloads: Option<Receiver<Reload>>,
}

impl Ticker {
    /// A ticker before its first tick.
    #[must_use]
    pub fn new(
        watch: Watch,
        mut publisher: Publisher,
        evidence: Sink,
        controller: Controller,
        interval: Duration,
    ) -> Self {
        publisher.probes(probes(watch.attached()));
        Self {
            watch,
            publisher,
            evidence,
            controller,
            process: ProcessSampler::started_now(),
            interval,
            tasks: Vec::new(),
            announced: false,
            reloads: None,
        }
    }

    /// Publishes the state of the configuration, and takes reloads of it from here.
    #[must_use]
    pub fn with_reloads(mut self, config: ConfigStatus, reloads: Receiver<Reload>) -> Self {
        self.publisher.config(Arc::new(config));
        self.reloads = Some(reloads);
        self
    }

    /// Applies the reloads that arrived; returns who waits for the tick to be published.
    fn reload(&mut self) -> Vec<SyncSender<()>> {
        let mut waiting = Vec::new();
        while let Some(Ok(reload)) = self.reloads.as_ref().map(Receiver::try_recv) {
            if let Some(settings) = reload.settings {
                self.apply(settings);
            }
            self.publisher.config(Arc::new(reload.status));
            waiting.push(reload.published);
        }
        waiting
    }

    fn apply(&mut self, settings: Settings) {
        if let Some(thresholds) = &settings.thresholds {
            self.watch.set_thresholds(thresholds);
        }
        if let Some(names) = &settings.server_names {
            self.watch.set_server_names(names);
        }
        if let Some(policy) = settings.guard {
            self.controller.set_policy(policy, settings.link);
        }
    }

    /// Ticks until the sender is dropped.
    pub fn run(mut self, stopped: &Receiver<()>) {
        let interval = self.interval;
        watch::every(interval, stopped, || self.tick());
        self.controller.finish(log::guard_event);
        self.watch.finish();
    }

    fn tick(&mut self) {
        let start = Instant::now();
        let waiting = self.reload();
        let Seen {
            tick,
            mut changes,
            verdicts,
            new_signals,
        } = self.watch.tick();
        if new_signals {
            self.publisher.probes(probes(self.watch.attached()));
        }
        let (engine, attached) = (self.watch.engine(), self.watch.attached());
        for event in &changes.loops {
            let mut loops = engine.loops().iter();
            log::loop_event(event, loops.find(|one| one.id == event.loop_id));
        }
        changes.related.iter().for_each(log::related_event);
        for transition in &changes.transitions {
            log::transition(transition);
        }
        explain(&verdicts);
        let guard_events = self.controller.tick(
            &tick.observation,
            engine.loops(),
            &verdicts,
            log::guard_event,
        );
        for evidence in &mut changes.evidence {
            evidence.guard = self.controller.about(&evidence.loop_id).cloned().collect();
        }
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
            loops: engine.loops().to_vec(),
            loop_events: changes.loops,
            related: engine.related().to_vec(),
            related_events: changes.related,
            remote: engine.remote().to_vec(),
            related_tallies: engine.related_tallies().into(),
            evidence: self.evidence.take(&changes.evidence),
            evidence_results: self.evidence.results(),
            tasks: self.tasks.clone(),
            stalls: tick.stalls,
            guard: self.controller.now(),
            guard_events,
            costs: cost::read(&attached.ebpf, &attached.settings().procfs),
            process: Some(self.process.sample()),
            took: start.elapsed(),
        });
        self.notify();
        for published in waiting {
            // It waits only for a while.
            let _ = published.try_send(());
        }
    }

    /// Notifies systemd: ready after the first tick, alive after each.
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

/// With `--log.level debug`, logs the reason for each loop's verdict at every tick.
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
            limitation: report.limitation.clone(),
            remedy: report.remedy(&attached.facts).unwrap_or_default(),
            applies: report.applies == report::Applies::Yes,
            needed: report.needed,
        });
    ProbeReport {
        kernel: attached.facts.release.clone(),
        signals: signals.collect(),
    }
}
