//! Tests of the risk and the recommendations.

use monitor_common::Class;
use monitor_model::{
    loops::{Exempt, Loop},
    observation::{DirtyPauses, NfsClient},
};

use super::exempt::{count, server};
use super::host::{BDI, DISK, Host, backing, connection, mount};
use super::server::pauses;

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
        one.risk,
        [
            "nfsd is not exempt from local dirty throttling (predicted: the client's address is not \
             one of the server's own network namespace): it waits for pages that only it can clean",
            "0:29 may fill the node's whole dirty limit of 93.5 MiB alone",
        ]
    );
    assert_eq!(
        one.recommendations,
        [
            "run nfsd and the pods or programs that mount it on different nodes (in Kubernetes: \
             podAntiAffinity)",
            "or hold the client's BDI before the load (both: neither alone prevents it): echo 1 > \
             /sys/class/bdi/0:29/strict_limit; echo 25 > /sys/class/bdi/0:29/max_ratio",
            "once it is stalled: throttle-monitor explain dirty-throttle --bdi 0:29",
        ]
    );
}

#[test]
fn an_exempt_server_has_no_throttling_risk_and_no_recommendations() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].exempt_writes = Some(count(9, 0));
        host.now.bdis[0].strict_limit = Some(true);
        host.now.bdis[0].max_ratio = Some(10);
    });
    assert_eq!(one.exempt.state, Exempt::Yes);
    assert!(one.risk.is_empty(), "{one:?}");
    assert!(one.recommendations.is_empty(), "{one:?}");
    // Risks beyond the exemption are still reported.
    let one = cross_netns(|host| {
        host.now.kernel = "5.10.0-36-amd64".into();
        host.now.rpc_clients[0].exempt_writes = Some(count(9, 0));
    });
    assert_eq!(one.risk.len(), 1, "{one:?}");
    assert!(one.risk[0].contains("wait_iff_congested"), "{one:?}");
    assert_eq!(one.recommendations.len(), 1, "{one:?}");
    assert!(
        one.recommendations[0].contains("on different nodes"),
        "{one:?}"
    );
}

#[test]
fn a_partly_exempt_server_has_the_risk_of_its_other_threads() {
    let one = cross_netns(|host| host.now.rpc_clients[0].exempt_writes = Some(count(5, 5)));
    assert!(
        one.risk[0]
            .starts_with("nfsd is only partly exempt from local dirty throttling (observed: "),
        "{one:?}"
    );
    assert_eq!((one.risk.len(), one.recommendations.len()), (2, 3));
}

#[test]
fn old_kernels_have_their_own_words() {
    let one = cross_netns(|host| {
        host.now.kernel = "5.4.0".into();
        host.now.rpc_clients[0].exempt_writes = Some(count(0, 5));
    });
    assert!(one.risk[0].contains("without PF_LESS_THROTTLE"), "{one:?}");
    let one = cross_netns(|host| {
        host.now.kernel = "5.10.0-36-amd64".into();
        host.now.bdis[0].strict_limit = None;
    });
    assert!(
        one.risk[2].starts_with("on 5.10 nfsd may also sleep in wait_iff_congested"),
        "{one:?}"
    );
    assert_eq!(one.recommendations.len(), 3);
    assert!(
        one.recommendations[1].starts_with("this kernel has no strict_limit"),
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
        one.risk[0],
        "less risk: 0:29 is held at 10 % of the dirty limit by strict_limit and max_ratio"
    );
    assert_eq!(one.recommendations.len(), 1);
    for (strict, ratio) in [(false, 10), (true, 100)] {
        let one = held(strict, ratio);
        assert!(one.risk[0].starts_with("nfsd is not exempt"), "{one:?}");
        assert_eq!(one.recommendations.len(), 3);
    }
}

