//! Lines of text with arrows, at most 100 columns wide.

use super::bounds::short;

/// Columns of a line.
pub const COLUMNS: usize = 100;
/// Lines of a drawing: two screens.
pub const MAX_LINES: usize = 64;
/// Bytes of what one sentence of it may say.
const MAX_WORDS: usize = 1200;

/// A drawing that grows downwards, each step further in than the one before.
#[derive(Clone, Debug, Default)]
pub struct TextTree {
    lines: Vec<String>,
    depth: usize,
}

impl TextTree {
    /// Who or what the ones above wait for.
    pub fn arrow(&mut self, words: &str) {
        if self.lines.is_empty() {
            self.put(0, "", words);
        } else {
            self.depth += 1;
            self.put(self.depth * 2, "-> ", words);
        }
    }

    /// More of the same step.
    pub fn beside(&mut self, words: &str) {
        let indent = if self.depth == 0 {
            0
        } else {
            self.depth * 2 + 3
        };
        self.put(indent, "", words);
    }

    /// A line of its own, from the left.
    pub fn plain(&mut self, words: &str) {
        self.put(0, "", words);
    }

    pub fn lines(self) -> Vec<String> {
        self.lines
    }

    /// Breaks between words; a word that is longer than a line, within it.
    fn put(&mut self, indent: usize, mark: &str, words: &str) {
        let words = short(words, MAX_WORDS);
        let hanging = " ".repeat(indent + mark.len());
        let mut line = format!("{}{mark}", " ".repeat(indent));
        let mut columns = line.len();
        let mut empty = true;
        for mut word in words.split(' ').filter(|word| !word.is_empty()) {
            loop {
                let width = word.chars().count();
                let gap = usize::from(!empty);
                if columns + gap + width <= COLUMNS {
                    if !empty {
                        line.push(' ');
                    }
                    line.push_str(word);
                    (columns, empty) = (columns + gap + width, false);
                    break;
                }
                if empty {
                    let fits = COLUMNS.saturating_sub(columns).max(1);
                    let at = word
                        .char_indices()
                        .nth(fits)
                        .map_or(word.len(), |(at, _)| at);
                    line.push_str(&word[..at]);
                    word = &word[at..];
                }
                self.end_line(std::mem::replace(&mut line, hanging.clone()));
                (columns, empty) = (hanging.len(), true);
                if word.is_empty() {
                    break;
                }
            }
        }
        if !empty {
            self.end_line(line);
        }
    }

    fn end_line(&mut self, line: String) {
        match self.lines.len() {
            n if n + 1 < MAX_LINES => self.lines.push(line),
            n if n < MAX_LINES => self.lines.push("...".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{COLUMNS, MAX_LINES, TextTree};

    #[test]
    fn each_step_stands_further_in_and_long_ones_hang_under_their_beginning() {
        let mut drawing = TextTree::default();
        drawing.arrow("a writer");
        drawing.beside("and another");
        drawing.arrow(&"word ".repeat(25));
        drawing.beside("more of it");
        drawing.arrow("the end");
        drawing.plain("by the way");
        assert_eq!(
            drawing.lines(),
            [
                "a writer",
                "and another",
                &format!("  -> {}", ["word"; 19].join(" ")),
                &format!("     {}", ["word"; 6].join(" ")),
                "     more of it",
                "    -> the end",
                "by the way"
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_wider_or_longer_than_its_bounds(
            texts in prop::collection::vec((0u8..3, any::<String>(), 1usize..80), 0..40)
        ) {
            let mut drawing = TextTree::default();
            for (how, text, times) in texts {
                let text = text.repeat(times);
                match how {
                    0 => drawing.arrow(&text),
                    1 => drawing.beside(&text),
                    _ => drawing.plain(&text),
                }
            }
            let lines = drawing.lines();
            prop_assert!(lines.len() <= MAX_LINES);
            for line in lines {
                prop_assert!(line.chars().count() <= COLUMNS, "{line}");
                prop_assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }
}
