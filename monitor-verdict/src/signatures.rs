//! The closing edges of the cycle, one file for each signature.
//!
//! An edge is derived from the server's own waits, with the share of its time that they explain.
//! The edge that explains most becomes the loop's.

mod commit_wait;
mod dirty_throttle;
mod loop_device;
mod reclaim_congestion;
mod request_starvation;

use std::borrow::Cow;

use compact_str::CompactString;
use monitor_model::verdict::Signature;

use crate::window::confidence::MissingInput;
use crate::window::view::{HeldEdges, View};

/// The closing edge of one signature at one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The signature.
    pub signature: Signature,
    /// Whether it is closed; `None`: an input is missing.
    pub holds: Option<bool>,
    /// The share that it rests on, 0 to 1.
    pub value: Option<f64>,
    /// One sentence with the numbers that decided.
    pub why: Cow<'static, str>,
    /// Describes who waits for what; empty: the cycle is not closed.
    pub words: String,
    /// The server's time in this window that its waits explain, nanoseconds.
    pub weight_ns: u64,
    /// The BDI that the server waits on, if its waits show it.
    pub server_bdi: Option<CompactString>,
    /// The inputs that are missing or replaced.
    pub gaps: Vec<MissingInput>,
}

impl Edge {
    /// The edge is open: the server does not wait in this way.
    const fn open(signature: Signature, why: &'static str) -> Self {
        Self {
            signature,
            holds: Some(false),
            value: None,
            why: Cow::Borrowed(why),
            words: String::new(),
            weight_ns: 0,
            server_bdi: None,
            gaps: Vec::new(),
        }
    }

    /// The edge is open or closed: the input that would show it is missing.
    fn unseen(signature: Signature, why: &'static str, gap: MissingInput) -> Self {
        Self {
            gaps: vec![gap],
            ..Self::open(signature, why)
        }
    }
}

/// The edges of all signatures, in the order of [`Signature::ALL`].
#[must_use]
pub fn edges(view: &View<'_>) -> [Edge; Signature::ALL.len()] {
    let dirty = dirty_throttle::edge(view);
    let reclaim = reclaim_congestion::edge(view);
    let loop_device = loop_device::edge(view, &dirty, &reclaim);
    [
        dirty,
        reclaim,
        commit_wait::edge(view),
        request_starvation::edge(view),
        loop_device,
    ]
}

/// Chooses the edge for a loop. A livelock may alternate between two edges tick by tick and is
/// still one livelock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignatureChooser {
    weights: [u64; Signature::ALL.len()],
    held: HeldEdges,
}

impl SignatureChooser {
    /// The edges that held at the last tick.
    #[must_use]
    pub const fn held(&self) -> HeldEdges {
        self.held
    }

    /// Drops the weights of earlier ticks.
    pub const fn forget_weights(&mut self) {
        self.weights = [0; Signature::ALL.len()];
    }

    /// Adds the edges of one tick.
    pub fn add(&mut self, edges: &[Edge]) {
        for edge in edges {
            let holds = edge.holds == Some(true);
            self.held.set(edge.signature, holds);
            if let Some(weight) = self.weights.get_mut(edge.signature as usize)
                && holds
            {
                // A weight of zero would mean that it never held.
                *weight = weight.saturating_add(edge.weight_ns.max(1));
            }
        }
    }

    /// The signature whose edge explained most while it held; `None`: none held. A `confirmed`
    /// livelock is named only after a reproduced signature.
    #[must_use]
    pub fn heaviest(&self, confirmed: bool) -> Option<Signature> {
        let weight = |signature: Signature| self.weights.get(signature as usize).copied();
        let all = Signature::ALL.into_iter();
        let all = all.filter(|one| !confirmed || one.is_reproduced());
        let all = all.filter_map(|one| Some((one, weight(one).filter(|&w| w > 0)?)));
        // Among equals the first wins.
        all.reduce(|best, one| if one.1 > best.1 { one } else { best })
            .map(|(signature, _)| signature)
    }

