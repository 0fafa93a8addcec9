//! `explain`: what a signature means, how to confirm it by hand, how to end it. The texts are in
//! [`texts`], the measures are those of the evidence.

mod daemon;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod related;
#[cfg(test)]
mod runbooks;
#[cfg(test)]
mod tests;
mod texts;

use std::{fmt::Write as _, fs, path::Path, process::ExitCode};

use clap::{Args, builder::PossibleValuesParser};
use monitor_model::{
    mitigation::{Ineffective, Measure},
    related::RelatedKind,
    verdict::Signature,
};
use monitor_verdict::mitigation::{self, Target};

use self::{
    related::{RELATED, Short},
    texts::{Chain, EXPLANATIONS, Explanation, FIND_BDI},
};
use super::daemon::AccessArgs;
use crate::text::wrap;

/// Maximum length of a line, characters.
const WIDTH: usize = 96;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What to explain; without it, list all with a line each.
    #[arg(value_name = "SIGNATURE", value_parser = words())]
    pub word: Option<String>,
    /// The client's BDI, to fill into the commands; they are then for the kernel of this machine.
    #[arg(long, value_name = "MAJOR:MINOR", value_parser = bdi)]
    pub bdi: Option<String>,
    /// URL of a running daemon, to fill in its loop, its kernel and its writers.
    #[arg(long, value_name = "URL", value_parser = super::daemon::url)]
    pub url: Option<String>,
    /// How to log in to it.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// All words that can be explained.
fn words() -> PossibleValuesParser {
    let signatures = Signature::ALL.into_iter().map(Signature::as_str);
    let related = RelatedKind::ALL.into_iter().map(RelatedKind::as_str);
    PossibleValuesParser::new(signatures.chain(related))
}

pub(super) fn bdi(text: &str) -> Result<String, String> {
    let place = Target::default().with_bdi(text);
    place
        .bdi
        .ok_or_else(|| "must be major:minor as in /proc/self/mountinfo, such as 0:29".to_owned())
}

/// Prints the explanation.
///
/// # Errors
///
/// The daemon at `--url` does not answer, or does not know that loop.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let place = match (&args.url, &args.bdi) {
        (Some(url), bdi) => daemon::place(url, bdi.as_deref(), &args.access.access()?)?,
        (None, Some(bdi)) => here(bdi, Path::new("/sys")),
        (None, None) => Target::default(),
    };
    print!("{}", text(args.word.as_deref(), &place));
    Ok(ExitCode::SUCCESS)
}

/// The target on this machine: its kernel, and what its BDI supports.
fn here(bdi: &str, sysfs: &Path) -> Target {
    let release = rustix::system::uname();
    let mut place = Target::default()
        .with_bdi(bdi)
        .with_kernel(&release.release().to_string_lossy());
    let directory = sysfs.join("class/bdi").join(bdi);
    let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
    place.max_ratio = read("max_ratio").and_then(|text| text.trim().parse().ok());
    // The BDI exists only on another machine.
    if place.max_ratio.is_some() {
        let strict_limit = read("strict_limit");
        place.has_strict_limit = Some(strict_limit.is_some());
        place.strict_limit = strict_limit.map(|text| text.trim() == "1");
    }
    place
}

fn text(word: Option<&str>, place: &Target) -> String {
    let signature = word.and_then(Signature::from_word);
    let mut signatures = EXPLANATIONS.iter();
    if let Some(found) = signatures.find(|one| Some(one.signature) == signature) {
        return explained(found, place);
    }
    let mut related = RELATED.iter();
    if let Some(found) = related.find(|one| Some(one.kind.as_str()) == word) {
        return short(found, place);
    }
    list()
}

fn list() -> String {
    let mut out =
        "Signatures of livelocks between an NFS server and its own client:\n\n".to_owned();
    for one in &EXPLANATIONS {
        let _ = writeln!(out, "  {:<20}{}", one.signature.as_str(), one.title);
    }
    out.push_str("\nWhat looks like a livelock and is not one:\n\n");
    for one in &RELATED {
        let _ = writeln!(out, "  {:<27}{}", one.kind.as_str(), one.title);
    }
    out.push_str(
        "\nthrottle-monitor explain dirty-throttle [--bdi 0:29 | --url http://127.0.0.1:9746]\n",
    );
    out
}

