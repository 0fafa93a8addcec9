//! The engine: turns observations into loops, transitions and verdicts, with one state machine per
//! loop.

use std::collections::BTreeMap;

use compact_str::CompactString;
use monitor_model::{
    evidence::Evidence,
    loops::{Loop, LoopEvent},
    observation::Observation,
    related::{Related, RelatedEvent, RelatedKind, RelatedTally},
    remote::RemoteMount,
    verdict::{Transition, Verdict},
};

use crate::evidence::{JudgedTick, Recorder};
use crate::judge::LoopJudge;
use crate::loops::{Loops, MAX_LOOPS};
use crate::related::{LoopNow, Node, Watch};
use crate::thresholds::{Thresholds, nanos};
use crate::window::view::AllLoops;
use crate::window::{Pushed, Window};

/// Maximum number of verdicts, of current and former loops.
const MAX_VERDICTS: usize = MAX_LOOPS;

/// The changes by an observation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Loops that began and ended, sorted by client device.
    pub loops: Vec<LoopEvent>,
    /// Related conditions that began and ended.
    pub related: Vec<RelatedEvent>,
    /// States that were entered, in the order of the loops' ids.
    pub transitions: Vec<Transition>,
    /// The evidence of states that were just entered.
    pub evidence: Vec<Evidence>,
}

/// Judges observations in turn.
#[derive(Clone, Debug)]
pub struct Engine {
    thresholds: Thresholds,
    window: Window,
    found: Loops,
    loops: BTreeMap<CompactString, LoopJudge>,
    related: Watch,
    recorder: Recorder,
}

impl Engine {
    /// A new engine. The caller checks the thresholds: unreasonable ones give unreasonable
    /// verdicts, but no panic.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            window: Window::new(&thresholds),
            found: Loops::new(thresholds.loops.clone()),
            thresholds,
            loops: BTreeMap::new(),
            related: Watch::default(),
            recorder: Recorder::default(),
        }
    }

    /// Judges by other thresholds from the next observation on. All state stays: loops, the state
    /// of each verdict, counters.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.window.set_thresholds(&thresholds);
        self.found.set_thresholds(thresholds.loops.clone());
        self.thresholds = thresholds;
    }

    /// Adds the next observation.
    pub fn observe(&mut self, observation: &Observation) -> Changes {
        let loops = self.found.observe(observation);
        let transitions = self.judge(observation);
        let moment = JudgedTick {
            observation,
            window: &self.window,
            loops: self.found.found(),
            transitions: &transitions,
        };
        let verdicts = self.loops.values().map(LoopJudge::verdict);
        Changes {
            evidence: self.recorder.record(moment, &verdicts),
            transitions,
            loops,
            related: self.relate(observation),
        }
    }

    /// The related conditions that hold now.
    #[must_use]
    pub fn related(&self) -> &[Related] {
        self.related.now()
    }

    /// The counters of every kind of related condition since start.
    #[must_use]
    pub fn related_tallies(&self) -> [RelatedTally; RelatedKind::ALL.len()] {
        self.related.tallies()
    }

    /// NFS mounts of servers elsewhere, the one with the most pages first.
    #[must_use]
    pub fn remote(&self) -> &[RemoteMount] {
        self.related.remote()
    }

    fn relate(&mut self, observation: &Observation) -> Vec<RelatedEvent> {
        let found = self.found.found();
        let found: BTreeMap<_, _> = found.iter().map(|found| (&found.id, found)).collect();
        let loops = self.loops.iter().map(|(id, one)| {
            let found = found.get(id);
            LoopNow {
                id,
                client_bdi: &one.verdict().client_bdi,
                server: &one.verdict().server,
                server_tgid: found.and_then(|found| found.server_tgid),
                server_bdi: one.verdict().server_bdi.as_deref(),
                path: found.map_or(&[], |found| &found.path),
                state: one.verdict().state,
                stands: found.is_some(),
                localio: found.is_some_and(|found| found.localio),
            }
        });
        self.related.observe(&Node {
            window: &self.window,
            now: observation,
            loops: &loops.collect::<Vec<_>>(),
            former: self.found.former(),
            thresholds: &self.thresholds,
        })
    }

    /// The loops now, in the order of the client devices' names.
    #[must_use]
    pub fn loops(&self) -> &[Loop] {
        self.found.found()
    }

    fn judge(&mut self, observation: &Observation) -> Vec<Transition> {
        let now = observation.monotonic_ns;
        let dt = match self.window.push(observation) {
            Pushed::Ignored => return Vec::new(),
            Pushed::Next(dt) => dt,
            Pushed::Restarted => {
                self.loops.values_mut().for_each(|one| one.restart(now));
                0
            }
        };
        self.find(now);
        let clients = self.loops.values().map(LoopJudge::client);
        let all = AllLoops::of(clients, &self.window);
        let mut transitions = Vec::new();
        for one in self.loops.values_mut() {
            if let Some(from) = one.tick(&self.window, &self.thresholds, dt, &all) {
                transitions.push(one.transition(from, observation));
            }
        }
        transitions
    }

    /// The verdict of every loop, sorted by id.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.loops
            .values()
            .map(|one| one.verdict().clone())
            .collect()
    }

    /// Adds new loops and drops those that ended long ago.
    fn find(&mut self, now: u64) {
        for found in self.found.found() {
            if let Some(one) = self.loops.get_mut(&found.id) {
                one.follow(found, now);
            }
        }
        let patience = nanos(self.thresholds.forget_after);
        self.loops.retain(|_, one| !one.is_over(now, patience));
        for found in self.found.found() {
            if self.loops.len() < MAX_VERDICTS && !self.loops.contains_key(&found.id) {
                self.loops
                    .insert(found.id.clone(), LoopJudge::new(found, now));
            }
        }
    }
}
