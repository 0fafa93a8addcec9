//! The configuration in use, as a file that can be given to `--config.file`.

use std::fmt::Write as _;

use clap::ArgMatches;
use toml::Value;

use super::keys::{Key, ValueKind};
use crate::text::wrap;

/// Maximum length of a comment's line, characters.
const WIDTH: usize = 80;

/// Every key with its current value, keys without a table first.
pub(super) fn show(keys: &[Key], matches: &ArgMatches) -> String {
    let mut text = format!(
        "# Configuration of throttle-monitor {}: every key, with the value in use.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for table in tables(keys) {
        if !table.is_empty() {
            let _ = write!(text, "\n[{table}]\n");
        }
        for key in keys.iter().filter(|key| split(&key.name).0 == table) {
            comment(&mut text, &key.help());
            let _ = writeln!(text, "{}\n", line(key, matches));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The tables in the order of their first key; the empty name comes first.
pub(super) fn tables(keys: &[Key]) -> Vec<&str> {
    let mut tables = vec![""];
    for key in keys {
        let (table, _) = split(&key.name);
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

/// The table of a key, and its name in there.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

fn line(key: &Key, matches: &ArgMatches) -> String {
    let (_, name) = split(&key.name);
    match in_use(key, matches) {
        Some(value) => format!("{name} = {value}"),
        // There is no value and no default.
        None => format!("# {name} = {}", key.example()),
    }
}

/// The value of a key, if it has one.
pub(super) fn in_use(key: &Key, matches: &ArgMatches) -> Option<Value> {
    let words = matches.get_raw(key.id().as_str());
    let words: Vec<String> = words
        .into_iter()
        .flatten()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut values = words.iter().filter_map(|word| value(word, key.kind));
    if key.list {
        Some(Value::Array(values.collect()))
    } else {
        values.next()
    }
}

/// A word of the command line as TOML.
pub(super) fn value(word: &str, kind: ValueKind) -> Option<Value> {
    match kind {
        ValueKind::Text | ValueKind::Size => Some(Value::String(word.to_owned())),
        ValueKind::Flag => word.parse().ok().map(Value::Boolean),
        ValueKind::Integer => word.parse().ok().map(Value::Integer),
        ValueKind::Float => word.parse().ok().map(Value::Float),
    }
}

pub(super) fn comment(text: &mut String, help: &str) {
    for paragraph in help.lines() {
        wrap(text, paragraph, "# ", WIDTH);
    }
}
