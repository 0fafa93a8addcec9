//! The terminal that the process was started in, if it is one.

use std::{
    env,
    io::{IsTerminal as _, stdin, stdout},
};

use anstream::AutoStream;
use clap::ColorChoice;

use super::theme::Theme;

fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// A terminal that does not say what it is counts as dumb, too.
fn is_dumb() -> bool {
    matches!(&*var("TERM"), "" | "dumb")
}

/// Whether there is a screen, and somebody who can press keys.
pub(crate) fn has_screen() -> bool {
    stdout().is_terminal() && stdin().is_terminal() && !is_dumb()
}

/// A dumb terminal gets no colours, from no command: the library would write them to
/// any terminal where `CI` is set.
pub(crate) fn no_colours_if_dumb() {
    if is_dumb() {
        anstream::ColorChoice::Never.write_global();
    }
}

impl Theme {
    /// What standard output can show.
    pub(crate) fn of_stdout(colour: ColorChoice) -> Self {
        // The first that is set counts.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(var);
        let locale = locale.into_iter().find(|word| !word.is_empty());
        let locale = locale.unwrap_or_default().to_lowercase();
        Self {
            colour: match colour {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                // It looks at `NO_COLOR`, too.
                ColorChoice::Auto => AutoStream::choice(&stdout()) != anstream::ColorChoice::Never,
            },
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}
