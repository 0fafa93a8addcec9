//! The mitigations of a livelock and the preventions. Only actions that worked in this very
//! livelock count, with the loop's own BDI filled in. An action that ended with processes killed
//! for memory on one kernel is a mitigation on none. The risk's recommendations, the guard, the
//! evidence and the runbooks all take them from here.
//!
//! [`seen`] is the table of outcomes, [`action`] lists the actions, [`command`] their commands, and
//! [`Target`] holds the numbers of this node.

mod action;
mod command;
mod kernel;
pub(crate) mod risk;
mod seen;
mod target;
#[cfg(test)]
pub(crate) mod tests;

use action::{Action, PREVENTIONS, WAYS_OUT, WAYS_OUT_OF_MEMORY};
use kernel::Kernel;
use monitor_model::{
    loops::{Exempt, Loop},
    mitigation::{Ineffective, Measure},
    observation::{Bdi, Observation},
    verdict::Signature,
};
use seen::{Help, Outcome, Stuck, When};

pub use target::Target;
pub(crate) use target::strict_server;

/// The client's largest share of the dirty limit, percent, before a load. With `strict_limit` it
/// never froze. At 10 % it was slower than the same load over 127.0.0.1, at 25 % and 50 % it was
/// not.
pub const PREVENT_RATIO: u32 = 25;

/// Whether this client cannot fill the dirty limit. Both settings are needed: neither
/// alone prevents a livelock.
#[must_use]
pub fn is_held(client: &Bdi) -> bool {
    client.strict_limit == Some(true)
        && client.max_ratio.is_some_and(|ratio| ratio <= PREVENT_RATIO)
}

/// The mitigations for this node, the best first. Empty: no measured action works.
#[must_use]
pub fn mitigations(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    mitigations_at(signature, &Target::of(found, node))
}

/// The preventions for this livelock, the best first.
#[must_use]
pub fn preventions(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    preventions_at(signature, &Target::of(found, node))
}

/// [`mitigations`] of a target, which may be any.
#[must_use]
pub fn mitigations_at(signature: Signature, target: &Target) -> Vec<Measure> {
    measures(signature, When::During, target)
}

/// [`preventions`] of a target, which may be any.
#[must_use]
pub fn preventions_at(signature: Signature, target: &Target) -> Vec<Measure> {
    let dirty = signature == Signature::DirtyThrottle;
    if dirty && target.exempt == Exempt::Yes {
        return Vec::new();
    }
    let mut all = vec![command::apart(&target.server)];
    all.extend(command::exempt(target).filter(|_| dirty));
    all.extend(command::direct(target).filter(|_| dirty));
    all.extend(measures(signature, When::Before, target));
    all
}

/// What the guard does before a loop can stall.
pub(crate) fn guard_prevents(target: &Target) -> Measure {
    Action::HoldClient.measure(target, String::new())
}

/// What the guard does to a stalled loop.
pub(crate) fn guard_breaks(target: &Target) -> Measure {
    Action::Ease.measure(target, String::new())
}

/// The actions that were ineffective against such a livelock.
#[must_use]
pub fn ineffective(signature: Signature, target: &Target) -> Vec<Ineffective> {
    no_help(signature, When::During, target)
}

/// The actions that did not prevent such a livelock.
#[must_use]
pub fn not_preventing(signature: Signature, target: &Target) -> Vec<Ineffective> {
    no_help(signature, When::Before, target)
}

/// The actions for such a livelock that this node supports.
fn actions(signature: Signature, when: When, target: &Target) -> impl Iterator<Item = Action> {
    let is_dirty = is_dirty(signature);
    let all = match when {
        When::During if is_dirty => WAYS_OUT,
        When::During => WAYS_OUT_OF_MEMORY,
        When::Before => PREVENTIONS,
    };
    let fits = move |action: &Action| is_dirty || !action.is_for_dirty_throttle_only();
    let offered = |action: &Action| action.is_offered(target);
    all.iter().copied().filter(fits).filter(offered)
}

/// Whether the cycle closes over the dirty limit.
const fn is_dirty(signature: Signature) -> bool {
    matches!(signature, Signature::DirtyThrottle | Signature::LoopDevice)
}

