//! Input that no kernel sends but a recording may contain.

use compact_str::CompactString;
use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::{
    loops::{Exemption, Loop, Mount, PathNode, Proof, Scope},
    observation::{
        Bdi, ClientKind, DirtyPauses, LoopDevice, NfsClient, Nfsd, Observation, ServerKind,
        ServerThread, SignalStatus, Stack, State, ThreadState, Topology, UserServer, Waiting,
    },
    verdict::{Condition, Conditions, Confidence, LivelockState, Signature, Tally, Verdict},
};
use proptest::prelude::*;

/// An arbitrary name.
pub fn name() -> impl Strategy<Value = CompactString> {
    let known = [
        "",
        "0:29",
        "254:0",
        "7:0",
        "nfsd",
        "ganesha.nfsd",
        "../../etc",
        "\"\\\n\u{202e}",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(CompactString::from),
        1 => (any::<String>(), 1usize..400).prop_map(|(one, n)| one.repeat(n).into()),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..1.0, any::<f64>(), Just(f64::NAN), Just(f64::INFINITY)]
}

fn maybe<T: std::fmt::Debug + Clone>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

pub fn waiting() -> impl Strategy<Value = Waiting> {
    let words = (
        prop::sample::select(Cause::ALL.to_vec()),
        prop::sample::select(Class::ALL.to_vec()),
    );
    (0u32..200, 0u32..9, name(), words, name(), any::<u64>()).prop_map(
        |(tid, tgid, comm, (cause, class), bdi, since_ns)| Waiting {
            tid,
            tgid,
            comm,
            cause,
            class,
            reason: ThrottleReason::Writeback,
            bdi,
            since_ns,
        },
    )
}

fn thread() -> impl Strategy<Value = ServerThread> {
    let state = prop::sample::select(ThreadState::ALL.to_vec());
    (
        0u32..200,
        state,
        maybe(any::<u64>()),
        maybe(name()),
        any::<bool>(),
    )
        .prop_map(
            |(tid, state, write_since_ns, blocked_in, behind_throttled)| ServerThread {
                tid,
                state,
                write_since_ns,
                blocked_in,
                behind_throttled,
            },
        )
}

fn pauses() -> impl Strategy<Value = DirtyPauses> {
    let class = prop::sample::select(Class::ALL.to_vec());
    (name(), class, any::<[u64; 6]>()).prop_map(|(bdi, class, n)| DirtyPauses {
        bdi,
        class,
        events: n[0],
        node_events: None,
        pause_ns: n[1],
        dirty_pages: n[2],
        limit_pages: n[3],
        bdi_dirty_pages: n[4],
        bdi_setpoint_pages: n[5],
        task_ratelimit: 0,
        last_ns: 0,
        last_dirty_pages: 0,
        last_limit_pages: 0,
    })
}

