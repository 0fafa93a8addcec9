//! Tests of `nfs-server-not-responding` and of similar cases.

use std::sync::Arc;

use monitor_common::Class;
use monitor_model::{
    observation::{
        FarEnd, NfsMount, Observation, OpenCalls, RpcClient, ServerExit, ThreadState, UserServer,
    },
    related::RelatedKind::NfsServerNotResponding,
};

use super::scene::{CLIENT, MB, SECOND, Scene, answered, threads, unanswered};
use crate::tests::node::wait;
use crate::{Thresholds, signal};

/// This server on this node serves the mount, at the mount's own address.
fn served_here(scene: &mut Scene, server: &str) {
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.mounts = vec![NfsMount {
        bdi: CLIENT.into(),
        source: "127.0.0.1:/srv".into(),
        mount_points: vec!["/mnt".into()],
        server: Some(([127, 0, 0, 1], 2049).into()),
        netns: Some(1),
        listener: Some(server.into()),
        ..NfsMount::default()
    }];
}

type Happens<'a> = &'a dyn Fn(&mut Observation);

fn times(scene: &Scene) -> Vec<(u64, bool)> {
    scene.times(NfsServerNotResponding)
}

#[test]
fn a_server_elsewhere_that_answers_nothing_for_ten_seconds_is_not_responding() {
    let mut scene = Scene::new();
    scene.play(5, |now| answered(now, 30 * MB));
    scene.play(10, unanswered);
    assert_eq!(times(&scene), [], "nine seconds are not ten");
    scene.play(1, unanswered);
    assert_eq!(times(&scene), [(16, true)]);
    let related = scene.engine.related()[0].clone();
    assert_eq!(related.bdi, CLIENT);
    assert_eq!(related.since_ms, 1_016_000);
    assert_eq!(
        related.reason,
        "no answer for 10.0 s: 30 WRITE and 0 COMMIT calls of 0:29 are open, 28.6 MiB dirty or in \
         writeback, 2 writers are paused; it is served by no known server of this node"
    );
    scene.play(60, unanswered);
    assert_eq!(times(&scene).len(), 1);
    assert_eq!(scene.events[0].reason, related.reason);
}

#[test]
fn answers_end_it_and_a_single_one_does_not() {
    let mut scene = Scene::new();
    scene.play(20, unanswered);
    scene.play(1, |now| {
        answered(now, MB);
        unanswered(now);
    });
    scene.play(20, unanswered);
    assert_eq!(times(&scene), [(11, true)]);
    scene.play(10, |now| {
        answered(now, MB);
        unanswered(now);
    });
    assert_eq!(times(&scene), [(11, true), (46, false)]);
    let mut ended = scene.events.iter().filter(|event| !event.began);
    let ended = ended.next().expect("it ended");
    assert!(
        ended
            .reason
            .starts_with("over after 30.0 s; it was: no answer"),
        "{}",
        ended.reason
    );
    let still = (NfsServerNotResponding, CLIENT.to_owned());
    assert!(!scene.holds().contains(&still));
}

#[test]
fn a_server_that_answers_every_nine_seconds_is_slow_and_responds() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        scene.play(1, |now| answered(now, MB));
        scene.play(8, unanswered);
    }
    assert_eq!(times(&scene), []);
}

#[test]
fn who_has_nothing_to_write_waits_for_no_answer() {
    let mut scene = Scene::new();
    scene.play(60, |_| {});
    assert_eq!(scene.events, []);
}

#[test]
fn a_call_whose_end_was_missed_makes_no_silence() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        now.clients[0].writes_sent = 1;
        now.clients[0].commits_sent = 1;
        now.clients[0].last_sent_ns = 5;
        now.clients[0].last_acked_ns = 6;
    });
    assert_eq!(scene.events, []);
}

