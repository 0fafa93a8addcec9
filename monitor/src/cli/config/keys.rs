//! The keys of the configuration: the flags of `run`.

use std::any::TypeId;

use clap::{Arg, ArgAction, Command, Id};

/// Flags that are not keys: the file cannot name another file, nor request help.
const NO_KEYS: [&str; 4] = ["config.file", "config.show", "help", "version"];

/// Longer keys are not compared: the longest valid one has 50 letters.
const MAX_COMPARED: usize = 100;

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// In quotes: names, durations, addresses.
    Text,
    /// In quotes with its unit; a plain number is bytes.
    Size,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// `true` or `false`.
    Flag,
}

/// A key of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The flag without its dashes, which is the key with its tables.
    pub name: String,
    /// The form of each value.
    pub kind: ValueKind,
    /// Whether it is a list of values.
    pub list: bool,
    /// The flag itself.
    pub arg: Arg,
}

impl Key {
    /// clap's id of the flag.
    pub fn id(&self) -> &Id {
        self.arg.get_id()
    }

    /// Its full help.
    pub fn help(&self) -> String {
        let help = self.arg.get_long_help().or_else(|| self.arg.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// An example of a valid value.
    pub fn example(&self) -> String {
        let defaults = self.arg.get_default_values();
        let value = match (self.kind, defaults.first().and_then(|v| v.to_str())) {
            (_, Some(default)) => default.to_owned(),
            // systemd lets the service write there.
            (ValueKind::Text, None) if named(&self.arg, "DIR") => {
                format!(
                    "/var/lib/throttle-monitor/{}",
                    self.name.trim_end_matches(".dir")
                )
            }
            (ValueKind::Text, None) if named(&self.arg, "FILE") => {
                "/etc/throttle-monitor/web.yml".to_owned()
            }
            (ValueKind::Text, None) if named(&self.arg, "SOCKET") => {
                "/run/throttle-monitor/guard.sock".to_owned()
            }
            (ValueKind::Text | ValueKind::Size, None) => "...".to_owned(),
            (ValueKind::Integer | ValueKind::Float, None) => "1".to_owned(),
            (ValueKind::Flag, None) => "true".to_owned(),
        };
        let value = match self.kind {
            ValueKind::Text | ValueKind::Size => format!("{value:?}"),
            ValueKind::Integer | ValueKind::Float | ValueKind::Flag => value,
        };
        if self.list {
            format!("[{value}]")
        } else {
            value
        }
    }
}

/// Every key, in the order of `run --help`.
pub(super) fn keys(command: &Command) -> Vec<Key> {
    let run = command.find_subcommand("run");
    let args = run.into_iter().flat_map(Command::get_arguments);
    args.filter_map(key).collect()
}

fn key(arg: &Arg) -> Option<Key> {
    let name = arg.get_long().filter(|name| !NO_KEYS.contains(name))?;
    Some(Key {
        name: name.to_owned(),
        kind: kind(arg),
        list: matches!(arg.get_action(), ArgAction::Append),
        arg: arg.clone(),
    })
}

fn kind(arg: &Arg) -> ValueKind {
    let integers = [
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<u8>(),
        TypeId::of::<usize>(),
    ];
    let id = arg.get_value_parser().type_id();
    if named(arg, "SIZE") {
        ValueKind::Size
    } else if integers.iter().any(|integer| id == *integer) {
        ValueKind::Integer
    } else if id == TypeId::of::<f64>() {
        ValueKind::Float
    } else if id == TypeId::of::<bool>() {
        ValueKind::Flag
    } else {
        ValueKind::Text
    }
}

/// Whether the help uses this name for its value.
fn named(arg: &Arg, word: &str) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().any(|name| name == word)
}

/// Whether there are keys in a table of this name.
pub(super) fn is_table(name: &str, keys: &[Key]) -> bool {
    let within = format!("{name}.");
    keys.iter().any(|key| key.name.starts_with(&within))
}

/// The error for an unknown key: it names the most similar key.
pub(super) fn unknown(name: &str, keys: &[Key]) -> String {
    let within = format!("{name}.");
    if let Some(key) = keys.iter().find(|key| key.name.starts_with(&within)) {
        return format!("it is a table, of keys such as `{}`", key.name);
    }
    let wanted = plain(name);
    let nearest = keys.iter().min_by_key(|key| distance(&wanted, &key.name));
    nearest.map_or_else(String::new, |key| format!("did you mean `{}`?", key.name))
}

/// The key in the form of valid ones, cut to their maximum length.
fn plain(name: &str) -> String {
    let letters = name.chars().take(MAX_COMPARED);
    letters
        .map(|c| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// The edit distance; one more if only the last part is similar, for a key in the wrong table.
fn distance(wanted: &str, name: &str) -> usize {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::damerau_levenshtein(wanted, name);
    whole.min(strsim::damerau_levenshtein(&last(wanted), &last(name)) + 1)
}
