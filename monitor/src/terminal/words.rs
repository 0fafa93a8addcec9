//! Words and numbers in as many columns as there are.
//!
//! Names come from the node, from another machine or from a recording: what is
//! not to be seen in them (control characters, changes of direction) never
//! reaches the terminal.

pub use monitor_verdict::text::span;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::look::Look;
use crate::text::wrap;

/// Characters that are looked at of any text: no name or sentence has more.
const MAX_TEXT: usize = 4096;

/// What can be shown of a text. The rest is `?`.
pub fn clean(text: &str, look: Look) -> String {
    let shown = |c: char| {
        let separates = matches!(c, '\u{2028}' | '\u{2029}');
        let hidden = c.is_control() || separates || c.width().unwrap_or(0) == 0;
        if hidden || (!look.unicode && !c.is_ascii()) {
            '?'
        } else {
            c
        }
    };
    text.chars().take(MAX_TEXT).map(shown).collect()
}

/// The same of a line, for the last step before the terminal.
pub fn clean_line(line: &mut Line<'static>, look: Look) {
    for span in &mut line.spans {
        let is_clean = span.content.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !is_clean {
            span.content = clean(&span.content, look).into();
        }
    }
}

/// Its first columns; where it is longer, the last of them says so.
pub fn cut(text: &str, width: usize, look: Look) -> String {
    let mut text = clean(text, look);
    if text.width() <= width {
        return text;
    }
    let Some(room) = width.checked_sub(1) else {
        return String::new();
    };
    let mut used = 0;
    let fits = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used > room
    };
    let end = text.char_indices().find(fits).map(|(at, _)| at);
    text.truncate(end.unwrap_or(text.len()));
    text.push(if look.unicode { '…' } else { '~' });
    text
}

/// In exactly so many columns.
pub fn cell(text: &str, width: usize, right: bool, look: Look) -> String {
    let text = cut(text, width, look);
    let room = " ".repeat(width.saturating_sub(text.width()));
    if right { room + &text } else { text + &room }
}

/// Lines of at most so many columns, words unbroken where that can be.
pub fn lines(text: &str, width: usize, look: Look) -> Vec<String> {
    let mut out = String::new();
    wrap(&mut out, &clean(text, look), "", width);
    out.lines().map(|line| cut(line, width, look)).collect()
}

/// Columns that a line takes.
pub fn width(spans: &[Span<'_>]) -> usize {
    spans.iter().map(Span::width).sum()
}

/// A time of which nobody wants fractions: `12 s`.
pub fn about(seconds: f64) -> String {
    if seconds < 99.5 {
        format!("{:.0} s", seconds.max(0.0))
    } else {
        span(seconds)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as of a float that is too large, or none, the nearest there is"
)]
const fn whole(seconds: f64) -> u64 {
    seconds as u64
}

/// Seconds from one moment to a later one, both milliseconds since 1970.
pub fn between(from_unix_ms: u64, to_unix_ms: u64) -> f64 {
    to_unix_ms.saturating_sub(from_unix_ms) as f64 / 1000.0
}

/// The time of day, UTC: `03:12:44Z`.
pub fn clock(unix_ms: u64) -> String {
    let time = monitor_verdict::timeline::time(unix_ms);
    let of_day = time.get(11..19).unwrap_or_default();
    format!("{of_day}Z")
}

/// `1 task`, `2 tasks`.
pub fn count(number: impl Into<u64>, one: &str) -> String {
    let number: u64 = number.into();
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {one}{s}")
}

/// A number as wide as it goes.
pub fn number(number: usize) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// Pictures of numbers, the newest last: unknown ones are a blank, and what is
/// nothing at all is less than the least that is something.
pub fn sparkline(values: &[Option<f32>], most: f32, look: Look) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
    let steps = if look.unicode { BLOCKS } else { ASCII };
    let picture = |value: &Option<f32>| {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return ' ';
        };
        if value <= 0.0 || most <= 0.0 {
            return steps[0];
        }
        let step = whole(f64::from(value / most) * 7.0).clamp(1, 7);
        usize::try_from(step).map_or(' ', |step| steps.get(step).copied().unwrap_or(' '))
    };
    values.iter().map(picture).collect()
}

/// Of lines of words the first.
pub fn within(mut all: Vec<String>, room: usize, most: usize, look: Look) -> Vec<String> {
    if all.len() > most {
        let rest = all.split_off(most.saturating_sub(1)).join(" ");
        all.push(cut(&rest, room, look));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look {
        colour: false,
        unicode: true,
    };
    const ASCII: Look = Look {
        colour: false,
        unicode: false,
    };

    #[test]
    fn what_is_not_to_be_seen_in_a_name_is_a_question_mark() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d\u{9b}", LOOK), "a?[2Jb?c?d?");
        assert_eq!(clean("naïve 漢字", LOOK), "naïve 漢字");
        assert_eq!(clean("naïve", ASCII), "na?ve");
        assert_eq!(clean(&"x".repeat(1 << 20), LOOK).len(), MAX_TEXT);
    }

    #[test]
    fn a_text_has_the_columns_it_is_given_whatever_its_characters_take() {
        assert_eq!(cut("nfsd", 4, LOOK), "nfsd");
        assert_eq!(cut("kworker", 4, LOOK), "kwo…");
        assert_eq!(cut("kworker", 4, ASCII), "kwo~");
        assert_eq!(cut("漢字漢字", 5, LOOK), "漢字…");
        assert_eq!(cell("漢字漢字", 4, false, LOOK), "漢… ");
        assert_eq!(cell("7", 3, true, LOOK), "  7");
        assert_eq!(cut("x", 0, LOOK), "");
    }

    #[test]
    fn lines_are_no_wider_than_asked_even_where_a_word_is() {
        assert_eq!(lines("one two three", 8, LOOK), ["one two", "three"]);
        assert_eq!(lines("indivisible", 4, LOOK), ["ind…"]);
        assert!(lines("", 4, LOOK).is_empty());
    }

    #[test]
    fn times_are_as_long_as_they_say_something() {
        assert_eq!(
            [about(-1.0), about(12.4), about(200.0)],
            ["0 s", "12 s", "3m 20s"]
        );
        assert_eq!(clock(1_700_000_000_500), "22:13:20Z");
        assert_eq!(clock(u64::MAX), "23:59:59Z");
        assert_eq!(
            (count(1u64, "task"), count(2u64, "task")),
            ("1 task".into(), "2 tasks".into())
        );
    }

    #[test]
    fn nothing_is_less_than_little_and_unknown_is_neither() {
        let values = [
            None,
            Some(0.0),
            Some(0.01),
            Some(50.0),
            Some(100.0),
            Some(f32::NAN),
        ];
        assert_eq!(sparkline(&values, 100.0, LOOK), " ▁▂▄█ ");
        assert_eq!(sparkline(&values, 100.0, ASCII), " _.-# ");
        assert_eq!(sparkline(&values[1..3], 0.0, LOOK), "▁▁");
    }
}
