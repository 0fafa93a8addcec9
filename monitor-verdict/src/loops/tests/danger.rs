//! What is said of the danger, and what to do.

use monitor_common::Class;

use super::host::{BDI, DISK, Host, backing, connection, mount, peer};
use super::server::pauses;
use crate::loops::Loop;
use crate::observation::{DirtyPauses, NfsClient};

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
             /sys/class/bdi/0:29/strict_limit; echo 25 > /sys/class/bdi/0:29/max_ratio",
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
fn each_kernel_is_told_by_its_version() {
    let of = |kernel: &str| {
        cross_netns(|host| {
            host.now.kernel = kernel.into();
            host.now.bdis.clear();
        })
    };
    for (kernel, flag) in [
        ("5.7.19", "PF_LESS_THROTTLE"),
        ("5.8.0", "PF_LOCAL_THROTTLE"),
    ] {
        assert!(of(kernel).danger[0].contains(flag), "{kernel}");
    }
    for (kernel, sleeps) in [("5.15.9", true), ("5.16.0", false)] {
        let danger = of(kernel).danger.join("\n");
        assert_eq!(danger.contains("wait_iff_congested"), sleeps, "{kernel}");
    }
    for (kernel, advice) in [("6.1.9", 2), ("6.2.0", 3)] {
        assert_eq!(of(kernel).advice.len(), advice, "{kernel}");
    }
}

#[test]
fn within_one_namespace_the_exemption_has_an_end() {
    let of = |kernel: &str| {
        cross_netns(|host| {
            host.now.kernel = kernel.into();
            host.now.rpc_clients[0].peer = Some(([10, 9, 0, 2], 801).into());
            let peers = vec![peer("10.9.0.2:801", "10.9.0.2:2049", 22)];
            host.look_up(|t| t.peers = peers);
        })
    };
    assert!(of("5.4.0").danger[0].contains("a quarter above the limit only"));
    assert!(of("5.10.0").danger[0].contains("the share of the BDI"));
}

#[test]
fn what_the_client_may_fill_is_the_limit_that_the_kernel_named_last() {
    let named = |events, last_ns, pages| {
        let mut one = pauses(Class::User, DISK);
        (one.events, one.last_ns, one.last_limit_pages) = (events, last_ns, pages);
        one
    };
    let room = |page_size, all: Vec<DirtyPauses>| {
        let one = cross_netns(|host| {
            host.now.memory.page_size = page_size;
            host.now.dirty_pauses = all;
        });
        one.danger[1].clone()
    };
    let of = |limit: &str| format!("0:29 may fill the node's whole dirty limit of {limit} alone");
    let (early, late) = (named(1, 5, 1000), named(1, 7, 2000));
    assert_eq!(room(4096, vec![early.clone(), late.clone()]), of("8.2 MB"));
    assert_eq!(room(4096, vec![late.clone(), early.clone()]), of("8.2 MB"));
    assert_eq!(room(4096, vec![early, named(0, 9, 3000)]), of("4.1 MB"));
    for unknown in [vec![], vec![named(1, 7, 0)], vec![named(0, 7, 2000)]] {
        assert_eq!(room(4096, unknown), of("98.0 MB"), "as /proc/vmstat has it");
    }
    assert_eq!(room(0, vec![late]), of("98.0 MB"));
}

#[test]
fn a_share_without_strict_limit_is_said_not_to_hold() {
    let one = cross_netns(|host| host.now.bdis[0].max_ratio = Some(10));
    assert_eq!(
        one.danger[1],
        "0:29 may fill the node's whole dirty limit of 98.0 MB: max_ratio (10 %) without strict_limit does not hold it"
    );
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
        host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    let chain = "nfsd exports 0:40, which is an NFS mount itself";
    assert!(one.danger[0].starts_with(chain), "{one:?}");
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
        host.now.clients.push(NfsClient {
            bdi: "0:40".into(),
            ..NfsClient::default()
        });
    });
    assert!(one.danger[0].starts_with(chain), "no look-up: {one:?}");
}

#[test]
fn a_server_that_writes_to_a_disk_is_none() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![backing(DISK, DISK, 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    assert_eq!(one.server_bdi.as_deref(), Some(DISK));
    assert!(one.danger[0].starts_with("nfsd's exemption"), "{one:?}");
}

#[test]
fn where_nothing_was_looked_up_nothing_is_claimed_of_the_addresses() {
    let mut host = Host::new();
    host.now.kernel = "".into();
    host.second(5, 5);
    let one = host.found().expect("a loop");
    assert!(one.danger[0].contains("which is not known here"), "{one:?}");
}
