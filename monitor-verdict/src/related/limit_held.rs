//! `dirty-limit-held`: tasks are paused on devices that are nearly clean and idle, because the pages
//! of other devices fill the node's dirty limit and do not move.
//!
//! Only pages, the limit and pauses decide, so the holder may be a device of any kind.

mod words;

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::{
    loops::NFSD,
    observation::{DirtyPauses, Waiting},
    related::RelatedKind::DirtyLimitHeld,
};

pub(super) use self::words::{name, short};

use super::view::{Finding, LoopNow, Node, RelatedView};
use crate::window::Window;
use crate::window::reduce::related::RelatedDevice;

/// Maximum number of devices that are examined, the ones with the most pages first.
const MAX_EXAMINED: usize = 64;

/// The classes of tasks that may be held. The other ones are workers of the kernel: a worker that
/// writes for a device is that device's own server.
const CLASSES: [Class; 3] = [Class::User, Class::Nfsd, Class::Server];

/// The devices that hold the node's dirty limit, and the ones that are held by them.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitHeld {
    /// The one with the most pages first; empty unless they hold the limit together.
    holders: Vec<Holder>,
    /// The one with the most tasks first.
    held: Vec<HeldDevice>,
    /// The node's hard dirty limit, bytes.
    limit: f64,
}

/// A device whose pages do not move.
#[derive(Clone, Debug)]
struct Holder {
    bdi: CompactString,
    /// Dirty and writeback.
    bytes: f64,
    /// Bytes a second that it completed.
    moves: f64,
}

/// A device whose writers are held.
#[derive(Clone, Debug)]
struct HeldDevice {
    bdi: CompactString,
    /// The average number of paused tasks.
    tasks: f64,
    /// Dirty and writeback.
    bytes: f64,
    /// The busy share of its disk, if it has one.
    busy: Option<f64>,
}

impl LimitHeld {
    /// The state at this tick.
    pub(super) fn of(view: &RelatedView<'_>) -> Self {
        Self::find(view).unwrap_or_default()
    }

    fn find(view: &RelatedView<'_>) -> Option<Self> {
        if !view.signs.sees_dirty {
            return None;
        }
        let window = view.node.window;
        let (dirty, limit) = window.node_dirty()?;
        let thresholds = &view.node.thresholds.related;
        let ease = view.ease_of_kind(DirtyLimitHeld);
        if limit <= 0.0 || dirty < limit * thresholds.limit_full_share * ease {
            return None;
        }
        let holders = holders(view, limit * thresholds.holder_limit_share * ease)?;
        let own = OwnServers::of(view.node, &holders);
        let devices = view.signs.devices.iter();
        let devices = devices.filter(|device| holders.iter().all(|one| one.bdi != device.bdi));
        let held = devices.filter_map(|device| held(view, device, &own, dirty, limit));
        let mut held: Vec<HeldDevice> = held.collect();
        held.sort_by(|a, b| {
            let most = b.tasks.total_cmp(&a.tasks);
            most.then_with(|| a.bdi.cmp(&b.bdi))
        });
        (!held.is_empty()).then_some(Self {
            holders,
            held,
            limit,
        })
    }

    /// Whether the writers of this device are held.
    pub(super) fn holds_back(&self, bdi: &str) -> bool {
        self.held.iter().any(|held| held.bdi == bdi)
    }

    /// Whether this device takes part, as a holder or as a held one.
    pub(super) fn involves(&self, bdi: &str) -> bool {
        self.holds_back(bdi) || self.holders.iter().any(|holder| holder.bdi == bdi)
    }

    /// Whether threads of NFS servers are among those that are held.
    pub(super) fn holds_servers(&self, view: &RelatedView<'_>) -> bool {
        let share = view.node.thresholds.related.pause_share * view.ease_of_kind(DirtyLimitHeld);
        let threads = |held: &HeldDevice| {
            let window = view.node.window;
            window.waited(&held.bdi, |d| d.server_paused_ns, |d| d.server_waiting)
        };
        self.held.iter().map(threads).sum::<f64>() >= share
    }

