//! Words and numbers in as many columns as there are.
//!
//! Names come from the node, from another machine or from a recording: what is
//! not to be seen in them (control characters, changes of direction) never
//! reaches the terminal.

use std::borrow::Cow;

pub use monitor_verdict::text::span;
use ratatui::text::{Line, Span};
use textwrap::{Options, WordSplitter};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::theme::Theme;

/// Characters that are looked at of any text: no name or sentence has more.
const MAX_TEXT: usize = 4096;

/// What can be shown of a text. The rest is `?`.
pub fn clean(text: &str, look: Theme) -> String {
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

/// A line of at most so many columns, clean: the last step before the terminal.
pub fn fitted(line: &Line<'static>, width: usize, look: Theme) -> Line<'static> {
    let mut room = width;
    let spans = line.spans.iter().map_while(|span| {
        let text = (room > 0).then(|| cut(&span.content, room, look))?;
        room = room.saturating_sub(text.width());
        Some(Span::styled(text, span.style))
    });
    Line {
        spans: spans.collect(),
        style: line.style,
        alignment: line.alignment,
    }
}

/// Its first columns; where it is longer, the last of them says so.
pub fn cut(text: &str, width: usize, look: Theme) -> String {
    let text = clean(text, look);
    if text.width() <= width {
        return text;
    }
    let Some(room) = width.checked_sub(1) else {
        return String::new();
    };
    first(text.chars(), room).collect::<String>() + more(look)
}

/// A path, and what follows it, with its middle left out where it is longer.
pub fn cut_path(text: &str, width: usize, look: Theme) -> String {
    let text = clean(text, look);
    if text.width() <= width {
        return text;
    }
    let room = width.saturating_sub(1);
    let end: Vec<char> = first(text.chars().rev(), room - room / 3).collect();
    let begin: String = first(text.chars(), room / 3).collect();
    begin + more(look) + &end.into_iter().rev().collect::<String>()
}

const fn more(look: Theme) -> &'static str {
    if look.unicode { "…" } else { "~" }
}

/// As many of them as have room.
fn first(chars: impl Iterator<Item = char>, room: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    chars.take_while(move |c| {
        used += c.width().unwrap_or(0);
        used <= room
    })
}

/// In exactly so many columns.
pub fn cell(text: &str, width: usize, right: bool, look: Theme) -> String {
    let text = cut(text, width, look);
    let room = " ".repeat(width.saturating_sub(text.width()));
    if right { room + &text } else { text + &room }
}

/// Lines of at most so many columns, words unbroken where that can be.
pub fn lines(text: &str, width: usize, look: Theme) -> Vec<String> {
    let text = clean(text, look);
    if text.trim().is_empty() {
        return Vec::new();
    }
    let options = Options::new(width.max(1)).word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(&text, options).into_iter();
    lines.map(Cow::into_owned).collect()
}

/// A time without fractions: `12 s`.
pub fn about(seconds: f64) -> String {
    if seconds < 99.5 {
        format!("{:.0} s", seconds.max(0.0))
    } else {
        span(seconds)
    }
}

/// Without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as of a float that is too large, or none, the nearest there is"
)]
pub const fn whole(seconds: f64) -> u64 {
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

/// The same in so many lines at most.
pub fn within(text: &str, width: usize, most: usize, look: Theme) -> Vec<String> {
    let mut all = lines(text, width, look);
    if all.len() > most {
        let rest = all.split_off(most.saturating_sub(1)).join(" ");
        all.push(cut(&rest, width, look));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Theme = Theme {
        colour: false,
        unicode: true,
    };
    const ASCII: Theme = Theme {
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
    fn of_a_path_the_end_stays_with_what_follows_it() {
        let path = "/var/lib/kubelet/pods/1/mount (0:29)";
        assert_eq!(cut_path(path, 40, LOOK), path);
        assert_eq!(cut_path(path, 20, LOOK), "/var/l…/mount (0:29)");
        assert_eq!(cut_path(path, 20, ASCII), "/var/l~/mount (0:29)");
        assert_eq!(cut_path("漢字漢字", 5, LOOK), "…字");
        for width in 0..9 {
            assert!(cut_path(path, width, LOOK).width() <= width.max(1));
        }
    }

    #[test]
    fn a_line_is_cut_in_the_span_that_has_no_room() {
        let line = |words: [&'static str; 3]| Line::from(words.map(Span::raw).to_vec());
        let words = |width| fitted(&line(["ab", "cd\u{202e}", "ef"]), width, LOOK).to_string();
        assert_eq!([2, 4, 5, 7].map(words), ["ab", "abc…", "abcd?", "abcd?ef"]);
        assert_eq!(words(0), "");
    }

    #[test]
    fn lines_are_no_wider_than_asked_even_where_a_word_is() {
        assert_eq!(lines("one two three", 8, LOOK), ["one two", "three"]);
        assert_eq!(lines("indivisible", 6, LOOK), ["indivi", "sible"]);
        assert_eq!(lines("  -> kept", 9, LOOK), ["  -> kept"]);
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
}
