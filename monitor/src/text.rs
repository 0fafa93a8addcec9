//! Wraps text for people.

use textwrap::{Options, WordSplitter};

/// Adds a paragraph with every line behind `prefix`, at most `width` columns wide
/// where its words allow that: a word may be a path or a part of a command.
pub fn wrap(out: &mut String, paragraph: &str, prefix: &str, width: usize) {
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    if words.is_empty() {
        return;
    }
    let options = Options::new(width)
        .initial_indent(prefix)
        .subsequent_indent(prefix)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    out.push_str(&textwrap::fill(&words.join(" "), options));
    out.push('\n');
}

#[test]
fn lines_are_no_longer_than_asked_and_words_are_not_broken() {
    let mut out = String::new();
    wrap(&mut out, "one two  three\nfourteen-letters five", "  ", 10);
    assert_eq!(out, "  one two\n  three\n  fourteen-letters\n  five\n");
    wrap(&mut out, " ", "  ", 10);
    assert!(out.ends_with("five\n"));
}
