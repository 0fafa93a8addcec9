//! Arbitrary seconds for the property tests.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{Observation, SignalStatus, State},
    verdict::{Transition, Verdict},
};
use proptest::prelude::*;

use super::node::{CLIENT, DISK, Node, Phase, wait};
use crate::{Engine, Thresholds, signal};

/// One second: a phase with arbitrary numbers, and a trouble.
#[derive(Clone, Debug)]
pub struct Step {
    pub phase: Phase,
    pub trouble: u8,
    pub number: u64,
}

pub fn step() -> impl Strategy<Value = Step> {
    let known = [
        Phase::IDLE,
        Phase::HEALTHY,
        Phase::CRAWL,
        Phase::FROZEN_6_12,
        Phase::FROZEN_6_12,
        Phase::FROZEN_5_10,
        Phase::SLOW_DISK,
        Phase::SERVER_GONE,
        Phase::FROZEN_RECLAIM,
        Phase::STORM,
    ];
    (
        prop::sample::select(known.to_vec()),
        any::<u8>(),
        any::<u64>(),
    )
        .prop_map(|(phase, trouble, number)| Step {
            phase,
            trouble,
            number,
        })
}

/// Mostly leaves the observation alone, else sets one field from `number`.
pub fn disturb(observation: &mut Observation, step: &Step) {
    let number = step.number;
    match step.trouble {
        0 => observation.monotonic_ns = number,
        1 => observation.monotonic_ns = observation.monotonic_ns.wrapping_add(number >> 30),
        2 => observation.clients[0].bytes_acked = number,
        3 => observation
            .nfsd
            .iter_mut()
            .for_each(|n| n.bytes_written = Some(number)),
        4 => observation
            .nfsd
            .iter_mut()
            .for_each(|n| n.bytes_written = None),
        5 => observation.nfsd = None,
        6 => observation.clients.clear(),
        7 => observation.bdis.clear(),
        8 => observation.bdis[0].dirty_bytes = Some(number),
        9 => observation.bdis[1].disk_busy_ms = Some(number),
        10 => observation.memory.page_size = number,
        11 => observation.dirty_pauses.clear(),
        12 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.events = number),
        13 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.limit_pages = number),
        14 => observation.waits.push(wait(0, Class::Nfsd, CLIENT)),
        15 => observation
            .waits
            .iter_mut()
            .for_each(|w| w.cause = Cause::DirectReclaim),
        16 => observation.clients[0].writes_failed = number,
        17 => observation.clients[0].bdi = DISK.into(),
        18 => observation.signals.push(SignalStatus {
            signal: signal::NFS_CLIENT.into(),
            strategy: "none".into(),
            state: State::Unavailable,
        }),
        19 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.pause_ns = number),
        20 => observation.rpc_clients.clear(),
        21 => observation.rpc_clients[0].calls = number,
        22 => observation.rpc_clients[0].served_here = number,
        23 => observation.rpc_clients[0].bdi = DISK.into(),
        24 => {
            let topology = Arc::make_mut(&mut observation.topology);
            topology.read_ns = number;
        }
        25 => observation.delays.clear(),
        26 => observation
            .delays
            .iter_mut()
            .for_each(|d| d.sum_ns = number),
        27 => observation
            .waits
            .iter_mut()
            .for_each(|w| w.since_ns = number),
        28 => observation.svc_alloc_arg_retries = Some(number),
        29 => observation.bdis[1].written_bytes = Some(number),
        30 => observation.bdis[0].congestion = None,
        31 => Arc::make_mut(&mut observation.topology).loop_devices[0].on = "7:0".into(),
        32 => Arc::make_mut(&mut observation.topology)
            .loop_devices
            .clear(),
        33 => observation.user_servers.clear(),
        34 => observation.waits.clear(),
        35 => observation.lost.map_full = number,
        36 => observation.memory.dirty_limit_bytes = Some(number),
        37 => observation
            .dirty_pauses
            .iter_mut()
            .for_each(|p| p.class = Class::Kworker),
        _ => {}
    }
}

/// The results, tick by tick.
#[derive(Debug, Default, PartialEq)]
pub struct Played {
    pub transitions: Vec<(usize, Transition)>,
    pub verdicts: Vec<Vec<Verdict>>,
    pub times_ns: Vec<u64>,
}

/// A node with every feature: two mounts, a loop device, a userspace server, waits of all kinds.
pub fn node() -> Node {
    let mut node = Node::new(8);
    node.mount("0:31");
    node.losetup("7:0", CLIENT, 300);
    node.congest(true);
    node.now.svc_alloc_arg_retries = Some(0);
    node.writes = vec![(DISK, 0), ("7:0", 1000)];
    node.spends = vec![
        (Cause::DirectReclaim, Class::Nfsd, "", 700),
        (Cause::WaitIffCongested, Class::Nfsd, "", 500),
        (Cause::NfsCommit, Class::Nfsd, CLIENT, 100),
        (Cause::SvcAllocArg, Class::Nfsd, "", 50),
        (Cause::NfsCommit, Class::Kswapd, CLIENT, 300),
    ];
    node.lasting = vec![wait(300, Class::LoopDevice, CLIENT)];
    node.now.user_servers = Node::userspace(3, "ganesha.nfsd").now.user_servers;
    node
}

/// Plays the steps, with a change to each observation.
pub fn run(
    steps: &[Step],
    thresholds: Thresholds,
    mut change: impl FnMut(&mut Observation),
) -> Played {
    let mut node = node();
    let mut engine = Engine::new(thresholds);
    let mut played = Played::default();
    for (tick, step) in steps.iter().enumerate() {
        let mut observation = node.second(&step.phase);
        disturb(&mut observation, step);
        change(&mut observation);
        let changes = engine.observe(&observation);
        let transitions = changes.transitions.into_iter();
        played
            .transitions
            .extend(transitions.map(|one| (tick, one)));
        played.verdicts.push(engine.verdicts());
        played.times_ns.push(observation.monotonic_ns);
    }
    played
}

/// Each step, followed by quiet seconds of the same.
pub fn stretched(steps: Vec<(Step, usize)>) -> Vec<Step> {
    let stretch = |(step, n): (Step, usize)| {
        let quiet = Step {
            trouble: u8::MAX,
            ..step.clone()
        };
        std::iter::once(step).chain(std::iter::repeat_n(quiet, n))
    };
    steps.into_iter().flat_map(stretch).collect()
}
