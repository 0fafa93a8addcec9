//! `--config.file FILE`; every key in it is also a flag of `run`.
//!
//! There is no separate list of keys: they are clap's flags, and those of the verdict's thresholds
//! come from the struct itself. `--web.listen-address` is the key `listen-address` of the table
//! `[web]`. The file's values become the flags' defaults, so a flag overrides the file, and the
//! file overrides the default.

#[cfg(test)]
mod document;
mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod keys;
mod show;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use self::file::{File, Given};
use super::args::{self, Cli};
use super::flags::{Invalid, SERVICE, Values};
use super::reload::Reloadable;
use super::run::RunArgs;

pub use self::file::FileError;

/// Commands that read it by default, because they concern the service.
const OF_THE_SERVICE: [&str; 2] = ["check", "support-bundle"];

/// The request of the command line.
#[derive(Debug)]
pub enum Parsed {
    /// A command to run.
    Command(Box<Cli>),
    /// Print this configuration.
    Show(String),
}

/// The reason why the command line or the configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// clap's error, or the output of `--help` and `--version`.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The flags.
    #[error("--{0}")]
    Flags(Invalid),
}

/// Parses the command line, and the file that it names.
///
/// # Errors
///
/// The message names the position, the problem and the valid values.
pub fn parse<I>(args: I) -> Result<Parsed, Refused>
where
    I: IntoIterator<Item = OsString> + Clone,
{
    parse_beside(args, Path::new(SERVICE))
}

/// The same with another path of the service's configuration.
fn parse_beside<I>(args: I, service: &Path) -> Result<Parsed, Refused>
where
    I: IntoIterator<Item = OsString> + Clone,
{
    let mut command = Cli::command();
    // Take the keys before clap reorders flags with changed defaults.
    let keys = keys::keys(&command);
    let mut matches = command.clone().try_get_matches_from(args.clone())?;
    if let Some((path, file)) = config(&matches, service)? {
        command = naming(command, &path);
        let given = file.given(&keys)?;
        command = with_defaults(command, &given);
        // For any command, a file that `run` would refuse is refused.
        alone(&command, &file, &given)?;
        matches = command.clone().try_get_matches_from(args)?;
        if let Some(("run", matches)) = matches.subcommand() {
            RunArgs::from_arg_matches(matches)?
                .check()
                .map_err(|invalid| blame(matches, &file, &given, invalid))?;
        }
    } else if let Some(("run", matches)) = matches.subcommand() {
        let run = RunArgs::from_arg_matches(matches)?;
        run.check().map_err(Refused::Flags)?;
    }
    if let Some(("run", run)) = matches.subcommand()
        && run.get_flag("config_show")
    {
        let text = show::show(&keys, run);
        return Ok(Parsed::Show(text));
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (args::Command::Run(run), Some(("run", matches))) =
        (&mut cli.command, matches.subcommand())
    {
        run.values = values(&keys, matches);
    }
    Ok(Parsed::Command(Box::new(cli)))
}

/// What changes without a restart, as `run` would start with it now.
///
/// # Errors
///
/// The message names the position, the problem and the valid values.
pub fn reread() -> Result<Box<Reloadable>, String> {
    match parse(std::env::args_os().collect::<Vec<_>>()) {
        Ok(Parsed::Command(cli)) => match cli.command {
            args::Command::Run(run) => Ok(Box::new(run.reloadable())),
            _ => Err("the command line is not that of run: this is a bug".to_owned()),
        },
        Ok(Parsed::Show(_)) => Err("--config.show does not reload".to_owned()),
        Err(refused) => Err(refused.to_string()),
    }
}

/// The value in use of every key.
fn values(keys: &[keys::Key], matches: &ArgMatches) -> Values {
    let value = |key: &keys::Key| show::in_use(key, matches).map(|value| value.to_string());
    let all = keys.iter().map(|key| (key.name.clone(), value(key)));
    all.collect()
}

/// Checks `run` with the file's values and no flag.
fn alone(command: &Command, file: &File, given: &[Given]) -> Result<ArgMatches, Refused> {
    let words = ["throttle-monitor", "run"];
    let matches = command.clone().try_get_matches_from(words)?;
    if let Some(("run", matches)) = matches.subcommand() {
        let whole = RunArgs::from_arg_matches(matches)?.check();
        whole.map_err(|invalid| file.invalid(given, &invalid))?;
    }
    Ok(matches)
}

/// The file of `--config.file`, or the service's if the command concerns it.
fn config(matches: &ArgMatches, service: &Path) -> Result<Option<(PathBuf, File)>, FileError> {
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(None);
    };
    let named = matches.try_get_one::<PathBuf>("config").ok().flatten();
    if let Some(path) = named {
        return Ok(Some((path.clone(), File::read(path)?)));
    }
    if !OF_THE_SERVICE.contains(&name) {
        return Ok(None);
    }
    match File::read(service) {
        Err(FileError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some((service.to_owned(), read?))),
    }
}

/// Makes the file the default of `--config.file`, so that the command can report which one was read.
fn naming(mut command: Command, path: &Path) -> Command {
    for name in OF_THE_SERVICE {
        let path = path.to_owned().into_os_string();
        command = command.mut_subcommand(name, |command| {
            command.mut_arg("config", |arg| arg.default_value(path))
        });
    }
    command
}

/// The command line with the file's values as defaults, in each command that has the flag.
fn with_defaults(mut command: Command, given: &[Given]) -> Command {
    let names = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned());
    let names: Vec<String> = names.collect();
    for name in names {
        command = command.mut_subcommand(name, |mut command| {
            for one in given {
                let has = command.get_arguments().any(|arg| *arg.get_id() == one.id);
                if has {
                    command =
                        command.mut_arg(one.id.clone(), |arg| arg.default_values(&one.values));
                }
            }
            command
        });
    }
    command
}

/// Attributes an error to the flag if it was given, and otherwise to the file.
fn blame(matches: &ArgMatches, file: &File, given: &[Given], invalid: Invalid) -> Refused {
    let one = given.iter().find(|one| one.key == invalid.key);
    let by_file =
        one.filter(|one| matches.value_source(one.id.as_str()) != Some(ValueSource::CommandLine));
    match by_file {
        Some(_) => file.invalid(given, &invalid).into(),
        None => Refused::Flags(invalid),
    }
}
