//! Who waits: the server's threads and all others.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::{MAX_FRAMES, Thread},
    loops::{Loop, NFSD, PathNode},
    observation::{
        Caller, ClientKind, Container, Observation, ServerKind, ServerRef, ServerThread, Stack,
        ThreadState, UserServer, Waiting,
    },
    verdict::Verdict,
};

use super::bounds::{self, NAME, seconds, short};

/// Waits of one task at most: causes nest, but not that deep.
const MAX_WAITS: usize = 4;

/// A task, as it is at this moment.
#[derive(Clone, Debug, Default)]
pub struct Task<'a> {
    pub tid: u32,
    /// Empty: not known.
    pub comm: &'a str,
    /// What a server's thread does.
    pub state: Option<ThreadState>,
    /// The outermost first.
    pub waits: Vec<&'a Waiting>,
    pub write_since_ns: Option<u64>,
    pub blocked_in: Option<&'a str>,
    pub behind_throttled: bool,
    pub stack: Option<&'a Stack>,
    /// `None`: it lives in none that is known.
    pub container: Option<&'a Container>,
}

impl<'a> Task<'a> {
    /// When its outermost wait began.
    pub fn since_ns(&self) -> Option<u64> {
        self.waits.first().map(|wait| wait.since_ns)
    }

    /// The wait that it is in for one of these causes.
    pub fn wait_in(&self, causes: &[Cause]) -> Option<&'a Waiting> {
        let mut waits = self.waits.iter().rev().copied();
        waits.find(|wait| causes.contains(&wait.cause))
    }

    pub fn is_idle(&self) -> bool {
        self.state == Some(ThreadState::Idle) && self.waits.is_empty()
    }

    /// The functions of its stack, innermost first.
    pub fn frames(&self) -> impl Iterator<Item = &'a str> {
        let frames = self.stack.map_or(&[][..], |stack| &stack.frames);
        frames.iter().map(|frame| &**frame)
    }

    pub fn document(&self, now_ns: u64) -> Thread {
        let age = |since: u64| seconds(now_ns.saturating_sub(since));
        let waits = self.waits.iter().take(MAX_WAITS);
        let frames = self.frames().take(MAX_FRAMES);
        Thread {
            tid: self.tid,
            comm: short(self.comm, NAME),
            state: self.state,
            waits: waits.map(|wait| bounds::waiting(wait)).collect(),
            waiting_seconds: self.since_ns().map(age),
            write_seconds: self.write_since_ns.map(age),
            blocked_in: self.blocked_in.map(|function| short(function, NAME)),
            behind_throttled: self.behind_throttled,
            stack: frames.map(|frame| short(frame, NAME)).collect(),
            container: self.container.map(bounds::container),
        }
    }

    fn order(&self) -> (u8, u64, u32) {
        let since = self.since_ns();
        let group = match self.state {
            _ if since.is_some() => 0,
            Some(ThreadState::Throttled) => 1,
            Some(ThreadState::Blocked) => 2,
            _ => 3,
        };
        (group, since.unwrap_or(0), self.tid)
    }
}

/// The tasks of one observation, as one loop looks at them.
#[derive(Clone, Debug, Default)]
pub struct Tasks<'a> {
    /// The server's that are not idle.
    pub server: Vec<Task<'a>>,
    /// `None`: the idle ones are not looked at.
    pub idle: Option<usize>,
    /// All others that wait or have a stack.
    pub others: Vec<Task<'a>>,
}

impl<'a> Tasks<'a> {
    /// The stacks may have been read before the observation.
    pub fn of(
        observation: &'a Observation,
        stacks: &'a [Stack],
        verdict: &Verdict,
        found: Option<&Loop>,
    ) -> Self {
        let mut all = all(observation, stacks);
        let busy_elsewhere = threads_of_others(observation, verdict, found);
        let server = server_threads(observation, verdict, found)
            .into_iter()
            .filter(|thread| !busy_elsewhere.contains(&thread.tid));
        let mut own: Vec<Task<'a>> = Vec::new();
        let mut seen = BTreeSet::new();
        for thread in server.filter(|one| seen.insert(one.tid)) {
            let task = all.remove(&thread.tid).unwrap_or_default();
            let comm = if task.comm.is_empty() && verdict.server == NFSD {
                NFSD
            } else {
                task.comm
            };
            own.push(Task {
                tid: thread.tid,
                comm,
                state: Some(thread.state),
                write_since_ns: thread.write_since_ns,
                blocked_in: thread.blocked_in.as_deref(),
                behind_throttled: thread.behind_throttled,
                ..task
            });
        }
        // Who has an old stack and nothing else may be through by now.
        let stacks_are_new = !observation.stacks.is_empty();
        all.retain(|_, task| stacks_are_new || !task.waits.is_empty());
        let looked_at = own.len();
        own.retain(|task| !task.is_idle());
        let idle = (verdict.server == NFSD).then_some(looked_at - own.len());
        let works = Worker::new(observation, verdict, found);
        let (more, mut others): (Vec<_>, Vec<_>) = all
            .into_values()
            .partition(|task| works.is_one(task) && !busy_elsewhere.contains(&task.tid));
        own.extend(more);
        own.sort_by_key(Task::order);
        let loops = loop_bdis(observation, verdict);
        let apart = |task: &Task<'_>| !task.waits.iter().any(|w| loops.contains(&*w.bdi));
        others.sort_by_cached_key(|task| (apart(task), task.order()));
        Self {
            server: own,
            idle,
            others,
        }
    }
}

