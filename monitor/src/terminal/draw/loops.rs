//! A loop: what it is, its conditions, what to type, what was acknowledged.

use ratatui::text::{Line, Span};

use super::picture;
use crate::terminal::look::{Look, Tone};
use crate::terminal::view::View;
use crate::terminal::words::{about, between, clean, count, cut, lines, number, sparkline, within};
use monitor_model::{
    loops::{Loop, Scope},
    mitigation::Measure,
    verdict::Condition,
};
use monitor_verdict::text::{bytes, percent, rate};
use unicode_width::UnicodeWidthStr as _;

/// Columns before the sparkline and the command.
const LABEL: usize = 9;
/// Lines that commands take in text.
const MOST_TYPED: usize = 20;
/// Columns that they take in text.
const MOST_COLUMNS: usize = 1000;

/// The heading of the loop that is looked at.
pub fn heading(view: &View, width: usize) -> Vec<Line<'static>> {
    let (Some(data), Some((at, one))) = (view.data(), view.loop_at()) else {
        return Vec::new();
    };
    let node = &data.node;
    let mut words = format!(" LOOP {}", one.id);
    if node.loops.len() > 1 {
        let since = about(between(one.since_unix_ms, node.unix_ms));
        let state = one.state.as_str();
        words = format!(
            " LOOP {} of {}: {} {state} for {since}",
            at + 1,
            node.loops_total,
            one.id
        );
    }
    let words = match &one.found {
        Some(found) => format!("{words}: {}", told(found)),
        None => format!("{words}: is there no more"),
    };
    vec![Line::from(
        view.look.say(Tone::Heading, cut(&words, width, view.look)),
    )]
}

fn told(found: &Loop) -> String {
    let scope = match found.scope {
        Scope::SameNetns | Scope::CrossNetns => format!(", {}", found.scope.as_str()),
        Scope::Unknown => String::new(),
    };
    let place = found.mounts.first().map_or_else(
        || "a mount that was not looked up".to_owned(),
        |mount| {
            let more = found.mounts.len() - 1;
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{} at {}{more}", mount.source, mount.mount_point)
        },
    );
    let (exempt, proof) = (found.exempt.state.words(), found.proof.as_str());
    format!("{place}{scope}, {exempt}, proof {proof}")
}

/// The four conditions of the loop that is looked at.
pub fn conditions(view: &View, width: usize) -> Vec<Line<'static>> {
    let Some((_, one)) = view.loop_at() else {
        return Vec::new();
    };
    let all = &one.verdict.conditions;
    let words = |name: &str, condition: &Condition, value: fn(f64) -> String| {
        let holds = holds(condition.holds);
        let value = condition
            .value
            .map_or_else(String::new, |v| format!(" ({})", value(v)));
        format!("{name} {holds}{value}")
    };
    let parts = [
        words("demand", &all.demand, bytes),
        words("no progress", &all.no_progress, rate),
        words("blockage", &all.blockage, percent),
        words("closing edge", &all.closing_edge, percent),
    ];
    let text = format!("{} of 4 conditions: {}", all.count(), parts.join(", "));
    let all = lines(&text, width.saturating_sub(1), view.look);
    all.into_iter()
        .map(|line| Line::from(format!(" {line}")))
        .collect()
}

const fn holds(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// What gets it out, if it is or may be stuck; else what is dangerous about it. In
/// so many lines at most. A command is a line: it is there to be copied.
pub fn to_type(view: &View, width: usize, most: usize) -> Vec<Line<'static>> {
    let Some((_, one)) = view.loop_at() else {
        return Vec::new();
    };
    let look = view.look;
    let room = width.saturating_sub(LABEL);
    if one.is_stuck() {
        let Some(best) = one.measures.first() else {
            return Vec::new();
        };
        let all = typed(best, room, most, look);
        return labelled(" TYPE    ", Tone::Bad, all, look);
    }
    let risk = one.found.as_ref().and_then(|found| found.risk.first());
    let words = risk.map_or("", String::as_str);
    let all = within(lines(words, room, look), room, most, look);
    labelled(" DANGER  ", Tone::Warn, all, look)
}

