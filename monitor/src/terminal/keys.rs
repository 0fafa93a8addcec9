//! What a key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::draw;
use super::view::{Cursor, Focus, Page, View};
use crate::publish::tasks::{MAX_MATCH, Sort};

/// What is to be done beside drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Go,
    /// The whole screen is to be drawn anew.
    Redraw,
    /// It is over.
    Quit,
}

impl View {
    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Go;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Action::Quit,
            KeyCode::Char('l') if control => return Action::Redraw,
            code if self.typing => self.typed(code, control),
            code if self.page.is_some() => return self.on_page(code),
            code => return self.on_screen(code),
        }
        Action::Go
    }

    fn typed(&mut self, code: KeyCode, control: bool) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if control => self.filter.clear(),
            KeyCode::Char(c) if !control && !c.is_control() => {
                if self.filter.chars().count() < MAX_MATCH {
                    self.filter.push(c);
                }
            }
            _ => return,
        }
        self.tasks = Cursor::default();
        self.task_key = None;
        self.thaw();
    }

    fn on_screen(&mut self, code: KeyCode) -> Action {
        let rows = match (draw::rows(self), self.focus) {
            ((tasks, _), Focus::Tasks) => tasks,
            ((_, bdis), Focus::Bdis) => bdis,
        };
        let screen = isize::try_from(rows).unwrap_or(isize::MAX);
        match code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.walk(-1),
            KeyCode::Down | KeyCode::Char('j') => self.walk(1),
            KeyCode::PageUp => self.walk(-screen),
            KeyCode::PageDown => self.walk(screen),
            KeyCode::Home | KeyCode::Char('g') => self.walk(isize::MIN),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::Tasks => Focus::Bdis,
                    Focus::Bdis => Focus::Tasks,
                };
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => self.sort_by(next(self.sort)),
            KeyCode::Char('r') => self.sort_by(Sort::Recent),
            KeyCode::Char('a') => self.sort_by(Sort::Age),
            KeyCode::Char('d') => self.sort_by(Sort::Delay),
            KeyCode::Char('w') => self.sort_by(Sort::Waits),
            KeyCode::Esc => {
                self.filter.clear();
                self.thaw();
            }
            KeyCode::Enter => {
                let page = match self.focus {
                    Focus::Tasks => self.row().map(|row| Page::Task(row.task.tid)),
                    Focus::Bdis => self.bdi().map(|one| Page::Bdi(one.bdi.bdi.clone())),
                };
                self.open(page);
            }
            code => self.anywhere(code),
        }
        Action::Go
    }

    fn on_page(&mut self, code: KeyCode) -> Action {
        let screen = draw::page_height(self);
        let most = draw::page_lines(self).len().saturating_sub(screen);
        let scroll = self.scroll.min(most);
        match code {
            KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace => {
                self.open(None);
                return Action::Go;
            }
            KeyCode::Up | KeyCode::Char('k') => self.scroll = scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = (scroll + 1).min(most),
            KeyCode::PageUp => self.scroll = scroll.saturating_sub(screen),
            KeyCode::PageDown => self.scroll = scroll.saturating_add(screen).min(most),
            KeyCode::Home | KeyCode::Char('g') => self.scroll = 0,
            code => self.anywhere(code),
        }
        Action::Go
    }

    /// Keys that do the same on the screen and on a page over it.
    fn anywhere(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(' ') => self.freeze(),
            KeyCode::Char('n') | KeyCode::Right => self.next_loop(false),
            KeyCode::Char('p') | KeyCode::Left => self.next_loop(true),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.open(Some(Page::Help)),
            KeyCode::Char('c') => self.open(Some(Page::Cycle)),
            KeyCode::Char('m') => self.open(Some(Page::Measures)),
            KeyCode::Char('e') => self.open(Some(Page::Events)),
            KeyCode::Char('i') => self.open(Some(Page::Inputs)),
            _ => {}
        }
    }

    /// The same key again closes it.
    fn open(&mut self, page: Option<Page>) {
        self.page = page.filter(|page| self.page.as_ref() != Some(page));
        self.scroll = 0;
        self.settle();
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.tasks = Cursor::default();
        self.task_key = None;
        self.thaw();
    }
}

fn next(sort: Sort) -> Sort {
    match sort {
        Sort::Recent => Sort::Age,
        Sort::Age => Sort::Delay,
        Sort::Delay => Sort::Waits,
        Sort::Waits => Sort::Recent,
    }
}
