//! What changes the state of the screen: a new size, an answer, a key that moves a cursor.
//! All of it asks how much room there is.

use super::data::{Answer, Request};
use super::draw;
use super::view::{Focus, Page, View};
use crate::publish::tasks::TaskQuery;

/// Tasks that a daemon gives at most.
const MAX_TASKS: usize = 1000;

impl View {
    /// The terminal has so many columns and lines. One that does not know is
    /// taken for the usual one.
    pub fn resize(&mut self, width: u16, height: u16) {
        let size = if width == 0 || height == 0 {
            (80, 24)
        } else {
            (width, height)
        };
        if self.size != size {
            self.size = size;
            self.settle();
        }
    }

    /// What came of the last question.
    pub fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Failed(why) => self.failed = Some(why),
            Answer::Fresh(mut data) => {
                self.failed = None;
                self.answered = self.now;
                if !data.tracks.is_empty() {
                    self.progress.begin(std::mem::take(&mut data.tracks));
                }
                self.progress.add(&data.node);
                if self.frozen.is_some() {
                    self.newest = Some(data);
                } else {
                    self.shown = Some(data);
                }
            }
        }
        self.settle();
    }

    /// What is to be asked for: what fits.
    #[must_use]
    pub fn request(&self) -> Request {
        let rows = draw::rows(self).0.saturating_add(self.tasks.top);
        Request {
            rows: TaskQuery {
                sort: self.sort,
                limit: rows.clamp(1, MAX_TASKS),
                matching: self.filter.clone(),
            },
            detail: match self.page {
                Some(Page::Task(tid)) => Some(tid),
                _ => None,
            },
        }
    }

    pub(super) fn freeze(&mut self) {
        if self.frozen.take().is_some() {
            self.shown = self.newest.take().or(self.shown.take());
        } else {
            self.frozen = Some(self.now);
        }
        self.settle();
    }

    /// Goes on, for there is something else to ask for.
    pub(super) fn thaw(&mut self) {
        if self.frozen.is_some() {
            self.freeze();
        }
    }

    /// Cursors stay where there are rows.
    pub(super) fn settle(&mut self) {
        let (tasks, bdis) = draw::rows(self);
        let rows = self.rows(tasks).iter();
        let mut keys = rows.map(|row| (row.task.tid, row.task.cause));
        // The cursor follows its task as far as that is seen.
        let at = self
            .task_key
            .and_then(|key| keys.position(|one| one == key));
        if let Some(at) = at {
            self.tasks.at = self.tasks.top.saturating_add(at);
        }
        self.tasks.keep(self.all(Focus::Tasks), tasks);
        self.bdis.keep(self.all(Focus::Bdis), bdis);
        // On the first row one is wherever it is.
        if self.tasks.at == 0 {
            self.task_key = None;
        }
    }

    /// All rows of a table.
    fn all(&self, focus: Focus) -> usize {
        let rows = match (self.data(), focus) {
            (None, _) => 0,
            (Some(data), Focus::Bdis) => data.node.bdis.len(),
            (Some(data), Focus::Tasks) => data.rows.matching.max(data.rows.tasks.len()),
        };
        rows.min(MAX_TASKS)
    }

    /// Rows in the table that has the focus.
    pub(super) fn walk(&mut self, by: isize) {
        let ((tasks, bdis), rows) = (draw::rows(self), self.all(self.focus));
        match self.focus {
            Focus::Bdis => self.bdis.go(by, rows, bdis),
            Focus::Tasks => {
                self.tasks.go(by, rows, tasks);
                let moved = self.row().filter(|_| self.tasks.at > 0);
                self.task_key = moved.map(|row| (row.task.tid, row.task.cause));
            }
        }
    }
}