#[test]
fn a_direct_write_holds_no_page_and_is_missed_all_the_same() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        now.clients[0].writes_sent = 1;
        now.clients[0].last_sent_ns = 5;
    });
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn what_is_open_counts_only_with_what_shows_that_it_is_waited_for() {
    let held = |now: &mut Observation, held| {
        (now.bdis[0].dirty_bytes, now.bdis[0].writeback_bytes) = (held, None);
    };
    let paused = |now: &mut Observation| now.waits.push(wait(500, Class::User, CLIENT));
    let write = |now: &mut Observation, sent_ns, acked_ns| {
        let client = &mut now.clients[0];
        client.writes_sent = client.writes_acked + 1;
        (client.last_sent_ns, client.last_acked_ns) = (sent_ns, acked_ns);
    };
    let floor = Thresholds::default().demand_floor_bytes;
    let cases: [(&str, bool, Happens<'_>); 9] = [
        ("paused, who knows how much", true, &|now| {
            held(now, None);
            paused(now);
        }),
        ("paused, a megabyte", true, &|now| {
            held(now, Some(floor));
            paused(now);
        }),
        ("paused, next to nothing", false, &|now| {
            held(now, Some(floor - 1));
            paused(now);
        }),
        ("an old call, a page", true, &|now| {
            held(now, Some(4096));
            write(now, 5, 6);
        }),
        ("an old call, who knows how much", false, &|now| {
            held(now, None);
            write(now, 5, 6);
        }),
        ("one that was answered as it was sent", false, &|now| {
            held(now, None);
            write(now, 5, 5);
        }),
        ("an old call, nothing", false, &|now| {
            held(now, Some(0));
            write(now, 5, 6);
        }),
        ("a commit, nothing", false, &|now| {
            held(now, Some(0));
            let client = &mut now.clients[0];
            client.commits_sent = client.commits_done + 1;
            (client.last_sent_ns, client.last_acked_ns) = (6, 5);
        }),
        ("nothing at all", false, &|now| held(now, Some(30 * MB))),
    ];
    for (what, told, happens) in cases {
        let mut scene = Scene::new();
        scene.play(15, happens);
        assert_eq!(!times(&scene).is_empty(), told, "{what}");
    }
}

#[test]
fn a_commit_without_an_answer_is_a_silence_too() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        now.clients[0].commits_sent = 1;
        now.bdis[0].writeback_bytes = Some(4096);
    });
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn errors_are_answers() {
    let mut scene = Scene::new();
    scene.play(60, |now| {
        now.clients[0].writes_failed += 1;
        unanswered(now);
    });
    assert_eq!(scene.events, []);
}

#[test]
fn without_debugfs_the_writers_who_wait_show_it() {
    let mut scene = Scene::new();
    scene.play(15, |now| {
        unanswered(now);
        now.bdis[0].writeback_bytes = None;
        now.bdis[0].dirty_bytes = None;
    });
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn without_the_client_s_calls_nothing_is_claimed() {
    let mut scene = Scene::new();
    scene.lose(signal::NFS_CLIENT);
    scene.play(60, unanswered);
    assert_eq!(scene.events, []);
}

#[test]
fn a_loop_whose_threads_are_all_idle_has_a_server_out_of_reach() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    scene.play(15, unanswered);
    assert_eq!(scene.engine.loops().len(), 1);
    assert_eq!(times(&scene), [(11, true)]);
    let reason = &scene.events[0].reason;
    assert!(
        reason.ends_with("of which 8 of 8 threads are idle"),
        "{reason}"
    );
}

#[test]
fn a_loop_whose_threads_are_taken_waits_for_them() {
    let all_work = |now: &mut Observation| threads(now, 8, ThreadState::Running, None);
    let one_sleeps = |now: &mut Observation| threads(now, 1, ThreadState::Blocked, None);
    let one_throttled = |now: &mut Observation| now.waits.push(wait(100, Class::Nfsd, "254:0"));
    let works: [fn(&mut Observation); 3] = [all_work, one_sleeps, one_throttled];
    for (n, work) in works.into_iter().enumerate() {
        let mut scene = Scene::new();
        served_here(&mut scene, "nfsd");
        scene.play(60, |now| {
            unanswered(now);
            work(now);
        });
        assert_eq!(times(&scene), [], "{n}");
    }
}

#[test]
fn a_loop_of_another_mount_does_not_excuse_a_server_elsewhere() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    Arc::make_mut(&mut scene.now.topology).mounts[0].bdi = "0:40".into();
    scene.play(15, |now| {
        unanswered(now);
        threads(now, 8, ThreadState::Running, None);
    });
    assert_eq!(scene.engine.loops()[0].client_bdi, "0:40");
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn a_loop_whose_threads_now_and_then_work_for_others_has_a_server_out_of_reach() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    let mut n = 0;
    scene.play(20, |now| {
        n += 1;
        let state = if n % 2 == 0 {
            ThreadState::Blocked
        } else {
            ThreadState::Running
        };
        threads(now, 3, state, None);
        unanswered(now);
    });
    assert_eq!(times(&scene), [(11, true)]);
}

#[test]
fn a_loop_whose_nfsd_has_no_thread_left_has_a_server_that_does_not_run() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    scene.now.nfsd.as_mut().expect("runs").threads.clear();
    scene.play(15, unanswered);
    assert_eq!(times(&scene), [(11, true)]);
    assert!(scene.events[0].reason.ends_with("it has no threads"));
}

