//! When a related condition begins and ends.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use monitor_model::{
    related::{Related, RelatedEvent, RelatedKind, RelatedTally},
    remote::RemoteMount,
    verdict::LivelockState,
};

use super::clients::ServerSilence;
use super::devices::Shown;
use super::hung::HungThreads;
use super::limit_held::LimitHeld;
use super::silent::DeviceSilence;
use super::view::{Finding, HeldCondition, Node, RelatedView, suspect};
use super::{across, devices, memory};
use crate::text::seconds;
use crate::thresholds::nanos;

/// Maximum number of BDIs of one kind; of more, the worst are kept.
pub(super) const MAX_SUBJECTS: usize = 32;
const NS_PER_MS: u64 = 1_000_000;

/// Watches the related conditions.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    held: BTreeMap<(RelatedKind, CompactString), HeldCondition>,
    silences: ServerSilence,
    device_silences: DeviceSilence,
    hung_threads: HungThreads,
    shown: Shown,
    now: Vec<Related>,
    remote: Vec<RemoteMount>,
    /// The number of beginnings, and the nanoseconds in which it held.
    counted: [(u64, u64); RelatedKind::ALL.len()],
    last_ns: Option<u64>,
}

impl Watch {
    /// Adds a tick and returns what began and ended.
    pub fn observe(&mut self, node: &Node<'_>) -> Vec<RelatedEvent> {
        let now = node.now.monotonic_ns;
        let dt = match self.last_ns.replace(now) {
            Some(last) if node.window.covered_ns() > 0 => now.saturating_sub(last),
            _ => {
                self.restart(now);
                0
            }
        };
        self.count(dt);
        self.silences.tick(node);
        self.device_silences.tick(node);
        self.hung_threads.tick(node);
        self.shown.tick(node, dt);
        let (found, limit) = self.find(node);
        if !node.window.speaks() {
            // Missing inputs neither confirm nor end an open condition.
            self.held.values_mut().for_each(|held| held.last_ns = now);
        }
        let mut events = self.end(node, &found, &limit);
        self.begin(node, found, &mut events);
        self.tell();
        self.remote = across::remote_mounts(node, self.view(node).as_ref(), &limit);
        events
    }

    /// NFS mounts of servers elsewhere, the one with the most pages first.
    pub fn remote(&self) -> &[RemoteMount] {
        &self.remote
    }

    /// The conditions that hold now, sorted by kind and BDI.
    pub fn now(&self) -> &[Related] {
        &self.now
    }

    /// The counters of every kind.
    pub fn tallies(&self) -> [RelatedTally; RelatedKind::ALL.len()] {
        RelatedKind::ALL.map(|kind| {
            let (beginnings, ns) = self.counted[kind as usize];
            RelatedTally {
                kind,
                beginnings,
                seconds: (ns / NS_PER_MS) as f64 / 1000.0,
            }
        })
    }

    /// Restarts the clocks after a gap or a step back in time.
    fn restart(&mut self, now: u64) {
        self.silences = ServerSilence::default();
        self.device_silences = DeviceSilence::default();
        self.hung_threads = HungThreads::default();
        self.held.retain(|_, held| held.began);
        for held in self.held.values_mut() {
            held.since_ns = held.since_ns.min(now);
            held.last_ns = now;
        }
    }

    fn count(&mut self, dt: u64) {
        for kind in RelatedKind::ALL {
            if self.now.iter().any(|related| related.kind == kind) {
                let (_, ns) = &mut self.counted[kind as usize];
                *ns = ns.saturating_add(dt);
            }
        }
    }

    /// The conditions that hold at this tick, the worst of each kind first, and who holds the dirty
    /// limit.
    fn find(&self, node: &Node<'_>) -> (Vec<Finding>, LimitHeld) {
        let mut found = Vec::new();
        let Some(view) = self.view(node) else {
            return (found, LimitHeld::default());
        };
        self.silences.judge(&view, &mut found);
        let limit = LimitHeld::of(&view);
        self.device_silences.judge(&view, &limit, &mut found);
        limit.judge(&view, &mut found);
        devices::judge(&view, &self.shown, &limit, &mut found);
        memory::judge(&view, &mut found);
        self.hung_threads.judge(&view, &mut found);
        let silent = silent_devices(&found);
        found.retain(|one| !is_speed(one.kind) || !silent.contains(&one.bdi));
        found.sort_by(|a, b| {
            let worst = (a.kind.cmp(&b.kind)).then_with(|| b.weight.total_cmp(&a.weight));
            worst.then_with(|| a.bdi.cmp(&b.bdi))
        });
        (found, limit)
    }

