//! What is said of the danger, and what to do.

use super::host::{BDI, Host, connection, mount, peer};
use crate::loops::Loop;

fn cross_netns(change: impl FnOnce(&mut Host)) -> Loop {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("nfsd")]);
    host.now.memory.dirty_limit_bytes = Some(98_000_000);
    change(&mut host);
    host.second(5, 5);
    host.found().expect("a loop").clone()
}

#[test]
fn across_namespaces_nfsd_has_no_exemption_and_the_client_may_fill_the_limit() {
    let one = cross_netns(|_| ());
    assert_eq!(
        one.danger,
        [
            "nfsd's exemption from dirty throttling (PF_LOCAL_THROTTLE) applies only where both ends \
             of the connection have the same address, and here they do not: nfsd is made to wait for \
             pages that only it can clean",
            "0:29 may fill the node's whole dirty limit of 98.0 MB alone",
        ]
    );
    assert_eq!(
        one.advice,
        [
            "run nfsd and the pods or programs that mount it on different nodes (in Kubernetes: \
             podAntiAffinity)",
            "or hold the client's BDI before the load (both: neither alone prevents it): echo 1 > \
             /sys/class/bdi/0:29/strict_limit; echo 10 > /sys/class/bdi/0:29/max_ratio",
            "once it is stuck: echo 1 > /sys/class/bdi/0:29/strict_limit; echo 1 > \
             /sys/class/bdi/0:29/max_ratio; then raise vm.dirty_bytes",
        ]
    );
}

#[test]
fn what_the_server_saw_decides_on_the_exemption_and_not_the_namespaces() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].peer = Some(([10, 9, 0, 2], 801).into());
        let peers = vec![peer("10.9.0.2:801", "10.9.0.2:2049", 22)];
        host.look_up(|t| t.peers = peers);
    });
    assert!(
        one.danger[0].contains("reaches only as far"),
        "{:?}",
        one.danger
    );
}

#[test]
fn old_kernels_have_their_own_words() {
    let one = cross_netns(|host| host.now.kernel = "5.4.0".into());
    assert!(one.danger[0].contains("(PF_LESS_THROTTLE)"), "{one:?}");
    let one = cross_netns(|host| {
        host.now.kernel = "5.10.0-36-amd64".into();
        host.now.bdis[0].strict_limit = None;
    });
    assert!(
        one.danger[2].starts_with("on 5.10 nfsd may also sleep in wait_iff_congested"),
        "{one:?}"
    );
    assert_eq!(one.advice.len(), 2);
    assert!(
        one.advice[1].starts_with("this kernel has no strict_limit"),
        "{one:?}"
    );
}

#[test]
fn a_client_that_is_held_is_less_dangerous_and_one_that_is_half_held_is_not() {
    let held = |strict, ratio| {
        cross_netns(|host| {
            host.now.bdis[0].strict_limit = Some(strict);
            host.now.bdis[0].max_ratio = Some(ratio);
        })
    };
    let one = held(true, 10);
    assert_eq!(
        one.danger[0],
        "less dangerous: 0:29 is held at 10 % of the dirty limit by strict_limit and max_ratio"
    );
    assert_eq!(one.advice.len(), 1);
    for (strict, ratio) in [(false, 10), (true, 100)] {
        let one = held(strict, ratio);
        assert!(one.danger[0].starts_with("nfsd's exemption"), "{one:?}");
        assert_eq!(one.advice.len(), 3);
    }
}

#[test]
fn a_userspace_server_has_no_exemption_at_all() {
    let mut host = Host::new();
    host.look_up(|t| t.connections = vec![connection("ganesha.nfsd")]);
    host.second(0, 0);
    let one = host.found().expect("a loop");
    assert!(
        one.danger[0].starts_with("ganesha.nfsd is a userspace server"),
        "{one:?}"
    );
    assert!(one.danger[2].contains("reclaim_throttle"), "{one:?}");
}

#[test]
fn a_server_that_writes_to_nfs_is_a_chain() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![super::host::backing("0:40", "0:40", 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    assert!(
        one.danger[0].starts_with("nfsd exports 0:40, which is an NFS mount itself"),
        "{one:?}"
    );
}

#[test]
fn where_nothing_was_looked_up_nothing_is_claimed_of_the_addresses() {
    let mut host = Host::new();
    host.now.kernel = "".into();
    host.second(5, 5);
    let one = host.found().expect("a loop");
    assert!(one.danger[0].contains("which is not known here"), "{one:?}");
}
