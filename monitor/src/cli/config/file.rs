//! Reads the file: TOML in, flag values with their lines out.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Command, Id, error::ContextKind};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Invalid,
    keys::{self, Key, ValueKind},
};

/// The largest permitted file. One with all keys has 10 KiB.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// Maximum length of a quote from the file in an error, characters.
const MAX_QUOTED: usize = 60;

/// The reason why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The file as a whole is not a configuration.
    #[error("the configuration {path} {problem}")]
    Whole {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A line of it is wrong.
    #[error("{path}:{line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem, and the valid values.
        problem: String,
    },
}

/// A configuration file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    text: String,
}

/// A key in the file.
#[derive(Debug)]
pub(super) struct Given {
    /// clap's id of its flag.
    pub id: Id,
    /// The key.
    pub key: String,
    /// The line of its value, from 1.
    pub line: usize,
    /// The values as for the flag.
    pub values: Vec<String>,
}

impl File {
    /// Reads at most [`MAX_BYTES`] of it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let path = path.to_owned();
        let mut bytes = Vec::new();
        let read =
            fs::File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        let length = match read {
            Ok(length) => length,
            Err(error) => return Err(FileError::Read { path, error }),
        };
        let whole = |path, problem: &str| FileError::Whole {
            path,
            problem: problem.to_owned(),
        };
        if length as u64 > MAX_BYTES {
            return Err(whole(
                path,
                "is larger than 1 MiB: it must be a file of TOML",
            ));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::of(path, text)),
            Err(_) => Err(whole(
                path,
                "is not text in UTF-8: it must be a file of TOML",
            )),
        }
    }

    /// A file with this content.
    pub(super) const fn of(path: PathBuf, text: String) -> Self {
        Self { path, text }
    }

    /// The keys and values, as their flags accept them.
    pub fn given(&self, keys: &[Key]) -> Result<Vec<Given>, FileError> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            self.wrong(start, format!("is not TOML: {}", quoted(error.message())))
        })?;
        let mut leaves = Vec::new();
        leaves_of("", table.get_ref(), &mut leaves);
        // The first mistake is reported first.
        leaves.sort_by_key(|leaf| leaf.at);
        let mut given: Vec<Given> = Vec::new();
        for leaf in &leaves {
            // Its keys may all be commented out.
            if leaf.is_table() && keys::is_table(&leaf.name, keys) {
                continue;
            }
            let one = self.one(leaf, keys)?;
            if let Some(first) = given.iter().find(|first| first.id == one.id) {
                let problem = format!(
                    "`{}` is given twice, first in line {}",
                    leaf.name, first.line
                );
                return Err(self.wrong(leaf.at, problem));
            }
            given.push(one);
        }
        Ok(given)
    }

    /// The error for contradicting values, with the line if the value is in the file.
    pub fn invalid(&self, given: &[Given], invalid: &Invalid) -> FileError {
        let path = self.path.clone();
        match given.iter().find(|one| one.key == invalid.key) {
            Some(one) => FileError::Line {
                path,
                line: one.line,
                problem: invalid.to_string(),
            },
            None => FileError::Whole {
                path,
                problem: format!("does not fit together: {invalid}"),
            },
        }
    }

    fn one(&self, leaf: &Leaf<'_>, keys: &[Key]) -> Result<Given, FileError> {
        let known = |key: &&Key| key.name == leaf.name;
        let Some(key) = keys.iter().find(known) else {
            let name = quoted(&leaf.name);
            let instead = keys::unknown(&leaf.name, keys);
            return Err(self.wrong(leaf.at, format!("unknown key `{name}`: {instead}")));
        };
        let values = values(leaf.value.get_ref(), key);
        let values = values.and_then(|values| accepted(key, values));
        values
            .map(|values| Given {
                id: key.id().clone(),
                key: key.name.clone(),
                line: self.line(leaf.at),
                values,
            })
            .map_err(|rule| {
                let span = leaf.value.span();
                let value = self.text.get(span).unwrap_or_default();
                let problem = format!("`{}` is {}, but {rule}", key.name, quoted(value));
                self.wrong(leaf.at, problem)
            })
    }

    fn wrong(&self, at: usize, problem: String) -> FileError {
        FileError::Line {
            path: self.path.clone(),
            line: self.line(at),
            problem,
        }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

/// A value that is not a table, or an empty table.
struct Leaf<'a> {
    /// The key with its tables.
    name: String,
    /// The position of its key, bytes.
    at: usize,
    value: &'a Spanned<DeValue<'a>>,
}

