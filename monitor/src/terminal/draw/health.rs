//! What else is wrong, what does not come in, and the keys.

use monitor_model::observation::State;
use ratatui::text::Line;

use crate::publish::node::Node;
use crate::publish::snapshot::SignalReport;
use crate::terminal::look::Tone;
use crate::terminal::view::View;
use crate::terminal::words::{about, between, count, cut, number};

/// Related conditions, in so many lines.
pub fn also(view: &View, width: usize, most: usize) -> Vec<Line<'static>> {
    let Some(data) = view.data() else {
        return Vec::new();
    };
    let related = &data.node.related;
    let mut lines = Vec::new();
    for (at, one) in related.iter().take(most).enumerate() {
        let of = if one.related.bdi.is_empty() {
            "the node"
        } else {
            &*one.related.bdi
        };
        let since = about(between(one.since_unix_ms, data.node.unix_ms));
        let rest = related.len().saturating_sub(most);
        let more = if at + 1 == most && rest > 0 {
            format!(" (and {rest} more)")
        } else {
            String::new()
        };
        let (kind, reason) = (one.related.kind.as_str(), &one.related.reason);
        let words = format!(" ALSO    {kind} of {of} for {since}{more}: {reason}");
        lines.push(Line::from(
            view.look.say(Tone::Warn, cut(&words, width, view.look)),
        ));
    }
    lines
}

/// Signals that could tell something here and do not, or not all.
pub fn lossy(node: &Node) -> impl Iterator<Item = &SignalReport> {
    let signals = node.signals.iter();
    signals.filter(|one| one.state != State::Attached && one.applies)
}

/// What does not come in, in one line; none where all does.
pub fn health(view: &View, width: usize) -> Vec<Line<'static>> {
    let Some(data) = view.data() else {
        return Vec::new();
    };
    let node = &data.node;
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
        parts.push(format!("loops not looked for in {places}"));
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
    vec![Line::from(
        view.look.say(Tone::Warn, cut(&words, width, view.look)),
    )]
}

/// The last line.
pub fn keys(view: &View, width: usize) -> Line<'static> {
    let look = view.look;
    if view.typing {
        let words = format!(" filter: {}_  (enter keeps it, esc drops it)", view.filter);
        return Line::from(look.say(Tone::Strong, cut(&words, width, look)));
    }
    let mut words =
        " ? help  / filter  s sort  space freeze  enter open  m measures  c cycle  q quit"
            .to_owned();
    if !view.filter.is_empty() {
        words = format!(" filter: {}  (esc: all)  ? help  q quit", view.filter);
    }
    Line::from(look.say(Tone::Dim, cut(&words, width, look)))
}

/// The last line of a page.
pub fn page_keys(view: &View, width: usize) -> Line<'static> {
    let words = cut(
        " q or esc back  up, down scroll  n next loop  space freeze",
        width,
        view.look,
    );
    Line::from(view.look.say(Tone::Dim, words))
}
