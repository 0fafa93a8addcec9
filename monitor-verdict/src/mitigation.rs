//! What gets a node out of a livelock and what prevents it: only what was seen to
//! work in this very livelock, with the loop's own BDI filled in. What ended in
//! processes killed for memory, on any kernel, is no way out on any. This is the
//! only place that decides it: the risk's recommendations, the guard, the evidence and the
//! runbooks take it from here.
//!
//! What was seen is one table, [`seen`]; what can be done is [`action`], what to
//! type for it [`command`]; the numbers of this node are in [`Target`].

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
    mitigation::{InVain, Measure},
    observation::{Bdi, Observation},
    verdict::Signature,
};
use seen::{Help, Outcome, Stuck, When};

pub use target::Target;
pub(crate) use target::strict_server;

/// The client's largest share of the dirty limit, percent, before a load. With
/// `strict_limit` it never froze; with 10 % it was measured to be slower than the same
/// load over 127.0.0.1, with 25 % and 50 % it was not.
pub const PREVENT_RATIO: u32 = 25;

/// Whether this client cannot fill the dirty limit. Both settings are needed: neither
/// alone prevents a livelock.
#[must_use]
pub fn is_held(client: &Bdi) -> bool {
    client.strict_limit == Some(true)
        && client.max_ratio.is_some_and(|ratio| ratio <= PREVENT_RATIO)
}

/// What gets this node out of it, the best first; none: nothing was measured that does.
#[must_use]
pub fn ways_out(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    ways_out_at(signature, &Target::of(found, node))
}

/// What would have prevented it, the best first.
#[must_use]
pub fn preventions(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    preventions_at(signature, &Target::of(found, node))
}

/// [`ways_out`] of a target, which may be any.
#[must_use]
pub fn ways_out_at(signature: Signature, target: &Target) -> Vec<Measure> {
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
    all.extend(measures(signature, When::Before, target));
    all
}

/// What the guard does to a loop before it can stand still.
pub(crate) fn guard_prevents(target: &Target) -> Measure {
    Action::HoldClient.measure(target, String::new())
}

/// What the guard does to one that stands still.
pub(crate) fn guard_breaks(target: &Target) -> Measure {
    Action::Ease.measure(target, String::new())
}

/// What was tried in such a livelock and did not help.
#[must_use]
pub fn in_vain(signature: Signature, target: &Target) -> Vec<InVain> {
    vain(signature, When::During, target)
}

/// What was tried before such a livelock and did not prevent it.
#[must_use]
pub fn not_preventing(signature: Signature, target: &Target) -> Vec<InVain> {
    vain(signature, When::Before, target)
}

/// What there is to do then, that can be done here.
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

/// Whether the dirty limit is what the cycle closes over.
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
    // Stable: among equals their own order.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, measure)| measure).collect()
}

/// How well the runs speak for an action here, best first; `None`: they do not.
fn rank(of: Stuck, when: When, action: Action, kernel: Option<Kernel>) -> Option<u8> {
    let help = |kernel| seen::outcome(of, when, action, kernel).map(|outcome| outcome.help);
    let helped = |kernel: &Kernel| help(*kernel) == Some(Help::Yes);
    let Some(kernel) = kernel else {
        // On any kernel: what helped on more of them goes first.
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

fn vain(signature: Signature, when: When, target: &Target) -> Vec<InVain> {
    let Some(of) = Stuck::of(signature, target) else {
        return Vec::new();
    };
    let failed = |action: Action| {
        let what = action.words().to_owned();
        // Wherever it was: it is told everywhere.
        if seen::kills(of, when, action) {
            let seen = told_all(of, when, action, target, |_| true);
            return Some(InVain { what, seen });
        }
        let no = |kernel| {
            let outcome = seen::outcome(of, when, action, kernel);
            outcome.is_some_and(|outcome| outcome.help == Help::No)
        };
        let failed = match target.kernel() {
            Some(kernel) => no(kernel),
            None => Kernel::ALL.into_iter().any(no),
        };
        failed.then(|| InVain {
            what,
            seen: told(of, when, action, target, fails),
        })
    };
    actions(signature, when, target)
        .filter_map(failed)
        .collect()
}

/// What came of it: on the target's own kernel, else on those where it came to
/// `kept`.
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

/// Kernel by kernel, those where it came to `kept`.
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

/// The kernels where it came to something else.
fn elsewhere(of: Stuck, when: When, action: Action, kept: fn(Help) -> bool) -> String {
    let others = Kernel::ALL.into_iter().filter(|kernel| {
        let outcome = seen::outcome(of, when, action, *kernel);
        outcome.is_some_and(|outcome| !kept(outcome.help))
    });
    let others: Vec<&str> = others.map(Kernel::as_str).collect();
    if others.is_empty() {
        return String::new();
    }
    let word = if kept(Help::No) { "helps" } else { "in vain" };
    format!("; {word} on {}", others.join(", "))
}

fn helps(help: Help) -> bool {
    help > Help::No
}

fn fails(help: Help) -> bool {
    help == Help::No
}
