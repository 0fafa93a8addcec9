use std::{fs, path::PathBuf};

use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::observation::{ExemptCount, ServerProcess, ThreadState, UserServer, Waiting};
use tempfile::TempDir;

use super::{Look, QUIET_THREADS, SEARCH_TICKS, UserServers};

/// A procfs with one server, process 100.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(TempDir::new().unwrap());
        fs::create_dir_all(node.path("100/task")).unwrap();
        fs::write(node.path("100/comm"), "ganesha.nfsd\n").unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn thread(&self, tid: u32, state: char, wchan: &str) {
        self.thread_with(tid, state, wchan, 0x4040_0040);
    }

    fn thread_with(&self, tid: u32, state: char, wchan: &str, flags: u32) {
        let dir = self.path(&format!("100/task/{tid}"));
        fs::create_dir_all(&dir).unwrap();
        let stat = format!("{tid} (work) S) {state} 1 100 100 0 -1 {flags} 0 0");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("wchan"), wchan).unwrap();
    }

    fn servers(&self) -> UserServers {
        UserServers::new(self.0.path(), self.0.path())
    }
}

fn found() -> [ServerProcess; 1] {
    [ServerProcess {
        tgid: 100,
        name: "ganesha.nfsd".into(),
        ..ServerProcess::default()
    }]
}

fn wait(tid: u32, class: Class) -> Waiting {
    Waiting {
        tid,
        tgid: 100,
        comm: "work".into(),
        cause: Cause::BalanceDirtyPages,
        class,
        reason: ThrottleReason::None,
        bdi: "254:0".into(),
        since_ns: 1,
    }
}

fn look(waits: &[Waiting]) -> Look<'_> {
    Look {
        now_ns: 1,
        oom_kills: Some(0),
        waits,
    }
}

fn states(servers: &[UserServer]) -> Vec<(u32, ThreadState)> {
    let threads = servers.iter().flat_map(|server| &server.threads);
    threads.map(|thread| (thread.tid, thread.state)).collect()
}

#[test]
fn threads_are_counted_by_whether_they_are_exempt_idle_ones_too() {
    let node = Node::new();
    let exempt = 0x4058_0040;
    for (tid, state) in [(100, 'S'), (101, 'D'), (102, 'R')] {
        node.thread_with(tid, state, "", exempt);
    }
    let mut servers = node.servers();
    let mut told = |waits: &[Waiting]| servers.read(&found(), &look(waits))[0].exempt_threads;
    let count = |with, without| Some(ExemptCount { with, without });
    assert_eq!(told(&[]), count(3, 0));
    // Of one that is throttled all the time the flags are read, too.
    node.thread(103, 'D', "");
    assert_eq!(told(&[wait(103, Class::Server)]), count(3, 1));
    // Who ended does not count any more.
    fs::remove_dir_all(node.path("100/task/103")).unwrap();
    for _ in 0..=SEARCH_TICKS {
        told(&[]);
    }
    assert_eq!(told(&[]), count(3, 0));
}

#[test]
fn of_many_threads_all_are_counted_after_a_while() {
    let node = Node::new();
    let all = 3 * u32::try_from(QUIET_THREADS).unwrap();
    (100..100 + all).for_each(|tid| node.thread(tid, 'S', ""));
    let mut servers = node.servers();
    let mut without = || {
        let told = servers.read(&found(), &look(&[]));
        told[0].exempt_threads.unwrap().without
    };
    assert_eq!(
        [without(), without(), without()].last(),
        Some(&u64::from(all))
    );
}

#[test]
fn threads_are_told_by_their_waits_and_states_and_idle_ones_are_left_out() {
    let node = Node::new();
    for (tid, state) in [(100, 'S'), (101, 'D'), (102, 'D'), (103, 'R'), (104, 'S')] {
        node.thread(tid, state, "rwsem_down_write_slowpath");
    }
    let mut servers = node.servers();
    let told = servers.read(&found(), &look(&[wait(101, Class::Server)]));
    assert_eq!((told[0].tgid, told[0].name.as_str()), (100, "ganesha.nfsd"));
    assert_eq!(
        states(&told),
        [
            (101, ThreadState::Throttled),
            (102, ThreadState::Blocked),
            (103, ThreadState::Running)
        ]
    );
    let blocked = &told[0].threads[1];
    assert_eq!(
        blocked.blocked_in.as_deref(),
        Some("rwsem_down_write_slowpath")
    );
    assert!(blocked.behind_throttled);

    let told = servers.read(&found(), &look(&[]));
    let blocked = &told[0].threads[1];
    assert_eq!((blocked.tid, blocked.state), (102, ThreadState::Blocked));
    assert_eq!(blocked.blocked_in, None, "nobody is throttled, nobody asks");
    assert!(!blocked.behind_throttled);
}