    /// `None`: the window says too little.
    fn view<'a>(&'a self, node: &'a Node<'a>) -> Option<RelatedView<'a>> {
        let signs = node.window.signs().filter(|_| node.window.speaks())?;
        Some(RelatedView {
            node,
            held: &self.held,
            signs,
        })
    }

    /// Ends the conditions that did not hold for long enough, or that a loop's verdict or a holder
    /// of the dirty limit covers.
    fn end(&mut self, node: &Node<'_>, found: &[Finding], limit: &LimitHeld) -> Vec<RelatedEvent> {
        let patience = nanos(node.thresholds.related.end);
        let now = node.now.monotonic_ns;
        let silent = silent_devices(found);
        let mut events = Vec::new();
        self.held.retain(|(kind, bdi), held| {
            if found.iter().any(|f| f.kind == *kind && f.bdi == *bdi) {
                return true;
            }
            let taken = taken_by(node, *kind, bdi).or_else(|| held_by(limit, *kind, bdi));
            let taken = taken.or_else(|| {
                let is_silent = is_speed(*kind) && silent.contains(bdi);
                is_silent.then(|| "its server does not respond".to_owned())
            });
            let over = now.saturating_sub(held.last_ns) >= patience;
            if held.began && !over && taken.is_none() {
                return true;
            }
            if held.began {
                let stood = seconds(held.last_ns.saturating_sub(held.since_ns));
                let reason = match taken {
                    Some(told) => format!("after {stood}: {told}"),
                    None => format!("over after {stood}; it was: {}", held.reason),
                };
                events.push(event(node, *kind, bdi, false, reason));
            }
            false
        });
        events
    }

    /// Begins the conditions that held long enough, sorted by kind and name.
    fn begin(&mut self, node: &Node<'_>, found: Vec<Finding>, events: &mut Vec<RelatedEvent>) {
        let now = node.now.monotonic_ns;
        let first = events.len();
        let mut told = [0; RelatedKind::ALL.len()];
        for ((kind, _), _) in self.held.iter().filter(|(_, held)| held.began) {
            told[*kind as usize] += 1;
        }
        for one in found {
            let patience = match one.kind {
                // The silence already includes the delay.
                RelatedKind::NfsServerNotResponding | RelatedKind::ServerNotResponding => 0,
                // A healthy device is woken every 5 s to write.
                RelatedKind::DirtyLimitHeld => nanos(node.thresholds.related.silence),
                _ => nanos(node.thresholds.related.begin),
            };
            let held = self.held.entry((one.kind, one.bdi.clone()));
            let held = held.or_insert_with(|| HeldCondition {
                since_ns: now,
                last_ns: now,
                began: false,
                reason: String::new(),
            });
            held.last_ns = now;
            held.reason = one.reason;
            let told = &mut told[one.kind as usize];
            let ripe = one.at_once || now.saturating_sub(held.since_ns) >= patience;
            if held.began || !ripe || *told >= MAX_SUBJECTS {
                continue;
            }
            held.began = true;
            *told += 1;
            let (beginnings, _) = &mut self.counted[one.kind as usize];
            *beginnings = beginnings.saturating_add(1);
            let reason = held.reason.clone();
            events.push(event(node, one.kind, &one.bdi, true, reason));
        }
        if let Some(begun) = events.get_mut(first..) {
            begun.sort_by(|a, b| (a.kind, &a.bdi).cmp(&(b.kind, &b.bdi)));
        }
    }

    fn tell(&mut self) {
        self.now.clear();
        let told = self.held.iter().filter(|(_, held)| held.began);
        self.now.extend(told.map(|((kind, bdi), held)| Related {
            kind: *kind,
            bdi: bdi.clone(),
            since_ms: held.since_ns / NS_PER_MS,
            reason: held.reason.clone(),
        }));
    }
}

/// The loop whose verdict covers this condition, which would give the wrong cause.
fn taken_by(node: &Node<'_>, kind: RelatedKind, bdi: &str) -> Option<String> {
    let tells = match kind {
        RelatedKind::NfsServerNotResponding
        | RelatedKind::ServerNotResponding
        | RelatedKind::DirtyThrottling => suspect,
        RelatedKind::HungFileSystem => LivelockState::is_livelock,
        RelatedKind::SlowDisk
        | RelatedKind::DiskSaturated
        | RelatedKind::MemoryStarvation
        | RelatedKind::DirtyLimitHeld => return None,
    };
    let one = node.told_by(bdi, tells)?;
    Some(format!(
        "it is part of loop {}, which is in {}",
        one.id,
        one.state.as_str()
    ))
}

/// Whether a condition is about the speed of a disk. One that completes nothing has none.
const fn is_speed(kind: RelatedKind) -> bool {
    matches!(kind, RelatedKind::SlowDisk | RelatedKind::DiskSaturated)
}

/// The devices whose servers do not respond.
fn silent_devices(found: &[Finding]) -> BTreeSet<CompactString> {
    let silent = found.iter();
    let silent = silent.filter(|one| one.kind == RelatedKind::ServerNotResponding);
    silent.map(|one| one.bdi.clone()).collect()
}

/// The devices that hold the dirty limit, if they cover this condition.
fn held_by(limit: &LimitHeld, kind: RelatedKind, bdi: &str) -> Option<String> {
    let its_own = matches!(
        kind,
        RelatedKind::DirtyThrottling | RelatedKind::SlowDisk | RelatedKind::DiskSaturated
    );
    (its_own && limit.holds_back(bdi)).then(|| limit.holder_words())
}

fn event(
    node: &Node<'_>,
    kind: RelatedKind,
    bdi: &CompactString,
    began: bool,
    reason: String,
) -> RelatedEvent {
    RelatedEvent {
        monotonic_ms: node.now.monotonic_ns / NS_PER_MS,
        unix_ms: node.now.unix_ms,
        kind,
        bdi: bdi.clone(),
        began,
        reason,
    }
}
