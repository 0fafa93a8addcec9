//! A node and the engine that watches it.

use monitor_model::{
    observation::Observation,
    verdict::{LivelockState, Transition, Verdict},
};

use super::node::{Node, Phase};
use crate::{Engine, Thresholds};

/// A node and the engine that watches it.
pub struct Watched {
    pub node: Node,
    pub engine: Engine,
    /// All state changes: seconds since the first tick, and the new state.
    pub timeline: Vec<(u64, LivelockState)>,
    pub transitions: Vec<Transition>,
    start_ns: u64,
}

impl Watched {
    pub fn new(threads: u32) -> Self {
        Self::of(Node::new(threads))
    }

    pub fn of(node: Node) -> Self {
        let start_ns = node.now.monotonic_ns;
        let engine = Engine::new(Thresholds::default());
        Self {
            node,
            engine,
            timeline: Vec::new(),
            transitions: Vec::new(),
            start_ns,
        }
    }

    /// Plays some seconds of a phase; returns the state after them.
    pub fn play(&mut self, phase: &Phase, seconds: u64) -> LivelockState {
        self.play_with(phase, seconds, |_, _| {})
    }

    /// The same, with a change to each observation.
    pub fn play_with(
        &mut self,
        phase: &Phase,
        seconds: u64,
        mut change: impl FnMut(u64, &mut Observation),
    ) -> LivelockState {
        for n in 0..seconds {
            let mut observation = self.node.second(phase);
            change(n, &mut observation);
            self.observe(&observation);
        }
        self.state()
    }

    pub fn observe(&mut self, observation: &Observation) {
        let at = observation.monotonic_ns.saturating_sub(self.start_ns) / 1_000_000_000;
        for transition in self.engine.observe(observation).transitions {
            if transition.loop_id.starts_with("0:29-") {
                self.timeline.push((at, transition.to));
            }
            self.transitions.push(transition);
        }
    }

    /// The first client's verdict.
    pub fn verdict(&self) -> Verdict {
        self.engine.verdicts().swap_remove(0)
    }

    /// The state of the first client's loop.
    pub fn state(&self) -> LivelockState {
        self.engine
            .verdicts()
            .first()
            .map_or(LivelockState::None, |verdict| verdict.state)
    }

    /// When the state was first entered, seconds since the first tick.
    pub fn first(&self, state: LivelockState) -> Option<u64> {
        self.timeline
            .iter()
            .find(|(_, to)| *to == state)
            .map(|&(at, _)| at)
    }
}
