//! A made-up node for the tests of every crate: an NFS mount, an nfsd with idle threads, and the
//! disk that it writes to. Each test changes what it needs.

use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};

use crate::{
    loops::{Exempt, ExemptBasis, Exemption, Loop, Mount, NFSD, PathNode, Proof, Scope},
    observation::{
        Bdi, ClientKind, Delay, DirtyPauses, Memory, NfsClient, NfsMount, Nfsd, Observation,
        RpcClient, ServerKind, ServerThread, SignalStatus, State, ThreadState, Waiting,
    },
    verdict::{Condition, Conditions, Confidence, LivelockState, Signature, Verdict},
};

/// BDI of the mount.
pub const CLIENT: &str = "0:29";
/// BDI of the server's disk.
pub const DISK: &str = "254:0";
/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The node with `threads` nfsd threads; the first has the id 100.
#[must_use]
pub fn node(threads: u32) -> Observation {
    let idle = |tid| thread(tid, ThreadState::Idle);
    Observation {
        monotonic_ns: 1_000_000_000_000,
        unix_ms: 1_760_000_000_000,
        memory: Memory {
            page_size: PAGE,
            ..Memory::default()
        },
        clients: vec![NfsClient {
            bdi: CLIENT.into(),
            ..NfsClient::default()
        }],
        nfsd: Some(Nfsd {
            bytes_written: Some(0),
            threads: (100..100 + threads).map(idle).collect(),
            ..Nfsd::default()
        }),
        bdis: vec![bdi(CLIENT, None), bdi(DISK, Some(0))],
        signals: vec![SignalStatus {
            signal: "rpc_xid".into(),
            strategy: "tracepoint".into(),
            state: State::Attached,
        }],
        kernel: "6.12.57-amd64".into(),
        ..Observation::default()
    }
}

/// A clean BDI, and the busy time of its disk.
#[must_use]
pub fn bdi(name: &str, disk_busy_ms: Option<u64>) -> Bdi {
    Bdi {
        bdi: name.into(),
        dirty_bytes: Some(0),
        writeback_bytes: Some(0),
        disk_busy_ms,
        ..Bdi::default()
    }
}

/// A thread of a server.
#[must_use]
pub const fn thread(tid: u32, state: ThreadState) -> ServerThread {
    ServerThread {
        tid,
        state,
        write_since_ns: None,
        blocked_in: None,
        behind_throttled: false,
    }
}

/// A task in a wait.
#[must_use]
pub fn wait(tid: u32, class: Class, cause: Cause, bdi: &str, since_ns: u64) -> Waiting {
    Waiting {
        tid,
        tgid: tid,
        comm: "task".into(),
        cause,
        class,
        reason: ThrottleReason::None,
        bdi: bdi.into(),
        since_ns,
    }
}

/// Finished waits, all zero.
#[must_use]
pub fn delay(cause: Cause, class: Class, bdi: &str) -> Delay {
    Delay {
        cause,
        class,
        reason: ThrottleReason::None,
        bdi: bdi.into(),
        sum_ns: 0,
        buckets: [0; HIST_BUCKETS],
    }
}

/// Pauses of tasks of a class on a BDI, all zero.
#[must_use]
pub fn pauses(bdi: &str, class: Class) -> DirtyPauses {
    DirtyPauses {
        bdi: bdi.into(),
        class,
        events: 0,
        node_events: None,
        pause_ns: 0,
        dirty_pages: 0,
        limit_pages: 0,
        bdi_dirty_pages: 0,
        bdi_setpoint_pages: 0,
        task_ratelimit: 0,
        last_ns: 0,
        last_dirty_pages: 0,
        last_limit_pages: 0,
    }
}

/// The RPC client of a mount.
#[must_use]
pub fn rpc_client(id: u32, bdi: &str) -> RpcClient {
    RpcClient {
        id,
        bdi: bdi.into(),
        ..RpcClient::default()
    }
}

/// `10.9.0.2:/` at `/mnt`.
#[must_use]
pub fn mount(bdi: &str) -> NfsMount {
    NfsMount {
        bdi: bdi.into(),
        source: "10.9.0.2:/".into(),
        fstype: "nfs4".into(),
        version: "4.2".into(),
        mount_points: vec!["/mnt".into()],
        server: Some(([10, 9, 0, 2], 2049).into()),
        ..NfsMount::default()
    }
}

/// A device of a path.
fn device(kind: &str, bdi: &str) -> PathNode {
    PathNode::Device {
        kind: kind.into(),
        name: "".into(),
        bdi: bdi.into(),
    }
}

/// The loop of the node, across namespaces.
#[must_use]
pub fn found_loop() -> Loop {
    Loop {
        id: "0:29-nfsd".into(),
        client_bdi: CLIENT.into(),
        server: "nfsd".into(),
        server_tgid: None,
        server_bdi: Some(DISK.into()),
        server_fstype: "ext4".into(),
        server_device: "/dev/vda".into(),
        proof: Proof::Xid,
        scope: Scope::CrossNetns,
        exempt: Exemption {
            state: Exempt::No,
            basis: Some(ExemptBasis::Observed),
            reason: "nfsd served its last WRITEs without PF_LOCAL_THROTTLE".to_owned(),
        },
        since_ms: 90_000,
        since_unix_ms: 1_700_000_000_000,
        became_own_client: false,
        localio: false,
        client_kind: ClientKind::Nfs,
        client_name: "".into(),
        server_kind: ServerKind::Nfsd,
        path: vec![
            device("nfs", CLIENT),
            PathNode::Server {
                kind: ServerKind::Nfsd,
                name: NFSD.into(),
                tgid: None,
                proof: Proof::Xid,
            },
            device("ext4", DISK),
        ],
        direct: false,
        mounts: vec![Mount {
            mount_point: "/mnt/<a>".into(),
            source: "10.9.0.2:/".into(),
        }],
        version: "4.2".into(),
        server_address: Some("10.9.0.2:2049".into()),
        client_containers: Vec::new(),
        server_container: None,
        client_netns: Some(11),
        server_netns: Some(22),
        rpc_clients: Vec::new(),
        calls: 50,
        calls_served_here: 49,
        risk: vec!["nfsd is not exempt".to_owned(), "no limit".to_owned()],
        recommendations: vec!["run them apart".to_owned(), "or hold it".to_owned()],
    }
}

/// A condition that holds.
#[must_use]
pub const fn holds(value: f64) -> Condition {
    Condition {
        holds: Some(true),
        value: Some(value),
        why: String::new(),
    }
}

/// The verdict on that loop.
#[must_use]
pub fn verdict(signature: Signature, state: LivelockState) -> Verdict {
    Verdict {
        loop_id: "0:29-nfsd".into(),
        client_bdi: CLIENT.into(),
        server: "nfsd".into(),
        server_bdi: Some(DISK.into()),
        signature,
        state,
        confidence: Confidence::default(),
        since_ms: 0,
        conditions: Conditions {
            demand: holds(81e6),
            no_progress: holds(0.0),
            blockage: holds(1.0),
            closing_edge: holds(0.99),
        },
        reason: String::new(),
        tallies: Vec::new(),
    }
}
