//! Evidence of the livelock of [`super::verdict`].

use compact_str::format_compact;
use monitor_model::{
    evidence::{Evidence, Picture, Point, SCHEMA, Step, StepKind, Trigger},
    verdict::{LivelockState, Signature},
};

use super::{NOW_NS, found_loop, observation, verdict};

/// Of a second; `n` tells it from others.
pub(crate) fn evidence(n: u32) -> Evidence {
    let seen = observation();
    Evidence {
        schema: SCHEMA,
        id: format_compact!(
            "20231114T22{:02}{:02}.500Z-0.29-nfsd-dirty-throttle-confirmed",
            n / 60,
            n % 60
        ),
        loop_id: "0:29-nfsd".into(),
        signature: Signature::DirtyThrottle,
        occasion: Trigger::Confirmed,
        follows: None,
        at: "2023-11-14T22:13:20.500Z".into(),
        unix_ms: seen.unix_ms,
        monotonic_ms: NOW_NS / 1_000_000,
        kernel: "6.12.1".into(),
        steps: ["dd[7] waits", "nfsd[11] waits"].map(step).into(),
        picture: Picture::default(),
        cycle: vec!["dd[7] waits".to_owned(), "  -> nfsd[11] waits".to_owned()],
        verdict: verdict(LivelockState::Livelock),
        found: Some(found_loop()),
        mitigations: Vec::new(),
        preventions: Vec::new(),
        threads: Vec::new(),
        idle_threads: Some(1),
        writers: Vec::new(),
        client: seen.clients.first().cloned(),
        bdis: seen.bdis,
        pauses: Vec::new(),
        memory: seen.memory,
        signals: seen.signals,
        lost: seen.lost,
        timeline: vec![Point {
            monotonic_ms: NOW_NS / 1_000_000,
            state: LivelockState::Livelock,
            demand_bytes: Some(5000.0),
            progress_bytes_per_second: Some(12.5),
            blockage_ratio: Some(0.75),
            edge_ratio: None,
            disk_busy_ratio: Some(0.0),
            holds: [Some(true), Some(true), Some(true), None],
        }],
        guard: Vec::new(),
        left_out: Vec::new(),
    }
}

fn step(text: &str) -> Step {
    Step {
        kind: StepKind::Waits,
        tids: Vec::new(),
        bdi: None,
        text: text.to_owned(),
    }
}
