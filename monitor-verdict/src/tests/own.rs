//! Tests of nfsd in two network namespaces: the share of each loop.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    observation::{
        Caller, Connection, Nfsd, Observation, Proof, ServerThread, Serving, ThreadState, Waited,
    },
    verdict::LivelockState::{self, Livelock, None as Calm, Recovered},
};

use super::node::{CLIENT, DISK, Node, Phase, Watched, wait};

const SECOND: &str = "0:31";
const MB: u64 = 1_000_000;
/// The RPC clients of the two mounts, as the node numbers them.
const FIRST_CLIENT: u32 = 7;
const SECOND_CLIENT: u32 = 8;

/// Another nfsd beside that of the phase.
#[derive(Clone, Copy)]
struct Beside {
    caller: Caller,
    /// Bytes a second that it writes.
    served: u64,
    /// Bytes a second that are acknowledged to the second mount.
    acked: u64,
    state: ThreadState,
    /// Milliseconds a second of pauses of each of its threads on its device.
    paused_ms: u64,
}

const WORKS: Beside = Beside {
    caller: Caller::Client(SECOND_CLIENT),
    served: 5 * MB,
    acked: 5 * MB,
    state: ThreadState::Running,
    paused_ms: 0,
};

fn watched() -> Watched {
    let mut node = Node::new(8);
    node.mount(SECOND);
    Watched::of(node)
}

/// The kernel side's attribution of calls: `n` seconds in all.
fn attribute(now: &mut Observation, phase: &Phase, beside: Beside, n: u64) {
    let nfsd = now.nfsd.as_mut().expect("runs");
    let own = nfsd.bytes_written.expect("seen");
    nfsd.bytes_written = Some(own + beside.served * n);
    nfsd.bytes_unattributed = Some(0);
    let waited = |ms: u64, bdi: &str| Waited {
        cause: Cause::BalanceDirtyPages,
        bdi: bdi.into(),
        sum_ns: ms * n * 1_000_000,
    };
    let throttled = u64::try_from(phase.throttled.max(1)).expect("few");
    let each = phase.pause_ms / throttled;
    let mut serving: Vec<_> = nfsd
        .threads
        .iter()
        .enumerate()
        .map(|(at, thread)| Serving {
            tid: thread.tid,
            caller: Caller::Client(FIRST_CLIENT),
            waited: vec![waited(if at < phase.throttled { each } else { 0 }, DISK)],
        })
        .collect();
    for tid in 200..204 {
        nfsd.threads.push(ServerThread {
            tid,
            state: beside.state,
            write_since_ns: None,
            blocked_in: None,
            behind_throttled: false,
        });
        serving.push(Serving {
            tid,
            caller: beside.caller,
            waited: vec![waited(beside.paused_ms, "8:0")],
        });
    }
    nfsd.serving = Some(serving);
    now.clients[1].bytes_acked = beside.acked * n;
    if beside.acked > 0 {
        now.clients[1].writes_sent = n + 1;
        now.clients[1].writes_acked = n;
    }
    for rpc in &mut now.rpc_clients {
        rpc.bytes_written = Some(match rpc.id {
            FIRST_CLIENT => own,
            id if beside.caller == Caller::Client(id) => beside.served * n,
            _ => 0,
        });
    }
}

fn play(watched: &mut Watched, phase: &Phase, seconds: u64, beside: Beside) {
    let start = watched.node.now.monotonic_ns;
    watched.play_with(phase, seconds, |_, o| {
        let n = (o.monotonic_ns - 1_000_000_000_000) / 1_000_000_000;
        assert!(o.monotonic_ns > start);
        attribute(o, phase, beside, n);
    });
}

fn states(watched: &Watched) -> Vec<LivelockState> {
    watched
        .engine
        .verdicts()
        .iter()
        .map(|one| one.state)
        .collect()
}

#[test]
fn a_frozen_loop_is_confirmed_beside_an_nfsd_that_serves_another_client() {
    for caller in [Caller::Client(SECOND_CLIENT), Caller::Elsewhere] {
        let mut watched = watched();
        let beside = Beside {
            caller,
            acked: if caller == Caller::Elsewhere {
                0
            } else {
                5 * MB
            },
            ..WORKS
        };
        play(&mut watched, &Phase::FROZEN_6_12, 10, beside);
        assert_eq!(
            states(&watched),
            [Livelock, Calm],
            "{caller:?}: {:?}",
            watched.engine.verdicts()
        );
        let blockage = &watched.engine.verdicts()[0].conditions.blockage;
        assert!(
            blockage.why.contains("8 busy"),
            "its own threads alone: {}",
            blockage.why
        );
        assert_eq!(
            watched.engine.verdicts()[0].confidence.missing,
            Vec::<String>::new()
        );
    }
}