#[test]
fn where_throttling_is_not_seen_a_loop_s_server_is_not_known_to_be_free() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    scene.lose(signal::BALANCE_DIRTY_PAGES);
    scene.play(60, unanswered);
    assert_eq!(times(&scene), []);
}

#[test]
fn a_loop_past_the_server_s_threads_is_not_judged_by_them() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    scene.now.clients[0].writes_by_rpc = Some(0);
    scene.play(1, |now| answered(now, 100 * MB));
    scene.play(30, unanswered);
    assert!(scene.engine.loops()[0].localio);
    assert_eq!(times(&scene), []);
}

#[test]
fn a_userspace_server_is_free_when_none_of_its_threads_waits() {
    for stuck in [
        None,
        Some(ThreadState::Running),
        Some(ThreadState::Throttled),
    ] {
        let mut scene = Scene::new();
        served_here(&mut scene, "ganesha.nfsd");
        let mut server = UserServer {
            stopped: false,
            name: "ganesha.nfsd".into(),
            tgid: 7,
            ..UserServer::default()
        };
        if let Some(state) = stuck {
            let mut thread = scene.now.nfsd.as_ref().expect("runs").threads[0].clone();
            thread.state = state;
            server.threads.push(thread);
        }
        scene.now.user_servers = vec![server];
        scene.play(15, unanswered);
        let free = stuck != Some(ThreadState::Throttled);
        assert_eq!(times(&scene).len(), usize::from(free), "{stuck:?}");
    }
}

#[test]
fn a_userspace_server_that_is_not_seen_or_whose_wait_is_is_not_free() {
    let mut scene = Scene::new();
    served_here(&mut scene, "ganesha.nfsd");
    scene.play(30, unanswered);
    assert_eq!(times(&scene), []);
    scene.now.user_servers = vec![UserServer {
        stopped: false,
        name: "ganesha.nfsd".into(),
        ..UserServer::default()
    }];
    scene.play(30, |now| {
        unanswered(now);
        now.waits.push(wait(7, Class::Server, "254:0"));
    });
    assert_eq!(times(&scene), []);
}

#[test]
fn before_the_first_look_up_a_node_whose_nfsd_is_stuck_may_be_a_loop() {
    let mut scene = Scene::new();
    Arc::make_mut(&mut scene.now.topology).read_ns = 0;
    scene.play(30, |now| {
        unanswered(now);
        threads(now, 8, ThreadState::Blocked, None);
    });
    assert_eq!(times(&scene), []);
    Arc::make_mut(&mut scene.now.topology).read_ns = SECOND;
    scene.play(2, |now| {
        unanswered(now);
        threads(now, 8, ThreadState::Blocked, None);
    });
    assert_eq!(times(&scene), [(31, true)]);
}

#[test]
fn a_mount_that_nfsd_exports_again_waits_for_its_own_server() {
    let mut scene = Scene::new();
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.exports[0].bdi = CLIENT.into();
    let since = scene.now.monotonic_ns;
    scene.play(30, |now| {
        unanswered(now);
        threads(now, 8, ThreadState::Blocked, Some(since));
    });
    let holds = [(NfsServerNotResponding, CLIENT.to_owned())];
    assert_eq!(scene.holds(), holds);
}

const GANESHA: &str = "ganesha.nfsd";

/// ganesha.nfsd[204] on this node serves the mount and waits for nothing.
fn served_by_ganesha(scene: &mut Scene) {
    served_here(scene, GANESHA);
    Arc::make_mut(&mut scene.now.topology).mounts[0].listener_tgid = Some(204);
    scene.now.user_servers = vec![UserServer {
        name: GANESHA.into(),
        tgid: 204,
        ..UserServer::default()
    }];
}

fn end(scene: &Scene) -> String {
    let reason = &scene.engine.related()[0].reason;
    let (_, end) = reason.rsplit_once("paused; ").expect("two parts");
    end.to_owned()
}

#[test]
fn a_stopped_server_is_named_with_its_process() {
    let mut scene = Scene::new();
    served_by_ganesha(&mut scene);
    scene.play(5, |now| answered(now, MB));
    scene.now.user_servers[0].stopped = true;
    scene.play(12, unanswered);
    assert_eq!(
        end(&scene),
        "its server ganesha.nfsd[204] here is stopped (SIGSTOP or a debugger)"
    );
}

