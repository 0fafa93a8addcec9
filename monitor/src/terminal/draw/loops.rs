//! A loop: what it is, its conditions, what to type, what was acknowledged.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::symbols::bar;
use ratatui::text::Line;
use ratatui::widgets::{Sparkline, Widget as _};

use super::{names, paragraph, text};
use crate::publish::node::{LoopNow, Node};
use crate::terminal::theme::{Theme, Tone};
use crate::terminal::view::View;
use crate::terminal::words::{about, between, clean, count, number, whole, within};
use monitor_model::{
    loops::Scope, mitigation::Measure, observation::ClientKind, verdict::Condition,
};
use monitor_verdict::text::{bytes, percent, rate};
use unicode_width::UnicodeWidthStr as _;

/// Columns before the sparkline and the command.
const LABEL: u16 = 9;
/// Columns after the sparkline, at least.
const WORDS: u16 = 38;
/// Columns that commands take where there is no edge.
const MOST_COLUMNS: usize = 1000;

/// Nodes of a path with one server.
const PLAIN_PATH: usize = 3;

/// The heading of the loop that is looked at.
pub fn heading(view: &View, node: &Node, at: usize, one: &LoopNow) -> Line<'static> {
    let mut words = format!(" LOOP {}", told(one));
    if node.loops.len() > 1 {
        let (at, all) = (at + 1, node.loops_total);
        words = format!(" LOOP {at} of {all}: {}", lasting(node, one));
    }
    Line::from(view.look.say(Tone::Heading, words))
}

/// Its state, and for how long it is so.
fn lasting(node: &Node, one: &LoopNow) -> String {
    let since = about(between(one.since_unix_ms, node.unix_ms));
    format!("{} for {since}: {}", one.state.as_str(), told(one))
}

/// `/mnt (0:29-nfsd): dirty-throttle, 10.9.0.2:/, cross-netns, not exempt, proof xid`.
fn told(one: &LoopNow) -> String {
    let Some(found) = &one.found else {
        return format!("{}: no longer exists", one.id);
    };
    let mut words = format!("{} ({}): ", names::of_mount(one), one.id);
    if one.is_stuck() {
        words = words + one.verdict.signature.as_str() + ", ";
    }
    words += &names::of_source(found);
    if !matches!(found.scope, Scope::None | Scope::Unknown) {
        words = words + ", " + found.scope.as_str();
    }
    let (exempt, proof) = (found.exempt.state.words(), found.proof.as_str());
    // What mount, nfsd and disk say already needs no path.
    let is_plain = found.client_kind == ClientKind::Nfs && found.path.len() <= PLAIN_PATH;
    if !is_plain {
        words = words + ", " + &found.path_words();
    }
    format!("{words}, {exempt}, proof {proof}")
}

/// The four conditions of the loop that is looked at.
pub fn conditions(view: &View, one: &LoopNow) -> Vec<Line<'static>> {
    let all = &one.verdict.conditions;
    let words = |name: &str, condition: &Condition, value: fn(f64) -> String| {
        let value = condition.value.map(|v| format!(" ({})", value(v)));
        let holds = holds(condition.holds);
        format!("{name} {holds}{}", value.unwrap_or_default())
    };
    let parts = [
        words("demand", &all.demand, bytes),
        words("no progress", &all.no_progress, rate),
        words("blockage", &all.blockage, percent),
        words("closing edge", &all.closing_edge, percent),
    ];
    let text = format!("{} of 4 conditions: {}", all.count(), parts.join(", "));
    paragraph(view, &text, usize::MAX)
}

/// Whether a condition holds.
pub const fn holds(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// What gets it out, if it is or may be stuck; else what is dangerous about it. In
/// so many lines at most. A command is a line: it is there to be copied.
pub fn to_type(view: &View, one: &LoopNow, most: usize) -> Vec<Line<'static>> {
    let look = view.look;
    let room = view.width().saturating_sub(LABEL.into());
    if one.is_stuck() {
        let Some(best) = one.measures.first() else {
            return Vec::new();
        };
        let columns = if view.endless { MOST_COLUMNS } else { room };
        let all = typed(best, room, columns, most, look);
        return labelled(" TYPE    ", Tone::Bad, all, look);
    }
    let risk = one.found.as_ref().and_then(|found| found.risk.first());
    let words = risk.map_or("", String::as_str);
    let all = within(words, room, most, look);
    labelled(" RISK    ", Tone::Warn, all, look)
}

