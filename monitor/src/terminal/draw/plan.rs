//! How many lines each part of the screen gets.

use ratatui::text::Line;

use super::health::{also as also_lines, health, keys};
use super::servers::servers;
use super::{bdis, loops, node, width};
use crate::terminal::view::View;

/// From this height on the cycle is drawn whole.
const PICTURED: usize = 14;
/// From this height on there is room for what is not needed at once.
const TALL: usize = 30;
/// From this height on there are empty lines between the parts.
const AIRY: usize = 40;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The state of the node.
    State,
    /// That nothing new comes, or is wanted.
    Notice,
    /// Why the state is so.
    Reason,
    /// Where this comes from.
    Meta,
    /// Nothing.
    Gap,
    /// The loop, with its cycle.
    Loop,
    /// The four conditions.
    Conditions,
    /// What to type.
    Type,
    /// What was acknowledged.
    Progress,
    /// The servers' threads.
    Servers,
    /// A table with its heading.
    Tasks,
    /// The same.
    Bdis,
    /// Related conditions.
    Also,
    /// What does not come in.
    Health,
    /// What nobody wants.
    Rest,
    /// The keys.
    Keys,
}

/// What each part gets, from the top down.
pub struct Plan {
    /// Its lines, unless it is a table.
    pub parts: Vec<(Part, usize, Vec<Line<'static>>)>,
}

impl Plan {
    pub fn lines_of(&self, part: Part) -> usize {
        let mut parts = self.parts.iter();
        parts.find(|one| one.0 == part).map_or(0, |one| one.1)
    }
}

/// What a part asks for.
struct Want {
    part: Part,
    /// The lowest is served first.
    rank: u8,
    least: usize,
    most: usize,
    lines: Vec<Line<'static>>,
}

fn text(part: Part, rank: u8, lines: Vec<Line<'static>>) -> Want {
    Want {
        part,
        rank,
        least: lines.len().min(1),
        most: lines.len(),
        lines,
    }
}

fn gap(is_airy: bool) -> Want {
    text(Part::Gap, 20, vec![Line::default(); usize::from(is_airy)])
}

fn wants(view: &View) -> Vec<Want> {
    let width = width(view);
    let height = usize::from(view.size.1);
    let is_airy = height >= AIRY;
    let (reason, typed) = if height >= TALL { (5, 6) } else { (3, 2) };
    let conditions = if height >= TALL {
        loops::conditions(view, width)
    } else {
        Vec::new()
    };
    let cycle = loops::cycle(view, width);
    let also = if height >= TALL { 4 } else { 1 };
    let data = view.data();
    let tasks = data.map_or(0, |data| data.rows.matching);
    let table = |part, rank, least, rows: usize| Want {
        part,
        rank,
        least,
        most: rows.saturating_add(1).max(least),
        lines: Vec::new(),
    };
    vec![
        text(Part::State, 0, vec![node::state(view, width)]),
        text(Part::Notice, 1, node::notice(view, width)),
        text(Part::Reason, 2, node::reason(view, width, reason)),
        text(Part::Meta, 10, vec![node::meta(view, width)]),
        gap(is_airy),
        Want {
            least: if height >= PICTURED {
                cycle.len()
            } else {
                cycle.len().min(1)
            },
            ..text(Part::Loop, 5, cycle)
        },
        text(Part::Conditions, 13, conditions),
        text(Part::Type, 3, loops::to_type(view, width, typed)),
        text(Part::Progress, 8, loops::progress(view, width)),
        gap(is_airy),
        text(Part::Servers, 6, servers(view, width, 4)),
        gap(is_airy),
        table(Part::Tasks, 7, 3, tasks),
        gap(is_airy),
        table(Part::Bdis, 9, 2, bdis::rows(view)),
        text(Part::Also, 11, also_lines(view, width, also)),
        text(Part::Health, 12, health(view, width)),
        text(Part::Rest, 30, Vec::new()),
        text(Part::Keys, 4, vec![keys(view, width)]),
    ]
}

/// Divides the lines of the screen.
pub fn plan(view: &View) -> Plan {
    let wants = wants(view);
    let counts = shares(usize::from(view.size.1), &wants);
    let parts = wants.into_iter().zip(counts);
    let parts = parts.map(|(want, count)| {
        let mut lines = want.lines;
        lines.truncate(count);
        (want.part, count, lines)
    });
    Plan {
        parts: parts.collect(),
    }
}

/// First everybody's least, by rank, then the rest of the text, by rank; what is
/// left is for the tables, a third of it for the BDIs.
fn shares(height: usize, wants: &[Want]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&at| wants.get(at).map(|want| want.rank));
    let mut counts = vec![0; wants.len()];
    let mut room = height;
    let is_table = |part| matches!(part, Part::Tasks | Part::Bdis);
    for least in [true, false] {
        for &at in &order {
            let (Some(want), Some(count)) = (wants.get(at), counts.get_mut(at)) else {
                continue;
            };
            if least && want.least <= room {
                *count = want.least;
                room -= want.least;
            } else if !least && !is_table(want.part) {
                let more = want.most.saturating_sub(*count).min(room);
                *count += more;
                room -= more;
            }
        }
    }
    let mut give = |part: Part, room: usize| {
        let mut both = wants.iter().zip(&mut counts);
        let found = both.find(|(want, count)| want.part == part && **count > 0);
        found.map_or(0, |(want, count)| {
            let more = want.most.saturating_sub(*count).min(room);
            *count += more;
            more
        })
    };
    let bdis = give(Part::Bdis, room.div_ceil(3));
    let tasks = give(Part::Tasks, room - bdis);
    let rest = room - bdis - tasks;
    let rest = rest - give(Part::Bdis, rest);
    let mut both = wants.iter().zip(&mut counts);
    if let Some((_, count)) = both.find(|(want, _)| want.part == Part::Rest) {
        *count = rest;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants() -> Vec<Want> {
        let lines = |count| vec![Line::default(); count];
        let table = |part, rank| Want {
            part,
            rank,
            least: 3,
            most: 5,
            lines: Vec::new(),
        };
        vec![
            text(Part::State, 0, lines(1)),
            text(Part::Loop, 5, lines(6)),
            table(Part::Tasks, 7),
            table(Part::Bdis, 9),
            text(Part::Rest, 30, lines(0)),
            text(Part::Keys, 4, lines(1)),
        ]
    }

    #[test]
    fn what_matters_most_gets_its_least_first_and_a_table_is_whole_or_absent() {
        assert_eq!(shares(0, &wants()), [0, 0, 0, 0, 0, 0]);
        assert_eq!(shares(1, &wants()), [1, 0, 0, 0, 0, 0]);
        assert_eq!(shares(3, &wants()), [1, 1, 0, 0, 0, 1]);
        assert_eq!(shares(6, &wants()), [1, 1, 3, 0, 0, 1]);
        assert_eq!(shares(11, &wants()), [1, 3, 3, 3, 0, 1]);
    }

    #[test]
    fn what_is_left_is_for_the_tables_and_no_more_than_they_want() {
        assert_eq!(shares(17, &wants()), [1, 6, 5, 4, 0, 1]);
        assert_eq!(shares(500, &wants()), [1, 6, 5, 5, 482, 1]);
    }
}
