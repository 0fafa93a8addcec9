//! Tests of the server's exemption from local dirty throttling.

use monitor_model::{
    loops::{Exempt, ExemptBasis, Exemption, Loop},
    observation::{ExemptCount, PeerSocket, ServerProcess, UserServer},
};

use super::host::{BDI, Host, backing, connection, mount, peer};

pub const fn count(with: u64, without: u64) -> ExemptCount {
    ExemptCount { with, without }
}

pub fn server(tgid: u32, exempt_threads: Option<ExemptCount>) -> UserServer {
    UserServer {
        name: "ganesha.nfsd".into(),
        tgid,
        exempt_threads,
        ..UserServer::default()
    }
}

/// A host where only the mount is known, without writes.
fn quiet(change: impl FnOnce(&mut Host)) -> Host {
    let mut host = Host::new();
    host.look_up(|_| ());
    change(&mut host);
    host.second(5, 5);
    host
}

fn exempt(host: &Host) -> Exemption {
    let one: &Loop = host.found().expect("a loop");
    one.exempt.clone()
}

fn short(host: &Host) -> (Exempt, Option<ExemptBasis>) {
    let Exemption { state, basis, .. } = exempt(host);
    (state, basis)
}

const PREDICTED: Option<ExemptBasis> = Some(ExemptBasis::Predicted);
const OBSERVED: Option<ExemptBasis> = Some(ExemptBasis::Observed);

fn writes(host: &mut Host, with: u64, without: u64) {
    let all = &mut host.now.rpc_clients[0].exempt_writes;
    let before = all.unwrap_or_default();
    *all = Some(count(before.with + with, before.without + without));
    host.second(5, 5);
}

#[test]
fn a_client_with_another_address_of_the_servers_namespace_makes_it_exempt() {
    // A service address beside the node's own, in one subnet.
    let host = quiet(|host| {
        host.now.rpc_clients[0].peer = Some(([192, 168, 50, 11], 801).into());
        let socket = PeerSocket {
            peer_is_local: Some(true),
            ..peer("192.168.50.11:801", "192.168.50.100:2049", 11)
        };
        host.look_up(|t| t.peers = vec![socket]);
    });
    assert_eq!(
        exempt(&host),
        Exemption {
            state: Exempt::Yes,
            basis: PREDICTED,
            reason: "the client's address is one of the server's own network namespace".to_owned(),
        }
    );
    assert!(host.found().expect("a loop").risk.is_empty());
    assert!(
        host.events[0]
            .message
            .ends_with(": nfsd is exempt from local dirty throttling (predicted: the client's address is one of the server's own network namespace)"),
        "{:?}",
        host.events
    );
}

#[test]
fn what_the_server_sees_decides_and_not_the_namespaces() {
    // The address is masqueraded to one of the server's.
    let seen = |from: &str, local| {
        let host = quiet(|host| {
            host.now.rpc_clients[0].peer = from.parse().ok();
            let socket = PeerSocket {
                peer_is_local: local,
                ..peer(from, "10.9.0.2:2049", 22)
            };
            host.look_up(|t| t.peers = vec![socket]);
        });
        short(&host)
    };
    assert_eq!(seen("10.9.0.3:801", Some(true)), (Exempt::Yes, PREDICTED));
    assert_eq!(seen("10.9.0.1:801", Some(false)), (Exempt::No, PREDICTED));
    // Older recordings lack the fact: the server's own address is local to it.
    assert_eq!(seen("10.9.0.2:801", None), (Exempt::Yes, PREDICTED));
    assert_eq!(seen("10.9.0.1:801", None), (Exempt::No, PREDICTED));
    let told = |local| {
        let host = quiet(|host| {
            let mut one = connection("nfsd");
            one.client_is_local = local;
            host.look_up(|t| t.connections = vec![one]);
        });
        short(&host)
    };
    assert_eq!(told(Some(true)), (Exempt::Yes, PREDICTED));
    assert_eq!(told(Some(false)), (Exempt::No, PREDICTED));
    assert_eq!(told(None), (Exempt::No, PREDICTED));
}

#[test]
fn where_nothing_was_seen_or_looked_up_it_is_not_known() {
    let host = quiet(|_| ());
    assert_eq!(short(&host), (Exempt::Unknown, None));
    // The listener shows that both are in one namespace.
    let host = quiet(|host| {
        let mut one = mount(BDI);
        one.listener = Some("nfsd".into());
        host.look_up(|t| t.mounts = vec![one]);
    });
    assert_eq!(short(&host), (Exempt::Yes, PREDICTED));
}

