//! Several loops at once.

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{Congestion, CongestionBy},
    verdict::{
        LivelockState::{self, Livelock},
        Signature::{DirtyThrottle, LoopDevice},
    },
};

use super::node::{DISK, Node, Phase, Watched};
use super::reclaim;

const SECOND: &str = "0:31";

fn states(watched: &Watched) -> Vec<(String, LivelockState)> {
    let verdicts = watched.engine.verdicts().into_iter();
    verdicts.map(|v| (v.loop_id.to_string(), v.state)).collect()
}

#[test]
fn of_two_clients_only_the_congested_one_is_stuck_in_reclaim() {
    let mut watched = reclaim::frozen();
    watched.node.mount(SECOND);
    let second = watched.node.now.bdis.last_mut().expect("two");
    second.dirty_bytes = Some(8 << 20);
    second.congestion = Some(Congestion {
        congested: false,
        by: CongestionBy::Flag,
        since_ns: None,
        total_ns: 0,
        threshold_bytes: None,
    });
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    let states = states(&watched);
    assert_eq!(states[0], ("0:29-nfsd".to_owned(), Livelock));
    assert_ne!(states[1].1, Livelock, "{:?}", watched.engine.verdicts()[1]);
}

#[test]
fn a_frozen_process_beside_a_working_nfsd_is_judged_by_its_own_threads() {
    let mut node = Node::userspace(8, "ganesha.nfsd");
    node.mount(SECOND);
    let mut busy = Node::new(4).now.nfsd.expect("runs");
    for thread in &mut busy.threads {
        thread.state = monitor_model::observation::ThreadState::Running;
    }
    let mut watched = Watched::of(node);
    watched.play_with(&Phase::FROZEN_6_12, 12, |n, o| {
        let mut nfsd = busy.clone();
        nfsd.bytes_written = Some(20_000_000 * (n + 1));
        o.nfsd = Some(nfsd);
        o.clients[1].bytes_acked = 20_000_000 * (n + 1);
        o.bdis[2].dirty_bytes = Some(4 << 20);
    });
    let states = states(&watched);
    assert_eq!(states[0], ("0:29-ganesha.nfsd".to_owned(), Livelock));
    assert_eq!(states[1], ("0:31-nfsd".to_owned(), LivelockState::None));
}

#[test]
fn each_loop_has_its_own_signature_and_its_own_books() {
    let mut node = Node::new(8);
    node.mount(SECOND);
    node.now.bdis[2].dirty_bytes = Some(9000 * 4096);
    node.losetup("7:0", SECOND, 3000);
    let mut watched = Watched::of(node);
    let phase = Phase {
        held: 7900,
        ..Phase::FROZEN_6_12
    };
    watched.play(&phase, 12);
    let verdicts = watched.engine.verdicts();
    let said: Vec<_> = verdicts.iter().map(|v| (v.state, v.signature)).collect();
    assert_eq!(said, [(Livelock, DirtyThrottle), (Livelock, LoopDevice)]);
    for verdict in &verdicts {
        assert_eq!(verdict.detections(), 1);
        assert_eq!(verdict.tallies[0].signature, verdict.signature);
        assert_eq!(verdict.server_bdi.as_deref(), Some(DISK));
    }
}

#[test]
fn a_commit_for_one_client_closes_no_edge_of_the_other() {
    let mut watched = Watched::new(2);
    watched.node.in_dirty = false;
    watched.node.mount(SECOND);
    watched.node.now.bdis[2].dirty_bytes = Some(8 << 20);
    watched.node.spends = vec![(Cause::NfsCommit, Class::Nfsd, SECOND, 1900)];
    watched.play(&Phase::FROZEN_RECLAIM, 10);
    let states = states(&watched);
    assert_ne!(states[0].1, Livelock);
    assert_eq!(states[1].1, Livelock);
}
