//! The requests of a tick to the look-up.

use std::{cmp::Reverse, collections::BTreeSet};

use monitor_common::Class;
use monitor_model::observation::{NfsClient, RpcClient, TaskDelay, Waiting};

use super::LookupRequest;

/// A wait of this age justifies a look-up of its process.
const LONG_NS: u64 = 1_000_000_000;
/// Maximum number of processes of each kind in a request.
const MAX_PROCESSES: usize = 64;

/// The RPC clients of NFS mounts that write, and those that are served on this node. Most others
/// last for one call.
pub fn of_clients(clients: &[NfsClient], rpc_clients: &[RpcClient]) -> LookupRequest {
    let mut wanted = LookupRequest {
        devices: clients.iter().map(|client| client.bdi.clone()).collect(),
        ..LookupRequest::default()
    };
    for client in rpc_clients {
        if !client.bdi.is_empty() || client.served_here > 0 {
            wanted.rpc_clients.insert(client.id);
            wanted.peers.extend(client.peer);
        }
    }
    wanted
}

/// The processes that have waited for a second and more, the longest first, if they may be in a
/// container.
pub fn stuck(waits: &[Waiting], now_ns: u64) -> BTreeSet<u32> {
    let mut longest: Vec<_> = waits
        .iter()
        .filter(|w| matches!(w.class, Class::User | Class::Server))
        .filter(|w| now_ns.saturating_sub(w.since_ns) >= LONG_NS)
        .map(|w| (w.since_ns, w.tgid))
        .collect();
    longest.sort_unstable();
    let mut found = BTreeSet::new();
    for (_, tgid) in longest {
        if found.len() == MAX_PROCESSES {
            break;
        }
        found.insert(tgid);
    }
    found
}

/// The processes with the longest delays within the last tick.
pub fn most_delayed(tasks: &[TaskDelay], threshold_ns: u64) -> BTreeSet<u32> {
    let mut most: Vec<_> = tasks
        .iter()
        .filter(|task| matches!(task.class, Class::User | Class::Server))
        .filter(|task| task.recent_delay_ns >= threshold_ns)
        .map(|task| (Reverse(task.recent_delay_ns), task.tgid))
        .collect();
    most.sort_unstable();
    let most = most.into_iter().map(|(_, tgid)| tgid);
    most.take(MAX_PROCESSES).collect()
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class, ThrottleReason};
    use monitor_model::observation::Waiting;

    use super::{LONG_NS, MAX_PROCESSES, stuck};

    fn wait(tid: u32, class: Class, since_ns: u64) -> Waiting {
        Waiting {
            tid,
            tgid: tid,
            comm: "task".into(),
            cause: Cause::BalanceDirtyPages,
            class,
            reason: ThrottleReason::None,
            bdi: "0:29".into(),
            since_ns,
        }
    }

    #[test]
    fn who_waits_for_long_is_asked_for_and_no_kernel_thread() {
        let now = 10 * LONG_NS;
        let waits = [
            wait(1, Class::User, now - LONG_NS),
            wait(2, Class::User, now - LONG_NS + 1),
            wait(3, Class::Nfsd, 1),
            wait(4, Class::Server, 1),
        ];
        assert_eq!(stuck(&waits, now).into_iter().collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn of_too_many_those_who_wait_longest_are_asked_for() {
        let many = (0..5000).map(|n| wait(n, Class::User, u64::from(5000 - n)));
        let found = stuck(&many.collect::<Vec<_>>(), 10 * LONG_NS);
        assert_eq!(found.len(), MAX_PROCESSES);
        assert_eq!(found.first(), Some(&4936));
    }
}