    /// Describes who holds the writers of a device.
    pub(super) fn holder_words(&self) -> String {
        let names: Vec<&str> = self.holders.iter().map(|h| h.bdi.as_str()).collect();
        format!(
            "its writers are held by {}, which fills the dirty limit",
            names.join(" and ")
        )
    }

    /// One finding for each holder.
    pub(super) fn judge(&self, view: &RelatedView<'_>, found: &mut Vec<Finding>) {
        if self.held.is_empty() {
            return;
        }
        let own = OwnServers::of(view.node, &self.holders);
        let tasks = words::tasks(view.node, |wait| {
            self.holds_back(&wait.bdi) && own.may_be_held(wait)
        });
        for holder in &self.holders {
            found.push(Finding {
                kind: DirtyLimitHeld,
                bdi: holder.bdi.clone(),
                weight: holder.bytes,
                at_once: false,
                reason: words::reason(self, holder, view.node, &tasks),
            });
        }
    }
}

/// The devices with the most pages, until they have `enough` together; `None`: they never do. A
/// device whose pages move is left out: it frees the writers by itself.
fn holders(view: &RelatedView<'_>, enough: f64) -> Option<Vec<Holder>> {
    let window = view.node.window;
    let devices = view.signs.devices.iter();
    let pages = devices.filter_map(|device| Some((&device.bdi, window.device_pages(&device.bdi)?)));
    let mut pages: Vec<(&CompactString, f64)> = pages.filter(|(_, bytes)| *bytes > 0.0).collect();
    pages.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let mut holders = Vec::new();
    let mut sum = 0.0;
    let floor = view.node.thresholds.stall_floor_bytes_per_second as f64;
    for (bdi, bytes) in pages.into_iter().take(MAX_EXAMINED) {
        let Some(moves) = moves(window, bdi).filter(|moves| *moves < floor) else {
            continue;
        };
        sum += bytes;
        holders.push(Holder {
            bdi: bdi.clone(),
            bytes,
            moves,
        });
        if sum >= enough {
            return Some(holders);
        }
    }
    None
}

/// Bytes a second that a device completed, by the counter that moved most. `None`: no counter is
/// known, or one is not usable now.
fn moves(window: &Window, bdi: &str) -> Option<f64> {
    let newest = window.signs()?.device(bdi)?;
    let counters: [fn(&RelatedDevice) -> Option<u64>; 3] = [
        |device| device.acked_bytes,
        |device| device.written_bytes,
        |device| Some(device.sectors_written?.saturating_mul(512)),
    ];
    let mut most = None;
    for counter in counters {
        if counter(newest).is_some() {
            let rate = window.device_moved(bdi, counter)?.rate();
            most = Some(most.map_or(rate, |most: f64| most.max(rate)));
        }
    }
    most
}

/// The device, if its writers are held by others: they are paused, but it is nearly clean and idle.
fn held(
    view: &RelatedView<'_>,
    device: &RelatedDevice,
    own: &OwnServers<'_>,
    dirty: f64,
    limit: f64,
) -> Option<HeldDevice> {
    let (window, bdi) = (view.node.window, device.bdi.as_str());
    // Most devices never paused a task.
    let ever = device.paused_ns.max(device.server_paused_ns) > 0;
    if !ever && device.waiting.max(device.server_waiting) == 0 {
        return None;
    }
    let thresholds = &view.node.thresholds.related;
    let ease = view.ease_of_kind(DirtyLimitHeld);
    let tasks = own.held_tasks(view, device);
    if tasks < thresholds.pause_share * ease || has_own_limit(view, bdi) && dirty < limit {
        return None;
    }
    let bytes = window.device_pages(bdi)?;
    let busy = window.disk_busy(bdi);
    let idle = match busy {
        Some(busy) => busy < thresholds.hung_busy_share / ease,
        None => moves(window, bdi)? < view.node.thresholds.stall_floor_bytes_per_second as f64,
    };
    (idle && bytes <= limit * thresholds.held_clean_share / ease).then(|| HeldDevice {
        bdi: device.bdi.clone(),
        tasks,
        bytes,
        busy,
    })
}

