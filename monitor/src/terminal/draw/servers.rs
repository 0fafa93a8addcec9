//! The servers' threads, by what they do.

use ratatui::text::{Line, Span};

use crate::publish::node::Server;
use crate::terminal::theme::Tone;
use crate::terminal::view::View;
use crate::terminal::words::cell;

/// Columns of the bar at most; where there are more threads, it is to scale.
const BAR: usize = 24;
/// Columns of the names at least, so that they stand as the labels around them.
const LEAST: usize = 7;
/// Columns of the names at most.
const MOST: usize = 22;

/// A line for each server.
pub fn servers(view: &View, servers: &[Server], most: usize) -> Vec<Line<'static>> {
    let shown = servers.get(..most.min(servers.len())).unwrap_or_default();
    let names: Vec<String> = shown.iter().map(|one| name(one, shown)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let longest = longest
        .unwrap_or(0)
        .clamp(LEAST, MOST)
        .min(view.width() / 3);
    let lines = shown.iter().zip(names).map(|(server, name)| {
        let name = cell(&name, longest, false, view.look) + " ";
        line(server, name, view)
    });
    lines.collect()
}

/// With its process, where there are several of that name.
fn name(server: &Server, all: &[Server]) -> String {
    let same = all.iter().filter(|one| one.name == server.name).count();
    match server.tgid.filter(|_| same > 1) {
        Some(tgid) => format!("{}[{tgid}]", server.name),
        None => server.name.to_string(),
    }
}

/// The letters of the bar stand behind their words.
fn line(server: &Server, name: String, view: &View) -> Line<'static> {
    let look = view.look;
    let states = [
        (server.throttled, 'T', Tone::Bad, "throttled"),
        (server.blocked, 'B', Tone::Warn, "blocked"),
        (server.running, 'r', Tone::Good, "running"),
        (server.idle.unwrap_or(0), '.', Tone::Dim, "idle"),
    ];
    let mut spans = vec![Span::raw(" "), look.say(Tone::Strong, name)];
    let lengths = lengths(states.map(|state| state.0));
    let has_bar = view.width() >= 70;
    if has_bar {
        spans.push(Span::raw("["));
        for ((_, letter, tone, _), length) in states.iter().zip(lengths) {
            spans.push(look.say(*tone, letter.to_string().repeat(length)));
        }
        spans.push(Span::raw("] "));
    }
    let there = states.into_iter().filter(|state| state.0 > 0);
    let mut words: Vec<String> = there
        .map(|(threads, letter, _, state)| {
            let letter = if has_bar {
                format!(" ({letter})")
            } else {
                String::new()
            };
            format!("{threads} {state}{letter}")
        })
        .collect();
    match server.idle {
        Some(0) => words.push("0 idle".to_owned()),
        Some(_) => {}
        None => words.push("idle unknown".to_owned()),
    }
    spans.push(Span::raw(words.join(", ")));
    Line::from(spans)
}

/// How long each part of the bar is: none that is something is left out.
fn lengths(threads: [usize; 4]) -> [usize; 4] {
    let all: usize = threads
        .iter()
        .fold(0, |all, some| all.saturating_add(*some));
    if all <= BAR {
        return threads;
    }
    threads.map(|some| {
        let share = some as f64 / all as f64 * BAR as f64;
        let whole = (0..=BAR).rev().find(|length| *length as f64 <= share);
        whole.unwrap_or(0).max(usize::from(some > 0))
    })
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn a_bar_is_to_scale_and_leaves_out_nothing_that_is_there() {
        assert_eq!(lengths([1, 7, 0, 0]), [1, 7, 0, 0]);
        assert_eq!(lengths([1, 4000, 95, 0]), [1, 23, 1, 0]);
        assert_eq!(lengths([usize::MAX, usize::MAX, 0, 0]), [24, 24, 0, 0]);
    }
}
