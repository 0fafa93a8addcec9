//! What gets a node out of a livelock and what prevents it: only what was seen
//! to work on the kernel at hand, with the loop's own BDI filled in.
//!
//! What was seen is one table, [`seen`]; what to type is [`action`]; the
//! numbers of this node are in [`Place`].

mod action;
mod place;
mod seen;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::loops::Loop;
use crate::observation::Observation;
use crate::types::Signature;
use action::Action;
use seen::{Kernel, Outcome, Row};

pub use place::Place;

/// One thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What it does, one sentence.
    pub what: String,
    /// What to type, in this order.
    pub commands: Vec<String>,
    /// What to type to take it back, once the load is gone.
    #[serde(default)]
    pub undo: Vec<String>,
    /// How it was seen to work: kernels and numbers.
    pub seen: String,
}

/// What does not help.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InVain {
    /// What somebody may think of, a few words.
    pub what: String,
    /// What came of it: kernels and numbers.
    pub seen: String,
}

/// What gets this node out of it, the best first.
#[must_use]
pub fn ways_out(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    ways_out_at(signature, &Place::of(found, node))
}

/// What would have prevented it, the best first.
#[must_use]
pub fn preventions(signature: Signature, found: &Loop, node: &Observation) -> Vec<Measure> {
    preventions_at(signature, &Place::of(found, node))
}

/// [`ways_out`] of a place, which may be any.
#[must_use]
pub fn ways_out_at(signature: Signature, place: &Place) -> Vec<Measure> {
    match signature {
        Signature::DirtyThrottle | Signature::LoopDevice => {
            measures(signature, seen::WAYS_OUT, place)
        }
        Signature::ReclaimCongestion | Signature::CommitWait | Signature::RequestStarvation => {
            // Raising the dirty limit is no way where memory is what is short.
            let all = [Action::StopWriters, Action::FreeMemory].into_iter();
            all.map(|action| unmeasured(signature, action, place))
                .collect()
        }
    }
}

/// [`preventions`] of a place, which may be any.
#[must_use]
pub fn preventions_at(signature: Signature, place: &Place) -> Vec<Measure> {
    let mut all = vec![action::apart(&place.server)];
    all.extend(measures(signature, seen::PREVENTIONS, place));
    all
}

/// What was tried in such a livelock and did not help.
#[must_use]
pub fn in_vain(signature: Signature, place: &Place) -> Vec<InVain> {
    vain(signature, seen::WAYS_OUT, place)
}

/// What was tried before such a livelock and did not prevent it.
#[must_use]
pub fn not_preventing(signature: Signature, place: &Place) -> Vec<InVain> {
    vain(signature, seen::PREVENTIONS, place)
}

fn measures(signature: Signature, rows: &[Row], place: &Place) -> Vec<Measure> {
    let mut ranked: Vec<(u8, Measure)> = rows
        .iter()
        .filter(|row| row.action.is_offered(place))
        .filter_map(|row| {
            let rank = rank(row, place.kernel())?;
            let seen = told(signature, row, place);
            Some((rank, row.action.measure(place, seen)))
        })
        .collect();
    // Stable: among equals the table's own order.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, measure)| measure).collect()
}

/// How well a row speaks for its action here, best first; `None`: not at all.
fn rank(row: &Row, kernel: Option<Kernel>) -> Option<u8> {
    let helped = |outcome: &Outcome| matches!(outcome, Outcome::Helped(_));
    let partly = |outcome: &Outcome| matches!(outcome, Outcome::Partly(_));
    let mut outcomes = row.outcomes.iter();
    let Some(kernel) = kernel else {
        // On any kernel: what helped on more of them goes first.
        let failed = row.outcomes.iter().filter(|outcome| !helped(outcome));
        let failed = u8::try_from(failed.count()).unwrap_or(u8::MAX);
        let any = outcomes.any(|outcome| helped(outcome) || partly(outcome));
        return any.then_some(failed);
    };
    match row.on(kernel) {
        Outcome::Helped(_) => Some(0),
        Outcome::Partly(_) => Some(1),
        Outcome::Unmeasured => outcomes.any(helped).then_some(2),
        Outcome::InVain(_) => None,
    }
}

fn vain(signature: Signature, rows: &[Row], place: &Place) -> Vec<InVain> {
    if !matches!(signature, Signature::DirtyThrottle | Signature::LoopDevice) {
        return Vec::new();
    }
    let failed = |row: &&Row| match place.kernel() {
        Some(kernel) => matches!(row.on(kernel), Outcome::InVain(_)),
        None => row
            .outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::InVain(_))),
    };
    rows.iter()
        .filter(|row| row.action.is_offered(place))
        .filter(failed)
        .map(|row| InVain {
            what: row.action.words().to_owned(),
            seen: told(signature, row, place),
        })
        .collect()
}

/// What came of it, on the place's own kernel first of all.
fn told(signature: Signature, row: &Row, place: &Place) -> String {
    let mut sentences = Vec::new();
    if signature != Signature::DirtyThrottle {
        sentences.push(format!(
            "Not measured for {}; for dirty-throttle:",
            signature.as_str()
        ));
    }
    let known = |kernel: Kernel| {
        let words = row.on(kernel).words()?;
        Some(format!("{}: {words}", place.named(kernel)))
    };
    let all = || Kernel::ALL.into_iter().filter_map(known);
    let all = || all().collect::<Vec<_>>().join("; ");
    match place.kernel().map(|kernel| (kernel, known(kernel))) {
        Some((_, Some(words))) => sentences.push(words),
        Some((kernel, None)) => {
            sentences.push(format!("not measured on {};", place.named(kernel)));
            sentences.push(all());
        }
        None => sentences.push(all()),
    }
    sentences.join(" ")
}

fn unmeasured(signature: Signature, action: Action, place: &Place) -> Measure {
    let words = format!(
        "Not measured for {} on any kernel: it takes away what the cycle lives on.",
        signature.as_str()
    );
    action.measure(place, words)
}