#[test]
fn each_kernel_is_recognized_by_its_version() {
    let of = |kernel: &str| {
        cross_netns(|host| {
            host.now.kernel = kernel.into();
            host.now.bdis.clear();
            host.now.rpc_clients[0].exempt_writes = Some(count(0, 5));
        })
    };
    for (kernel, flag) in [
        ("5.7.19", "PF_LESS_THROTTLE"),
        ("5.8.0", "PF_LOCAL_THROTTLE"),
    ] {
        assert!(of(kernel).risk[0].contains(flag), "{kernel}");
    }
    for (kernel, sleeps) in [("5.15.9", true), ("5.16.0", false)] {
        let risk = of(kernel).risk.join("\n");
        assert_eq!(risk.contains("wait_iff_congested"), sleeps, "{kernel}");
    }
    for (kernel, strict) in [("6.1.9", false), ("6.2.0", true)] {
        let holds = of(kernel).recommendations[1].starts_with("or hold the client's BDI");
        assert_eq!(holds, strict, "{kernel}");
    }
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
        one.risk[1].clone()
    };
    let of = |limit: &str| format!("0:29 may fill the node's whole dirty limit of {limit} alone");
    let (early, late) = (named(1, 5, 1000), named(1, 7, 2000));
    assert_eq!(room(4096, vec![early.clone(), late.clone()]), of("7.8 MiB"));
    assert_eq!(room(4096, vec![late.clone(), early.clone()]), of("7.8 MiB"));
    assert_eq!(room(4096, vec![early, named(0, 9, 3000)]), of("3.9 MiB"));
    for unknown in [vec![], vec![named(1, 7, 0)], vec![named(0, 7, 2000)]] {
        assert_eq!(
            room(4096, unknown),
            of("93.5 MiB"),
            "as /proc/vmstat has it"
        );
    }
    assert_eq!(room(0, vec![late]), of("93.5 MiB"));
}

#[test]
fn a_share_without_strict_limit_is_reported_as_ineffective() {
    let one = cross_netns(|host| host.now.bdis[0].max_ratio = Some(10));
    assert_eq!(
        one.risk[1],
        "0:29 may fill the node's whole dirty limit of 93.5 MiB: max_ratio (10 %) without strict_limit does not hold it"
    );
}

#[test]
fn a_userspace_server_that_is_not_exempt_is_to_ask_for_it() {
    let of = |threads| {
        let mut host = Host::new();
        host.look_up(|t| t.connections = vec![connection("ganesha.nfsd")]);
        host.now.user_servers = vec![server(7, threads)];
        host.second(0, 0);
        host.found().expect("a loop").clone()
    };
    let one = of(Some(count(0, 40)));
    assert_eq!(
        one.risk[0],
        "ganesha.nfsd is not exempt from local dirty throttling (observed: the threads of ganesha.nfsd do not \
         have PF_LOCAL_THROTTLE): it waits for pages that only it can clean"
    );
    assert!(one.risk[2].contains("reclaim_throttle"), "{one:?}");
    assert_eq!(
        one.recommendations[0],
        "exempt ganesha.nfsd from local dirty throttling: give its container CAP_SYS_RESOURCE \
         (nfs-ganesha asks for the exemption from version 6 on), or start it by \
         throttle-monitor io-flusher -- COMMAND"
    );
    let one = of(Some(count(40, 0)));
    assert!(one.risk[0].contains("reclaim_throttle"), "{one:?}");
    assert_eq!(one.recommendations.len(), 1, "{one:?}");
    let one = of(None);
    assert!(
        one.risk[0]
            .starts_with("whether ganesha.nfsd is exempt from local dirty throttling is unknown"),
        "{one:?}"
    );
    assert!(
        one.recommendations[0].contains("on different nodes"),
        "{one:?}"
    );
}

#[test]
fn a_server_that_writes_to_nfs_is_a_chain() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    let chain = "nfsd exports 0:40, which is an NFS mount itself";
    assert!(one.risk[0].starts_with(chain), "{one:?}");
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
        host.now.clients.push(NfsClient {
            bdi: "0:40".into(),
            ..NfsClient::default()
        });
    });
    assert!(one.risk[0].starts_with(chain), "no look-up: {one:?}");
}

#[test]
fn a_server_that_writes_to_a_disk_is_none() {
    let one = cross_netns(|host| {
        host.now.rpc_clients[0].backing = vec![backing(DISK, DISK, 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    assert_eq!(one.server_bdi.as_deref(), Some(DISK));
    assert!(!one.risk.join(" ").contains("a chain"), "{one:?}");
}

#[test]
fn where_nothing_was_looked_up_nothing_is_claimed_of_the_addresses() {
    let mut host = Host::new();
    host.now.kernel = "".into();
    host.second(5, 5);
    let one = host.found().expect("a loop");
    assert!(
        one.risk[0].starts_with(
            "whether nfsd is exempt from local dirty throttling is unknown (no WRITE was seen"
        ),
        "{one:?}"
    );
}
