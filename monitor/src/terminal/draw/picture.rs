//! The cycle as a picture: who waits for whom, with the numbers of this tick.
//!
//! ```text
//!  writers          client 0:26           nfsd                   disk 254:0
//!  4 tasks wait --> 44.0 MB held      --> 1 throttled        --> 1.2 MB held
//!  for 15.5 s       41 WRITEs open        7 blocked              ext4 /dev/vda
//!                   ^-- closed: nfsd waits for 0:26, which it alone writes -'
//! ```

use monitor_model::verdict::Signature;
use monitor_verdict::text::{bytes, rate};
use ratatui::text::{Line, Span};

use crate::publish::node::{LoopNow, Node, Server};
use crate::terminal::look::{Look, Tone};
use crate::terminal::words::{cell, count, cut, number, span};

/// Columns from which on it is a picture; below, it is a list.
const WIDE: usize = 72;
/// The most that one of its four parts takes.
const MOST: usize = 28;
const ARROW: &str = " --> ";
/// Lines of each part.
const DEEP: usize = 4;

/// Who waits for whom.
pub fn picture(node: &Node, one: &LoopNow, width: usize, look: Look) -> Vec<Line<'static>> {
    let parts = parts(node, one);
    if width < WIDE {
        list(&parts, one, width, look)
    } else {
        drawn(&parts, one, width, look)
    }
}

/// Of each part its name, and what there is to say of it.
type Parts = [(String, Vec<String>); 4];

fn parts(node: &Node, one: &LoopNow) -> Parts {
    let verdict = &one.verdict;
    let waiting = |tasks: usize, oldest: Option<f64>| match (tasks, oldest) {
        (0, _) => vec!["no task waits".to_owned()],
        (_, oldest) => {
            let tasks = count(number(tasks), "task");
            let mut words = vec![format!("{tasks} waiting")];
            words.extend(oldest.map(|oldest| format!("for {}", span(oldest))));
            words
        }
    };
    let held = |held: Option<u64>| {
        held.map_or_else(
            || "an unknown amount".to_owned(),
            |held| format!("{} held", bytes(held as f64)),
        )
    };
    let mut client = vec![held(one.client_held_bytes)];
    client.extend(
        one.writes_pending
            .map(|open| count(open, "WRITE") + " open"),
    );
    let acked = verdict.conditions.no_progress.value;
    client.push(acked.map_or_else(
        || "unknown progress".to_owned(),
        |acked| format!("{} acked", rate(acked)),
    ));
    let mut servers = threads(node, &verdict.server);
    servers.extend(
        one.server_oldest_seconds
            .map(|oldest| format!("for {}", span(oldest))),
    );
    let (backing, behind) = match (&verdict.server_bdi, &one.found) {
        (None, _) => ("disk".to_owned(), vec!["not known yet".to_owned()]),
        (Some(bdi), found) => {
            let mut words = vec![held(one.server_held_bytes)];
            if let Some(found) = found {
                let both = [&found.server_fstype, &found.server_device];
                let both = both.into_iter().filter(|word| !word.is_empty());
                words.extend(both.map(ToString::to_string));
            }
            (format!("disk {bdi}"), words)
        }
    };
    [
        (
            "writers".to_owned(),
            waiting(one.client_waiting, one.client_oldest_seconds),
        ),
        (format!("client {}", verdict.client_bdi), client),
        (verdict.server.to_string(), servers),
        (backing, behind),
    ]
}

/// What the server's threads do, those that wait first.
fn threads(node: &Node, server: &str) -> Vec<String> {
    let own = || node.servers.iter().filter(|one| one.name == server);
    if own().next().is_none() {
        return vec!["threads not seen".to_owned()];
    }
    // A daemon elsewhere may say anything.
    let all = |count: fn(&Server) -> usize| own().map(count).fold(0, usize::saturating_add);
    let (throttled, blocked) = (all(|one| one.throttled), all(|one| one.blocked));
    let running = all(|one| one.running);
    let states = [
        (throttled, "throttled"),
        (blocked, "blocked"),
        (running, "running"),
    ];
    let states = states.into_iter().filter(|(threads, _)| *threads > 0);
    let words: Vec<String> = states
        .map(|(threads, state)| format!("{threads} {state}"))
        .collect();
    if words.is_empty() {
        vec!["all idle".to_owned()]
    } else {
        words
    }
}