    /// The edge for the current conditions. A closed edge precedes an unknown one, and that an open
    /// one. Among equals come first `fixed`, then reproduced signatures, then the one that explains
    /// most.
    #[must_use]
    pub fn active_edge<'a>(&self, edges: &'a [Edge], fixed: Option<Signature>) -> Option<&'a Edge> {
        let rank = |edge: &Edge| {
            let holds = match edge.holds {
                Some(true) => 2,
                None => 1,
                Some(false) => 0,
            };
            let weight = self.weights.get(edge.signature as usize).copied();
            let fixed = fixed == Some(edge.signature);
            let reproduced = holds == 2 && edge.signature.is_reproduced();
            (
                holds,
                fixed,
                reproduced,
                weight.unwrap_or(0),
                edge.weight_ns,
            )
        };
        edges
            .iter()
            .reduce(|best, one| if rank(one) > rank(best) { one } else { best })
    }
}

#[cfg(test)]
mod tests {
    use monitor_model::verdict::Signature::{
        self, CommitWait, DirtyThrottle, LoopDevice, ReclaimCongestion, RequestStarvation,
    };

    use super::{Edge, SignatureChooser};

    fn edge(signature: Signature, holds: Option<bool>, weight_ns: u64) -> Edge {
        Edge {
            holds,
            weight_ns,
            ..Edge::open(signature, "made up")
        }
    }

    #[test]
    fn what_explains_most_over_time_gives_its_name_though_another_holds_now() {
        let mut choice = SignatureChooser::default();
        let both = |dirty, reclaim| {
            [
                edge(DirtyThrottle, dirty, 5),
                edge(ReclaimCongestion, reclaim, 3),
            ]
        };
        for tick in 0..4 {
            choice.add(&both(Some(tick % 4 == 0), Some(tick % 4 != 0)));
        }
        assert_eq!(
            choice.heaviest(false),
            Some(ReclaimCongestion),
            "3 x 3 over 5"
        );
        let now = both(Some(true), Some(false));
        let active_edge = choice.active_edge(&now, None).expect("one");
        assert_eq!(
            active_edge.signature, DirtyThrottle,
            "the other is open now"
        );
        choice.forget_weights();
        assert_eq!(choice.heaviest(false), None);
    }

    #[test]
    fn a_closed_edge_speaks_before_an_unknown_one_and_that_before_an_open_one() {
        let choice = SignatureChooser::default();
        let all = [
            edge(DirtyThrottle, Some(false), 900),
            edge(ReclaimCongestion, None, 1),
            edge(CommitWait, None, 2),
            edge(RequestStarvation, Some(true), 0),
        ];
        let speaks =
            |edges: &[Edge], fixed| choice.active_edge(edges, fixed).map(|one| one.signature);
        assert_eq!(speaks(&all, None), Some(RequestStarvation));
        assert_eq!(speaks(&all, Some(CommitWait)), Some(RequestStarvation));
        assert_eq!(speaks(&all[..3], None), Some(CommitWait));
        assert_eq!(
            speaks(&all[..3], Some(ReclaimCongestion)),
            Some(ReclaimCongestion)
        );
        assert_eq!(speaks(&all[..1], Some(LoopDevice)), Some(DirtyThrottle));
        assert_eq!(speaks(&[], None), None);
    }

    #[test]
    fn a_reproduced_signature_speaks_first_and_alone_names_what_is_confirmed() {
        let both = [
            edge(DirtyThrottle, Some(true), 1),
            edge(RequestStarvation, Some(true), 9),
        ];
        let mut choice = SignatureChooser::default();
        choice.add(&both[1..]);
        assert_eq!(choice.heaviest(true), None);
        choice.add(&both);
        let active_edge = choice.active_edge(&both, None).expect("one");
        assert_eq!(active_edge.signature, DirtyThrottle);
        assert_eq!(choice.heaviest(false), Some(RequestStarvation));
        assert_eq!(choice.heaviest(true), Some(DirtyThrottle));
    }

    #[test]
    fn of_equals_the_first_signature_is_named() {
        let mut choice = SignatureChooser::default();
        choice.add(&[
            edge(CommitWait, Some(true), 7),
            edge(RequestStarvation, Some(true), 7),
        ]);
        assert_eq!(choice.heaviest(false), Some(CommitWait));
        assert!(choice.held().by(RequestStarvation) && !choice.held().by(DirtyThrottle));
    }
}