fn explained(one: &Explanation, place: &Target) -> String {
    let signature = one.signature;
    let mut out = format!("{}: {}\n", signature.as_str(), one.title);
    heading(&mut out, "What it is");
    for paragraph in one.what {
        wrap(&mut out, paragraph, "  ", WIDTH);
        out.push('\n');
    }
    out.pop();
    heading(&mut out, "The path through the kernel");
    for chain in one.path {
        path(&mut out, chain);
    }
    heading(&mut out, "On which kernels");
    wrap(&mut out, one.kernels, "  ", WIDTH);
    heading(&mut out, "Confirm it by hand (as root)");
    wrap(&mut out, DO_NOT_TOUCH, "  ", WIDTH);
    let _ = writeln!(out, "\n{}", bdi_line(place));
    for confirm in &one.confirm {
        out.push('\n');
        wrap(&mut out, confirm.look, "  # ", WIDTH);
        let _ = writeln!(out, "  {}", filled(confirm.command, place));
    }
    heading(&mut out, "It is not");
    wrap(&mut out, one.unlike, "  ", WIDTH);
    heading(&mut out, "Mitigations now");
    let mitigations = mitigation::mitigations_at(signature, place);
    if mitigations.is_empty() {
        wrap(&mut out, NOT_MEASURED, "  ", WIDTH);
    }
    measures(&mut out, &mitigations);
    failures(
        &mut out,
        "Ineffective:",
        &mitigation::ineffective(signature, place),
    );
    heading(&mut out, "Prevent it");
    measures(&mut out, &mitigation::preventions_at(signature, place));
    failures(
        &mut out,
        "Does not prevent it:",
        &mitigation::not_preventing(signature, place),
    );
    let _ = writeln!(out, "\nRunbook: docs/runbooks/{}.md", signature.as_str());
    out
}

/// The text if there is no mitigation.
const NOT_MEASURED: &str = "No mitigation was measured for this one, so none is offered. Keep the evidence (/api/v1/evidence), and please report it.";

/// Actions that make the stall worse.
const DO_NOT_TOUCH: &str = "Do not touch the mount: no ls, df, stat, sync or umount. They hang. /proc, /sys and the \
                            daemon are safe.";

fn short(one: &Short, place: &Target) -> String {
    let mut out = format!("{}: {}\n", one.kind.as_str(), one.title);
    heading(&mut out, "What it is");
    wrap(&mut out, one.what, "  ", WIDTH);
    heading(&mut out, "See it by hand");
    wrap(&mut out, one.confirm.look, "  # ", WIDTH);
    let _ = writeln!(out, "  {}", filled(one.confirm.command, place));
    heading(&mut out, "What to do");
    wrap(&mut out, one.todo, "  ", WIDTH);
    out
}

fn heading(out: &mut String, words: &str) {
    let _ = write!(out, "\n{}\n\n", words.to_uppercase());
}

fn path(out: &mut String, chain: &Chain) {
    let _ = writeln!(out, "  {}", chain.who);
    wrap(out, &chain.functions.join(" -> "), "      ", WIDTH);
    wrap(
        out,
        &format!("waits for {}", chain.waits_for),
        "      ",
        WIDTH,
    );
}

/// The command that finds `$bdi`, or its value.
fn bdi_line(place: &Target) -> String {
    match &place.bdi {
        Some(bdi) => format!("  # the mount's BDI is {bdi}"),
        None => format!(
            "  {FIND_BDI}\n  bdi=0:29  # the mount's, of those printed; or \"client_bdi\" of /api/v1/loops"
        ),
    }
}

fn filled(command: &str, place: &Target) -> String {
    match &place.bdi {
        Some(bdi) => command.replace("$bdi", bdi),
        None => command.to_owned(),
    }
}

fn measures(out: &mut String, all: &[Measure]) {
    for (number, one) in all.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        wrap(out, &format!("{}. {}", number + 1, one.what), "  ", WIDTH);
        for command in &one.commands {
            let _ = writeln!(out, "       {command}");
        }
        wrap(out, &format!("Seen: {}", one.seen), "     ", WIDTH);
        if !one.undo.is_empty() {
            out.push_str("     To undo it, when the load is gone:\n");
        }
        for command in &one.undo {
            let _ = writeln!(out, "       {command}");
        }
    }
}

fn failures(out: &mut String, title: &str, all: &[Ineffective]) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n  {title}");
    for one in all {
        wrap(out, &format!("- {}: {}", one.what, one.seen), "  ", WIDTH);
    }
}
