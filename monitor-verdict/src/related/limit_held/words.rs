//! The sentence of `dirty-limit-held`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use monitor_model::observation::{Observation, Waiting};

use super::{HeldDevice, Holder, LimitHeld};
use crate::loops::words::process;
use crate::related::view::{Node, suspect};
use crate::text::{bytes, percent, rate};

/// Maximum number of tasks and of devices to name; the others are counted.
const MAX_NAMED: usize = 4;

/// Maximum length of a name from the node, in characters.
const MAX_NAME: usize = 60;

/// `/mnt (0:29)`, or the device alone.
pub(in crate::related) fn name(now: &Observation, bdi: &str) -> String {
    let topology = &now.topology;
    let mut mounts = topology.mounts.iter().filter(|mount| mount.bdi == bdi);
    let mount = mounts.find_map(|mount| mount.mount_points.first());
    let systems = topology.file_systems.iter();
    let system = systems.filter(|system| system.bdi == bdi);
    let system = system.map(|system| &system.mount_point);
    let place = mount.or_else(|| system.filter(|point| !point.is_empty()).min());
    place.map_or_else(
        || bdi.to_owned(),
        |place| format!("{} ({bdi})", short(place)),
    )
}

/// A name from the node, not too long.
pub(in crate::related) fn short(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(MAX_NAME).collect();
    short.push('…');
    short
}

/// The tasks among the current waits: `dd[501] of pod web-0, dd[502]`. The first ones by process id
/// are named. Empty: none is seen at this moment.
pub(super) fn tasks(node: &Node<'_>, is: impl Fn(&Waiting) -> bool) -> String {
    let waits = node.now.waits.iter().filter(|wait| is(wait));
    let all: BTreeMap<(u32, u32), &Waiting> = waits.map(|w| ((w.tgid, w.tid), w)).collect();
    let places = &node.now.topology.processes;
    let named = all.values().take(MAX_NAMED).map(|wait| {
        let mut name = short(&process(&wait.comm, Some(wait.tid)));
        let mut places = places.iter().filter(|place| place.tgid == wait.tgid);
        if let Some(container) = places.find_map(|place| place.container.as_ref()) {
            let _ = write!(name, " of {}", short(&container.words()));
        }
        name
    });
    let mut words = named.collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = all.len().checked_sub(MAX_NAMED) {
        let _ = write!(words, " and {more} more");
    }
    words
}

/// Describes a held device: `/data (254:16), which holds 216 KiB and whose disk is 0 % busy`.
fn device(now: &Observation, held: &HeldDevice) -> String {
    let mut words = format!("{} (holds {}", name(now, &held.bdi), bytes(held.bytes));
    match held.busy {
        Some(busy) => {
            let _ = write!(words, ", its disk is {} busy)", percent(busy));
        }
        None => words.push(')'),
    }
    words
}

/// The sentence of one holder.
pub(super) fn reason(all: &LimitHeld, holder: &Holder, node: &Node<'_>, tasks: &str) -> String {
    let now = node.now;
    let share = percent(holder.bytes / all.limit);
    let mut words = format!(
        "{} holds {}, {share} of the node's dirty limit of {}, and completes {}",
        name(now, &holder.bdi),
        bytes(holder.bytes),
        bytes(all.limit),
        rate(holder.moves),
    );
    let others = all.holders.iter().filter(|one| one.bdi != holder.bdi);
    let others: Vec<&str> = others.map(|one| one.bdi.as_str()).collect();
    if !others.is_empty() {
        let sum: f64 = all.holders.iter().map(|one| one.bytes).sum();
        let some = others.iter().take(MAX_NAMED).copied();
        let names = some.collect::<Vec<_>>().join(", ");
        let _ = write!(
            words,
            " (with {names}: {} of the limit)",
            percent(sum / all.limit)
        );
    }
    if let Some(of) = stuck_loop(node, &holder.bdi) {
        let _ = write!(words, "; {of}");
    }
    let held: f64 = all.held.iter().map(|held| held.tasks).sum();
    let devices = all.held.iter().take(MAX_NAMED);
    let devices = devices.map(|held| device(now, held)).collect::<Vec<_>>();
    let _ = write!(
        words,
        "; it holds {held:.1} tasks on average in balance_dirty_pages on {}",
        devices.join(", ")
    );
    if let Some(more @ 1..) = all.held.len().checked_sub(MAX_NAMED) {
        let _ = write!(words, " and {more} more devices");
    }
    if !tasks.is_empty() {
        let _ = write!(words, ": {tasks}");
    }
    let _ = write!(words, "; {}", frees(all, holder, now));
    words
}

/// Describes what frees the held tasks. `strict_limit` of a held device was measured to do so.
fn frees(all: &LimitHeld, holder: &Holder, now: &Observation) -> String {
    let mut words = format!("they resume once {} writes or drops its pages", holder.bdi);
    let loose = |bdi: &str| {
        let mut bdis = now.bdis.iter();
        bdis.any(|one| one.bdi == bdi && one.strict_limit == Some(false))
    };
    let held = all.held.iter().map(|held| held.bdi.as_str());
    let held: Vec<&str> = held.filter(|bdi| loose(bdi)).take(MAX_NAMED).collect();
    if !held.is_empty() {
        let _ = write!(words, ", or with strict_limit of {}", held.join(", "));
    }
    words
}

/// Describes the loop whose client the holder is, or rests on, if its verdict is open.
fn stuck_loop(node: &Node<'_>, holder: &str) -> Option<String> {
    let newest = node.window.newest();
    let rests = |on: &str| newest.is_some_and(|sample| sample.rests_on(holder, on));
    let mut loops = node.loops.iter().filter(|one| suspect(one.state));
    let one = loops.find(|one| one.client_bdi == holder || rests(one.client_bdi))?;
    Some(format!(
        "it belongs to loop {}, which is in {}",
        one.id,
        one.state.as_str()
    ))
}
