//! Checks that docs/configuration.md has every key with its default and its reason.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::{
    keys::{self, Key, ValueKind},
    show::{split, tables, value},
};
use crate::cli::{args::Cli, generated};

#[test]
fn docs_configuration_has_every_key_with_its_default_and_reason() {
    let keys = keys::keys(&Cli::command());
    generated::hold("configuration.md", &[("keys", document(&keys))]);
}

fn document(keys: &[Key]) -> String {
    let mut text = String::new();
    for table in tables(keys) {
        let title = match table {
            "" => "Outside of any table".to_owned(),
            table => format!("`[{table}]`"),
        };
        let _ = write!(text, "### {title}\n\n| key | default | |\n|---|---|---|\n");
        for key in keys.iter().filter(|key| split(&key.name).0 == table) {
            row(&mut text, key);
        }
        text.push('\n');
    }
    text
}

fn row(text: &mut String, key: &Key) {
    let (_, name) = split(&key.name);
    let help = key.help().split_whitespace().collect::<Vec<_>>().join(" ");
    let words = key.arg.get_possible_values();
    let words: Vec<&str> = words
        .iter()
        .map(clap::builder::PossibleValue::get_name)
        .collect();
    let choice = match words.as_slice() {
        [] => String::new(),
        _ if key.kind == ValueKind::Flag => String::new(),
        words => format!(" One of `{}`.", words.join("`, `")),
    };
    let help = if help.ends_with('.') {
        help
    } else {
        format!("{help}.")
    };
    let line = format!("| `{name}` | {} | {help}{choice} |", default(key));
    let _ = writeln!(text, "{line}");
}

fn default(key: &Key) -> String {
    let delimiter = key.arg.get_value_delimiter().unwrap_or('\0');
    let words = key.arg.get_default_values().iter();
    let words = words.filter_map(|word| word.to_str());
    let words = words.flat_map(|word| word.split(delimiter));
    let values: Vec<String> = words
        .filter_map(|word| value(word, key.kind))
        .map(|value| value.to_string())
        .collect();
    match (key.list, values.first()) {
        (true, _) => format!("`[{}]`", values.join(", ")),
        (false, Some(value)) => format!("`{value}`"),
        (false, None) => String::new(),
    }
}