#[test]
fn a_server_that_was_killed_is_named_after_the_loop_has_ended() {
    let mut scene = Scene::new();
    served_by_ganesha(&mut scene);
    scene.play(5, |now| answered(now, MB));
    scene.now.user_servers.clear();
    scene.now.server_exits = vec![ServerExit {
        name: GANESHA.into(),
        tgid: 204,
        gone_ns: scene.now.monotonic_ns,
        cgroup_oom_kills: Some(1),
        node_oom_kills: Some(1),
    }];
    scene.play(12, unanswered);
    let killed = "its server on this node, ganesha.nfsd[204], is gone for 12.0 s; the OOM killer of \
                  its memory cgroup killed 1 process there at that moment";
    assert_eq!(end(&scene), killed);
    // Without a listener the loop ends, but its server stays known.
    Arc::make_mut(&mut scene.now.topology).mounts[0].listener = None;
    for _ in 0..20 {
        scene.play(1, unanswered);
        Arc::make_mut(&mut scene.now.topology).read_ns = scene.now.monotonic_ns;
    }
    assert!(scene.engine.loops().is_empty());
    assert_eq!(end(&scene), killed.replace("12.0", "32.0"));
    // If the kills are unknown, the text omits them.
    scene.now.server_exits[0].cgroup_oom_kills = None;
    scene.now.server_exits[0].node_oom_kills = Some(0);
    scene.play(1, unanswered);
    assert_eq!(
        end(&scene),
        "its server on this node, ganesha.nfsd[204], is gone for 33.0 s"
    );
    // After ten minutes the process is forgotten.
    scene.now.server_exits.clear();
    scene.play(1, unanswered);
    assert_eq!(
        end(&scene),
        "its server on this node was ganesha.nfsd[204], which is no longer connected to it"
    );
    // After an answer, the silence belongs to another server.
    scene.play(10, |now| answered(now, MB));
    scene.play(12, unanswered);
    assert_eq!(
        end(&scene),
        "the other end of its connection to 127.0.0.1:2049 is no known process of this node"
    );
}

#[test]
fn a_server_that_ended_is_reported_although_its_client_has_no_call_open() {
    let mut scene = Scene::new();
    served_by_ganesha(&mut scene);
    scene.play(5, |now| answered(now, MB));
    // While the server runs, a client without demand is not reported.
    scene.play(30, |_| {});
    assert_eq!(scene.engine.related(), []);
    let server = std::mem::take(&mut scene.now.user_servers);
    scene.now.server_exits = vec![ServerExit {
        name: GANESHA.into(),
        tgid: 204,
        gone_ns: scene.now.monotonic_ns,
        cgroup_oom_kills: None,
        node_oom_kills: None,
    }];
    scene.play(15, |_| {});
    let reason = |scene: &Scene| scene.engine.related()[0].reason.clone();
    assert_eq!(
        reason(&scene),
        "its server on this node, ganesha.nfsd[204], is gone for 15.0 s; 0:29 has no known open call"
    );
    // The expiry of the exit record is not an answer.
    scene.now.server_exits.clear();
    scene.play(30, |_| {});
    assert!(
        reason(&scene).contains("no longer connected"),
        "{}",
        reason(&scene)
    );
    // A restarted server is.
    scene.now.user_servers = server;
    scene.play(15, |now| answered(now, MB));
    assert_eq!(scene.engine.related(), []);
}

#[test]
fn nfsd_without_threads_was_stopped() {
    let mut scene = Scene::new();
    served_here(&mut scene, "nfsd");
    scene.play(5, |now| answered(now, MB));
    scene.now.nfsd = None;
    scene.play(12, unanswered);
    let stopped = "its server is this node's nfsd, which is stopped: it has no threads";
    assert_eq!(end(&scene), stopped);
    Arc::make_mut(&mut scene.now.topology).mounts[0].listener = None;
    for _ in 0..20 {
        scene.play(1, unanswered);
        Arc::make_mut(&mut scene.now.topology).read_ns = scene.now.monotonic_ns;
    }
    assert!(scene.engine.loops().is_empty());
    assert_eq!(end(&scene), stopped);
}

/// The mount's RPC client has `count` calls open since `since_ns`, of `sent` calls.
fn open(scene: &mut Scene, sent: u64, count: u32, since_ns: u64) {
    scene.now.rpc_clients = vec![RpcClient {
        id: 4,
        bdi: CLIENT.into(),
        calls: sent,
        last_call_ns: since_ns,
        open: Some(OpenCalls {
            count,
            since_ns,
            procedure: if count > 0 {
                "GETATTR".into()
            } else {
                "".into()
            },
            more: false,
        }),
        ..RpcClient::default()
    }];
}