impl Leaf<'_> {
    fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }
}

fn leaves_of<'a>(prefix: &str, table: &'a DeTable<'a>, leaves: &mut Vec<Leaf<'a>>) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => leaves_of(&name, table, leaves),
            _ => leaves.push(Leaf {
                name,
                at: key.span().start,
                value,
            }),
        }
    }
}

/// The values for the flag, or an error with the expected type.
fn values(value: &DeValue<'_>, key: &Key) -> Result<Vec<String>, String> {
    let rule = || {
        let example = key.example();
        Err(match (key.list, key.kind) {
            (true, _) => format!("must be a list, such as {example}"),
            (false, ValueKind::Text | ValueKind::Size) => {
                format!("must be a text in quotes, such as {example}")
            }
            (false, ValueKind::Integer | ValueKind::Float) => {
                format!("must be a number, such as {example}")
            }
            (false, ValueKind::Flag) => "must be true or false".to_owned(),
        })
    };
    match value {
        DeValue::Array(items) if key.list => {
            let words = items.iter().map(|item| word(item.get_ref(), key.kind));
            words.collect::<Option<_>>().map_or_else(rule, Ok)
        }
        _ if key.list => rule(),
        value => word(value, key.kind).map_or_else(rule, |word| Ok(vec![word])),
    }
}

fn word(value: &DeValue<'_>, kind: ValueKind) -> Option<String> {
    match (kind, value) {
        (ValueKind::Text | ValueKind::Size, DeValue::String(text)) => Some(text.to_string()),
        (ValueKind::Flag, DeValue::Boolean(flag)) => Some(flag.to_string()),
        (ValueKind::Float, DeValue::Float(float)) => Some(float.as_str().to_owned()),
        (ValueKind::Integer | ValueKind::Float | ValueKind::Size, DeValue::Integer(integer)) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            Some(number.to_string())
        }
        _ => None,
    }
}

/// Validates the values with the flag's own parser: one rule for the file and the flag.
fn accepted(key: &Key, values: Vec<String>) -> Result<Vec<String>, String> {
    if let Some(delimiter) = key.arg.get_value_delimiter()
        && values.iter().any(|value| value.contains(delimiter))
    {
        return Err(format!("must have no `{delimiter}` within an item"));
    }
    let alone = key.arg.clone().default_values(Vec::<String>::new());
    let command = Command::new("file").no_binary_name(true).arg(alone);
    let flags = values.iter().map(|value| format!("--{}={value}", key.name));
    match command.try_get_matches_from(flags) {
        Ok(_) => Ok(values),
        Err(error) => Err(rule(&error)),
    }
}

/// The rule from the error of the flag's own parser.
fn rule(error: &clap::Error) -> String {
    let source = std::error::Error::source(error);
    if let Some(words) = source.map(ToString::to_string) {
        return if words.starts_with("must ") {
            words
        } else {
            format!("cannot be: {words}")
        };
    }
    if let Some(words) = error.get(ContextKind::ValidValue) {
        return format!("must be one of {words}");
    }
    let kind = error.kind().as_str().unwrap_or("it is refused");
    format!("cannot be: {kind}")
}

/// A quote from the file for an error: one line of limited length.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short.replace(|c: char| c.is_control(), " ")
}
