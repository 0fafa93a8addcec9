//! The screen: which part gets how many lines. What matters most gets its least first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{bdis, health, loops, node, picture, servers, tasks, text};
use crate::terminal::data::Data;
use crate::terminal::view::{Focus, View};

/// From this height on the cycle is drawn whole.
const PICTURED: usize = 14;
/// From this height on there is room for what is not needed at once.
const TALL: usize = 30;
/// From this height on there are empty lines between the parts.
const AIRY: usize = 40;
/// Lines that any part of text has where there is no end to them.
const ENDLESS: usize = 20;

/// A part of the screen.
pub struct Part {
    /// The lowest is served first.
    rank: u8,
    least: usize,
    most: usize,
    /// What it gets.
    pub lines: usize,
    content: Content,
}

enum Content {
    Text(Vec<Line<'static>>),
    /// Lines that are there to be copied.
    Commands(Vec<Line<'static>>),
    Progress,
    Table(Focus),
    /// What no other part wants.
    Rest,
}

impl Part {
    const fn new(rank: u8, least: usize, most: usize, content: Content) -> Self {
        Self {
            rank,
            least,
            most,
            lines: 0,
            content,
        }
    }

    fn text(rank: u8, lines: Vec<Line<'static>>) -> Self {
        Self::of(rank, lines, Content::Text)
    }

    fn of(rank: u8, lines: Vec<Line<'static>>, content: fn(Vec<Line<'static>>) -> Content) -> Self {
        let most = lines.len();
        Self::new(rank, most.min(1), most, content(lines))
    }

    /// Columns that it takes even where that is more than the screen has.
    pub fn width(&self) -> usize {
        match &self.content {
            Content::Commands(lines) => lines.iter().map(Line::width).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn draw(&self, view: &View, area: Rect, buffer: &mut Buffer) {
        let width = area.width.min(view.size.0);
        let within = Rect { width, ..area };
        match (&self.content, view.data()) {
            (Content::Text(lines), _) => text(lines, view.look, within, buffer),
            (Content::Commands(lines), _) => text(lines, view.look, area, buffer),
            (Content::Progress, Some(_)) => loops::progress(view, within, buffer),
            (Content::Table(focus), Some(data)) if area.height > 0 => match focus {
                Focus::Tasks => tasks::draw(view, data, within, buffer),
                Focus::Bdis => bdis::draw(view, &data.node, within, buffer),
            },
            _ => {}
        }
    }
}

fn wants(view: &View) -> Vec<Part> {
    let most = match usize::from(view.size.1) {
        _ if view.endless => ENDLESS,
        TALL.. => 5,
        _ => 3,
    };
    let mut all = vec![
        Part::text(0, vec![node::state(view)]),
        Part::text(1, node::notice(view)),
        Part::text(2, node::reason(view, most)),
        Part::text(10, vec![node::meta(view)]),
    ];
    if let Some(data) = view.data() {
        known(view, data, &mut all);
    }
    if !view.endless {
        all.push(Part::new(30, 0, usize::MAX, Content::Rest));
        all.push(Part::text(4, vec![health::keys(view)]));
    }
    all
}

/// What there is to show of an answer.
fn known(view: &View, data: &Data, all: &mut Vec<Part>) {
    let (height, node) = (usize::from(view.size.1), &data.node);
    let (typed, also, most_servers) = match height {
        _ if view.endless => (ENDLESS, ENDLESS, ENDLESS),
        TALL.. => (6, 4, 4),
        _ => (2, 1, 4),
    };
    let gap = || Part::text(20, vec![Line::default(); usize::from(height >= AIRY)]);
    if let Some((at, one)) = view.loop_at() {
        let mut cycle = vec![loops::heading(view, node, at, one)];
        cycle.extend(picture::picture(one, view.width(), view.look));
        let mut cycle = Part::text(5, cycle);
        if height >= PICTURED {
            cycle.least = cycle.most;
        }
        all.extend([gap(), cycle]);
        if height >= TALL {
            all.push(Part::text(13, loops::conditions(view, one)));
        }
        let typed = loops::to_type(view, one, typed);
        all.push(Part::of(3, typed, Content::Commands));
        all.push(Part::new(8, 1, 1, Content::Progress));
        if view.endless {
            all.push(Part::text(14, loops::others(node, at)));
        }
    }
    if !node.servers.is_empty() {
        let servers = servers::servers(view, &node.servers, most_servers);
        all.extend([gap(), Part::text(6, servers)]);
    }
    let table = |rank, least, rows: usize, focus| {
        let most = rows.saturating_add(1).max(least);
        Part::new(rank, least, most, Content::Table(focus))
    };
    // A screen asks for as many tasks as it has room for; text has no end but what is there.
    let tasks = if view.endless {
        data.rows.tasks.len()
    } else {
        data.rows.matching
    };
    all.extend([
        gap(),
        table(7, 3, tasks, Focus::Tasks),
        gap(),
        table(9, 2, node.bdis.len(), Focus::Bdis),
    ]);
    let (also, health) = (health::also(view, node, also), health::health(view, node));
    if !(also.is_empty() && health.is_empty()) {
        all.extend([gap(), Part::text(11, also), Part::text(12, health)]);
    }
}

/// Divides the lines of the screen.
pub fn parts(view: &View) -> Vec<Part> {
    divided(wants(view), view.size.1.into())
}

/// First the least of every part, by rank, then the rest of the text, by rank; what is
/// left is for the tables, a third of it for the BDIs.
fn divided(parts: Vec<Part>, mut room: usize) -> Vec<Part> {
    let mut parts: Vec<(usize, Part)> = parts.into_iter().enumerate().collect();
    parts.sort_by_key(|(_, part)| part.rank);
    for (_, part) in &mut parts {
        if part.least <= room {
            part.lines = part.least;
            room -= part.least;
        }
    }
    let mut give = |is_of: &dyn Fn(&Content) -> bool, most: &dyn Fn(usize) -> usize| {
        for (_, part) in parts.iter_mut().filter(|(_, part)| is_of(&part.content)) {
            let more = part.most.saturating_sub(part.lines).min(most(room));
            part.lines += more;
            room -= more;
        }
    };
    let table =
        |focus| move |content: &Content| matches!(content, Content::Table(of) if *of == focus);
    let is_text = |content: &Content| !matches!(content, Content::Table(_) | Content::Rest);
    give(&is_text, &|room| room);
    give(&table(Focus::Bdis), &|room| room.div_ceil(3));
    give(&table(Focus::Tasks), &|room| room);
    give(&table(Focus::Bdis), &|room| room);
    give(&|content| matches!(content, Content::Rest), &|room| room);
    parts.sort_by_key(|(at, _)| *at);
    parts.into_iter().map(|(_, part)| part).collect()
}

/// Rows that the tables have on this screen: of tasks, and of BDIs.
pub fn rows(view: &View) -> (usize, usize) {
    let parts = parts(view);
    let of = |focus| {
        let is_it = |part: &&Part| matches!(part.content, Content::Table(of) if of == focus);
        let table = parts.iter().find(is_it);
        table.map_or(0, |table| table.lines.saturating_sub(1))
    };
    (of(Focus::Tasks), of(Focus::Bdis))
}

/// Draws them, one below the other.
pub fn draw(view: &View, parts: &[Part], area: Rect, buffer: &mut Buffer) {
    let mut left = area;
    for part in parts {
        let height = u16::try_from(part.lines).unwrap_or(u16::MAX);
        let height = height.min(left.height);
        part.draw(view, Rect { height, ..left }, buffer);
        left.y += height;
        left.height -= height;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(height: usize) -> Vec<usize> {
        let lines = |count| vec![Line::default(); count];
        let table = |rank, focus| Part::new(rank, 3, 5, Content::Table(focus));
        let wants = vec![
            Part::text(0, lines(1)),
            Part::text(5, lines(6)),
            table(7, Focus::Tasks),
            table(9, Focus::Bdis),
            Part::text(4, lines(1)),
        ];
        let parts = divided(wants, height);
        parts.iter().map(|part| part.lines).collect()
    }

    #[test]
    fn what_matters_most_gets_its_least_first_and_a_table_is_whole_or_absent() {
        assert_eq!(shares(0), [0, 0, 0, 0, 0]);
        assert_eq!(shares(1), [1, 0, 0, 0, 0]);
        assert_eq!(shares(3), [1, 1, 0, 0, 1]);
        assert_eq!(shares(6), [1, 1, 3, 0, 1]);
        assert_eq!(shares(11), [1, 3, 3, 3, 1]);
    }

    #[test]
    fn what_is_left_is_for_the_tables_and_no_more_than_they_want() {
        assert_eq!(shares(17), [1, 6, 5, 4, 1]);
        assert_eq!(shares(500), [1, 6, 5, 5, 1]);
    }
}
