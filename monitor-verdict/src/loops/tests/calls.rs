//! Tests of the RPC clients' activity.

use monitor_model::observation::{Observation, RpcClient};

use super::host::{BDI, DISK, backing, rpc_client};
use crate::loops::calls::{Calls, MAX_CLIENTS};

const HALF_LIFE: u64 = 10_000_000_000;

/// New calls of the first client, at this second.
fn first(calls: &mut Calls, second: u64, clients: Vec<RpcClient>) -> f64 {
    let observation = Observation {
        monotonic_ns: second * 1_000_000_000,
        rpc_clients: clients,
        ..Observation::default()
    };
    let fresh = calls.since(&observation, HALF_LIFE);
    fresh[0].tally.calls
}

fn client(id: u32, calls: u64) -> RpcClient {
    RpcClient {
        calls,
        ..rpc_client(id, BDI)
    }
}

fn others(many: usize) -> impl Iterator<Item = RpcClient> {
    (1..).map(|id| client(id, 1)).take(many)
}

#[test]
fn who_is_missed_once_is_remembered_unless_there_are_too_many() {
    for (many, fresh) in [(MAX_CLIENTS - 1, 3.0), (MAX_CLIENTS, 103.0)] {
        let mut calls = Calls::default();
        first(&mut calls, 1000, vec![client(0, 100)]);
        first(&mut calls, 1001, others(many).collect());
        let mut back = client(0, 103);
        back.last_call_ns = 1_002_000_000_000;
        let again = first(&mut calls, 1002, vec![back]);
        assert!((again - fresh).abs() < 1e-6, "{many}: {again}");
    }
}

#[test]
fn who_is_listed_is_remembered_however_many_there_are() {
    let mut calls = Calls::default();
    first(&mut calls, 1000, others(MAX_CLIENTS / 2 + 1).collect());
    let elder = (5000..).map(|id| client(id, 1)).take(MAX_CLIENTS / 2);
    let mut now: Vec<_> = elder.collect();
    now.insert(0, client(1, 8));
    first(&mut calls, 1001, now);
    let again = first(&mut calls, 1002, vec![client(1, 10)]);
    assert!((again - 2.0).abs() < 1e-6, "{again}");
}

#[test]
fn writes_to_each_device_are_counted_separately() {
    let mut calls = Calls::default();
    let mut observation = Observation {
        monotonic_ns: 1_000_000_000,
        rpc_clients: vec![RpcClient {
            backing: vec![backing(DISK, "8:1", 10, 1), backing(DISK, "8:2", 100, 1)],
            ..client(1, 5)
        }],
        ..Observation::default()
    };
    calls.since(&observation, HALF_LIFE);
    observation.monotonic_ns += 1_000_000_000;
    observation.rpc_clients[0].backing = vec![
        backing(DISK, "8:2", 103, 2),
        backing(DISK, "8:1", 11, 2),
        backing(DISK, "8:3", 7, 2),
    ];
    let fresh = calls.since(&observation, HALF_LIFE);
    assert_eq!(fresh[0].writes, [3.0, 1.0, 7.0]);
}
