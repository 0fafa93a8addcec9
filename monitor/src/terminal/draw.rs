//! From the state to the screen.

mod bdis;
mod health;
mod loops;
mod names;
mod node;
mod pages;
mod picture;
mod screen;
mod servers;
mod tasks;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget as _;

use super::theme::Theme;
use super::view::View;
use super::words::{fitted, within};

pub use self::pages::{height as page_height, lines as page_lines};
pub use self::screen::{Part, draw as parts, parts as wanted, rows};

/// Draws it all.
pub fn draw(view: &View, area: Rect, buffer: &mut Buffer) {
    match &view.page {
        Some(page) => pages::draw(view, page, area, buffer),
        None => screen::draw(view, &screen::parts(view), area, buffer),
    }
}

/// A line of text on each row. What is too long is cut.
fn text(lines: &[Line<'static>], look: Theme, area: Rect, buffer: &mut Buffer) {
    for (row, line) in area.rows().zip(lines) {
        fitted(line, row.width.into(), look).render(row, buffer);
    }
}

/// A paragraph in so many lines at most, a column in.
fn paragraph(view: &View, words: &str, most: usize) -> Vec<Line<'static>> {
    let lines = within(words, view.width().saturating_sub(1), most, view.look);
    let lines = lines.into_iter().map(|line| Line::from(format!(" {line}")));
    lines.collect()
}
