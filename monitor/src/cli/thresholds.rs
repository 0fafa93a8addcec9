//! The verdict's thresholds as flags, generated from the struct: its names, its defaults, and its
//! comments as help.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind, value_parser};
use monitor_verdict::{ThresholdError, Thresholds};
use serde::Deserialize as _;
use toml::{Table, Value};

use super::flags::Invalid;

const HEADING: &str = "Thresholds of the verdict";

/// The prefix of threshold flags.
pub const PREFIX: &str = "thresholds.";

/// The most commonly used threshold: the short help has it, too.
const CONFIRM: &str = "confirm";

/// The thresholds of the verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThresholdArgs {
    /// The struct for the engine.
    pub thresholds: Thresholds,
}

impl ThresholdArgs {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        self.thresholds.check().map_err(Invalid::from)
    }
}

impl From<ThresholdError> for Invalid {
    fn from(error: ThresholdError) -> Self {
        Self {
            key: flag(error.key),
            value: error.value,
            // The rule names other thresholds.
            rule: error.rule.replace('_', "-"),
        }
    }
}

/// A threshold.
struct Threshold {
    /// Fields from the outermost in: `["loops", "half_life"]`.
    fields: Vec<String>,
    /// Its value in the struct's `Default`.
    default: Value,
}

impl Threshold {
    fn key(&self) -> String {
        self.fields.join(".")
    }

    fn arg(&self) -> Arg {
        let key = self.key();
        let name = flag(&key);
        let arg = Arg::new(name.clone()).long(name);
        let arg = match &self.default {
            Value::Float(_) => arg.value_name("NUMBER").value_parser(value_parser!(f64)),
            Value::Integer(_) => arg.value_name("NUMBER").value_parser(value_parser!(u64)),
            Value::Boolean(_) => arg.value_name("BOOL").value_parser(value_parser!(bool)),
            _ => {
                let fields = self.fields.clone();
                arg.value_name("DURATION")
                    .value_parser(move |text: &str| accepts(&fields, text))
            }
        };
        let default = match &self.default {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let reason = Thresholds::reason(&key).unwrap_or_default();
        let (summary, reason) = (summary(reason), one_line(reason));
        let arg = arg
            .default_value(default)
            .help(summary)
            .long_help(reason)
            .help_heading(HEADING);
        if key == CONFIRM {
            return arg;
        }
        arg.hide_short_help(true)
    }

    fn given(&self, matches: &ArgMatches) -> Option<Value> {
        let name = flag(&self.key());
        let integer = |value: &u64| i64::try_from(*value).ok().map(Value::Integer);
        match &self.default {
            Value::Float(_) => matches.get_one(&name).copied().map(Value::Float),
            Value::Integer(_) => matches.get_one(&name).and_then(integer),
            Value::Boolean(_) => matches.get_one(&name).copied().map(Value::Boolean),
            _ => matches.get_one(&name).cloned().map(Value::String),
        }
    }
}

/// Whether the struct accepts this text for a field.
fn accepts(fields: &[String], text: &str) -> Result<String, String> {
    let mut table = Table::new();
    put(&mut table, fields, Value::String(text.to_owned()));
    match Thresholds::deserialize(table) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a duration, such as 500ms, 5s or 1m".to_owned()),
    }
}

fn put(table: &mut Table, fields: &[String], value: Value) {
    let Some((first, rest)) = fields.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let inner = table
        .entry(first.clone())
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}

/// Every threshold, in the order of the struct.
fn all() -> Vec<Threshold> {
    let mut all = Vec::new();
    // A test of the struct ensures that it serializes.
    let table = Table::try_from(Thresholds::default()).unwrap_or_default();
    collect(&[], table, &mut all);
    all
}

fn collect(within: &[String], table: Table, all: &mut Vec<Threshold>) {
    for (field, value) in table {
        let mut fields = within.to_vec();
        fields.push(field);
        match value {
            Value::Table(table) => collect(&fields, table, all),
            default => all.push(Threshold { fields, default }),
        }
    }
}

/// The flag of a field, without its dashes.
fn flag(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('_', "-"))
}

fn one_line(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first sentence.
fn summary(comment: &str) -> String {
    let line = one_line(comment);
    let end = line.find(". ").unwrap_or(line.len());
    line[..end].trim_end_matches('.').to_owned()
}

impl FromArgMatches for ThresholdArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut table = Table::new();
        for one in all() {
            let name = flag(&one.key());
            let value = one.given(matches).ok_or_else(|| {
                let words = format!("--{name} is larger than {}", i64::MAX);
                clap::Error::raw(ErrorKind::ValueValidation, words)
            })?;
            put(&mut table, &one.fields, value);
        }
        Thresholds::deserialize(table)
            .map(|thresholds| Self { thresholds })
            .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ThresholdArgs {
    fn augment_args(command: Command) -> Command {
        command.args(all().iter().map(Threshold::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
