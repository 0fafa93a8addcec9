//! The requests of a tick to the look-up.

use std::{cmp::Reverse, collections::BTreeSet};

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::observation::{
    Bdi, DirtyPauses, NfsClient, RpcClient, TaskDelay, Topology, Waiting,
};

use super::LookupRequest;
use super::stream::GROWTH;

/// A wait of this age justifies a look-up of its process.
const LONG_NS: u64 = 1_000_000_000;
/// Maximum number of processes of each kind in a request.
const MAX_PROCESSES: usize = 64;
/// Maximum number of waits and pauses whose BDIs are requested.
const MAX_BDIS: usize = 1024;
/// A pause of this age no longer counts.
const RECENT_NS: u64 = 5_000_000_000;

/// The RPC clients of NFS mounts that write, and those that are served on this node. Most others
/// last for one call.
pub fn of_clients(clients: &[NfsClient], rpc_clients: &[RpcClient]) -> LookupRequest {
    let writing = clients.iter().filter(|client| client.bytes_sent >= GROWTH);
    let mut wanted = LookupRequest {
        devices: clients.iter().map(|client| client.bdi.clone()).collect(),
        writing: writing.map(|client| client.bdi.clone()).collect(),
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

/// The BDIs that tasks wait on in `balance_dirty_pages`, or did within the last seconds. One that is
/// not known may be a device that this node serves to itself.
pub fn paused(waits: &[Waiting], pauses: &[DirtyPauses], now_ns: u64) -> BTreeSet<CompactString> {
    let waits = waits.iter();
    let waits = waits.filter(|wait| wait.cause == Cause::BalanceDirtyPages);
    let recent = |p: &&DirtyPauses| now_ns.saturating_sub(p.last_ns) < RECENT_NS;
    let pauses = pauses.iter().filter(recent).map(|p| &p.bdi);
    let all = waits.map(|wait| &wait.bdi).chain(pauses);
    let named = all.filter(|bdi| !bdi.is_empty());
    named.take(MAX_BDIS).cloned().collect()
}

/// The servers of devices that hold pages, as long as no file of theirs is known.
pub fn writers(topology: &Topology, bdis: &[Bdi]) -> BTreeSet<u32> {
    let holds = |bdi: &Bdi| bdi.dirty_bytes.max(bdi.writeback_bytes) > Some(0);
    let served = topology.served.iter().filter(|one| {
        let mut bdis = bdis.iter();
        bdis.any(|bdi| bdi.bdi == one.bdi && holds(bdi))
            && topology.writes.iter().all(|edge| edge.server != one.server)
    });
    served
        .filter_map(|one| one.server.tgid)
        .take(MAX_PROCESSES)
        .collect()
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
    use monitor_model::observation::{
        Bdi, ClientKind, NfsClient, NfsMount, Proof, ServedDevice, ServerKind, ServerRef, Topology,
        Waiting, WriteBasis, WritesTo,
    };

    use super::{GROWTH, LONG_NS, MAX_PROCESSES, of_clients, stuck, writers};
    use crate::topology::{OpenDevices, left};

    #[test]
    fn a_server_whose_client_holds_pages_is_asked_for_until_a_file_of_it_is_known() {
        let server = ServerRef {
            name: "smbd".into(),
            tgid: Some(204),
            kind: ServerKind::Process,
        };
        let client = ServedDevice {
            bdi: "cifs-1".into(),
            kind: ClientKind::Cifs,
            name: "//h/s".into(),
            server: server.clone(),
            proof: Proof::Stream,
            address: "10.9.0.2:445".into(),
            client_netns: None,
            server_netns: None,
        };
        let mut topology = Topology {
            served: vec![client],
            ..Topology::default()
        };
        let bdi = |dirty_bytes| Bdi {
            bdi: "cifs-1".into(),
            dirty_bytes,
            ..Bdi::default()
        };
        for clean in [Some(0), None] {
            assert!(writers(&topology, &[bdi(clean)]).is_empty());
        }
        let dirty = [bdi(Some(4096))];
        assert_eq!(
            writers(&topology, &dirty).into_iter().collect::<Vec<_>>(),
            [204]
        );
        topology.writes.push(WritesTo {
            server,
            bdi: "254:16".into(),
            device: "254:16".into(),
            client: "".into(),
            file: "/export/x".into(),
            basis: WriteBasis::OpenFile,
            direct: false,
        });
        assert!(writers(&topology, &dirty).is_empty());
    }

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
    fn a_mount_of_unknown_server_is_asked_for_once_it_writes() {
        let sent = |bytes_sent| NfsClient {
            bdi: "0:29".into(),
            bytes_sent,
            ..NfsClient::default()
        };
        let mount = || ["0:29".into()].into();
        let topology = Topology {
            mounts: vec![NfsMount {
                bdi: "0:29".into(),
                ..NfsMount::default()
            }],
            ..Topology::default()
        };
        // The round before it wrote left it open.
        let mut open = OpenDevices {
            mounts: mount(),
            ..OpenDevices::default()
        };
        let left =
            |bytes, open: &OpenDevices| left(&of_clients(&[sent(bytes)], &[]), &topology, open);
        assert!(left(GROWTH - 1, &open).is_empty());
        assert_eq!(left(GROWTH, &open).writing, mount());
        open.mounts.clear();
        assert!(left(GROWTH, &open).is_empty(), "its server is known");
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
