//! The four conditions over the last minutes, by loop: what a picture of them
//! begins with.

use std::sync::{Mutex, PoisonError};

use monitor_model::verdict::Verdict;

pub use monitor_model::api::{MAX_LOOPS, MAX_POINTS, Track, TrackPoint};

/// The tracks of all loops, at most [`MAX_LOOPS`], shared by the tick thread and those who ask.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Track>>);

impl History {
    /// Adds a tick. The tick thread does not wait: while somebody copies, a
    /// point is left out.
    pub fn push(&self, verdicts: &[Verdict], unix_ms: u64) {
        let Ok(mut tracks) = self.0.try_lock() else {
            return;
        };
        tracks.retain(|track| verdicts.iter().any(|v| v.loop_id == track.loop_id));
        for verdict in verdicts {
            let point = TrackPoint::of(verdict, unix_ms);
            if let Some(track) = track_for(&mut tracks, verdict) {
                track.push(point);
            }
        }
    }

    /// A copy of what there is.
    #[must_use]
    pub fn tracks(&self) -> Vec<Track> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The track of a loop. Where there is no room for one more, a loop that is, or
/// may be, stuck takes the place of one that is not.
fn track_for<'a>(tracks: &'a mut Vec<Track>, verdict: &Verdict) -> Option<&'a mut Track> {
    let of = |track: &Track| track.loop_id == verdict.loop_id;
    if let Some(at) = tracks.iter().position(of) {
        return tracks.get_mut(at);
    }
    if tracks.len() >= MAX_LOOPS {
        let quiet = |track: &Track| track.points.back().is_none_or(|p| p.state.metric() == 0.0);
        let at = tracks.iter().position(quiet)?;
        if verdict.state.metric() == 0.0 {
            return None;
        }
        tracks.remove(at);
    }
    tracks.push(Track::new(&verdict.loop_id));
    tracks.last_mut()
}

#[cfg(test)]
mod tests {
    use monitor_model::verdict::{LivelockState, Verdict};

    use super::{History, MAX_LOOPS, MAX_POINTS};
    use crate::publish::testing;

    fn verdict(number: usize, state: LivelockState) -> Verdict {
        Verdict {
            loop_id: format!("0:{number}-nfsd").into(),
            ..testing::verdict(state)
        }
    }

    #[test]
    fn the_newest_points_of_a_loop_are_kept_and_no_more() {
        let history = History::default();
        for tick in 0..MAX_POINTS as u64 + 5 {
            history.push(&[verdict(29, LivelockState::Livelock)], tick);
        }
        let tracks = history.tracks();
        assert_eq!(tracks.len(), 1);
        let times = tracks[0].points.iter().map(|point| point.unix_ms);
        assert!(times.eq(5..MAX_POINTS as u64 + 5));
        let yes = Some(true);
        assert_eq!(tracks[0].points[0].holds, [yes, yes, yes, None]);
    }

    #[test]
    fn a_loop_that_is_forgotten_takes_its_points_with_it() {
        let history = History::default();
        history.push(&[verdict(1, LivelockState::None)], 1);
        history.push(&[verdict(2, LivelockState::None)], 2);
        let tracks = history.tracks();
        assert_eq!(tracks.len(), 1);
        assert_eq!(tracks[0].loop_id, "0:2-nfsd");
    }

    #[test]
    fn of_too_many_loops_a_stuck_one_takes_the_place_of_a_quiet_one() {
        let history = History::default();
        let mut all: Vec<_> = (0..MAX_LOOPS + 3)
            .map(|number| verdict(number, LivelockState::None))
            .collect();
        history.push(&all, 1);
        assert_eq!(history.tracks().len(), MAX_LOOPS);
        all[MAX_LOOPS + 1].state = LivelockState::Suspected;
        history.push(&all, 2);
        let tracks = history.tracks();
        assert_eq!(tracks.len(), MAX_LOOPS);
        let stuck = &all[MAX_LOOPS + 1].loop_id;
        assert!(tracks.iter().any(|track| track.loop_id == *stuck));
    }
}
