//! The cycle as the evidence draws it, on a screen that is narrower than that.

use crate::text::wrap;

/// Columns of a line of the drawing (`evidence/text_tree.rs` of the verdict).
const DRAWN: usize = 100;
/// What a step begins with.
const MARK: &str = "-> ";

/// A sentence of it, and how far in it stands.
struct Sentence {
    indent: usize,
    words: String,
    /// Columns of its last line as drawn.
    last: usize,
}

/// The same sentences in lines of at most so many columns.
pub fn fitted(drawn: &[String], width: usize) -> Vec<String> {
    if width >= DRAWN {
        return drawn.to_vec();
    }
    let mut sentences: Vec<Sentence> = Vec::new();
    for line in drawn {
        let words = line.trim_start();
        let indent = line.chars().count() - words.chars().count();
        let first = words.split(' ').next().unwrap_or_default();
        let length = line.chars().count();
        match sentences.last_mut() {
            // It was broken because its next word had no room.
            Some(before)
                if !words.starts_with(MARK)
                    && indent == before.hanging()
                    && before.last + 1 + first.chars().count() > DRAWN =>
            {
                before.words = format!("{} {words}", before.words);
                before.last = length;
            }
            _ => sentences.push(Sentence {
                indent,
                words: words.to_owned(),
                last: length,
            }),
        }
    }
    let lines = sentences.iter().map(|sentence| sentence.lines(width));
    lines.collect::<Vec<_>>().concat()
}

impl Sentence {
    /// Where its second line begins.
    fn hanging(&self) -> usize {
        let mark = if self.words.starts_with(MARK) {
            MARK.len()
        } else {
            0
        };
        self.indent + mark
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let hanging = self.hanging().min(width / 2);
        let words = self.words.strip_prefix(MARK);
        let mut out = String::new();
        let prefix = " ".repeat(hanging);
        wrap(&mut out, words.unwrap_or(&self.words), &prefix, width);
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        if let (Some(first), Some(_)) = (lines.first_mut(), words) {
            let begin = hanging.saturating_sub(MARK.len());
            *first = format!("{}{MARK}{}", " ".repeat(begin), first.trim_start());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::fitted;

    const DRAWN: [&str; 5] = [
        "dd[412], dd[413] wait in balance_dirty_pages on 0:29 (/mnt, 127.0.0.1:/srv) for 10.0 s",
        "  -> 0:29 holds 40.8 MB dirty and 40.8 MB under writeback, 19900 of the node's 20031 dirty pages",
        "     (limit 19529); only WRITEs to nfsd clean them: 1 unanswered, 0 B/s acknowledged",
        "     0:29 is congested",
        "    -> nfsd[100] waits",
    ];

    #[test]
    fn broken_sentences_are_whole_again_before_they_are_broken_elsewhere() {
        let drawn = DRAWN.map(str::to_owned);
        assert_eq!(fitted(&drawn, 100), drawn);
        assert_eq!(
            fitted(&drawn, 72),
            [
                "dd[412], dd[413] wait in balance_dirty_pages on 0:29 (/mnt,",
                "127.0.0.1:/srv) for 10.0 s",
                "  -> 0:29 holds 40.8 MB dirty and 40.8 MB under writeback, 19900 of the",
                "     node's 20031 dirty pages (limit 19529); only WRITEs to nfsd clean",
                "     them: 1 unanswered, 0 B/s acknowledged",
                "     0:29 is congested",
                "    -> nfsd[100] waits",
            ]
        );
    }

    #[test]
    fn on_the_narrowest_screen_there_is_still_something() {
        let drawn = DRAWN.map(str::to_owned);
        for width in 0..12 {
            assert!(!fitted(&drawn, width).is_empty());
        }
    }
}
