//! `/api/v1/history`: the four conditions over the last minutes, by loop.

use std::collections::VecDeque;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::known_only::known_only;
use crate::verdict::{LivelockState, Verdict};

/// The start of a chart of the last minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracks {
    /// One track per loop.
    pub tracks: Vec<Track>,
}

/// Points kept of a loop: ten minutes of ticks of a second.
pub const MAX_POINTS: usize = 600;

/// One loop at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackPoint {
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The state after that tick.
    pub state: LivelockState,
    /// Which of the four conditions hold: demand, no progress, blockage, closing edge.
    pub holds: [Option<bool>; 4],
    /// The client's dirty and writeback bytes.
    pub demand_bytes: Option<f32>,
    /// Acknowledged to the client, bytes a second.
    pub progress_bytes_per_second: Option<f32>,
    /// Share of the busy server threads' time that is spent waiting.
    pub blockage_ratio: Option<f32>,
    /// The client's share in what the server waits for.
    pub edge_ratio: Option<f32>,
}

impl TrackPoint {
    /// The point of a verdict at its tick.
    #[must_use]
    pub fn of(verdict: &Verdict, unix_ms: u64) -> Self {
        let conditions = verdict.conditions.all();
        let [demand, progress, blockage, edge] =
            conditions.map(|(_, condition)| condition.value.map(narrow));
        Self {
            unix_ms,
            state: verdict.state,
            holds: conditions.map(|(_, condition)| condition.holds),
            demand_bytes: demand,
            progress_bytes_per_second: progress,
            blockage_ratio: blockage,
            edge_ratio: edge,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are enough for a picture"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

/// A loop's points, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// Its points.
    #[serde(deserialize_with = "known_only")]
    pub points: VecDeque<TrackPoint>,
}

impl Track {
    /// A track without points.
    #[must_use]
    pub fn new(loop_id: &CompactString) -> Self {
        Self {
            loop_id: loop_id.clone(),
            points: VecDeque::new(),
        }
    }

    /// Adds a point; the newest [`MAX_POINTS`] stay.
    pub fn push(&mut self, point: TrackPoint) {
        self.points.push_back(point);
        self.bound();
    }

    /// Keeps the newest [`MAX_POINTS`].
    pub fn bound(&mut self) {
        let surplus = self.points.len().saturating_sub(MAX_POINTS);
        self.points.drain(..surplus);
    }
}