/// The commands, if each fits into so many columns: half a command is worse than none.
fn typed(best: &Measure, room: usize, columns: usize, most: usize, look: Theme) -> Vec<String> {
    let mut all: Vec<String> = best.commands.iter().map(|line| clean(line, look)).collect();
    if all.is_empty() || all.iter().any(|line| line.width() > columns) {
        let words = format!("(m: commands) {}", best.what);
        return within(&words, room, most, look);
    }
    if all.len() > most {
        let kept = most.saturating_sub(1);
        let rest = count(number(all.len() - kept), "more command");
        all.truncate(kept);
        all.push(format!("(m: {rest}, why, and the undo)"));
    }
    all
}

fn labelled(label: &str, tone: Tone, lines: Vec<String>, look: Theme) -> Vec<Line<'static>> {
    let blank = " ".repeat(LABEL.into());
    let lines = lines.into_iter().enumerate().map(|(at, line)| {
        let label = if at == 0 { label } else { &blank };
        Line::from(vec![look.say(tone, label), look.say(Tone::Strong, line)])
    });
    lines.collect()
}

/// What was acknowledged, tick by tick.
pub fn progress(view: &View, area: Rect, buffer: &mut Buffer) {
    let (Some(data), Some((_, one))) = (view.data(), view.loop_at()) else {
        return;
    };
    let look = view.look;
    let room = area.width.saturating_sub(LABEL + WORDS).clamp(1, 120);
    let values = view.progress.of(&one.id, room.into());
    let most = values.iter().flatten().copied().fold(0.0, f32::max);
    let now = one.verdict.conditions.no_progress.value;
    let now = now.map_or_else(|| "unknown".to_owned(), |now| format!("{} now", rate(now)));
    let spent = about(values.len() as f64 * data.node.daemon.interval_seconds);
    let words = format!(" {now}, most {} in {spent}", rate(most.into()));
    let stuck = one.is_stuck();
    let tone = if stuck { Tone::Bad } else { Tone::Plain };
    let bars = u16::try_from(values.len()).unwrap_or(room);
    let [label, bars] = [LABEL, bars].map(Constraint::Length);
    let [label, bars, rest] = Layout::horizontal([label, bars, Constraint::Fill(1)]).areas(area);
    let acked = Line::from(look.say(Tone::Strong, " ACKED"));
    text(&[acked], look, label, buffer);
    let bar_chart = sparkline(&values, most, look).style(look.style(tone));
    bar_chart.render(bars, buffer);
    text(&[Line::from(words)], look, rest, buffer);
}

/// Unknown values are a blank, and what is nothing at all is less than the least that
/// is something.
fn sparkline(values: &[Option<f32>], most: f32, look: Theme) -> Sparkline<'static> {
    const ASCII: bar::Set<'static> = bar::Set {
        empty: "_",
        one_eighth: "_",
        one_quarter: ".",
        three_eighths: ":",
        half: "-",
        five_eighths: "=",
        three_quarters: "+",
        seven_eighths: "*",
        full: "#",
    };
    const BLOCKS: bar::Set<'static> = bar::Set {
        empty: bar::ONE_EIGHTH,
        ..bar::NINE_LEVELS
    };
    let step = |value: f32| match f64::from(value / most) {
        part if part > 0.0 => whole(part * 7.0).clamp(1, 7) + 1,
        _ => 0,
    };
    let known = |value: &Option<f32>| value.filter(|value| value.is_finite()).map(step);
    Sparkline::default()
        .data(values.iter().map(known))
        .max(8)
        .absent_value_symbol(" ")
        .bar_set(if look.unicode { BLOCKS } else { ASCII })
}

/// A line for each loop but the one that is looked at.
pub fn others(node: &Node, at: usize) -> Vec<Line<'static>> {
    let loops = node.loops.iter().enumerate();
    let others = loops.filter(|(other, _)| *other != at);
    let lines = others.map(|(_, one)| Line::from(format!(" {}", lasting(node, one))));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::plain::dump;

    #[test]
    fn nothing_is_less_than_little_and_unknown_is_neither() {
        let values = [0.0, 0.01, 50.0, 100.0, f32::NAN].map(Some);
        let values = [&[None][..], &values].concat();
        let drawn = |values: &[Option<f32>], most, unicode| {
            let look = Theme {
                colour: false,
                unicode,
            };
            let area = Rect::new(0, 0, 6, 1);
            let mut buffer = Buffer::empty(area);
            sparkline(values, most, look).render(area, &mut buffer);
            dump(&buffer, false)
        };
        assert_eq!(drawn(&values, 100.0, true), " ▁▂▄█\n");
        assert_eq!(drawn(&values, 100.0, false), " _.-#\n");
        assert_eq!(drawn(&values[1..3], 0.0, true), "▁█\n");
    }
}