#[test]
fn in_a_truncated_list_the_oldest_call_shows_answers() {
    let mut scene = Scene::new();
    served_by_ganesha(&mut scene);
    scene.now.user_servers[0].stopped = true;
    let since_ns = scene.now.monotonic_ns + SECOND;
    let play = |scene: &mut Scene, seconds: u64, answered: bool| {
        for second in 0..seconds {
            let sent = 100 + 30 * second;
            let oldest = since_ns + if answered { second * SECOND } else { 0 };
            open(scene, sent, 20, oldest);
            scene.now.rpc_clients[0].open.as_mut().expect("open").more = true;
            scene.play(1, |_| {});
        }
    };
    // Calls continue, and the oldest one changes each time.
    play(&mut scene, 30, true);
    assert_eq!(times(&scene), []);
    play(&mut scene, 15, false);
    let reason = &scene.engine.related()[0].reason;
    assert!(reason.contains("of at least 20 calls"), "{reason}");
}

#[test]
fn an_unanswered_call_other_than_a_write_counts_too() {
    let mut scene = Scene::new();
    served_by_ganesha(&mut scene);
    open(&mut scene, 20, 0, 0);
    scene.play(30, |_| {});
    assert_eq!(times(&scene), []);
    scene.now.user_servers[0].stopped = true;
    let since_ns = scene.now.monotonic_ns + SECOND;
    open(&mut scene, 22, 2, since_ns);
    scene.play(10, |_| {});
    assert_eq!(times(&scene), []);
    scene.play(1, |_| {});
    assert_eq!(times(&scene), [(41, true)]);
    assert_eq!(
        scene.engine.related()[0].reason,
        "no answer for 10.0 s: 0 WRITE and 0 COMMIT calls of 0:29 are open of 2 calls in all, the \
         oldest (GETATTR) for 10.0 s, 0 B dirty or in writeback, 0 writers are paused; its server \
         ganesha.nfsd[204] here is stopped (SIGSTOP or a debugger)"
    );
    open(&mut scene, 22, 0, 0);
    scene.now.user_servers[0].stopped = false;
    scene.play(8, |_| {});
    assert_eq!(scene.holds(), []);
}

#[test]
fn one_long_call_among_calls_that_are_answered_is_none_without_an_answer() {
    let mut scene = Scene::new();
    let since_ns = scene.now.monotonic_ns;
    for second in 0..60 {
        open(&mut scene, 20 + 3 * second, 1, since_ns);
        scene.play(1, |_| {});
    }
    assert_eq!(times(&scene), []);
    // A call that waits for the connection is open but not sent.
    for second in 0..9 {
        open(&mut scene, 200, 1 + second % 2, since_ns);
        scene.play(1, |_| {});
    }
    assert_eq!(times(&scene), []);
    scene.play(3, |_| {});
    assert_eq!(times(&scene).len(), 1);
}

#[test]
fn who_is_at_the_other_end_is_named() {
    let far_end = |name: &str, tgid, translated| FarEnd {
        client: ([10, 9, 0, 1], 801).into(),
        server: ([10, 96, 7, 7], 2049).into(),
        client_netns: 1,
        name: name.into(),
        tgid,
        translated,
    };
    for (far_end, words) in [
        (
            Some(far_end("socat", Some(123), false)),
            "its connection to 10.96.7.7:2049 ends in socat[123] on this node, which is not an NFS \
             server and may relay it",
        ),
        (
            Some(far_end(GANESHA, Some(204), true)),
            "its server is most likely ganesha.nfsd[204] on this node, which sees the client's \
             address behind a translation of 10.96.7.7:2049",
        ),
        (
            None,
            "the other end of its connection to 10.96.7.7:2049 is no known process of this node",
        ),
    ] {
        let mut scene = Scene::new();
        served_here(&mut scene, "nfsd");
        let topology = Arc::make_mut(&mut scene.now.topology);
        topology.mounts[0].listener = None;
        topology.mounts[0].server = Some(([10, 96, 7, 7], 2049).into());
        // The far end belongs to another client and another namespace.
        topology.far_ends = vec![FarEnd {
            client_netns: 9,
            ..far_end_of_another()
        }];
        topology.far_ends.extend(far_end);
        scene.play(12, unanswered);
        assert_eq!(end(&scene), words);
    }
}

fn far_end_of_another() -> FarEnd {
    FarEnd {
        client: ([10, 9, 0, 3], 801).into(),
        server: ([10, 96, 7, 7], 2049).into(),
        client_netns: 1,
        name: "stunnel".into(),
        tgid: Some(7),
        translated: false,
    }
}
