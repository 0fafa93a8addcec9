//! Tests of a server in a memory cgroup: reports of `balance_dirty_pages` may concern the cgroup
//! and must not count for the node.

use monitor_common::Class;
use monitor_model::{
    observation::{DirtyPauses, Observation},
    verdict::LivelockState::Livelock,
};

use super::node::{CLIENT, Phase, Watched};

const PAGE: u64 = 4096;

/// The counters of a server whose part of the BDI belongs to a cgroup.
fn in_cgroup(now: &mut Observation) {
    for pauses in &mut now.dirty_pauses {
        pauses.node_events = Some(0);
        pauses.dirty_pages = 0;
        pauses.limit_pages = 0;
    }
}

/// The node's own pages, as /proc/vmstat has them.
fn vmstat(now: &mut Observation, dirty: u64, limit: u64) {
    now.memory.dirty_bytes = Some(dirty * PAGE);
    now.memory.writeback_bytes = Some(0);
    now.memory.dirty_limit_bytes = Some(limit * PAGE);
}

/// Reports to writers on the NFS mount, whose pages never belong to a cgroup's part of it.
fn writers_hear(second: u64, now: &mut Observation, dirty: u64, limit: u64) {
    let events = 5 * (second + 1);
    now.dirty_pauses.push(DirtyPauses {
        bdi: CLIENT.into(),
        class: Class::User,
        events,
        node_events: Some(events),
        pause_ns: events * 200_000_000,
        dirty_pages: events * dirty,
        limit_pages: events * limit,
        bdi_dirty_pages: events * dirty,
        bdi_setpoint_pages: events * limit / 2,
        task_ratelimit: 0,
        last_ns: now.monotonic_ns,
        last_dirty_pages: dirty,
        last_limit_pages: limit,
    });
}

#[test]
fn a_server_in_a_cgroup_over_the_nodes_limit_is_a_livelock_by_what_others_hear() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    let state = watched.play_with(&Phase::FROZEN_6_12, 15, |second, now| {
        in_cgroup(now);
        writers_hear(second, now, 20_031, 19_529);
    });
    assert_eq!(state, Livelock);
}

#[test]
fn without_reports_of_the_node_its_pages_come_from_vmstat() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    let state = watched.play_with(&Phase::FROZEN_6_12, 15, |_, now| {
        in_cgroup(now);
        vmstat(now, 20_031, 19_529);
    });
    assert_eq!(state, Livelock);
}

/// The cgroup is over its own limit; the node is far from its.
#[test]
fn a_server_held_back_by_its_cgroup_is_not_a_livelock_of_the_node() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.play_with(&Phase::FROZEN_6_12, 60, |second, now| {
        in_cgroup(now);
        writers_hear(second, now, 20_031, 200_000);
        vmstat(now, 20_031, 200_000);
    });
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}

#[test]
fn where_the_nodes_pages_are_not_known_nothing_is_confirmed() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::HEALTHY, 5);
    watched.play_with(&Phase::FROZEN_6_12, 60, |_, now| in_cgroup(now));
    assert_eq!(watched.first(Livelock), None, "{:?}", watched.timeline);
}
