//! The top: what the state is, why, and who says so.

use monitor_model::verdict::LivelockState;
use monitor_verdict::text::bytes;
use ratatui::text::{Line, Span};

use super::{names, paragraph};
use crate::publish::node::{LoopNow, Node};
use crate::terminal::data::Origin;
use crate::terminal::theme::{Theme, Tone};
use crate::terminal::view::View;
use crate::terminal::words::{about, between, clock, count, cut_path, number};

/// Columns that a path has in the first line.
const PLACE: usize = 32;

/// The first line: the state before everything else.
pub fn state(view: &View) -> Line<'static> {
    let look = view.look;
    let Some(data) = view.data() else {
        return Line::from(look.say(Tone::Warn, " WAITING for the first answer"));
    };
    let node = &data.node;
    let (label, mut tone) = label(node);
    let mut label = format!(" {label} ");
    if view.trouble().is_some() {
        label = format!(" LAST SEEN:{label}");
        tone = Tone::Warn;
    }
    Line::from(vec![
        look.say(tone, label),
        Span::raw(" "),
        look.say(Tone::Strong, what(node, look)),
    ])
}

/// Where nothing is known, no state is claimed.
fn label(node: &Node) -> (String, Tone) {
    match (node.state, node.ready) {
        (LivelockState::None, true) => ("NO LIVELOCK".to_owned(), Tone::Good),
        (LivelockState::None, false) => ("NOT READY".to_owned(), Tone::Warn),
        (state, _) => (state.as_str().to_uppercase(), Tone::of(state)),
    }
}

/// The effect, in plain words.
fn what(node: &Node, look: Theme) -> String {
    let name = node.daemon.node.as_str();
    let Some(worst) = worst(node) else {
        let name = if name.is_empty() { "this node" } else { name };
        return match node.loops_total {
            // Of a newer daemon: a loop with a word that is not known here.
            _ if node.state.metric() > 0.0 => format!("{name}: {}", node.headline),
            0 => format!("{name}: no self-served mount is known"),
            many => format!("{name}: {}, none stuck", count(number(many), "loop")),
        };
    };
    let others = node.loops.iter().filter(|one| one.is_stuck()).count();
    let others = if others > 1 {
        format!(" ({others} loops)")
    } else {
        String::new()
    };
    let place = cut_path(names::of_mount(worst), PLACE, look);
    let tasks = worst.numbers.client_waiting;
    let effect = match node.state {
        LivelockState::Livelock | LivelockState::Deadlock if tasks > 0 => {
            format!("{} cannot write to {place}", count(number(tasks), "task"))
        }
        LivelockState::Livelock | LivelockState::Deadlock => {
            format!("writes to {place} are stalled")
        }
        LivelockState::Suspected => format!("writes to {place} may be stuck"),
        LivelockState::None | LivelockState::Recovered => format!("writes to {place} have resumed"),
    };
    let on = if name.is_empty() { "" } else { ": " };
    format!(
        "{name}{on}{effect}{others} for {}, since {}",
        about(between(worst.since_unix_ms, node.unix_ms)),
        clock(worst.since_unix_ms)
    )
}

/// The loop that the state is of.
fn worst(node: &Node) -> Option<&LoopNow> {
    let is_bad = node.state != LivelockState::None;
    let mut loops = node.loops.iter();
    loops.find(|one| is_bad && one.state == node.state)
}

/// What keeps the screen from being of this moment, in a line each.
pub fn notice(view: &View) -> Vec<Line<'static>> {
    let mut all = Vec::new();
    if let Some(trouble) = view.trouble() {
        let what = match &view.origin {
            Origin::Daemon(_) => "asking again",
            Origin::Own => "its thread hangs",
        };
        let at = view.data().map(|data| clock(data.node.unix_ms));
        let kept = at.map_or_else(String::new, |at| format!(" Below: as of {at}."));
        all.push((Tone::Bad, format!("{trouble}; {what}.{kept}")));
    }
    if let (Some(frozen), Some(data)) = (view.frozen(), view.data()) {
        let (at, since) = (clock(data.node.unix_ms), about(frozen.as_secs_f64()));
        let words = format!("FROZEN for {since}, as of {at}: space continues");
        all.push((Tone::Warn, words));
    }
    if let Some(data) = view.data()
        && data.node.state != LivelockState::None
        && !data.node.ready
    {
        let words = format!("NO LONGER READY: {}", data.node.not_ready.join("; "));
        all.push((Tone::Bad, words));
    }
    let lines = all.into_iter();
    let lines = lines.map(|(tone, words)| Line::from(view.look.say(tone, format!(" {words}"))));
    lines.collect()
}

/// Why it is so, in so many lines at most.
pub fn reason(view: &View, most: usize) -> Vec<Line<'static>> {
    let Some(data) = view.data() else {
        return Vec::new();
    };
    let node = &data.node;
    let words = match worst(node) {
        Some(worst) => worst.verdict.reason.clone(),
        None if node.ready => return Vec::new(),
        None => node.not_ready.join("; "),
    };
    paragraph(view, &words, most)
}

/// Who says so, and as of when. What has no room is left out, the kernel first.
pub fn meta(view: &View) -> Line<'static> {
    let mut parts = vec![match &view.origin {
        Origin::Daemon(url) => format!("daemon {url}"),
        Origin::Own => "in this process, no daemon".to_owned(),
    }];
    if let Some(data) = view.data() {
        let node = &data.node;
        // Nobody is to take it for now.
        if let Some(recording) = &node.daemon.recording {
            parts.insert(0, format!("recording {recording}"));
        }
        parts.push(clock(node.unix_ms));
        parts.extend(dirty(node));
        parts.push(format!("Linux {}", node.daemon.kernel));
    }
    let mut words = String::new();
    for part in parts {
        let length = words.chars().count() + part.chars().count() + 3;
        if !words.is_empty() && length > view.width() {
            continue;
        }
        let between = if words.is_empty() { " " } else { " | " };
        words = words + between + &part;
    }
    Line::from(view.look.say(Tone::Dim, words))
}

/// The node's own dirty pages.
fn dirty(node: &Node) -> Option<String> {
    let memory = &node.memory;
    let held = memory
        .dirty_bytes?
        .saturating_add(memory.writeback_bytes.unwrap_or(0));
    let held = bytes(held as f64);
    Some(match memory.dirty_limit_bytes {
        Some(limit) => format!("dirty {held}, node limit {}", bytes(limit as f64)),
        None => format!("dirty {held}"),
    })
}
