//! A node that serves an NFS mount to itself, and freezes on demand.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::observation::{NfsMount, Observation, ThreadState, Topology, Waiting};

pub use monitor_model::testing::CLIENT;
use monitor_model::testing::{self, DISK, PAGE};

/// A life: seconds at work, then frozen, then at work again.
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
    Observation {
        rpc_clients: vec![testing::rpc_client(7, CLIENT)],
        topology: Arc::new(Topology {
            read_ns: 1,
            mounts: vec![NfsMount {
                fstype: "".into(),
                version: "".into(),
                ..testing::mount(CLIENT)
            }],
            ..Topology::default()
        }),
        kernel: "6.12.0".into(),
        ..testing::node(8)
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
        let began = ns - 100_000_000;
        let wait = testing::wait(100, Class::Nfsd, Cause::BalanceDirtyPages, DISK, began);
        now.waits.push(Waiting {
            comm: "nfsd".into(),
            ..wait
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

/// The pauses of a frozen nfsd on 6.12.
fn pause(now: &mut Observation) {
    if now.dirty_pauses.is_empty() {
        now.dirty_pauses.push(testing::pauses(DISK, Class::Nfsd));
    }
    let sums = &mut now.dirty_pauses[0];
    sums.events += 5;
    sums.pause_ns += 1_000_000_000;
    sums.dirty_pages += 5 * 20_031;
    sums.limit_pages += 5 * 19_529;
    sums.bdi_dirty_pages += 5 * 48;
    sums.bdi_setpoint_pages += 5 * 10_437;
}
