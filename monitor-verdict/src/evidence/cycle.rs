//! Who waits for whom, drawn from the facts of one moment:
//!
//! ```text
//! dd[412], dd[413] wait in balance_dirty_pages on 0:29 (/mnt, 10.9.0.2:/) for 12.0 s
//!   -> 0:29 holds 81.5 MB dirty or under writeback, 19900 of the node's 20031 dirty pages (limit
//!      19529); only WRITEs to nfsd clean them: 12 unanswered, 0 B/s acknowledged
//!     -> nfsd[301] waits in balance_dirty_pages on 254:0 (/export, ext4 /dev/vda) for 11.8 s
//!        nfsd[302], nfsd[303] ... (6) wait for a lock behind it (rwsem_down_write_slowpath)
//!        254:0: 48 of 10437 setpoint pages dirty, disk 0 % busy
//!       -> which ends when the node's dirty pages fall below the limit; 100 % of those that are not
//!          254:0's are 0:29's, and only nfsd cleans them  [the cycle closes]
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
    loops::{Loop, NFSD},
    observation::{Bdi, LoopDevice, NfsClient, Observation},
    verdict::{Signature, Verdict},
};

use super::bounds::{NAME, short};
use super::places::{loop_device, place};
use super::tasks::{Task, Tasks};
use super::text_tree::TextTree;
use crate::text::{bytes, percent, rate, seconds};
use crate::window::{PauseMeans, Window};

use self::doing::{Doing, group, names};

/// Groups of one step that are drawn each by itself.
const MAX_GROUPS: usize = 6;
/// Stacks that are drawn: one for each of the first groups.
const MAX_STACKS: usize = 3;
/// Functions of a stack that is drawn: down to the server's own.
const MAX_FRAMES: usize = 14;

/// The facts of one moment that a drawing is made of.
#[derive(Clone, Copy, Debug)]
pub struct CycleView<'a> {
    pub observation: &'a Observation,
    pub window: &'a Window,
    pub verdict: &'a Verdict,
    pub signature: Signature,
    pub found: Option<&'a Loop>,
    pub tasks: &'a Tasks<'a>,
}

