//! A node that serves an NFS mount to itself, and freezes when it is told to.

use std::sync::Arc;

use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::observation::{
    Bdi, DirtyPauses, Memory, NfsClient, NfsMount, Nfsd, Observation, RpcClient, ServerThread,
    SignalStatus, State, ThreadState, Topology, Waiting,
};

pub const CLIENT: &str = "0:29";
const DISK: &str = "254:0";
const PAGE: u64 = 4096;

/// A life: so many seconds at work, then frozen, then at work again.
pub fn life(works: usize, frozen: usize, again: usize) -> Vec<Observation> {
    let mut now = start();
    let frozen = works..works + frozen;
    (0..frozen.end + again)
        .map(|n| {
            second(&mut now, frozen.contains(&n));
            now.clone()
        })
        .collect()
}

fn start() -> Observation {
    let thread = |tid| ServerThread {
        tid,
        state: ThreadState::Idle,
        write_since_ns: None,
        blocked_in: None,
        behind_throttled: false,
    };
    let bdi = |name: &str| Bdi {
        bdi: name.into(),
        dirty_bytes: Some(0),
        writeback_bytes: Some(0),
        disk_busy_ms: (name == DISK).then_some(0),
        ..Bdi::default()
    };
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
            threads: (100..108).map(thread).collect(),
            ..Nfsd::default()
        }),
        bdis: vec![bdi(CLIENT), bdi(DISK)],
        rpc_clients: vec![RpcClient {
            id: 7,
            bdi: CLIENT.into(),
            ..RpcClient::default()
        }],
        topology: Arc::new(Topology {
            read_ns: 1,
            mounts: vec![NfsMount {
                bdi: CLIENT.into(),
                source: "10.9.0.2:/".into(),
                mount_points: vec!["/mnt".into()],
                server: Some(([10, 9, 0, 2], 2049).into()),
                ..NfsMount::default()
            }],
            ..Topology::default()
        }),
        kernel: "6.12.0".into(),
        signals: vec![SignalStatus {
            signal: "rpc_xid".into(),
            strategy: "tracepoint".into(),
            state: State::Attached,
        }],
        ..Observation::default()
    }
}

fn second(now: &mut Observation, frozen: bool) {
    now.monotonic_ns += 1_000_000_000;
    now.unix_ms += 1000;
    let ns = now.monotonic_ns;
    let held = if frozen { 19_000 } else { 500 };
    now.bdis[0].dirty_bytes = Some(held / 2 * PAGE);
    now.bdis[0].writeback_bytes = Some(held / 2 * PAGE);
    now.waits.clear();
    if frozen {
        now.waits.push(Waiting {
            tid: 100,
            tgid: 100,
            comm: "nfsd".into(),
            cause: Cause::BalanceDirtyPages,
            class: Class::Nfsd,
            reason: ThrottleReason::None,
            bdi: DISK.into(),
            since_ns: ns - 100_000_000,
        });
        pause(now);
    } else {
        let client = &mut now.clients[0];
        client.bytes_acked += 50_000_000;
        client.writes_acked += 50;
        now.bdis[1].disk_busy_ms = now.bdis[1].disk_busy_ms.map(|ms| ms + 900);
        let rpc = &mut now.rpc_clients[0];
        rpc.calls += 50;
        rpc.served_here += 50;
        (rpc.last_call_ns, rpc.last_served_ns) = (ns, ns);
    }
    let client = &mut now.clients[0];
    client.writes_sent = client.writes_acked + 1;
    client.bytes_sent = client.bytes_acked + held * PAGE;
    if let Some(nfsd) = &mut now.nfsd {
        nfsd.bytes_written = Some(client.bytes_acked);
        for (n, thread) in nfsd.threads.iter_mut().enumerate() {
            thread.state = match (frozen, n) {
                (true, 0) => ThreadState::Throttled,
                (true, _) => ThreadState::Blocked,
                (false, _) => ThreadState::Running,
            };
        }
    }
}

/// As 6.12 was seen to pause nfsd while it was frozen.
fn pause(now: &mut Observation) {
    if now.dirty_pauses.is_empty() {
        now.dirty_pauses.push(DirtyPauses {
            bdi: DISK.into(),
            class: Class::Nfsd,
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
        });
    }
    let sums = &mut now.dirty_pauses[0];
    sums.events += 5;
    sums.pause_ns += 1_000_000_000;
    sums.dirty_pages += 5 * 20_031;
    sums.limit_pages += 5 * 19_529;
    sums.bdi_dirty_pages += 5 * 48;
    sums.bdi_setpoint_pages += 5 * 10_437;
}
