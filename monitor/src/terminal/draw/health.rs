//! What else is wrong, what does not come in, and the keys.

use monitor_model::observation::State;
use ratatui::text::Line;

use super::names;
use crate::publish::node::Node;
use crate::publish::snapshot::SignalReport;
use crate::terminal::theme::Tone;
use crate::terminal::view::View;
use crate::terminal::words::{about, between, count, number};

/// The keys of the screen that somebody needs first.
const KEYS: &str =
    " ? help  / filter  s sort  space freeze  enter open  m measures  c cycle  q quit";

/// Related conditions, in so many lines.
pub fn also(view: &View, node: &Node, most: usize) -> Vec<Line<'static>> {
    let rest = node.related.len().saturating_sub(most);
    let lines = node.related.iter().take(most).enumerate().map(|(at, one)| {
        let of = if one.related.bdi.is_empty() {
            "the node".to_owned()
        } else {
            names::of_bdi(node, &one.related.bdi)
        };
        let since = about(between(one.since_unix_ms, node.unix_ms));
        let more = if at + 1 == most && rest > 0 {
            format!(" (and {rest} more)")
        } else {
            String::new()
        };
        let (kind, reason) = (one.related.kind.as_str(), &one.related.reason);
        let words = format!(" ALSO    {kind} of {of} for {since}{more}: {reason}");
        Line::from(view.look.say(Tone::Warn, words))
    });
    lines.collect()
}

/// Signals that could tell something here and do not, or not all.
pub fn lossy(node: &Node) -> impl Iterator<Item = &SignalReport> {
    let signals = node.signals.iter();
    signals.filter(|one| one.state != State::Attached && one.applies)
}

/// What does not come in, in one line; none where all does.
pub fn health(view: &View, node: &Node) -> Vec<Line<'static>> {
    let mut parts = Vec::new();
    let mut names = Vec::new();
    for state in [State::Unavailable, State::Degraded] {
        let before = names.len();
        names.extend(
            lossy(node)
                .filter(|one| one.state == state)
                .map(|one| one.signal.as_str()),
        );
        if names.len() > before {
            parts.push(format!("{} {}", names.len() - before, state.as_str()));
        }
    }
    if !node.incomplete.is_empty() {
        let places = count(number(node.incomplete.len()), "place");
        parts.push(format!("loops not searched in {places}"));
    }
    let lost = node.lost.ringbuf.saturating_add(node.lost.map_full);
    if lost > 0 {
        parts.push(format!("{} lost", count(lost, "event")));
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let names = names.join(", ");
    let colon = if names.is_empty() { "" } else { ": " };
    let words = format!(" INPUTS  {} (i){colon}{names}", parts.join(", "));
    vec![Line::from(view.look.say(Tone::Warn, words))]
}

/// The last line.
pub fn keys(view: &View) -> Line<'static> {
    let (tone, words) = if view.typing {
        let words = format!(" filter: {}_  (enter keeps it, esc drops it)", view.filter);
        (Tone::Strong, words)
    } else if !view.filter.is_empty() {
        let words = format!(" filter: {}  (esc: all)  ? help  q quit", view.filter);
        (Tone::Dim, words)
    } else {
        (Tone::Dim, KEYS.to_owned())
    };
    Line::from(view.look.say(tone, words))
}
