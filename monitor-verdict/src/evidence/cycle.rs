//! Who waits for whom, in steps, from the facts of one moment. As text:
//!
//! ```text
//! dd[412], dd[413] wait in balance_dirty_pages on /mnt (0:29) for 12.0 s
//!   -> /mnt (0:29, 10.9.0.2:/) holds 77.7 MiB dirty and 0 B under writeback, 19900 of the node's
//!      20031 dirty pages (limit 19529); only WRITEs to nfsd clean them: 12 unanswered, 0 B/s
//!      acknowledged
//!     -> nfsd[301] waits in balance_dirty_pages on /export (254:0) for 11.8 s
//!        nfsd[302], nfsd[303] ... (6) wait for a lock behind it (rwsem_down_write_slowpath)
//!        /export (254:0, ext4 /dev/vda) has 48 of 10437 setpoint pages dirty, disk 0 % busy
//!       -> which ends when the node's dirty pages fall below the limit; 100 % of those that are not
//!          of /export (254:0) are of /mnt (0:29), and only nfsd cleans them [the cycle closes]
//! ```

mod doing;
mod edge;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::{
    evidence::{MAX_TASKS, Step, StepKind},
    loops::{Loop, NFSD, PathNode},
    observation::{Bdi, LoopDevice, NfsClient, Observation, ServerKind},
    verdict::{Signature, Verdict},
};

use super::bounds::{NAME, short};
use super::places::{Place, place, shown};
use super::tasks::{Task, Tasks};
use crate::loops::words;
use crate::text::{bytes, percent, rate, seconds};
use crate::window::{PauseMeans, Window};

use self::doing::{Doing, group, names};

/// Groups of tasks that have a step each.
const MAX_GROUPS: usize = 6;
/// Stacks: one for each of the first groups.
const MAX_STACKS: usize = 3;
/// Functions of a stack: down to the server's own.
const MAX_FRAMES: usize = 14;
/// Bytes of a step's text.
const MAX_TEXT: usize = 1200;

/// The facts of one moment that the steps are made of.
#[derive(Clone, Copy, Debug)]
pub struct CycleView<'a> {
    pub observation: &'a Observation,
    pub window: &'a Window,
    pub verdict: &'a Verdict,
    pub signature: Signature,
    pub found: Option<&'a Loop>,
    pub tasks: &'a Tasks<'a>,
}

/// The cycle, from the writers over the server back to the client.
pub fn steps(view: CycleView<'_>) -> Vec<Step> {
    let mut cycle = Cycle {
        view,
        steps: Vec::new(),
        included: BTreeSet::new(),
    };
    cycle.writers();
    cycle.device(view.device_on_client());
    cycle.client();
    cycle.server();
    cycle.device(view.device_under_server());
    let client = Some(view.client_bdi());
    cycle.put(StepKind::Closes, client, &edge::closing(&view));
    cycle.others();
    cycle.steps
}

/// A step beside the cycle.
pub fn aside(text: &str) -> Step {
    step(StepKind::Aside, None, text)
}

fn step(kind: StepKind, bdi: Option<&str>, text: &str) -> Step {
    Step {
        kind,
        tids: Vec::new(),
        bdi: bdi.map(|bdi| short(bdi, NAME)),
        text: short(text, MAX_TEXT).into(),
    }
}

fn amount(amount: Option<u64>) -> String {
    amount.map_or_else(|| "an unknown amount".to_owned(), |n| bytes(n as f64))
}

impl<'a> CycleView<'a> {
    fn server(&self) -> CompactString {
        short(&self.verdict.server, NAME)
    }

