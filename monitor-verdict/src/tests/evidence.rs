//! Tests of the evidence, on the node of the other tests.

mod bounds;
mod garbage;

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::{
        Evidence, MAX_POINTS,
        Trigger::{self, Confirmed, Deadlock, Ended},
    },
    observation::{
        Caller, FileSystem, Observation, ServerThread, Serving, Stack, Topology, Waited,
    },
    verdict::LivelockState,
};

use super::node::{CLIENT, DISK, Node, Phase, wait};
use crate::{Engine, Thresholds};

/// A node with a known mount and disk, and its engine's evidence.
pub(super) struct Told {
    pub(super) node: Node,
    engine: Engine,
    pub(super) documents: Vec<Evidence>,
}

impl Told {
    pub(super) fn new() -> Self {
        let mut node = Node::new(8);
        node.now.kernel = "6.12.57-amd64".into();
        let mut told = Self {
            node,
            engine: Engine::new(Thresholds::default()),
            documents: Vec::new(),
        };
        told.look_up(|_| ());
        told
    }

    pub(super) fn look_up(&mut self, add: impl FnOnce(&mut Topology)) {
        self.node.look_up(&[(CLIENT, Some("nfsd"))]);
        let topology = Arc::make_mut(&mut self.node.now.topology);
        topology.file_systems.push(FileSystem {
            device: DISK.into(),
            bdi: DISK.into(),
            fstype: "ext4".into(),
            source: "/dev/vda".into(),
            mount_point: "/export".into(),
        });
        add(topology);
    }

    pub(super) fn play(&mut self, phase: &Phase, seconds: u64) -> &mut Self {
        self.play_with(phase, seconds, |_| ())
    }

    /// Plays with a change to each observation.
    pub(super) fn play_with(
        &mut self,
        phase: &Phase,
        seconds: u64,
        mut change: impl FnMut(&mut Observation),
    ) -> &mut Self {
        for _ in 0..seconds {
            let mut observation = self.node.second(phase);
            let now = observation.monotonic_ns;
            for wait in &mut observation.waits {
                wait.since_ns = now - 4_000_000_000;
            }
            change(&mut observation);
            let changes = self.engine.observe(&observation);
            self.documents.extend(changes.evidence);
        }
        self
    }

    pub(super) fn last(&self) -> &Evidence {
        self.documents.last().expect("a document")
    }
}

fn occasions(told: &Told) -> Vec<Trigger> {
    told.documents.iter().map(|one| one.occasion).collect()
}

#[test]
fn a_livelock_has_a_document_when_it_is_confirmed_when_all_stops_and_when_it_ends() {
    let mut told = Told::new();
    told.play(&Phase::HEALTHY, 20);
    assert_eq!(occasions(&told), [], "a suspicion is not an occasion");
    told.play(&Phase::FROZEN_6_12, 60).play(&Phase::HEALTHY, 20);
    assert_eq!(occasions(&told), [Confirmed, Deadlock, Ended]);
    let [confirmed, deadlock, ended] = &told.documents[..] else {
        panic!("three documents");
    };
    assert_eq!(confirmed.follows, None);
    assert_eq!(deadlock.follows, Some(confirmed.id.clone()));
    assert_eq!(ended.follows, Some(confirmed.id.clone()));
    assert_eq!(confirmed.verdict.state, LivelockState::Livelock);
    assert_eq!(ended.verdict.state, LivelockState::Recovered);
    let expected = "-0.29-nfsd-dirty-throttle-confirmed";
    assert!(confirmed.id.ends_with(expected), "{}", confirmed.id);
    let time: String = confirmed
        .at
        .chars()
        .filter(|c| !"-:".contains(*c))
        .collect();
    assert!(
        confirmed.id.starts_with(&time),
        "{} at {time}",
        confirmed.id
    );
    assert_eq!(
        confirmed.unix_ms / 1000,
        confirmed.monotonic_ms / 1000 + 1_759_999_000
    );
}

