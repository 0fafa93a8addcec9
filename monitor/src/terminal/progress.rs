//! What was acknowledged to each loop's client, tick by tick.

use crate::publish::history::{MAX_LOOPS, Track, TrackPoint};
use crate::publish::node::Node;

/// The tracks of all loops: those that the daemon had, continued.
#[derive(Clone, Debug, Default)]
pub struct Progress(Vec<Track>);

impl Progress {
    /// Begins with what is known of before.
    pub fn begin(&mut self, mut tracks: Vec<Track>) {
        tracks.truncate(MAX_LOOPS);
        tracks.iter_mut().for_each(Track::bound);
        self.0 = tracks;
    }

    /// Adds a tick, once.
    pub fn add(&mut self, node: &Node) {
        let known = |track: &Track| node.loops.iter().any(|one| one.id == track.loop_id);
        self.0.retain(known);
        for one in node.loops.iter().take(MAX_LOOPS) {
            let is_it = |track: &Track| track.loop_id == one.id;
            if !self.0.iter().any(is_it) {
                self.0.push(Track::new(&one.id));
            }
            let mut tracks = self.0.iter_mut().filter(|track| is_it(track));
            let is_new = |track: &&mut Track| {
                let last = track.points.back();
                last.is_none_or(|last| last.unix_ms != node.unix_ms)
            };
            if let Some(track) = tracks.next().filter(is_new) {
                track.push(TrackPoint::of(&one.verdict, node.unix_ms));
            }
        }
    }

    /// Bytes a second of a loop's last ticks, at most so many, the newest last.
    pub fn of(&self, loop_id: &str, ticks: usize) -> Vec<Option<f32>> {
        let Some(track) = self.0.iter().find(|track| track.loop_id == loop_id) else {
            return Vec::new();
        };
        let left_out = track.points.len().saturating_sub(ticks);
        let last = track.points.iter().skip(left_out);
        last.map(|point| point.progress_bytes_per_second).collect()
    }
}

#[cfg(test)]
mod tests {
    use monitor_model::verdict::LivelockState;

    use super::Progress;
    use crate::publish::history::{History, MAX_POINTS};
    use crate::publish::node::Node;
    use crate::publish::testing;

    fn node(unix_ms: u64) -> Node {
        Node {
            unix_ms,
            ..testing::snapshot().node(&[])
        }
    }

    #[test]
    fn it_begins_with_the_daemons_history_and_takes_each_tick_once() {
        let history = History::default();
        let verdict = testing::verdict(LivelockState::None);
        history.push(std::slice::from_ref(&verdict), 1);
        history.push(&[verdict], 2);
        let mut progress = Progress::default();
        progress.begin(history.tracks());
        for unix_ms in [2, 3, 3, 4] {
            progress.add(&node(unix_ms));
        }
        assert_eq!(progress.of("0:29-nfsd", 100), [Some(12.5); 4]);
        assert_eq!(progress.of("0:29-nfsd", 2).len(), 2);
        assert!(progress.of("0:30-nfsd", 2).is_empty());
    }

    #[test]
    fn it_does_not_grow_for_ever_and_forgets_a_loop_that_is_gone() {
        let mut progress = Progress::default();
        for unix_ms in 0..MAX_POINTS as u64 + 9 {
            progress.add(&node(unix_ms));
        }
        assert_eq!(progress.of("0:29-nfsd", usize::MAX).len(), MAX_POINTS);
        let mut without = node(0);
        without.loops.clear();
        progress.add(&without);
        assert!(progress.of("0:29-nfsd", 9).is_empty());
    }
}