/// The commands, if each fits into a line: half a command is worse than none.
fn typed(best: &Measure, room: usize, most: usize, look: Look) -> Vec<String> {
    let fits = |line: &String| clean(line, look).width() <= room;
    if best.commands.is_empty() || !best.commands.iter().all(fits) {
        let words = format!("(m: what to type) {}", best.what);
        return within(lines(&words, room, look), room, most, look);
    }
    let commands = best.commands.iter().map(|line| clean(line, look));
    let mut all: Vec<String> = commands.collect();
    if all.len() > most {
        let kept = most.saturating_sub(1);
        let rest = count(number(all.len() - kept), "more command");
        all.truncate(kept);
        let words = format!("(m: {rest}, why, and how to take it back)");
        all.push(cut(&words, room, look));
    }
    all
}

fn labelled(label: &str, tone: Tone, lines: Vec<String>, look: Look) -> Vec<Line<'static>> {
    let blank = " ".repeat(LABEL);
    let lines = lines.into_iter().enumerate().map(|(at, line)| {
        let label = if at == 0 { label } else { &blank };
        Line::from(vec![look.say(tone, label), look.say(Tone::Strong, line)])
    });
    lines.collect()
}

/// What was acknowledged, tick by tick.
pub fn progress(view: &View, width: usize) -> Vec<Line<'static>> {
    let Some((_, one)) = view.loop_at() else {
        return Vec::new();
    };
    let look = view.look;
    // The words take the rest.
    let room = width.saturating_sub(LABEL + 38).clamp(1, 120);
    let values = view.progress.of(&one.id, room);
    let most = values.iter().flatten().copied().fold(0.0, f32::max);
    let now = one.verdict.conditions.no_progress.value;
    let now = now.map_or_else(|| "unknown".to_owned(), |now| format!("{} now", rate(now)));
    let interval = view
        .data()
        .map_or(1.0, |data| data.node.daemon.interval_seconds);
    let spent = about(values.len() as f64 * interval);
    let words = format!(" {now}, most {} in {spent}", rate(most.into()));
    let picture = sparkline(&values, most, look);
    let room = width.saturating_sub(LABEL + picture.chars().count());
    let calm = !one.is_stuck();
    vec![Line::from(vec![
        look.say(Tone::Strong, " ACKED   "),
        look.say(if calm { Tone::Plain } else { Tone::Bad }, picture),
        Span::raw(cut(&words, room, look)),
    ])]
}

/// A line for each loop but the one that is looked at, for who has room.
pub fn others(view: &View, width: usize) -> Vec<Line<'static>> {
    let (Some(data), Some((at, _))) = (view.data(), view.loop_at()) else {
        return Vec::new();
    };
    let loops = data.node.loops.iter().enumerate();
    let others = loops.filter(|(other, _)| *other != at).map(|(_, one)| {
        let told = one
            .found
            .as_ref()
            .map_or_else(|| "is there no more".to_owned(), told);
        let since = about(between(one.since_unix_ms, data.node.unix_ms));
        let words = format!(" {} {} for {since}: {told}", one.id, one.state.as_str());
        Line::from(cut(&words, width, view.look))
    });
    others.collect()
}

/// The loop that is looked at: its heading, and its cycle.
pub fn cycle(view: &View, width: usize) -> Vec<Line<'static>> {
    let Some((_, one)) = view.loop_at() else {
        return Vec::new();
    };
    let mut lines = heading(view, width);
    lines.extend(picture::picture(one, width, view.look));
    lines
}

/// All that is said of the loop that is looked at.
pub fn section(view: &View, width: usize) -> Vec<Line<'static>> {
    let mut lines = cycle(view, width);
    lines.extend(conditions(view, width));
    // A pipe has no edge that would cut a command.
    lines.extend(to_type(view, MOST_COLUMNS, MOST_TYPED));
    lines.extend(progress(view, width));
    lines
}
