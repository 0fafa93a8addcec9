//! The same view as text, for a pipe or a terminal that can do no more.

use std::fmt::Write as _;

use ratatui::backend::IntoCrossterm as _;
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::style::ContentStyle;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

use super::draw;
use super::view::View;

/// Tasks in it.
pub const PLAIN_TASKS: usize = 20;

/// The screen of so many columns and as many lines as it wants, without keys; with
/// escape codes where it is in colours. Only commands are wider than that: a pipe has
/// no edge that would cut them.
#[must_use]
pub fn plain(view: &View, width: u16) -> String {
    let mut view = view.clone();
    view.endless = true;
    view.size = (width, u16::MAX);
    let parts = draw::wanted(&view);
    let lines = parts.iter().map(|part| part.lines).sum::<usize>();
    let widest = parts.iter().map(draw::Part::width).max().unwrap_or(0);
    let number = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, number(widest).max(width), number(lines));
    let mut buffer = Buffer::empty(area);
    draw::parts(&view, &parts, area, &mut buffer);
    dump(&buffer, view.look.colour)
}

/// What was drawn, without blanks at the end of lines.
pub fn dump(buffer: &Buffer, coloured: bool) -> String {
    let mut out = String::new();
    let width = usize::from(buffer.area.width).max(1);
    for row in buffer.content.chunks(width) {
        let mut cells: Vec<&Cell> = Vec::new();
        let mut covered = 0;
        for cell in row {
            // A wide character covers the next cell.
            if covered == 0 {
                cells.push(cell);
                covered = cell.symbol().width().max(1);
            }
            covered -= 1;
        }
        let blank = |cell: &&&Cell| cell.symbol() == " " && (!coloured || ***cell == Cell::EMPTY);
        let end = cells.iter().rev().take_while(blank).count();
        cells.truncate(cells.len() - end);
        for run in cells.chunk_by(|one, next| one.style() == next.style()) {
            let text: String = run.iter().map(|cell| cell.symbol()).collect();
            match run.first().map(|cell| cell.style()) {
                Some(style) if coloured && style != Cell::EMPTY.style() => {
                    let style: ContentStyle = style.into_crossterm();
                    let _ = write!(out, "{}", style.apply(text));
                }
                _ => out.push_str(&text),
            }
        }
        out.push('\n');
    }
    out
}