/// Every task that waits or has a stack, by its tid.
fn all<'a>(observation: &'a Observation, stacks: &'a [Stack]) -> BTreeMap<u32, Task<'a>> {
    let mut all: BTreeMap<u32, Task<'_>> = BTreeMap::new();
    let places = observation.topology.processes.iter();
    let containers: BTreeMap<u32, &Container> = places
        .filter_map(|place| Some((place.tgid, place.container.as_ref()?)))
        .collect();
    for wait in &observation.waits {
        let task = all.entry(wait.tid).or_default();
        (task.tid, task.comm) = (wait.tid, &wait.comm);
        task.container = containers.get(&wait.tgid).copied();
        task.waits.push(wait);
    }
    for task in all.values_mut() {
        task.waits
            .sort_by_key(|wait| (wait.since_ns, is_within(wait.cause), wait.cause));
    }
    for stack in stacks {
        let task = all.entry(stack.tid).or_default();
        if task.waits.is_empty() {
            (task.tid, task.comm) = (stack.tid, &stack.comm);
        }
        task.stack = Some(stack);
    }
    all
}

/// Whether a cause mostly happens within another, where both began at once.
const fn is_within(cause: Cause) -> bool {
    !matches!(
        cause,
        Cause::DirectReclaim | Cause::MemcgReclaim | Cause::Compaction
    )
}

/// The threads of the servers on the loop's path that are listed.
pub fn server_threads<'a>(
    observation: &'a Observation,
    verdict: &Verdict,
    found: Option<&Loop>,
) -> Vec<&'a ServerThread> {
    let nfsd = observation.nfsd.iter().filter(|_| verdict.server == NFSD);
    let nfsd = nfsd.flat_map(|nfsd| &nfsd.threads);
    let servers = observation.user_servers.iter();
    let own = servers.filter(|one| is_own(one, verdict, found));
    nfsd.chain(own.flat_map(|one| &one.threads)).collect()
}

/// Whether a process is a server of the loop: by its id where that is known, but an NFS server may
/// consist of several processes of one name.
fn is_own(one: &UserServer, verdict: &Verdict, found: Option<&Loop>) -> bool {
    let nfs = found.is_none_or(|found| found.client_kind == ClientKind::Nfs);
    let by_path = || {
        let servers = PathNode::servers(found.map_or(&[][..], |found| &found.path));
        servers.iter().any(|server| server.tgid == Some(one.tgid))
    };
    nfs && one.name == verdict.server || by_path()
}

/// Threads of nfsd that work on calls of other clients than the loop's, or did last: in
/// another network namespace, or of the same server.
fn threads_of_others(
    observation: &Observation,
    verdict: &Verdict,
    found: Option<&Loop>,
) -> BTreeSet<u32> {
    let own = found.map_or(&[][..], |found| &found.rpc_clients);
    let nfsd = observation.nfsd.as_ref();
    let serving = nfsd.and_then(|nfsd| nfsd.serving.as_ref());
    let Some(serving) = serving.filter(|_| verdict.server == NFSD) else {
        return BTreeSet::new();
    };
    let others = serving.iter().filter(|one| match one.caller {
        Caller::Unknown => false,
        Caller::Elsewhere => true,
        Caller::Client(id) => !own.is_empty() && !own.contains(&id),
    });
    others.map(|one| one.tid).collect()
}

/// Tells the server's tasks among those that no list of threads names: where
/// the pid namespace of the host cannot be seen, and the workers of LOCALIO.
struct Worker<'a> {
    nfsd: bool,
    target: bool,
    /// The processes of this userspace server, and those of others.
    own: BTreeSet<u32>,
    foreign: BTreeSet<u32>,
    localio_to: Option<&'a str>,
}

impl<'a> Worker<'a> {
    fn new(observation: &Observation, verdict: &'a Verdict, found: Option<&'a Loop>) -> Self {
        let (own, foreign): (Vec<_>, Vec<_>) = observation
            .user_servers
            .iter()
            .partition(|one| is_own(one, verdict, found));
        let localio = found.filter(|one| one.localio);
        let to =
            localio.and_then(|one| verdict.server_bdi.as_deref().or(one.server_bdi.as_deref()));
        let servers = PathNode::servers(found.map_or(&[][..], |found| &found.path));
        let target = |one: &ServerRef| one.kind == ServerKind::Target;
        Self {
            nfsd: verdict.server == NFSD,
            target: servers.iter().any(target),
            own: own.iter().map(|one| one.tgid).collect(),
            foreign: foreign.iter().map(|one| one.tgid).collect(),
            localio_to: to,
        }
    }

    fn is_one(&self, task: &Task<'_>) -> bool {
        task.waits.iter().any(|wait| match wait.class {
            Class::Nfsd => self.nfsd,
            Class::Target => self.target,
            Class::Server => {
                let known = !self.own.is_empty();
                let own = self.own.contains(&wait.tgid);
                own || !self.nfsd && !self.target && (!known && !self.foreign.contains(&wait.tgid))
            }
            Class::Kworker => {
                wait.cause == Cause::BalanceDirtyPages && self.localio_to == Some(&*wait.bdi)
            }
            _ => false,
        })
    }
}

/// The BDIs that are part of the loop: the client's, the server's, and of loop
/// devices between them both sides.
pub fn loop_bdis<'a>(observation: &'a Observation, verdict: &'a Verdict) -> BTreeSet<&'a str> {
    let ends = [Some(&verdict.client_bdi), verdict.server_bdi.as_ref()];
    let mut bdis: BTreeSet<&str> = ends.into_iter().flatten().map(|bdi| &**bdi).collect();
    for device in &observation.topology.loop_devices {
        if bdis.contains(&*device.bdi) || bdis.contains(&*device.on) {
            bdis.extend([&*device.bdi, &*device.on]);
        }
    }
    bdis.remove("");
    bdis
}
