//! Tests of the names that dashboards, alerts, recordings and evidence depend on.

use std::fmt::Debug;

use monitor_model::{
    loops::{Exempt, ExemptBasis, LoopChange, Proof, Scope},
    observation::{CongestionBy, State, ThreadState},
    related::RelatedKind,
    verdict::{LivelockState, Signature},
};
use serde::{Serialize, de::DeserializeOwned};

use super::node::{Phase, Watched};

/// Each name is the same in labels and in JSON.
fn known<T>(words: &[(T, &str)], as_str: impl Fn(T) -> &'static str)
where
    T: Copy + Debug + PartialEq + Serialize + DeserializeOwned,
{
    for &(one, word) in words {
        assert_eq!(as_str(one), word);
        let json = serde_json::to_string(&one).expect("JSON");
        assert_eq!(json, format!("\"{word}\""));
        let back: T = serde_json::from_str(&json).expect("read back");
        assert_eq!(back, one);
    }
}

#[test]
fn names_of_loops_and_verdicts_are_the_contract_s() {
    known(
        &[
            (Proof::Xid, "xid"),
            (Proof::Socket, "socket"),
            (Proof::Address, "address"),
        ],
        Proof::as_str,
    );
    known(
        &[
            (Scope::SameNetns, "same-netns"),
            (Scope::CrossNetns, "cross-netns"),
            (Scope::Unknown, "unknown"),
        ],
        Scope::as_str,
    );
    known(
        &[
            (Exempt::Yes, "yes"),
            (Exempt::No, "no"),
            (Exempt::Partly, "partly"),
            (Exempt::Unknown, "unknown"),
        ],
        Exempt::as_str,
    );
    known(
        &[
            (ExemptBasis::Observed, "observed"),
            (ExemptBasis::Predicted, "predicted"),
        ],
        ExemptBasis::as_str,
    );
    known(
        &[
            (LoopChange::Appeared, "appeared"),
            (LoopChange::Proven, "proven"),
            (LoopChange::Ended, "ended"),
        ],
        LoopChange::as_str,
    );
    known(
        &[
            (Signature::DirtyThrottle, "dirty-throttle"),
            (Signature::ReclaimCongestion, "reclaim-congestion"),
            (Signature::CommitWait, "commit-wait"),
            (Signature::RequestStarvation, "request-starvation"),
            (Signature::LoopDevice, "loop-device"),
        ],
        Signature::as_str,
    );
    known(
        &[
            (LivelockState::None, "none"),
            (LivelockState::Suspected, "suspected"),
            (LivelockState::Livelock, "livelock"),
            (LivelockState::Deadlock, "deadlock"),
            (LivelockState::Recovered, "recovered"),
        ],
        LivelockState::as_str,
    );
    known(
        &[
            (
                RelatedKind::NfsServerNotResponding,
                "nfs-server-not-responding",
            ),
            (RelatedKind::DirtyThrottling, "dirty-throttling"),
            (RelatedKind::SlowDisk, "slow-disk"),
            (RelatedKind::DiskSaturated, "disk-saturated"),
            (RelatedKind::MemoryStarvation, "memory-starvation"),
            (RelatedKind::HungFileSystem, "hung-file-system"),
            (RelatedKind::DirtyLimitHeld, "dirty-limit-held"),
            (RelatedKind::ServerNotResponding, "server-not-responding"),
        ],
        RelatedKind::as_str,
    );
}

#[test]
fn names_of_what_is_observed_are_the_contract_s() {
    known(
        &[
            (State::Attached, "attached"),
            (State::Degraded, "degraded"),
            (State::Unavailable, "unavailable"),
        ],
        State::as_str,
    );
    known(
        &[
            (ThreadState::Idle, "idle"),
            (ThreadState::Running, "running"),
            (ThreadState::Throttled, "throttled"),
            (ThreadState::Blocked, "blocked"),
        ],
        ThreadState::as_str,
    );
    known(
        &[
            (CongestionBy::Flag, "flag"),
            (CongestionBy::WriteCongested, "write-congested"),
            (CongestionBy::NfsWriteback, "nfs-writeback"),
            (CongestionBy::FuseRequests, "fuse-requests"),
            (CongestionBy::DirtyThreshold, "dirty-threshold"),
        ],
        CongestionBy::as_str,
    );
}

#[test]
fn a_state_is_its_number_and_one_that_recovered_is_none_again() {
    let numbers = [
        (LivelockState::None, 0.0),
        (LivelockState::Suspected, 1.0),
        (LivelockState::Livelock, 2.0),
        (LivelockState::Deadlock, 3.0),
        (LivelockState::Recovered, 0.0),
    ];
    for (state, number) in numbers {
        assert!((state.metric() - number).abs() < f64::EPSILON, "{state:?}");
    }
}

#[test]
fn a_signature_is_found_by_its_word_and_no_other() {
    for one in Signature::ALL {
        assert_eq!(Signature::from_word(one.as_str()), Some(one));
    }
    assert_eq!(Signature::from_word("dirty"), None);
}

#[test]
fn a_verdict_has_its_state_under_its_own_signature_and_none_under_the_others() {
    let mut watched = Watched::new(8);
    watched.play(&Phase::FROZEN_6_12, 20);
    let verdict = watched.verdict();
    for one in Signature::ALL {
        let state = match one {
            Signature::DirtyThrottle => LivelockState::Livelock,
            _ => LivelockState::None,
        };
        assert_eq!(verdict.state_by(one), state);
    }
}
