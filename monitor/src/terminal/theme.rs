//! How words look. Every state is a word, too: without colour nothing is lost.

use monitor_model::verdict::LivelockState;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Colours.
    pub colour: bool,
    /// Characters beyond ASCII; else they are replaced.
    pub unicode: bool,
}

/// How loud a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
    /// The state of the node, if it is bad.
    Alarm,
    /// The line over a table or a section.
    Heading,
    Selected,
}

impl Theme {
    /// The style of a tone. Without colours there are bold and reversed.
    #[must_use]
    pub const fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let (colour, modifier) = match tone {
            Tone::Plain => return style,
            Tone::Strong => (None, Modifier::BOLD),
            Tone::Dim => (None, Modifier::DIM),
            Tone::Good => (Some(Color::Green), Modifier::BOLD),
            Tone::Warn => (Some(Color::Yellow), Modifier::BOLD),
            Tone::Bad => (Some(Color::Red), Modifier::BOLD),
            Tone::Alarm if self.colour => {
                let bold = style.add_modifier(Modifier::BOLD);
                return bold.fg(Color::White).bg(Color::Red);
            }
            Tone::Heading => (Some(Color::Cyan), Modifier::BOLD),
            Tone::Alarm | Tone::Selected => (None, Modifier::REVERSED),
        };
        let style = style.add_modifier(modifier);
        match colour {
            Some(colour) if self.colour => style.fg(colour),
            _ => style,
        }
    }

    /// Words in a tone.
    #[must_use]
    pub fn say(self, tone: Tone, words: impl Into<String>) -> Span<'static> {
        Span::styled(words.into(), self.style(tone))
    }
}

impl Tone {
    /// How loud a state is.
    pub const fn of(state: LivelockState) -> Self {
        match state {
            LivelockState::None | LivelockState::Recovered => Self::Good,
            LivelockState::Suspected => Self::Warn,
            LivelockState::Livelock | LivelockState::Deadlock => Self::Alarm,
        }
    }
}