/// Whether the server waits for its own client, in words that fit.
fn closing(one: &LoopNow, width: usize) -> String {
    let verdict = &one.verdict;
    let (server, bdi) = (&verdict.server, &verdict.client_bdi);
    match verdict.conditions.closing_edge.holds {
        Some(true) => {
            let what = match verdict.signature {
                Signature::DirtyThrottle => {
                    format!("{server} waits for {bdi}, which it alone writes")
                }
                Signature::ReclaimCongestion => {
                    format!("{server} wants memory that {bdi} holds, which it alone writes")
                }
                Signature::CommitWait => format!("{server} waits for its own client {bdi}"),
                Signature::RequestStarvation => {
                    format!("{server} gets no pages, {bdi} holds them, it alone writes")
                }
                Signature::LoopDevice => {
                    format!("its loop device waits for {bdi}, and {bdi} for it")
                }
            };
            let long = format!("closed: {what}");
            let short = "closed: it waits for its own client";
            if long.chars().count() > width {
                short.to_owned()
            } else {
                long
            }
        }
        Some(false) => format!("open: {server} does not wait for {bdi}"),
        None => format!("not known: does {server} wait for {bdi}?"),
    }
}

fn tone(one: &LoopNow) -> Tone {
    let closed = one.verdict.conditions.closing_edge.holds == Some(true);
    match (one.is_stuck(), closed) {
        (true, true) => Tone::Bad,
        (true, false) => Tone::Warn,
        (false, _) => Tone::Dim,
    }
}

fn drawn(parts: &Parts, one: &LoopNow, width: usize, look: Look) -> Vec<Line<'static>> {
    let wide = (width.saturating_sub(1 + 3 * ARROW.len()) / 4).min(MOST);
    let arrow = look.style(tone(one));
    let mut lines = Vec::new();
    for row in 0..DEEP {
        let mut spans = vec![Span::raw(" ")];
        for (at, (name, words)) in parts.iter().enumerate() {
            if at > 0 {
                let arrow = if row == 1 {
                    Span::styled(ARROW, arrow)
                } else {
                    Span::raw("     ")
                };
                spans.push(arrow);
            }
            let (text, tone) = match row.checked_sub(1) {
                None => (Some(name), Tone::Strong),
                Some(row) => (words.get(row), Tone::Plain),
            };
            let text = text.map_or("", String::as_str);
            spans.push(look.say(tone, cell(text, wide, false, look)));
        }
        lines.push(Line::from(spans));
    }
    let before = 1 + wide + ARROW.len();
    let inner = (wide + ARROW.len()) * 2 + wide;
    let words = closing(one, inner.saturating_sub(6));
    let words = cut(&words, inner.saturating_sub(6), look);
    let rest = "-".repeat(inner.saturating_sub(6 + words.chars().count()));
    lines.push(Line::from(vec![
        Span::raw(" ".repeat(before)),
        Span::styled(format!("^-- {words} {rest}'"), arrow),
    ]));
    lines
}

fn list(parts: &Parts, one: &LoopNow, width: usize, look: Look) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (name, words) in parts {
        let arrow = if lines.is_empty() { " " } else { " -> " };
        let text = format!("{arrow}{name}: {}", words.join(", "));
        lines.push(Line::from(cut(&text, width, look)));
    }
    let words = format!(" -> {}", closing(one, width.saturating_sub(4)));
    lines.push(Line::from(look.say(tone(one), cut(&words, width, look))));
    lines
}