#[test]
fn what_is_observed_counts_more_than_what_is_predicted() {
    let mut host = quiet(|host| {
        host.look_up(|t| t.connections = vec![connection("nfsd")]);
    });
    assert_eq!(short(&host), (Exempt::No, PREDICTED));
    writes(&mut host, 3, 0);
    assert_eq!(
        exempt(&host),
        Exemption {
            state: Exempt::Yes,
            basis: OBSERVED,
            reason: "nfsd served its last WRITEs with PF_LOCAL_THROTTLE".to_owned(),
        }
    );
    // The result stays without writes.
    host.seconds(3600, 0, 0);
    assert_eq!(short(&host), (Exempt::Yes, OBSERVED));
}

#[test]
fn some_writes_with_and_some_without_are_partly_and_a_few_of_before_are_forgotten() {
    let mut host = quiet(|_| ());
    writes(&mut host, 50, 50);
    assert_eq!(short(&host), (Exempt::Partly, OBSERVED));
    assert_eq!(
        exempt(&host).reason,
        "nfsd served some of its last WRITEs with PF_LOCAL_THROTTLE and others without"
    );
    // The client reconnected by another route.
    for _ in 0..5 {
        writes(&mut host, 0, 50);
    }
    assert_eq!(short(&host), (Exempt::No, OBSERVED));
    for _ in 0..6 {
        writes(&mut host, 50, 0);
    }
    assert_eq!(short(&host), (Exempt::Yes, OBSERVED));
}

#[test]
fn writes_from_before_the_daemon_knew_the_client_count_too() {
    let host = quiet(|host| host.now.rpc_clients[0].exempt_writes = Some(count(0, 1)));
    assert_eq!(short(&host), (Exempt::No, OBSERVED));
}

#[test]
fn an_nfs_mount_that_is_exported_again_has_no_exemption_since_5_11() {
    let of = |kernel: &str| {
        let host = quiet(|host| {
            host.now.kernel = kernel.into();
            host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
            let mut one = connection("nfsd");
            one.client_is_local = Some(true);
            host.look_up(|t| {
                t.connections = vec![one];
                t.mounts = vec![mount(BDI), mount("0:40")];
            });
        });
        short(&host)
    };
    assert_eq!(of("5.10.0"), (Exempt::Yes, PREDICTED));
    assert_eq!(of("5.11.0"), (Exempt::No, PREDICTED));
    assert_eq!(of(""), (Exempt::Yes, PREDICTED));
    let mut host = quiet(|host| {
        host.now.rpc_clients[0].backing = vec![backing("0:40", "0:40", 5, 1)];
        host.look_up(|t| t.mounts = vec![mount(BDI), mount("0:40")]);
    });
    writes(&mut host, 4, 0);
    assert_eq!(short(&host), (Exempt::Yes, OBSERVED), "seen is seen");
}

#[test]
fn a_userspace_server_is_what_its_threads_are() {
    let of = |servers: Vec<UserServer>| {
        let mut host = Host::new();
        host.look_up(|t| {
            t.connections = vec![connection("ganesha.nfsd")];
            let process = |tgid, netns| ServerProcess {
                tgid,
                name: "ganesha.nfsd".into(),
                netns,
            };
            t.server_processes = vec![process(7, Some(22)), process(8, Some(33)), process(9, None)];
        });
        host.now.user_servers = servers;
        host.second(0, 0);
        exempt(&host)
    };
    let (yes, no) = (Some(count(40, 0)), Some(count(0, 40)));
    let state = |servers| of(servers).state;
    assert_eq!(state(vec![server(7, yes)]), Exempt::Yes);
    assert_eq!(state(vec![server(7, no)]), Exempt::No);
    assert_eq!(
        state(vec![server(7, yes), server(8, no)]),
        Exempt::Yes,
        "another pod's"
    );
    assert_eq!(state(vec![server(7, no), server(9, yes)]), Exempt::Partly);
    assert_eq!(state(vec![server(8, no)]), Exempt::Unknown);
    assert_eq!(state(vec![server(7, None)]), Exempt::Unknown);
    let partly = of(vec![server(7, Some(count(38, 2)))]);
    assert_eq!(
        (partly.state, partly.basis, partly.reason.as_str()),
        (
            Exempt::Partly,
            OBSERVED,
            "2 of 40 threads of ganesha.nfsd do not have PF_LOCAL_THROTTLE"
        )
    );
    assert_eq!(
        partly.words(),
        "partly (observed: 2 of 40 threads of ganesha.nfsd do not have PF_LOCAL_THROTTLE)"
    );
}
