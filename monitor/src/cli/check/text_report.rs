//! Text in two columns, as wide as the terminal, with colour only on one.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};

use crate::text::wrap;

/// Where the second column begins.
const COLUMN: usize = 19;
/// Lines are no longer than this: longer ones are hard to read.
const WIDEST: usize = 100;
const NARROWEST: usize = 60;

/// How well something is. Always said in words, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Less than it could be.
    Fair,
    /// Missing, or dangerous.
    Bad,
    /// Neither.
    Plain,
    /// Of no importance here.
    Faint,
}

impl Severity {
    fn style(self) -> Style {
        let color = |color: AnsiColor| color.on_default().bold();
        match self {
            Self::Good => color(AnsiColor::Green),
            Self::Fair => color(AnsiColor::Yellow),
            Self::Bad => color(AnsiColor::Red),
            Self::Plain => Style::new(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

/// What is to be printed.
#[derive(Debug)]
pub struct TextReport {
    text: String,
    width: usize,
}

impl TextReport {
    /// As wide as the terminal, within reason; a pipe gets the widest.
    pub fn for_stdout() -> Self {
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map(|size| size.ws_col);
        let width = columns.ok().filter(|&columns| columns > 0);
        Self::new(width.map_or(WIDEST, usize::from))
    }

    /// So wide, within reason.
    pub fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width: width.clamp(NARROWEST, WIDEST),
        }
    }

    /// A line that is not indented.
    pub fn line(&mut self, tone: Severity, words: &str) {
        let mut wrapped = String::new();
        wrap(&mut wrapped, &plain(words), "", self.width);
        self.styled(tone.style(), wrapped.trim_end());
        self.text.push('\n');
    }

    /// Nothing.
    pub fn empty(&mut self) {
        self.text.push('\n');
    }

    /// A heading in the first column, its sum in the second.
    pub fn heading(&mut self, heading: &str, words: &str) {
        self.columns(0, Style::new().bold(), heading, words);
    }

    /// A word in the first column, what it is about in the second.
    pub fn row(&mut self, tone: Severity, word: &str, words: &str) {
        self.columns(2, tone.style(), word, words);
    }

    /// More of it.
    pub fn more(&mut self, words: &str) {
        self.columns(0, Style::new(), "", words);
    }

    /// A command: never broken, for it is copied.
    pub fn command(&mut self, command: &str) {
        self.text.push_str(&" ".repeat(COLUMN + 2));
        self.text.push_str(&plain(command));
        self.text.push('\n');
    }

    /// What is there, with its colours.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prints it; without colour where stdout is not a terminal, or `NO_COLOR` says
    /// so.
    ///
    /// # Errors
    ///
    /// It cannot be written. A reader that is gone is none.
    pub fn print(&self) -> io::Result<()> {
        let mut stdout = anstream::stdout().lock();
        let written = stdout
            .write_all(self.text.as_bytes())
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// A word, and what stands in the second column, which is wrapped.
    fn columns(&mut self, indent: usize, style: Style, word: &str, words: &str) {
        let mut wrapped = String::new();
        wrap(&mut wrapped, &plain(words), &" ".repeat(COLUMN), self.width);
        // The word takes the place of spaces before the first line, but for one.
        let taken = (indent + word.chars().count()).min(COLUMN - 1);
        self.text.push_str(&" ".repeat(indent));
        self.styled(style, word);
        self.text.push_str(wrapped.get(taken..).unwrap_or("\n"));
    }

    fn styled(&mut self, style: Style, words: &str) {
        // Without one there are no codes at all.
        let (set, reset) = (style.render(), style.render_reset());
        let _ = write!(self.text, "{set}{words}{reset}");
    }
}

/// Names come from the node: they move no cursor.
fn plain(words: &str) -> String {
    words.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::{Severity, TextReport};

    fn without_colour(text_report: &TextReport) -> String {
        anstream::adapter::strip_str(text_report.text()).to_string()
    }

    #[test]
    fn the_second_column_is_wrapped_and_commands_are_not() {
        let mut text_report = TextReport::new(60);
        text_report.heading("Waits", "8 of 10");
        text_report.row(Severity::Fair, "degraded", &"word ".repeat(12));
        text_report.more("lost: something");
        text_report.command(&"c".repeat(90));
        let text = without_colour(&text_report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Waits              8 of 10");
        assert_eq!(
            lines[1],
            "  degraded         word word word word word word word word"
        );
        assert_eq!(lines[2], "                   word word word word");
        assert_eq!(lines[3], "                   lost: something");
        assert_eq!(lines[4].trim_start().len(), 90);
        assert!(lines[..4].iter().all(|line| line.len() <= 60));
    }

    #[test]
    fn names_from_the_node_bring_no_codes_of_their_own() {
        let mut text_report = TextReport::new(80);
        text_report.more("a\u{1b}[31mb\nc");
        assert_eq!(text_report.text().matches('\u{1b}').count(), 0);
        assert_eq!(text_report.text().lines().count(), 1);
    }
}