    fn client_bdi(&self) -> &'a str {
        &self.verdict.client_bdi
    }

    fn server_bdi(&self) -> Option<&'a str> {
        self.verdict.server_bdi.as_deref()
    }

    fn path(&self) -> &'a [PathNode] {
        let found = self.found.filter(|one| one.server == self.verdict.server);
        found.map_or(&[], |found| &found.path)
    }

    /// What the server at the end of the path consists of.
    fn last_server(&self) -> Option<ServerKind> {
        let servers = PathNode::servers(self.path());
        servers.last().map(|server| server.kind)
    }

    fn place(&self, bdi: &str) -> Place {
        place(self.observation, self.found, bdi)
    }

    fn bdi(&self, name: &str) -> Option<&'a Bdi> {
        self.observation.bdis.iter().find(|bdi| bdi.bdi == name)
    }

    fn nfs_client(&self) -> Option<&'a NfsClient> {
        let mut clients = self.observation.clients.iter();
        clients.find(|client| client.bdi == self.client_bdi())
    }

    /// What `balance_dirty_pages` said to the server on what it writes to.
    fn pauses(&self) -> Option<PauseMeans> {
        let class = match self.last_server() {
            Some(ServerKind::Target) => Class::Target,
            Some(ServerKind::LoopDevice) => Class::LoopDevice,
            Some(ServerKind::Nfsd) => Class::Nfsd,
            None if self.verdict.server == NFSD => Class::Nfsd,
            Some(ServerKind::Process) | None => Class::Server,
        };
        let bdi = self.server_bdi()?;
        let localio = self.found.is_some_and(|one| one.localio);
        let own = self.window.pauses(bdi, class);
        own.or_else(|| self.window.pauses(bdi, Class::Kworker).filter(|_| localio))
    }

    /// A loop device whose file lies on the client, and that is not what the
    /// server writes to.
    fn device_on_client(&self) -> Option<&'a LoopDevice> {
        let mut devices = self.observation.topology.loop_devices.iter();
        let on_client = |device: &&LoopDevice| device.on == self.client_bdi();
        devices.find(|one| on_client(one) && self.server_bdi() != Some(&*one.bdi))
    }

    /// A loop device that the server writes to.
    fn device_under_server(&self) -> Option<&'a LoopDevice> {
        let mut devices = self.observation.topology.loop_devices.iter();
        devices.find(|device| Some(&*device.bdi) == self.server_bdi())
    }

    fn doing(&self, task: &Task<'_>) -> Doing {
        Doing::of(task, &|bdi| self.place(bdi))
    }
}

/// A loop device works in a thread of its own, `loop0` (up to 5.13), or in a
/// worker of the queue `loop0`.
fn is_loop_worker(task: &Task<'_>) -> bool {
    let kernel = |class: Class| matches!(class, Class::Kworker | Class::Kthread);
    let mut waits = task.waits.iter();
    waits.any(|w| w.class == Class::LoopDevice || (kernel(w.class) && task.comm.contains("loop")))
}

struct Cycle<'a> {
    view: CycleView<'a>,
    steps: Vec<Step>,
    /// Tasks that are in it.
    included: BTreeSet<u32>,
}

impl<'a> Cycle<'a> {
    fn put(&mut self, kind: StepKind, bdi: Option<&str>, text: &str) {
        self.steps.push(step(kind, bdi, text));
    }

