//! Hostile input: the configuration.

use clap::{Command, CommandFactory as _};

use super::{Cli, File, Refused, alone, keys, show, with_defaults};
use crate::fuzz_input::text;

/// Maximum length of an error, bytes: it quotes a piece of the file, not all of it.
const LONGEST: usize = 1000;

/// `--config.file`: an error has the file's name and is short. An accepted file is shown in a form
/// that is accepted and shown as the same.
pub fn config(data: &[u8]) {
    let text = text(data);
    match shown(&text) {
        Ok(shown_once) => {
            let again = shown(&shown_once).map_err(|refused| refused.to_string());
            assert_eq!(again.as_deref(), Ok(&*shown_once));
        }
        Err(refused) => {
            let words = refused.to_string();
            assert!(words.contains("at.toml"), "{words}");
            assert!(words.len() < LONGEST, "{words}");
        }
    }
}

fn shown(text: &str) -> Result<String, Refused> {
    thread_local! {
        static COMMAND: (Command, Vec<keys::Key>) = {
            let command = Cli::command();
            let keys = keys::keys(&command);
            (command, keys)
        };
    }
    COMMAND.with(|(command, keys)| {
        let file = File::of("at.toml".into(), text.to_owned());
        let given = file.given(keys)?;
        let matches = alone(&with_defaults(command.clone(), &given), &file, &given)?;
        let (_, run) = matches.subcommand().unwrap_or(("", &matches));
        Ok(show::show(keys, run))
    })
}