#[test]
fn calls_of_a_loop_that_only_its_sockets_prove_may_be_those_of_nobody_known() {
    let unmatched = |served_here: u64| {
        let mut watched = watched();
        watched.node.look_up(&[(CLIENT, None)]);
        let topology = Arc::make_mut(&mut watched.node.now.topology);
        let address = |last: u8, port: u16| ([10, 9, 0, last], port).into();
        topology.mounts[0].server = Some(address(2, 2049));
        topology.connections.push(Connection {
            client: address(1, 801),
            server: address(2, 2049),
            client_netns: 1,
            server_netns: 2,
            owner: "nfsd".into(),
            owner_tgid: None,
            client_is_local: Some(false),
            proof: Proof::Socket,
            relays: Vec::new(),
        });
        watched.play_with(&Phase::FROZEN_6_12, 12, |n, o| {
            attribute(o, &Phase::FROZEN_6_12, WORKS, n);
            let nfsd = o.nfsd.as_mut().expect("runs");
            nfsd.threads.truncate(8);
            let serving = nfsd.serving.as_mut().expect("seen");
            serving.truncate(8);
            for one in serving {
                one.caller = Caller::Elsewhere;
            }
            o.rpc_clients[0].served_here = served_here;
        });
        watched.verdict().state
    };
    assert_eq!(unmatched(0), Livelock, "sent before the programs watched");
    assert_ne!(unmatched(1000), Livelock, "another host's");
}

#[test]
fn without_attribution_the_other_nfsd_hides_it_and_that_is_reported() {
    let mut watched = watched();
    watched.node.now.signals[0].state = monitor_model::observation::State::Unavailable;
    watched
        .node
        .look_up(&[(CLIENT, Some("nfsd")), (SECOND, Some("nfsd"))]);
    let start = watched.node.now.monotonic_ns;
    watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
        let n = (o.monotonic_ns - start) / 1_000_000_000;
        attribute(o, &Phase::FROZEN_6_12, WORKS, n);
        let nfsd = o.nfsd.as_mut().expect("runs");
        (nfsd.serving, nfsd.bytes_unattributed) = (None, None);
    });
    assert_ne!(states(&watched)[0], Livelock);
    let missing = watched.verdict().confidence.missing.join(" ");
    assert!(missing.contains("which client's calls"), "{missing}");
}

#[test]
fn pauses_of_another_nfsd_are_not_this_loops() {
    let mut watched = watched();
    let beside = Beside {
        state: ThreadState::Throttled,
        paused_ms: 900,
        ..WORKS
    };
    // The first client waits for its turn while threads run.
    let phase = Phase {
        throttled: 0,
        blocked: 0,
        running: 2,
        pause_ms: 0,
        ..Phase::FROZEN_6_12
    };
    watched.node.lasting = (200..204)
        .map(|tid| wait(tid, Class::Nfsd, "8:0"))
        .collect();
    play(&mut watched, &phase, 12, beside);
    let verdicts = watched.engine.verdicts();
    assert_eq!(
        verdicts[0].conditions.blockage.value,
        Some(0.0),
        "{:?}",
        verdicts[0].conditions
    );
    assert_eq!(
        verdicts[1].conditions.blockage.value,
        Some(1.0),
        "{:?}",
        verdicts[1].conditions
    );
    assert_eq!(states(&watched), [Calm, Calm]);
}

#[test]
fn a_loop_without_known_threads_gets_those_without_another_owner() {
    let mut watched = watched();
    let start = watched.node.now.monotonic_ns;
    watched.play_with(&Phase::FROZEN_6_12, 12, |_, o| {
        let n = (o.monotonic_ns - start) / 1_000_000_000;
        attribute(o, &Phase::FROZEN_6_12, WORKS, n);
        let Some(Nfsd {
            serving: Some(serving),
            ..
        }) = &mut o.nfsd
        else {
            unreachable!()
        };
        for one in serving.iter_mut().filter(|one| one.tid < 200) {
            one.caller = Caller::Unknown;
        }
    });
    assert_eq!(states(&watched), [Livelock, Calm]);
    let missing = watched.verdict().confidence.missing.join(" ");
    assert!(missing.contains("which client's calls"), "{missing}");
}

#[test]
fn what_is_written_for_the_loop_ends_its_livelock_and_what_is_for_another_does_not() {
    let mut watched = watched();
    play(&mut watched, &Phase::FROZEN_6_12, 10, WORKS);
    assert_eq!(watched.state(), Livelock);
    play(
        &mut watched,
        &Phase::FROZEN_6_12,
        10,
        Beside {
            served: 50 * MB,
            ..WORKS
        },
    );
    assert_eq!(watched.state(), Livelock);
    let own = Phase {
        served: 20 * MB,
        ..Phase::FROZEN_6_12
    };
    play(&mut watched, &own, 6, WORKS);
    assert_eq!(watched.state(), Recovered);
}