#[test]
fn the_timeline_shows_the_minutes_before_with_the_conditions_of_each_tick() {
    let mut told = Told::new();
    told.play(&Phase::HEALTHY, 400)
        .play(&Phase::FROZEN_6_12, 12);
    let timeline = &told.last().timeline;
    assert_eq!(timeline.len(), MAX_POINTS);
    let steps = timeline
        .windows(2)
        .map(|two| two[1].monotonic_ms - two[0].monotonic_ms);
    assert!(steps.into_iter().all(|ms| ms == 1000));
    let last = timeline.last().expect("points");
    assert_eq!(last.monotonic_ms, told.last().monotonic_ms);
    assert_eq!(last.holds, [Some(true); 4]);
    assert_eq!(last.state, LivelockState::Livelock);
    assert_eq!(last.progress_bytes_per_second, Some(0.0));
    assert_eq!(last.disk_busy_ratio, Some(0.0));
    let healthy = &timeline[timeline.len() - 20];
    assert_eq!(healthy.progress_bytes_per_second, Some(30e6));
    assert_eq!(healthy.disk_busy_ratio, Some(0.85));
    assert_eq!(healthy.holds[1], Some(false));
}

#[test]
fn a_loop_that_has_nothing_to_write_for_minutes_keeps_no_timeline() {
    let mut told = Told::new();
    told.play(&Phase::HEALTHY, 5)
        .play(&Phase::IDLE, 400)
        .play(&Phase::FROZEN_6_12, 12);
    let points = told.last().timeline.len();
    assert!(
        (5..20).contains(&points),
        "{points}: it begins with the load"
    );
}

#[test]
fn after_a_step_back_of_the_clock_the_timeline_begins_anew() {
    let mut told = Told::new();
    told.play(&Phase::HEALTHY, 30);
    told.node.now.monotonic_ns = 5_000_000_000;
    told.play(&Phase::FROZEN_6_12, 12);
    let times: Vec<u64> = told
        .last()
        .timeline
        .iter()
        .map(|one| one.monotonic_ms)
        .collect();
    assert!(times.is_sorted() && times[0] == 6000, "{times:?}");
}

#[test]
fn threads_and_writers_are_distinguished_and_have_their_stacks() {
    let mut told = Told::new();
    told.play_with(&Phase::FROZEN_6_12, 12, |o| {
        let mut stranger = wait(7, Class::User, "8:0");
        stranger.since_ns = 1;
        o.waits.push(stranger);
        let stack = |tid, comm: &str, frames: &[&str]| Stack {
            tid,
            comm: comm.into(),
            frames: frames.iter().map(|&frame| frame.into()).collect(),
        };
        o.stacks = vec![
            stack(100, "nfsd", &["io_schedule_timeout", "balance_dirty_pages"]),
            stack(500, "dd", &["balance_dirty_pages", "nfs_file_write"]),
            stack(44, "kswapd0", &["nfs_release_folio"]),
        ];
    });
    let document = told.last();
    let tids =
        |all: &[monitor_model::evidence::Thread]| all.iter().map(|t| t.tid).collect::<Vec<_>>();
    assert_eq!(
        tids(&document.threads),
        [100, 101, 102, 103, 104, 105, 106, 107]
    );
    assert_eq!(document.idle_threads, Some(0));
    assert_eq!(
        tids(&document.writers),
        [500, 501, 502, 503, 7, 44],
        "the loop's own first, then the longest, then who has only a stack"
    );
    assert_eq!(
        document.threads[0].stack,
        ["io_schedule_timeout", "balance_dirty_pages"]
    );
    assert_eq!(document.threads[0].waits[0].bdi, DISK);
    assert_eq!(document.threads[0].waiting_seconds, Some(4.0));
    assert!(document.threads[2].waits.is_empty() && document.threads[2].stack.is_empty());
    assert_eq!(document.writers[0].state, None);
    assert_eq!(document.left_out, Vec::<String>::new());
}

#[test]
fn threads_that_work_for_another_client_are_not_listed_as_the_loops() {
    let mut told = Told::new();
    let mut seconds = 0;
    told.play_with(&Phase::FROZEN_6_12, 12, |o| {
        seconds += 1;
        let nfsd = o.nfsd.as_mut().expect("runs");
        nfsd.threads.push(ServerThread {
            tid: 200,
            ..nfsd.threads[0].clone()
        });
        let threads = nfsd.threads.iter();
        let serving = threads.map(|thread| Serving {
            tid: thread.tid,
            caller: match thread.tid {
                200 => Caller::Elsewhere,
                _ => Caller::Unknown,
            },
            waited: vec![Waited {
                cause: Cause::BalanceDirtyPages,
                bdi: DISK.into(),
                sum_ns: seconds * 1_000_000_000,
            }],
        });
        nfsd.serving = Some(serving.collect());
        let mut stranger = wait(200, Class::Nfsd, "8:0");
        stranger.since_ns = 1;
        o.waits.push(stranger);
    });
    let document = told.last();
    assert!(document.threads.iter().all(|thread| thread.tid != 200));
    assert_eq!(document.threads.len(), 8);
    assert!(document.writers.iter().any(|task| task.tid == 200));
}