/// Whether the writers of this device may be held to a limit of their own instead of the node's:
/// that of a memory cgroup, or the device's strict limit.
fn has_own_limit(view: &RelatedView<'_>, bdi: &str) -> bool {
    let mut bdis = view.node.now.bdis.iter();
    let strict = bdis.any(|one| one.bdi == bdi && one.strict_limit == Some(true));
    let window = view.node.window;
    let grown = |number: fn(&DirtyPauses) -> u64| {
        let classes = CLASSES.iter();
        let all = classes.map(|&class| window.pauses_grew(bdi, class, number));
        all.fold(0, u64::saturating_add)
    };
    // Without any counted pause, the waits of the samples do not tell.
    let cgroup = grown(|one| one.events) > 0 && grown(DirtyPauses::node_events) == 0;
    strict || cgroup
}

/// The servers that clean a holder's pages on this node. That such a server waits for those pages is
/// the livelock itself.
#[derive(Debug)]
struct OwnServers<'a> {
    loops: Vec<&'a LoopNow<'a>>,
}

impl<'a> OwnServers<'a> {
    fn of(node: &Node<'a>, holders: &[Holder]) -> Self {
        let newest = node.window.newest();
        let rests = |bdi: &str, on: &str| newest.is_some_and(|sample| sample.rests_on(bdi, on));
        let is_client = |one: &&LoopNow<'_>| {
            let client = one.client_bdi;
            let mut bdis = holders.iter().map(|holder| holder.bdi.as_str());
            bdis.any(|bdi| bdi == client || rests(bdi, client))
        };
        let loops = node.loops.iter().filter(|one| one.stands);
        Self {
            loops: loops.filter(is_client).collect(),
        }
    }

    /// Whether all tasks of this class count as such servers.
    fn is_server(&self, class: Class) -> bool {
        let nfsd = |one: &LoopNow<'_>| one.server == NFSD;
        match class {
            Class::Nfsd => self.loops.iter().any(|one| nfsd(one)),
            Class::Server => self.loops.iter().any(|one| !nfsd(one)),
            _ => false,
        }
    }

    fn is_server_process(&self, tgid: u32) -> bool {
        let mut loops = self.loops.iter();
        loops.any(|one| one.server_tgid == Some(tgid))
    }

    /// Whether a task in `balance_dirty_pages` may be held.
    fn may_be_held(&self, wait: &Waiting) -> bool {
        wait.cause == Cause::BalanceDirtyPages
            && CLASSES.contains(&wait.class)
            && !self.is_server(wait.class)
            && !self.is_server_process(wait.tgid)
    }

    /// The average number of tasks that are paused on a device and may be held.
    fn held_tasks(&self, view: &RelatedView<'_>, device: &RelatedDevice) -> f64 {
        let window = view.node.window;
        let bdi = device.bdi.as_str();
        let waits = view.node.now.waits.iter();
        let (mut may, mut own) = (0_u32, 0_u32);
        for wait in waits.filter(|wait| wait.bdi == bdi) {
            may = may.saturating_add(u32::from(self.may_be_held(wait)));
            let serves = wait.class == Class::User && self.is_server_process(wait.tgid);
            own = own.saturating_add(u32::from(serves));
        }
        let classes = CLASSES.iter().filter(|class| !self.is_server(**class));
        let paused = classes.map(|&class| window.paused_ns(class, |one| one == bdi));
        let paused = paused.fold(0, u64::saturating_add);
        if window.pauses_counted(bdi) {
            // A server whose class is not known yet counts as a user's task.
            let tasks = paused as f64 / window.covered_ns().max(1) as f64;
            return (tasks - f64::from(own)).max(0.0);
        }
        view.throttled_on(bdi).min(f64::from(may))
    }
}