#[test]
fn a_server_that_only_its_wait_tells_of_is_known_until_it_ends() {
    let node = Node::new();
    node.thread(101, 'S', "0");
    let mut servers = node.servers();
    assert_eq!(servers.read(&[], &look(&[wait(101, Class::User)])), []);
    let told = servers.read(&[], &look(&[wait(101, Class::Server)]));
    assert_eq!(told[0].name, "ganesha.nfsd");
    let told = servers.read(&[], &look(&[]));
    assert_eq!(
        (told.len(), told[0].threads.len()),
        (1, 0),
        "it is there, and idle"
    );
    fs::remove_dir_all(node.path("100")).unwrap();
    for _ in 0..SEARCH_TICKS {
        servers.read(&[], &look(&[]));
    }
    assert_eq!(servers.read(&[], &look(&[])), []);
}

#[test]
fn another_program_with_the_servers_number_is_not_the_server() {
    let node = Node::new();
    node.thread(101, 'R', "0");
    let mut servers = node.servers();
    servers.read(&found(), &look(&[]));
    fs::write(node.path("100/comm"), "bash\n").unwrap();
    let left = (0..=SEARCH_TICKS).map(|_| servers.read(&[], &look(&[])).len());
    assert_eq!(left.last(), Some(0));
}

#[test]
fn of_many_idle_threads_a_quiet_tick_looks_at_some_and_a_busy_one_is_kept_in_sight() {
    let node = Node::new();
    let many = 3 * u32::try_from(QUIET_THREADS).unwrap();
    (0..many).for_each(|n| node.thread(101 + n, 'S', "0"));
    let last = 100 + many;
    let mut servers = node.servers();
    assert_eq!(states(&servers.read(&found(), &look(&[]))), []);
    node.thread(last, 'D', "io_schedule");
    let seen: Vec<_> = (0..5)
        .map(|_| states(&servers.read(&found(), &look(&[]))))
        .collect();
    let blocked = vec![(last, ThreadState::Blocked)];
    // The second and third parts of the threads, then it is known.
    assert_eq!(seen[0], []);
    assert_eq!(
        seen[1..],
        [blocked.clone(), blocked.clone(), blocked.clone(), blocked]
    );
    node.thread(last, 'S', "0");
    assert_eq!(states(&servers.read(&found(), &look(&[]))), []);
}

#[test]
fn while_a_thread_is_throttled_all_are_looked_at() {
    let node = Node::new();
    let many = 3 * u32::try_from(QUIET_THREADS).unwrap();
    (0..many).for_each(|n| node.thread(101 + n, 'D', "down_write"));
    let told = node
        .servers()
        .read(&found(), &look(&[wait(101, Class::Server)]));
    assert_eq!(told[0].threads.len(), many as usize);
    let behind = told[0].threads.iter().filter(|t| t.behind_throttled);
    assert_eq!(behind.count(), many as usize - 1);
}

#[test]
fn a_stopped_server_is_told_from_an_idle_one() {
    let node = Node::new();
    let mut servers = node.servers();
    for (state, stopped) in [('S', false), ('T', true), ('t', true), ('D', false)] {
        node.thread(100, state, "0");
        let told = servers.read(&found(), &look(&[]));
        assert_eq!(told[0].stopped, stopped, "{state}");
    }
}

#[test]
fn a_server_that_is_gone_is_remembered_with_what_the_oom_killer_took() {
    let node = Node::new();
    node.thread(100, 'S', "0");
    node.thread(101, 'S', "0");
    let events = node.path("fs/cgroup/pod/memory.events.local");
    fs::create_dir_all(events.parent().unwrap()).unwrap();
    fs::write(node.path("100/cgroup"), "0::/pod\n").unwrap();
    fs::write(&events, "oom_kill 2\n").unwrap();
    let mut servers = node.servers();
    let mut read = |now_ns, oom_kills| {
        let look = Look {
            now_ns,
            oom_kills: Some(oom_kills),
            waits: &[],
        };
        (
            servers.read(&found(), &look).len(),
            servers.exits().to_vec(),
        )
    };
    assert_eq!(read(1, 5), (1, vec![]));
    // The first thread may end before the others.
    node.thread(100, 'Z', "0");
    assert_eq!(read(2, 5), (1, vec![]));
    node.thread(101, 'Z', "0");
    fs::write(&events, "oom_kill 3\n").unwrap();
    let (there, exits) = read(3, 7);
    assert_eq!((there, exits.len()), (0, 1));
    assert_eq!(
        (exits[0].tgid, exits[0].name.as_str()),
        (100, "ganesha.nfsd")
    );
    assert_eq!(exits[0].gone_ns, 3);
    assert_eq!(exits[0].cgroup_oom_kills, Some(1));
    assert_eq!(exits[0].node_oom_kills, Some(2));
    // The last look-up still lists it.
    assert_eq!(read(4, 7), (0, exits));
    assert_eq!(read(super::REMEMBER_NS + 3, 7).1, vec![]);
}
