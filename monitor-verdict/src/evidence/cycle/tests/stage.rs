//! A node to draw.

use std::ops::Range;
use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::{Picture, Step},
    loops::Loop,
    observation::{
        Congestion, CongestionBy, FileSystem, Observation, ServerThread, ThreadState, Topology,
        Waiting,
    },
    testing,
    verdict::{LivelockState, Signature, Verdict},
};

use crate::Thresholds;
use crate::evidence::cycle::{CycleView, steps};
use crate::evidence::tasks::Tasks;
use crate::evidence::{COLUMNS, lines, numbers, picture};
use crate::loops::Loops;
use crate::tests::node::{CLIENT, DISK, Node, Phase};
use crate::window::Window;

/// A node in the freeze of 6.12, with its mount and disk looked up.
pub struct Stage {
    pub observation: Observation,
    window: Window,
    found: Loop,
    pub verdict: Verdict,
    signature: Signature,
}

impl Stage {
    pub fn new(signature: Signature) -> Self {
        let mut node = Node::new(8);
        node.look_up(&[(CLIENT, Some("nfsd"))]);
        let topology = Arc::make_mut(&mut node.now.topology);
        topology.file_systems.push(FileSystem {
            device: DISK.into(),
            bdi: DISK.into(),
            fstype: "ext4".into(),
            source: "/dev/vda".into(),
            mount_point: "/export".into(),
        });
        let (mut window, mut loops) = (Window::new(&Thresholds::default()), Loops::default());
        for _ in 0..5 {
            let observation = node.second(&Phase::FROZEN_6_12);
            window.push(&observation);
            loops.observe(&observation);
        }
        let mut stage = Self {
            found: loops.found()[0].clone(),
            observation: node.now,
            window,
            verdict: testing::verdict(signature, LivelockState::Livelock),
            signature,
        };
        stage.observation.waits.clear();
        stage.server(|thread| thread.state = ThreadState::Idle);
        stage
    }

    pub fn server(&mut self, change: impl FnMut(&mut ServerThread)) {
        let nfsd = self.observation.nfsd.iter_mut();
        nfsd.flat_map(|nfsd| &mut nfsd.threads).for_each(change);
    }

    pub fn topology(&mut self) -> &mut Topology {
        Arc::make_mut(&mut self.observation.topology)
    }

    /// Tasks from `first` on that have been waiting for ten seconds.
    pub fn wait(&mut self, tids: Range<u32>, comm: &str, class: Class, cause: Cause, bdi: &str) {
        for tid in tids {
            let since_ns = self.observation.monotonic_ns - 10_000_000_000;
            self.observation.waits.push(Waiting {
                comm: comm.into(),
                ..testing::wait(tid, class, cause, bdi, since_ns)
            });
        }
    }

    pub fn steps(&self) -> Vec<Step> {
        let found = Some(&self.found);
        let tasks = Tasks::of(
            &self.observation,
            &self.observation.stacks,
            &self.verdict,
            found,
        );
        steps(CycleView {
            observation: &self.observation,
            window: &self.window,
            verdict: &self.verdict,
            signature: self.signature,
            found,
            tasks: &tasks,
        })
    }

    pub fn draw(&self) -> String {
        lines(&self.steps(), COLUMNS).join("\n")
    }

    pub fn picture(&self) -> Picture {
        let numbers = numbers(&self.observation, &self.verdict, Some(&self.found));
        picture(
            &self.observation,
            &self.verdict,
            Some(&self.found),
            &numbers,
        )
    }
}

pub fn congested(stage: &mut Stage) {
    stage.observation.bdis[0].congestion = Some(Congestion {
        congested: true,
        by: CongestionBy::Flag,
        since_ns: Some(stage.observation.monotonic_ns - 12_000_000_000),
        total_ns: 0,
        threshold_bytes: None,
    });
}