fn measures(signature: Signature, when: When, target: &Target) -> Vec<Measure> {
    let Some(of) = Stuck::of(signature, target) else {
        return Vec::new();
    };
    let ranked = actions(signature, when, target).filter_map(|action| {
        if seen::kills(of, when, action) {
            return None;
        }
        let rank = rank(of, when, action, target.kernel())?;
        let seen = told(of, when, action, target, helps);
        Some((rank, action.measure(target, seen)))
    });
    let mut ranked: Vec<(u8, Measure)> = ranked.collect();
    // A stable sort keeps the order of the list among equals.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, measure)| measure).collect()
}

/// The rank of an action by its runs, best first; `None`: the runs do not support it.
fn rank(of: Stuck, when: When, action: Action, kernel: Option<Kernel>) -> Option<u8> {
    let help = |kernel| seen::outcome(of, when, action, kernel).map(|outcome| outcome.help);
    let helped = |kernel: &Kernel| help(*kernel) == Some(Help::Yes);
    let Some(kernel) = kernel else {
        // On an unknown kernel, an action that helped on more kernels ranks higher.
        let helped = Kernel::ALL.iter().filter(|kernel| helped(kernel)).count();
        let without = Kernel::ALL.len() - helped;
        let some = Kernel::ALL
            .iter()
            .any(|kernel| help(*kernel) >= Some(Help::Partly));
        return some.then(|| u8::try_from(without).unwrap_or(u8::MAX));
    };
    match help(kernel) {
        Some(Help::Yes) => Some(0),
        Some(Help::Partly) => Some(1),
        Some(Help::No) => None,
        None => Kernel::ALL.iter().any(helped).then_some(2),
    }
}

fn no_help(signature: Signature, when: When, target: &Target) -> Vec<Ineffective> {
    let Some(of) = Stuck::of(signature, target) else {
        return Vec::new();
    };
    let failed = |action: Action| {
        let what = action.words().to_owned();
        // Kills on any kernel are reported on all of them.
        if seen::kills(of, when, action) {
            let seen = told_all(of, when, action, target, |_| true);
            return Some(Ineffective { what, seen });
        }
        let no = |kernel| {
            let outcome = seen::outcome(of, when, action, kernel);
            outcome.is_some_and(|outcome| outcome.help == Help::No)
        };
        let failed = match target.kernel() {
            Some(kernel) => no(kernel),
            None => Kernel::ALL.into_iter().any(no),
        };
        failed.then(|| Ineffective {
            what,
            seen: told(of, when, action, target, fails),
        })
    };
    actions(signature, when, target)
        .filter_map(failed)
        .collect()
}

/// The outcome: on the target's own kernel, or else on the kernels whose outcome satisfies `kept`.
fn told(of: Stuck, when: When, action: Action, target: &Target, kept: fn(Help) -> bool) -> String {
    let Some(kernel) = target.kernel() else {
        return told_all(of, when, action, target, kept) + &elsewhere(of, when, action, kept);
    };
    match seen::outcome(of, when, action, kernel) {
        Some(Outcome { words, .. }) => format!("{}: {words}", target.named(kernel)),
        None => format!(
            "not measured on {}; {}",
            target.named(kernel),
            told_all(of, when, action, target, kept)
        ),
    }
}

/// The outcomes by kernel, of those that satisfy `kept`.
fn told_all(
    of: Stuck,
    when: When,
    action: Action,
    target: &Target,
    kept: fn(Help) -> bool,
) -> String {
    let known = |kernel: Kernel| {
        let Outcome { help, words } = seen::outcome(of, when, action, kernel)?;
        kept(help).then(|| format!("{}: {words}", target.named(kernel)))
    };
    let all = Kernel::ALL.into_iter().filter_map(known);
    all.collect::<Vec<_>>().join("; ")
}

/// The kernels with another outcome.
fn elsewhere(of: Stuck, when: When, action: Action, kept: fn(Help) -> bool) -> String {
    let others = Kernel::ALL.into_iter().filter(|kernel| {
        let outcome = seen::outcome(of, when, action, *kernel);
        outcome.is_some_and(|outcome| !kept(outcome.help))
    });
    let others: Vec<&str> = others.map(Kernel::as_str).collect();
    if others.is_empty() {
        return String::new();
    }
    let word = if kept(Help::No) {
        "helps"
    } else {
        "does not help"
    };
    format!("; {word} on {}", others.join(", "))
}

fn helps(help: Help) -> bool {
    help > Help::No
}

fn fails(help: Help) -> bool {
    help == Help::No
}
