//! From the state to lines, and from lines to the screen.
//!
//! Which part gets how many lines is decided by [`plan`]: what matters most gets
//! its least first.

mod bdis;
mod health;
mod loops;
mod node;
mod pages;
mod picture;
mod plan;
mod servers;
mod tasks;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use self::plan::{Part, Plan, plan};
use super::look::Tone;
use super::view::{Focus, View};
use super::words::{clean_line, cut};

pub use self::bdis::table as bdi_table;
pub use self::health::{also, health};
pub use self::loops::{others as other_loops, section as loop_section};
pub use self::node::{meta, reason, state};
pub use self::servers::servers;
pub use self::tasks::table as task_table;

/// Rows that there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Of tasks.
    pub tasks: usize,
    /// Of backing devices.
    pub bdis: usize,
}

impl Room {
    /// Of the table with the focus.
    pub const fn of(self, focus: Focus) -> usize {
        match focus {
            Focus::Tasks => self.tasks,
            Focus::Bdis => self.bdis,
        }
    }
}

/// How many rows the tables have on this screen.
pub fn room(view: &View) -> Room {
    let plan = plan(view);
    let rows = |part| plan.lines_of(part).saturating_sub(1);
    Room {
        tasks: rows(Part::Tasks),
        bdis: rows(Part::Bdis),
    }
}

/// Draws it all.
pub fn draw(view: &View, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let lines = if view.page.is_some() {
        page(view)
    } else {
        screen(view, plan(view))
    };
    let bottom = area.y.saturating_add(area.height);
    for (y, mut line) in (area.y..bottom).zip(lines) {
        clean_line(&mut line, view.look);
        let (fill, style) = (line.width() < width, line.style);
        buffer.set_line(area.x, y, &line, area.width);
        if fill && style != Style::new() {
            buffer.set_style(Rect::new(area.x, y, area.width, 1), style);
        }
    }
}

fn screen(view: &View, plan: Plan) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (part, count, mut made) in plan.parts {
        match part {
            Part::Tasks if count > 0 => made = tasks::table(view, width(view), count - 1, true),
            Part::Bdis if count > 0 => made = bdis::table(view, width(view), count - 1, true),
            _ => {}
        }
        made.resize(count, Line::default());
        lines.append(&mut made);
    }
    lines
}

/// Columns of the screen.
pub fn width(view: &View) -> usize {
    view.size.0.into()
}

/// Lines of a page that are seen.
pub fn page_height(view: &View) -> usize {
    usize::from(view.size.1).saturating_sub(3)
}

/// All lines of the page that is open.
pub fn page_lines(view: &View) -> Vec<Line<'static>> {
    let page = view.page.as_ref();
    page.map_or_else(Vec::new, |page| pages::lines(view, page, width(view)))
}

/// The state stays on top of every page.
fn page(view: &View) -> Vec<Line<'static>> {
    let Some(page) = &view.page else {
        return Vec::new();
    };
    let (width, height) = (width(view), page_height(view));
    let all = page_lines(view);
    let from = view.scroll.min(all.len().saturating_sub(height));
    let more = all.len().saturating_sub(from + height);
    let mut title = pages::title(page);
    if more > 0 {
        title = format!("{title} ({more} more lines: down)");
    }
    let title = cut(&title, width, view.look);
    let mut lines = vec![state(view, width)];
    lines.push(Line::from(view.look.say(Tone::Heading, title)));
    lines.extend(all.into_iter().skip(from).take(height));
    lines.resize(height + 2, Line::default());
    lines.push(health::page_keys(view, width));
    lines
}