    /// Who wants to write: those that wait for the client, or for a loop device
    /// on it.
    fn writers(&mut self) {
        let view = self.view;
        let client = view.client_bdi();
        let device = view.device_on_client().map(|device| &*device.bdi);
        let waits_here = |task: &&Task<'_>| {
            let mut waits = task.waits.iter();
            let here = |bdi: &str| bdi == client || Some(bdi) == device;
            !is_loop_worker(task) && waits.any(|wait| here(&wait.bdi))
        };
        let writers: Vec<&Task<'a>> = view.tasks.others.iter().filter(waits_here).collect();
        if writers.is_empty() {
            let place = view.place(client);
            let text = format!("no task waits for {place} at this moment");
            self.put(StepKind::Waits, Some(client), &text);
        }
        self.groups(&writers, &[], StepKind::Waits);
    }

    /// What the client holds, and who alone can take it.
    fn client(&mut self) {
        let view = self.view;
        let name = view.client_bdi();
        let bdi = view.bdi(name);
        let (dirty, writeback) = bdi.map_or((None, None), |b| (b.dirty_bytes, b.writeback_bytes));
        let mut text = format!(
            "{:#} holds {} dirty and {} under writeback",
            view.place(name),
            amount(dirty),
            amount(writeback)
        );
        let page = view.observation.memory.page_size;
        let held = dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0));
        if let Some(held) = held.checked_div(page) {
            let _ = match view.pauses() {
                Some(PauseMeans { dirty, limit, .. }) => write!(
                    text,
                    ", {held} of the node's {dirty:.0} dirty pages (limit {limit:.0})"
                ),
                None => write!(text, ", {held} pages"),
            };
        }
        if let Some(client) = view.nfs_client() {
            let (server, open) = (view.server(), client.pending_writes());
            let _ = write!(
                text,
                "; only WRITEs to {server} clean them: {open} unanswered"
            );
        } else {
            let _ = write!(text, "; only {} cleans them", view.server());
            if let Some(open) = bdi.and_then(|bdi| bdi.disk_in_flight) {
                let _ = write!(text, ": {open} requests unanswered");
            }
        }
        if let Some(acked) = view.verdict.conditions.no_progress.value {
            let _ = write!(text, ", {} acknowledged", rate(acked));
        }
        self.put(StepKind::Waits, Some(name), &text);
        if let Some(congestion) = bdi.and_then(|bdi| bdi.congestion).filter(|c| c.congested) {
            let age = self.age(congestion.since_ns);
            let (place, by) = (view.place(name), congestion.by.as_str());
            let text = format!("{place} is congested{age} ({by})");
            self.put(StepKind::Beside, Some(name), &text);
        }
    }

    /// ` for 12.0 s`; empty: unknown.
    fn age(&self, since_ns: Option<u64>) -> String {
        let now = self.view.observation.monotonic_ns;
        let age = |since| format!(" for {}", seconds(now.saturating_sub(since)));
        since_ns.map_or_else(String::new, age)
    }

    /// The devices between the first server and the last one's, and who cleans each.
    fn inner(&mut self) {
        let view = self.view;
        for pair in view.path().windows(2).skip(2) {
            if let [
                PathNode::Device { bdi, kind, .. },
                PathNode::Server { name, tgid, .. },
            ] = pair
            {
                let (place, kind) = (view.place(bdi), shown(kind));
                let text = format!(
                    "{place} ({kind}) is cleaned by {}, to which those above it write",
                    words::process(&short(name, NAME), *tgid)
                );
                self.put(StepKind::Beside, Some(bdi), &text);
            }
        }
    }

    fn server(&mut self) {
        self.inner();
        let view = self.view;
        let causes = edge::of(&view).causes();
        let part = view.tasks.others.iter().filter(|t| edge::is_part(&view, t));
        let tasks: Vec<&Task<'a>> = view.tasks.server.iter().chain(part).collect();
        let seen = |task: &&Task<'_>| {
            let waits = task.wait_in(causes).is_some() || view.doing(task) == Doing::Throttled;
            waits || edge::by_stack(&view, task)
        };
        if tasks.iter().any(seen) {
            self.groups(&tasks, causes, StepKind::Waits);
        } else {
            let causes: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
            let (server, causes) = (view.server(), causes.join(", "));
            let text = format!("no thread of {server} is in {causes} at this moment");
            self.put(StepKind::Waits, None, &text);
            self.groups(&tasks, &[], StepKind::Beside);
        }
        let text = self.pauses();
        self.put(StepKind::Beside, view.server_bdi(), &text);
    }

    /// What the kernel said to the server, and whether its disk works.
    fn pauses(&self) -> String {
        let view = self.view;
        let server = view.server();
        let Some(bdi) = view.server_bdi() else {
            return format!("the device that {server} writes to is unknown");
        };
        let place = view.place(bdi);
        let span = seconds(view.window.covered_ns());
        let paused = match view.pauses() {
            Some(pauses) => format!(
                " has {:.0} of {:.0} setpoint pages dirty; paused {} times in the last {span}, {} in \
                 all",
                pauses.bdi_dirty,
                pauses.bdi_setpoint,
                pauses.events,
                seconds(pauses.pause_ns),
            ),
            None => format!(": no thread of {server} was paused on it in the last {span}"),
        };
        match view.window.disk_busy(bdi) {
            Some(busy) => format!("{place:#}{paused}; its disk is {} busy", percent(busy)),
            None => format!("{place:#}{paused}; its disk's busy time is unknown"),
        }
    }

    /// A loop device and who works for it.
    fn device(&mut self, device: Option<&LoopDevice>) {
        let view = self.view;
        let Some(device) = device else { return };
        let (itself, file, on) = (
            view.place(&device.bdi),
            shown(&device.file),
            view.place(&device.on),
        );
        let text = format!("{itself:#} is a loop device: the file {file} on {on}");
        self.put(StepKind::Waits, Some(&device.bdi), &text);
        let others = view.tasks.others.iter();
        let workers =
            others.filter(|task| is_loop_worker(task) && !self.included.contains(&task.tid));
        let workers: Vec<&Task<'a>> = workers.collect();
        self.groups(&workers, &[], StepKind::Waits);
    }

    /// A step for each group of tasks that do the same, those in `first` first.
    fn groups(&mut self, tasks: &[&Task<'a>], first: &[Cause], mut kind: StepKind) {
        let view = self.view;
        let groups = group(tasks, first, &|task| view.doing(task));
        for (n, (doing, group)) in groups.iter().take(MAX_GROUPS).enumerate() {
            let longest = group.iter().filter_map(|task| task.since_ns()).min();
            let (does, age) = (doing.words(group.len()), self.age(longest));
            self.included.extend(group.iter().map(|task| task.tid));
            self.group(kind, group, &format!("{} {does}{age}", names(group)));
            let with_stack = group.iter().find(|task| task.frames().next().is_some());
            if let Some(task) = with_stack.filter(|_| n < MAX_STACKS) {
                let frames = task.frames().take(MAX_FRAMES).map(|f| short(f, NAME));
                let frames: Vec<_> = frames.collect();
                let text = format!("stack of {}: {}", names(&[task]), frames.join(" < "));
                self.group(StepKind::Stack, &[task], &text);
            }
            kind = StepKind::Beside;
        }
        if let Some(rest) = groups.get(MAX_GROUPS..).filter(|rest| !rest.is_empty()) {
            let tasks: usize = rest.iter().map(|(_, group)| group.len()).sum();
            let text = format!("and {tasks} more in {} other places", rest.len());
            self.put(kind, None, &text);
        }
    }

    fn group(&mut self, kind: StepKind, group: &[&Task<'a>], text: &str) {
        let mut waits = group.iter().flat_map(|task| &task.waits);
        let bdi = waits.find(|wait| !wait.bdi.is_empty());
        let mut step = step(kind, bdi.map(|wait| &*wait.bdi), text);
        step.tids = group.iter().take(MAX_TASKS).map(|task| task.tid).collect();
        self.steps.push(step);
    }

    /// Who else is held up, by number.
    fn others(&mut self) {
        let view = self.view;
        let rest = view.tasks.others.iter();
        let rest = rest.filter(|t| !t.waits.is_empty() && !self.included.contains(&t.tid));
        let rest: Vec<&Task<'a>> = rest.collect();
        let groups = group(&rest, &[], &|task| view.doing(task));
        let words = |(doing, group): &(Doing, Vec<_>)| {
            format!("{} {}", names(group), doing.words(group.len()))
        };
        let mut all: Vec<String> = groups.iter().take(MAX_GROUPS).map(words).collect();
        if groups.len() > MAX_GROUPS {
            all.push(format!("{} more groups", groups.len() - MAX_GROUPS));
        }
        if !all.is_empty() {
            let text = format!("beside the cycle: {}", all.join("; "));
            self.group(StepKind::Aside, &rest, &text);
        }
    }
}
