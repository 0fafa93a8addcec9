//! The timeline: one line per change. The daemon and a replay of its recording print the same
//! bytes.

use std::fmt::Write as _;

use crate::engine::Changes;
pub use crate::text::time;

/// The lines of one observation's changes, each with its end of line; empty for
/// most.
#[must_use]
pub fn lines(changes: &Changes) -> String {
    let mut text = String::new();
    for event in &changes.loops {
        let (what, message) = (event.change.as_str(), &event.message);
        line(
            &mut text,
            event.unix_ms,
            &format!("loop {} {what}: {message}", event.loop_id),
        );
    }
    for event in &changes.related {
        let bdi = match event.bdi.as_str() {
            "" => String::new(),
            bdi => format!(" {bdi}"),
        };
        let (kind, what) = (
            event.kind.as_str(),
            if event.began { "began" } else { "ended" },
        );
        line(
            &mut text,
            event.unix_ms,
            &format!("{kind}{bdi} {what}: {}", event.reason),
        );
    }
    for change in &changes.transitions {
        let (from, to) = (change.from.as_str(), change.to.as_str());
        line(
            &mut text,
            change.unix_ms,
            &format!(
                "loop {} {from} -> {to} by {}: {}",
                change.loop_id,
                change.signature.as_str(),
                change.reason
            ),
        );
    }
    text
}

fn line(text: &mut String, unix_ms: u64, words: &str) {
    // Names may come from a recording, so remove line breaks: one event stays one line.
    let words = words.replace(|c: char| c.is_control(), " ");
    let _ = writeln!(text, "{}  {words}", time(unix_ms));
}
