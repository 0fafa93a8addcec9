//! `man`: the manual pages, generated from clap's help.
//!
//! `clap_mangen` writes clap's data. The sections of the help become sections of the page, and each
//! page lists the others.

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::help_sections::{self, Item, Section};

/// The header of each page.
const MANUAL: &str = "throttle-monitor manual";

/// The version in each page.
const SOURCE: &str = concat!("throttle-monitor ", env!("CARGO_PKG_VERSION"));

/// The date of the commit, `YYYY-MM-DD`; quoted and empty if unknown, because `.TH` needs a value.
const DATE: &str = env!("THROTTLE_MONITOR_DATE");

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory to write all pages into, one for each command; without it, the
    /// page of the program itself is printed.
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}

/// A manual page.
struct ManPage {
    /// The name without its section: `throttle-monitor-run`.
    name: String,
    /// The text in roff.
    text: String,
}

/// Writes the pages.
///
/// # Errors
///
/// They cannot be written.
pub fn man(args: &ManArgs, program: Command) -> anyhow::Result<ExitCode> {
    let pages = pages(program)?;
    if let Some(directory) = &args.output_dir {
        write(directory, &pages)?;
    } else {
        let first = pages.first().map(|page| page.text.as_bytes());
        let written = io::stdout().write_all(first.unwrap_or_default());
        written.context("the page cannot be written to stdout")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(directory: &Path, pages: &[ManPage]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {} (--output-dir)", directory.display()))?;
    for page in pages {
        let path = directory.join(format!("{}.1", page.name));
        fs::write(&path, &page.text)
            .with_context(|| format!("cannot write {} (--output-dir)", path.display()))?;
    }
    Ok(())
}

/// The program's own page first, then those of its visible commands.
fn pages(program: Command) -> anyhow::Result<Vec<ManPage>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let commands = program.get_subcommands().filter(|one| !one.is_hide_set());
    let commands: Vec<Command> = commands.cloned().collect();
    let all: Vec<Command> = [program].into_iter().chain(commands).collect();
    let names: Vec<String> = all.iter().map(name).collect();
    all.iter().map(|command| page(command, &names)).collect()
}

/// `throttle-monitor-run` for `run`.
fn name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, names: &[String]) -> anyhow::Result<ManPage> {
    let name = name(command);
    let mut text = known_to_clap(command).context("a manual page cannot be made")?;
    let mut end = Roff::new();
    // The program itself is not a command.
    let is_program = name == command.get_name();
    let of = if is_program { "" } else { command.get_name() };
    for section in help_sections::sections(of) {
        write_section(&mut end, &section);
    }
    see_also(&mut end, names.iter().filter(|other| **other != name));
    // The page defines the string Aq at its top.
    text.push_str(&end.to_roff().replace('\'', r"\*(Aq"));
    // Blank lines are not roff, nor are those that a line break leaves behind.
    let text = text.replace(".br\n\n.br\n", ".sp\n");
    let text = text.replace("\n\n", "\n.sp\n");
    Ok(ManPage { name, text })
}

/// The part of the page from `clap_mangen`, without the ending, which it would print unformatted.
fn known_to_clap(command: &Command) -> io::Result<String> {
    // Use the short form of --help: every flag in brackets would fill a screen.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command.clone().override_usage(usage))
        .manual(MANUAL)
        .source(SOURCE)
        .date(DATE);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let has_commands = command.get_subcommands().any(|one| !one.is_hide_set());
    let mut sections = vec![Man::render_name_section, Man::render_synopsis_section];
    sections.extend([Man::render_description_section, Man::render_options_section]);
    if has_commands {
        sections.push(Man::render_subcommands_section);
    }
    for render in sections {
        let mut section = Vec::new();
        render(&man, &mut section)?;
        let section = String::from_utf8_lossy(&section).into_owned();
        // Each section repeats the definition of Aq from the title.
        let begin = section.find(".SH").unwrap_or_default();
        text.push_str(&section[begin..]);
    }
    Ok(text)
}

fn write_section(roff: &mut Roff, section: &Section) {
    roff.control("SH", [section.heading.to_uppercase().as_str()]);
    for (at, item) in section.items.iter().enumerate() {
        match item {
            Item::Entry(word, said) => {
                roff.control("TP", []);
                roff.text([bold(*word)]).text([roman(*said)]);
            }
            Item::Text(said) => {
                // A heading begins a paragraph itself.
                if at > 0 {
                    roff.control("PP", []);
                }
                roff.text([roman(*said)]);
            }
        }
    }
}

fn see_also<'a>(roff: &mut Roff, names: impl Iterator<Item = &'a String>) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for name in names {
        if !line.is_empty() {
            line.push(roman("(1), "));
        }
        line.push(bold(name));
    }
    line.push(roman("(1)"));
    roff.text(line);
}