/// A node that freezes after twenty seconds, with stacks read at one time only.
fn stacks_read_at(monotonic_ms: u64) -> Told {
    let mut told = Told::new();
    let read = |tid| Stack {
        tid,
        comm: "nfsd".into(),
        frames: vec!["balance_dirty_pages".into()],
    };
    let look = |o: &mut Observation| {
        o.stacks.clear();
        if o.monotonic_ns == monotonic_ms * 1_000_000 {
            o.stacks = vec![read(100), read(44)];
        }
    };
    told.play_with(&Phase::HEALTHY, 20, look);
    told.play_with(&Phase::FROZEN_6_12, 12, look);
    told
}

#[test]
fn a_stack_that_was_read_some_seconds_ago_is_in_the_document() {
    let confirmed = stacks_read_at(0).last().monotonic_ms;
    for seconds in [1, 10] {
        let told = stacks_read_at(confirmed - seconds * 1000);
        let document = told.last();
        assert_eq!(document.threads[0].stack, ["balance_dirty_pages"]);
        assert_eq!(document.left_out, Vec::<String>::new());
        assert!(
            document.writers.iter().all(|task| task.tid != 44),
            "who has an old stack and nothing else is not in it"
        );
    }
    let told = stacks_read_at(confirmed - 11_000);
    assert!(told.last().threads[0].stack.is_empty());
    assert_eq!(told.last().left_out, ["kernel stacks: none were read"]);
}

#[test]
fn a_document_without_stacks_says_so() {
    let mut told = Told::new();
    told.play(&Phase::FROZEN_6_12, 12);
    assert_eq!(told.last().left_out, ["kernel stacks: none were read"]);
}

#[test]
fn the_limits_are_what_the_kernel_said_to_those_it_paused() {
    let mut told = Told::new();
    told.play(&Phase::FROZEN_6_12, 12);
    let document = told.last();
    let pauses = &document.pauses[0];
    assert_eq!((pauses.bdi.as_str(), pauses.class), (DISK, Class::Nfsd));
    let pages = (
        pauses.dirty_pages,
        pauses.limit_pages,
        pauses.bdi_dirty_pages,
    );
    assert_eq!(pages, (20031.0, 19529.0, 48.0));
    assert_eq!(pauses.events, 30, "of the window's three seconds");
    let client = document.client.as_ref().expect("an NFS mount");
    assert_eq!(client.pending_writes(), 1);
    let bdis: Vec<&str> = document.bdis.iter().map(|bdi| &*bdi.bdi).collect();
    assert_eq!(bdis, [CLIENT, DISK]);
    assert_eq!(document.kernel, "6.12.57-amd64");
}

#[test]
fn loops_that_freeze_at_once_have_a_document_each_and_no_more_than_a_tick_bears() {
    let mut told = Told::new();
    let names: Vec<String> = (100..140).map(|n| format!("0:{n}")).collect();
    for name in &names {
        told.node.mount(name);
    }
    told.play_with(&Phase::FROZEN_6_12, 14, |o| {
        for client in &mut o.clients {
            client.writes_sent = client.writes_acked + 1;
        }
        for bdi in &mut o.bdis {
            if bdi.bdi != DISK {
                bdi.dirty_bytes = Some(19_900 / 8 * 4096);
            }
        }
    });
    assert_eq!(told.documents.len(), 16);
    assert_eq!(
        told.last().left_out.last().map(String::as_str),
        Some("documents: 25 more loops changed state at this moment")
    );
}

#[test]
fn the_order_in_which_tasks_are_listed_does_not_matter() {
    let play = |turn: bool| {
        let mut told = Told::new();
        told.play_with(&Phase::FROZEN_6_12, 12, |o| {
            if turn {
                o.waits.reverse();
                o.bdis.reverse();
                o.nfsd.iter_mut().for_each(|nfsd| nfsd.threads.reverse());
            }
        });
        told.documents
    };
    assert_eq!(play(false), play(true));
}
