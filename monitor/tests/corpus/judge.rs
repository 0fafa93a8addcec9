//! What a recording says, against its label.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use compact_str::CompactString;
use monitor_model::{
    loops::Loop,
    related::RelatedKind,
    verdict::{LivelockState, Signature},
};
use monitor_verdict::Thresholds;
use throttle_monitor::recording::Replayer;

use crate::label::{Expect, Label};

/// Recovery is to be seen within this, seconds.
const RECOVERY: f64 = 10.0;

/// What a replay gave. Times are seconds of the node's monotonic clock.
#[derive(Debug, Default)]
pub struct Played {
    /// Entries into livelock, with their signatures.
    pub livelocks: Vec<(f64, Signature)>,
    pub recovered: Vec<f64>,
    pub related: BTreeSet<RelatedKind>,
    /// The kinds of the loops, `nbd/qemu-nbd`, by loop.
    kinds: BTreeMap<CompactString, String>,
    /// The loop of the first livelock.
    first: Option<CompactString>,
    /// Why it is of no use.
    pub unreadable: Option<String>,
}

/// What is to be said of that.
#[derive(Debug)]
pub struct Judged {
    /// The first livelock: when, and whether by a right signature.
    pub livelock: Option<(f64, Signature)>,
    /// The kind of its loop: the client's and the server.
    pub kind: String,
    /// Whether a livelock was told in time, where one is expected, and none
    /// where none is.
    pub right: bool,
    /// Everything that is not as the label says, a sentence each.
    pub wrong: Vec<String>,
}

impl Played {
    pub fn of(file: impl Read, thresholds: Thresholds) -> Self {
        let mut played = Self::default();
        let mut replay = Replayer::new(Some(thresholds));
        let part = replay.play(file, |observation, changes, engine| {
            #[expect(clippy::cast_precision_loss, reason = "minutes")]
            let at = observation.monotonic_ns as f64 / 1e9;
            let kind = |one: &Loop| format!("{}/{}", one.client_kind.as_str(), one.server);
            let loops = engine.loops().iter();
            played
                .kinds
                .extend(loops.map(|one| (one.id.clone(), kind(one))));
            for transition in &changes.transitions {
                let (from, to) = (transition.from, transition.to);
                if to.is_livelock() && !from.is_livelock() {
                    played.livelocks.push((at, transition.signature));
                    let id = &transition.loop_id;
                    played.first.get_or_insert_with(|| id.clone());
                }
                if to == LivelockState::Recovered {
                    played.recovered.push(at);
                }
            }
            let began = changes.related.iter().filter(|event| event.began);
            played.related.extend(began.map(|event| event.kind));
        });
        let nothing = (part.observations == 0).then(|| "nothing in it".to_owned());
        played.unreadable = part.error.map(|error| error.to_string()).or(nothing);
        // A gap would be judged as something that the live daemon never saw.
        let gap = part.notes.iter().find(|note| note.contains("missing"));
        played.unreadable = played.unreadable.or(gap.cloned());
        played
    }

    /// The kind of the loop that is judged: of the livelock, otherwise of all loops.
    pub fn kind(&self) -> String {
        let livelock = self.first.as_ref().and_then(|id| self.kinds.get(id));
        if let Some(kind) = livelock {
            return kind.clone();
        }
        let kinds: BTreeSet<_> = self.kinds.values().map(String::as_str).collect();
        if kinds.is_empty() {
            return "none".to_owned();
        }
        Vec::from_iter(kinds).join(" + ")
    }
}

/// Compares.
pub fn judge(label: &Label, played: &Played) -> Judged {
    let mut wrong = Vec::new();
    wrong.extend(played.unreadable.clone());
    let livelock = played.livelocks.first().copied();
    let right = match label.expect {
        Expect::Livelock => positive(label, livelock, &mut wrong),
        Expect::None => {
            let alarms = played.livelocks.iter();
            wrong.extend(
                alarms.map(|(at, by)| format!("false alarm by {} at {at:.1} s", by.as_str())),
            );
            livelock.is_none()
        }
    };
    if let Some(moves_again) = label.moves_again {
        let helped_out = label.helped_out.unwrap_or(moves_again);
        recovery(helped_out, moves_again, played, &mut wrong);
    }
    for kind in &label.related {
        if !played.related.contains(kind) {
            wrong.push(format!("{} is not told", kind.as_str()));
        }
    }
    for kind in &label.not_related {
        if played.related.contains(kind) {
            wrong.push(format!("{} is told and must not be", kind.as_str()));
        }
    }
    Judged {
        livelock,
        kind: played.kind(),
        right: right && played.unreadable.is_none(),
        wrong,
    }
}

fn positive(label: &Label, livelock: Option<(f64, Signature)>, wrong: &mut Vec<String>) -> bool {
    let Some((at, signature)) = livelock else {
        wrong.push("no livelock was confirmed".to_owned());
        return false;
    };
    let Some(onset) = label.onset else {
        wrong.push("its label does not say when it began".to_owned());
        return false;
    };
    if !label.signature.contains(&signature) {
        let right: Vec<_> = label.signature.iter().map(|one| one.as_str()).collect();
        wrong.push(format!(
            "a livelock by {}, not {}",
            signature.as_str(),
            right.join(" or ")
        ));
    }
    let (after, within) = (at - onset, label.within);
    if after < 0.0 {
        wrong.push(format!("a livelock {:.1} s before its onset", -after));
    } else if after > within {
        wrong.push(format!(
            "confirmed {after:.1} s after the onset, later than {within} s"
        ));
    }
    (0.0..=within).contains(&after)
}

fn recovery(helped_out: f64, moves_again: f64, played: &Played, wrong: &mut Vec<String>) {
    match played.recovered.last() {
        None => wrong.push("it never recovered".to_owned()),
        Some(&at) if at < helped_out => wrong.push(format!(
            "recovered {:.1} s before it was helped out, and not after",
            helped_out - at
        )),
        Some(&at) if at > moves_again + RECOVERY => wrong.push(format!(
            "recovered {:.1} s after it moved again, later than {RECOVERY} s",
            at - moves_again
        )),
        Some(_) => {}
    }
}
