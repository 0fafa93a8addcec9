//! The same view as text, for a pipe or a terminal that can do no more.

use std::fmt::Write as _;

use ratatui::backend::IntoCrossterm as _;
use ratatui::crossterm::style::ContentStyle;
use ratatui::style::Style;
use ratatui::text::Line;

use super::draw;
use super::view::View;
use super::words::clean_line;

/// Tasks in it.
pub const PLAIN_TASKS: usize = 20;
/// Lines of the reason.
const REASON: usize = 20;

/// The view without an end at the bottom of a screen, in parts with an empty
/// line between them.
fn parts(view: &View, width: usize) -> Vec<Vec<Line<'static>>> {
    let mut top = vec![draw::state(view, width)];
    top.extend(draw::reason(view, width, REASON));
    top.push(draw::meta(view, width));
    let mut others = draw::other_loops(view, width);
    let mut loops = draw::loop_section(view, width);
    loops.append(&mut others);
    let mut last = draw::also(view, width, REASON);
    last.extend(draw::health(view, width));
    let parts = [
        top,
        loops,
        draw::servers(view, width, REASON),
        draw::task_table(view, width, PLAIN_TASKS, false),
        draw::bdi_table(view, width, PLAIN_TASKS, false),
        last,
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

fn all(view: &View, width: usize) -> Vec<Line<'static>> {
    let mut lines = parts(view, width).join(&Line::default());
    for line in &mut lines {
        clean_line(line, view.look);
    }
    lines
}

/// Plain lines of at most so many columns.
#[must_use]
pub fn plain(view: &View, width: usize) -> String {
    let mut out = String::new();
    for line in all(view, width) {
        let _ = writeln!(out, "{}", line.to_string().trim_end());
    }
    out
}

/// The same with colours, as escape codes.
#[must_use]
pub fn ansi(view: &View, width: usize) -> String {
    let mut out = String::new();
    for line in all(view, width) {
        for span in line.spans {
            if span.style == Style::new() {
                out.push_str(&span.content);
            } else {
                let style: ContentStyle = span.style.into_crossterm();
                let _ = write!(out, "{}", style.apply(span.content));
            }
        }
        out.push('\n');
    }
    out
}
