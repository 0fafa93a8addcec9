//! The state of the screen.

use std::time::Duration;

use compact_str::CompactString;
use monitor_common::Cause;

use super::data::{Data, Origin};
use super::progress::Progress;
use super::theme::Theme;
use super::words::about;
use crate::publish::node::{BdiNow, LoopNow};
use crate::publish::tasks::{Row, Sort, Task};

/// How long no answer may be before that is said; three ticks where they are
/// longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Everything that is on the screen, and where on it somebody is.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) origin: Origin,
    pub(super) look: Theme,
    pub(super) size: (u16, u16),
    /// It is text: there is no end at the bottom, and there are no keys.
    pub(super) endless: bool,
    pub(super) interval: Duration,
    pub(super) now: Duration,
    pub(super) shown: Option<Box<Data>>,
    /// What came while it was frozen.
    pub(super) newest: Option<Box<Data>>,
    pub(super) frozen: Option<Duration>,
    pub(super) answered: Duration,
    pub(super) failed: Option<String>,
    pub(super) progress: Progress,
    pub(super) chosen: Option<CompactString>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    pub(super) focus: Focus,
    pub(super) tasks: Cursor,
    pub(super) task_key: Option<(u32, Cause)>,
    pub(super) bdis: Cursor,
    pub(super) page: Option<Page>,
    pub(super) scroll: usize,
}

/// Which table the arrows move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    #[default]
    Tasks,
    Bdis,
}

/// Where in a table one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub at: usize,
    /// The first row that is shown.
    pub top: usize,
}

/// What may lie over the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Help,
    /// The cycle of the loop, as its evidence draws it.
    Cycle,
    /// What to do about the loop.
    Measures,
    Events,
    /// What comes in, and what does not.
    Inputs,
    Task(u32),
    Bdi(CompactString),
}

impl Cursor {
    /// Moves within so many rows, of which so many are seen.
    pub fn go(&mut self, by: isize, rows: usize, seen: usize) {
        self.at = self.at.saturating_add_signed(by);
        self.keep(rows, seen);
    }

    /// Stays where there are rows.
    pub fn keep(&mut self, rows: usize, seen: usize) {
        self.at = self.at.min(rows.saturating_sub(1));
        let seen = seen.max(1);
        let lowest = (self.at + 1).saturating_sub(seen);
        self.top = self.top.clamp(lowest, self.at);
    }
}

impl View {
    /// An empty screen; `interval` is how often it is asked.
    #[must_use]
    pub fn new(origin: Origin, look: Theme, interval: Duration) -> Self {
        Self {
            origin,
            look,
            interval,
            size: (80, 24),
            ..Self::default()
        }
    }

    /// The time since any beginning.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    /// What is shown.
    #[must_use]
    pub fn data(&self) -> Option<&Data> {
        self.shown.as_deref()
    }

    pub(super) fn width(&self) -> usize {
        self.size.0.into()
    }

    pub(super) const fn cursor(&self, focus: Focus) -> Cursor {
        match focus {
            Focus::Tasks => self.tasks,
            Focus::Bdis => self.bdis,
        }
    }

    /// Which of the rows of a table that are seen is to be marked.
    pub(super) fn selected(&self, focus: Focus) -> Option<usize> {
        let Cursor { at, top } = self.cursor(focus);
        let marked = !self.endless && self.focus == focus;
        marked.then(|| at.saturating_sub(top))
    }

    /// The rows of tasks that are seen.
    pub(super) fn rows(&self, most: usize) -> &[Row] {
        let all = self.data().map_or(&[][..], |data| &data.rows.tasks);
        let from = self.tasks.top.min(all.len());
        let to = from.saturating_add(most).min(all.len());
        all.get(from..to).unwrap_or_default()
    }

    pub(super) fn row(&self) -> Option<&Row> {
        self.data()?.rows.tasks.get(self.tasks.at)
    }

    pub(super) fn bdi(&self) -> Option<&BdiNow> {
        self.data()?.node.bdis.get(self.bdis.at)
    }

    /// The loop that is looked at: the one that was chosen, or the worst.
    pub(super) fn loop_at(&self) -> Option<(usize, &LoopNow)> {
        let loops = &self.data()?.node.loops;
        let chosen = |one: &LoopNow| self.chosen.as_ref() == Some(&one.id);
        let at = loops.iter().position(chosen).unwrap_or(0);
        Some((at, loops.get(at)?))
    }

    /// The thread that is looked at, as far as it is known.
    pub(super) fn detail(&self, tid: u32) -> Option<&Task> {
        let both = [&self.newest, &self.shown].into_iter().flatten();
        let mut details = both.filter_map(|data| data.detail.as_ref());
        details.find(|detail| detail.tid == tid)
    }

    /// For how long nothing changes on the screen, if somebody wants it so.
    pub(super) fn frozen(&self) -> Option<Duration> {
        self.frozen.map(|since| self.now.saturating_sub(since))
    }

    /// That, and why, nothing new comes.
    pub(super) fn trouble(&self) -> Option<String> {
        let silent = self.now.saturating_sub(self.answered);
        let patience = PATIENCE.max(self.interval.saturating_mul(3));
        if self.failed.is_none() && silent < patience {
            return None;
        }
        let what = match &self.origin {
            Origin::Daemon(url) => format!("NO ANSWER from {url}"),
            Origin::Own => "NO TICK".to_owned(),
        };
        let why = self.failed.as_deref();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let words = about(silent.as_secs_f64());
        Some(format!("{what} for {words}{why}"))
    }

    /// The next loop, or the one before.
    pub(super) fn next_loop(&mut self, back: bool) {
        let Some((at, _)) = self.loop_at() else {
            return;
        };
        let loops = self.data().map_or(&[][..], |data| &data.node.loops);
        let by = if back {
            loops.len().saturating_sub(1)
        } else {
            1
        };
        let at = (at + by).checked_rem(loops.len()).unwrap_or(0);
        self.chosen = loops.get(at).map(|one| one.id.clone());
        self.scroll = 0;
    }
}