/// Draws the cycle.
pub fn draw(scene: CycleView<'_>) -> Vec<String> {
    let mut painter = Renderer {
        scene,
        drawing: TextTree::default(),
        drawn: BTreeSet::new(),
    };
    painter.writers();
    if let Some(device) = scene.device_on_client() {
        painter.device(device);
    }
    painter.client();
    painter.server();
    if let Some(device) = scene.device_under_server() {
        painter.device(device);
    }
    let closing = edge::closing(&scene);
    painter.drawing.arrow(&closing);
    painter.others();
    painter.drawing.lines()
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

    fn place(&self, bdi: &str) -> CompactString {
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
        let class = if self.verdict.server == NFSD {
            Class::Nfsd
        } else {
            Class::Server
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

struct Renderer<'a> {
    scene: CycleView<'a>,
    drawing: TextTree,
    /// Tasks that are in it.
    drawn: BTreeSet<u32>,
}

impl<'a> Renderer<'a> {
    /// Who wants to write: those that wait for the client, or for a loop device
    /// on it.
    fn writers(&mut self) {
        let scene = self.scene;
        let device = scene.device_on_client().map(|device| &*device.bdi);
        let bdis = [device, Some(scene.client_bdi())];
        let waits_here = |task: &&Task<'_>| {
            let mut waits = task.waits.iter();
            !is_loop_worker(task) && waits.any(|wait| bdis.contains(&Some(&*wait.bdi)))
        };
        let writers: Vec<&Task<'a>> = scene.tasks.others.iter().filter(waits_here).collect();
        if writers.is_empty() {
            let place = scene.place(scene.client_bdi());
            let words = format!("no task is seen to wait for {place} at this moment");
            self.drawing.arrow(&words);
        } else {
            self.step(&writers, &[]);
        }
    }

    /// What the client holds, and who alone can take it.
    fn client(&mut self) {
        let scene = self.scene;
        let name = scene.client_bdi();
        // What it is was said where somebody waits for it.
        let mut all = scene.tasks.others.iter().flat_map(|task| &task.waits);
        let device = scene.device_on_client().is_some();
        let mut words = if device && !all.any(|wait| wait.bdi == name) {
            scene.place(name).into_string()
        } else {
            short(name, NAME).into_string()
        };
        let bdi = scene.bdi(name);
        let (dirty, writeback) = bdi.map_or((None, None), |b| (b.dirty_bytes, b.writeback_bytes));
        let amount = |amount: Option<u64>| {
            amount.map_or_else(|| "an unknown amount".to_owned(), |n| bytes(n as f64))
        };
        let _ = write!(
            words,
            " holds {} dirty and {} under writeback",
            amount(dirty),
            amount(writeback)
        );
        let page = scene.observation.memory.page_size;
        let held = dirty.unwrap_or(0).saturating_add(writeback.unwrap_or(0));
        match (scene.pauses(), held.checked_div(page)) {
            (Some(pauses), Some(held)) => {
                let (all, limit) = (pauses.dirty, pauses.limit);
                let _ = write!(
                    words,
                    ", {held} of the node's {all:.0} dirty pages (limit {limit:.0})"
                );
            }
            (None, Some(held)) => {
                let _ = write!(words, ", {held} pages");
            }
            (_, None) => {}
        }
        let _ = write!(words, "; only WRITEs to {} clean them", scene.server());
        if let Some(client) = scene.nfs_client() {
            let _ = write!(words, ": {} unanswered", client.pending_writes());
        }
        if let Some(acked) = scene.verdict.conditions.no_progress.value {
            let _ = write!(words, ", {} acknowledged", rate(acked));
        }
        self.drawing.arrow(&words);
        if let Some(congested) = self.congested(name) {
            self.drawing.beside(&congested);
        }
    }

    /// `0:29 is congested for 12.0 s (write-congested)`.
    fn congested(&self, bdi: &str) -> Option<String> {
        let congestion = self.scene.bdi(bdi)?.congestion.filter(|c| c.congested)?;
        let now = self.scene.observation.monotonic_ns;
        let age = |since: u64| format!(" for {}", seconds(now.saturating_sub(since)));
        let age = congestion.since_ns.map_or_else(String::new, age);
        let (bdi, by) = (short(bdi, NAME), congestion.by.as_str());
        Some(format!("{bdi} is congested{age} ({by})"))
    }

    fn server(&mut self) {
        let scene = self.scene;
        let causes = edge::of(&scene).causes();
        let mut tasks: Vec<&Task<'a>> = scene.tasks.server.iter().collect();
        tasks.extend(
            scene
                .tasks
                .others
                .iter()
                .filter(|t| edge::is_part(&scene, t)),
        );
        let seen = |task: &&Task<'_>| {
            let between = task.waits.is_empty() && scene.doing(task) == Doing::Throttled;
            task.wait_in(causes).is_some() || between || edge::by_stack(&scene, task)
        };
        if tasks.iter().any(seen) {
            self.step(&tasks, causes);
        } else {
            let causes: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
            let (server, causes) = (scene.server(), causes.join(", "));
            let words = format!("no thread of {server} is seen in {causes} at this moment");
            self.drawing.arrow(&words);
            self.groups(&tasks, &[], true);
        }
        self.pauses();
    }

    /// What the kernel said to the server, and whether its disk works.
    fn pauses(&mut self) {
        let scene = self.scene;
        let Some(bdi) = scene.server_bdi() else {
            let words = format!("what {} writes to is not known", scene.server());
            return self.drawing.beside(&words);
        };
        let mut all = scene.tasks.server.iter().flat_map(|task| &task.waits);
        let mut words = if all.any(|wait| wait.bdi == bdi) {
            short(bdi, NAME).into_string()
        } else {
            scene.place(bdi).into_string()
        };
        let span = seconds(scene.window.covered_ns());
        let server = scene.server();
        let _ = if let Some(pauses) = scene.pauses() {
            write!(
                words,
                " has {:.0} of {:.0} setpoint pages dirty; paused {} times in the last {span}, {} in \
                 all",
                pauses.bdi_dirty,
                pauses.bdi_setpoint,
                pauses.events,
                seconds(pauses.pause_ns),
            )
        } else {
            write!(
                words,
                ": no thread of {server} was paused on it in the last {span}"
            )
        };
        let _ = match scene.window.disk_busy(bdi) {
            Some(busy) => write!(words, "; its disk is {} busy", percent(busy)),
            None => write!(words, "; how busy its disk is, is not known"),
        };
        self.drawing.beside(&words);
    }

    /// A loop device and who works for it.
    fn device(&mut self, device: &'a LoopDevice) {
        let scene = self.scene;
        self.drawing
            .arrow(&loop_device(scene.observation, scene.found, device));
        let workers = scene
            .tasks
            .others
            .iter()
            .filter(|task| is_loop_worker(task));
        let workers: Vec<&Task<'a>> = workers.filter(|t| !self.drawn.contains(&t.tid)).collect();
        if !workers.is_empty() {
            self.step(&workers, &[]);
        }
    }

    /// Tasks as one step, grouped by what they do; those in `first` first.
    fn step(&mut self, tasks: &[&Task<'a>], first: &[Cause]) {
        self.groups(tasks, first, false);
    }

    fn groups(&mut self, tasks: &[&Task<'a>], first: &[Cause], beside: bool) {
        let scene = self.scene;
        let groups = group(tasks, first, &|task| scene.doing(task));
        let rest = groups.len().saturating_sub(MAX_GROUPS);
        for (n, (doing, group)) in groups.iter().take(MAX_GROUPS).enumerate() {
            self.group(doing, group, beside || n > 0);
            if n < MAX_STACKS {
                self.stack(group);
            }
        }
        if rest > 0 {
            let left = groups.iter().skip(MAX_GROUPS).map(|(_, group)| group.len());
            let words = format!("and {} more in {rest} other places", left.sum::<usize>());
            self.drawing.beside(&words);
        }
    }

    fn group(&mut self, doing: &Doing, group: &[&Task<'a>], beside: bool) {
        let now = self.scene.observation.monotonic_ns;
        self.drawn.extend(group.iter().map(|task| task.tid));
        let longest = group.iter().filter_map(|task| task.since_ns()).min();
        let age = |since: u64| format!(" for {}", seconds(now.saturating_sub(since)));
        let age = longest.map_or_else(String::new, age);
        let words = format!("{} {}{age}", names(group), doing.words(group.len()));
        if beside {
            self.drawing.beside(&words);
        } else {
            self.drawing.arrow(&words);
        }
    }

    /// The stack of the first of them that has one.
    fn stack(&mut self, group: &[&Task<'a>]) {
        let Some(task) = group.iter().find(|task| task.stack.is_some()) else {
            return;
        };
        let frames: Vec<_> = task
            .frames()
            .take(MAX_FRAMES)
            .map(|f| short(f, NAME))
            .collect();
        if !frames.is_empty() {
            let words = format!("stack of {}: {}", names(&[task]), frames.join(" < "));
            self.drawing.beside(&words);
        }
    }

    /// Who else is held up, by number.
    fn others(&mut self) {
        let scene = self.scene;
        let rest = scene.tasks.others.iter();
        let rest = rest.filter(|t| !t.waits.is_empty() && !self.drawn.contains(&t.tid));
        let rest: Vec<&Task<'a>> = rest.collect();
        let groups = group(&rest, &[], &|task| scene.doing(task));
        let mut words = Vec::new();
        for (doing, group) in groups.iter().take(MAX_GROUPS) {
            words.push(format!("{} {}", names(group), doing.words(group.len())));
        }
        if groups.len() > MAX_GROUPS {
            words.push(format!("{} more groups", groups.len() - MAX_GROUPS));
        }
        if !words.is_empty() {
            let words = format!("beside the cycle: {}", words.join("; "));
            self.drawing.plain(&words);
        }
    }
}