pub fn observation() -> impl Strategy<Value = Observation> {
    let list = 0usize..100;
    let stack = (0u32..300, name(), prop::collection::vec(name(), 0..50));
    let stack = stack.prop_map(|(tid, comm, frames)| Stack { tid, comm, frames });
    let bdi = (name(), name(), maybe(any::<u64>())).prop_map(|(bdi, device, dirty_bytes)| Bdi {
        bdi,
        fstype: device.clone(),
        device,
        dirty_bytes,
        writeback_bytes: dirty_bytes,
        ..Bdi::default()
    });
    let signal = (name(), name()).prop_map(|(signal, strategy)| SignalStatus {
        signal,
        strategy,
        state: State::Degraded,
    });
    let device = (name(), name(), name());
    let device = device.prop_map(|(bdi, file, on)| LoopDevice {
        bdi,
        file,
        on,
        ..LoopDevice::default()
    });
    let servers = (name(), 0u32..9, prop::collection::vec(thread(), 0..80));
    let servers = servers.prop_map(|(name, tgid, threads)| UserServer {
        stopped: false,
        name,
        tgid,
        threads,
        ..UserServer::default()
    });
    (
        (any::<u64>(), any::<u64>(), name()),
        prop::collection::vec(waiting(), list.clone()),
        prop::collection::vec(thread(), list.clone()),
        prop::collection::vec(servers, 0..4),
        prop::collection::vec(stack, list.clone()),
        prop::collection::vec(bdi, list.clone()),
        prop::collection::vec(pauses(), list.clone()),
        prop::collection::vec(signal, list),
        prop::collection::vec(device, 0..4),
        (name(), any::<u64>()),
    )
        .prop_map(
            |(
                head,
                waits,
                threads,
                user_servers,
                stacks,
                bdis,
                dirty_pauses,
                signals,
                loop_devices,
                client,
            )| {
                let mut observation = Observation {
                    monotonic_ns: head.0,
                    unix_ms: head.1,
                    kernel: head.2,
                    waits,
                    nfsd: Some(Nfsd {
                        threads,
                        ..Nfsd::default()
                    }),
                    user_servers,
                    stacks,
                    bdis,
                    dirty_pauses,
                    signals,
                    topology: Topology {
                        loop_devices,
                        ..Topology::default()
                    }
                    .into(),
                    clients: vec![NfsClient {
                        bdi: client.0,
                        writes_sent: client.1,
                        ..NfsClient::default()
                    }],
                    ..Observation::default()
                };
                observation.memory.page_size = head.1 % 5 * 4096;
                observation
            },
        )
}

pub fn verdict() -> impl Strategy<Value = Verdict> {
    let condition = (
        maybe(any::<bool>()),
        maybe(number()),
        any::<String>(),
        1usize..200,
    )
        .prop_map(|(holds, value, why, n)| Condition {
            holds,
            value,
            why: why.repeat(n),
        });
    let signature = prop::sample::select(Signature::ALL.to_vec());
    (
        name(),
        name(),
        name(),
        maybe(name()),
        signature,
        number(),
        prop::array::uniform4(condition),
    )
        .prop_map(
            |(loop_id, client_bdi, server, server_bdi, signature, number, conditions)| {
                let [demand, no_progress, blockage, closing_edge] = conditions;
                Verdict {
                    loop_id,
                    client_bdi,
                    server,
                    server_bdi,
                    signature,
                    state: LivelockState::Livelock,
                    confidence: Confidence {
                        share: number,
                        missing: vec![demand.why.clone(); 40],
                    },
                    since_ms: 0,
                    reason: blockage.why.clone(),
                    tallies: vec![
                        Tally {
                            signature,
                            detections: 1,
                            livelock_seconds: number
                        };
                        40
                    ],
                    conditions: Conditions {
                        demand,
                        no_progress,
                        blockage,
                        closing_edge,
                    },
                }
            },
        )
}

pub fn found(of: &Verdict, text: &CompactString) -> Loop {
    let mount = Mount {
        mount_point: text.clone(),
        source: text.clone(),
    };
    Loop {
        id: of.loop_id.clone(),
        client_bdi: of.client_bdi.clone(),
        client_kind: ClientKind::default(),
        client_name: text.clone(),
        server_kind: ServerKind::default(),
        path: vec![
            PathNode::Device {
                kind: text.clone(),
                name: text.clone(),
                bdi: text.clone(),
            };
            100
        ],
        direct: false,
        server: of.server.clone(),
        server_tgid: None,
        server_bdi: of.server_bdi.clone(),
        server_fstype: text.clone(),
        server_device: text.clone(),
        proof: Proof::Xid,
        scope: Scope::Unknown,
        exempt: Exemption::default(),
        since_ms: 0,
        since_unix_ms: 0,
        became_own_client: false,
        localio: true,
        mounts: vec![mount; 100],
        version: text.clone(),
        server_address: Some(text.clone()),
        client_containers: Vec::new(),
        server_container: None,
        client_netns: None,
        server_netns: None,
        rpc_clients: Vec::new(),
        calls: 0,
        calls_served_here: 0,
        risk: vec![text.to_string(); 100],
        recommendations: vec![text.to_string(); 100],
    }
}
