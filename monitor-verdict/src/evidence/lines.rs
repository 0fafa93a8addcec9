//! The steps of a cycle as lines of text, each step further in than the one before.

use std::mem;

use monitor_model::evidence::{Step, StepKind};

/// Columns of the text in a document.
pub const COLUMNS: usize = 100;

/// Stands before a step that those above wait for.
const MARK: &str = "-> ";

/// Lines of at most so many columns.
#[must_use]
pub fn lines(steps: &[Step], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut depth = None;
    for step in steps {
        let mut mark = "";
        if matches!(step.kind, StepKind::Waits | StepKind::Closes) {
            depth = Some(depth.map_or(0, |depth| depth + 2));
            mark = if depth == Some(0) { "" } else { MARK };
        }
        let hanging = match (step.kind, depth) {
            (StepKind::Aside, _) | (_, None | Some(0)) => 0,
            (_, Some(depth)) => (depth + MARK.len()).min(width / 2),
        };
        let room = width.saturating_sub(hanging).max(1);
        for (at, line) in wrapped(&step.text, room).into_iter().enumerate() {
            let mark = if at == 0 { mark } else { "" };
            let indent = hanging.saturating_sub(mark.len());
            lines.push(format!("{:indent$}{mark}{line}", ""));
        }
    }
    lines
}

/// Breaks between words; a word that is longer than a line, within it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (at, piece) in letters.chunks(width).enumerate() {
            if at > 0 || used + 1 + piece.len() > width {
                lines.push(mem::take(&mut line));
                used = 0;
            } else if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.extend(piece);
            used += piece.len();
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(kind: StepKind, text: &str) -> Step {
        Step {
            kind,
            tids: Vec::new(),
            bdi: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn each_step_stands_further_in_and_long_ones_hang_under_their_beginning() {
        let steps = [
            step(StepKind::Aside, "it is over"),
            step(StepKind::Waits, "a writer"),
            step(StepKind::Beside, "and another"),
            step(StepKind::Waits, &"word ".repeat(25)),
            step(StepKind::Stack, "more of it"),
            step(StepKind::Closes, "the end"),
            step(StepKind::Aside, "by the way"),
        ];
        assert_eq!(
            lines(&steps, 100),
            [
                "it is over",
                "a writer",
                "and another",
                &format!("  -> {}", ["word"; 19].join(" ")),
                &format!("     {}", ["word"; 6].join(" ")),
                "     more of it",
                "    -> the end",
                "by the way"
            ]
        );
        assert_eq!(
            lines(&steps[1..6], 12),
            ["a writer", "and another", "  -> word", "     word"]
                .into_iter()
                .chain(["     word"; 23])
                .chain(["     more of", "     it", "   -> the", "      end"])
                .collect::<Vec<_>>()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_wider_than_its_bound(
            texts in prop::collection::vec((0usize..5, any::<String>(), 1usize..80), 0..40),
            width in 6usize..120
        ) {
            const KINDS: [StepKind; 5] =
                [StepKind::Waits, StepKind::Beside, StepKind::Stack, StepKind::Closes, StepKind::Aside];
            let texts = texts.into_iter();
            let steps: Vec<Step> = texts.map(|(kind, text, n)| step(KINDS[kind], &text.repeat(n))).collect();
            for line in lines(&steps, width) {
                prop_assert!(line.chars().count() <= width, "{line}");
            }
        }
    }
}
