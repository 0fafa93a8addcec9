//! Text for people, in lines.

use std::fmt::Write as _;

/// Adds a paragraph with every line behind `prefix`, at most `width` characters
/// long where its words allow that.
pub fn wrap(out: &mut String, paragraph: &str, prefix: &str, width: usize) {
    let mut used = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        }
        if used == 0 {
            out.push_str(prefix);
            used = prefix.chars().count();
        } else {
            out.push(' ');
            used += 1;
        }
        let _ = write!(out, "{word}");
        used += length;
    }
    if used > 0 {
        out.push('\n');
    }
}

#[test]
fn lines_are_no_longer_than_asked_and_words_are_not_broken() {
    let mut out = String::new();
    wrap(&mut out, "one two  three\nfourteen-letters five", "  ", 10);
    assert_eq!(out, "  one two\n  three\n  fourteen-letters\n  five\n");
    wrap(&mut out, " ", "  ", 10);
    assert!(out.ends_with("five\n"));
}
