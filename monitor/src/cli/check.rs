//! `check`: what this kernel and these privileges allow.

mod loops;
mod npd;
mod text;
mod text_report;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use compact_str::CompactString;
use monitor_collector::kernel::{
    attach::{self, Attached},
    preflight::{Missing, Privileges},
    report::SignalReport,
};
use monitor_model::{loops::Loop, mitigation::Measure, observation::State};
use serde::Serialize;

use self::{loops::Search, text_report::TextReport};
use super::flags::{ConfigArgs, KernelArgs};

/// Version of the JSON document, raised when a field changes its meaning.
const SCHEMA: u32 = 1;

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// One line for a custom plugin of node-problem-detector.
    Npd,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Output format.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
    /// Print every signal, with what it shows and why no better strategy could be used.
    #[arg(short, long)]
    pub verbose: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// The result of `check`. docs/check.md has its JSON.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    schema: u32,
    version: &'static str,
    kernel: String,
    /// The configuration file, if one was read.
    configuration: Option<String>,
    lockdown: Option<String>,
    missing_privileges: Vec<Missing>,
    signals: Vec<Line>,
    loops: Vec<LoopFound>,
    /// The facts that the search for loops lacks, as at /api/v1/loops.
    incomplete: Vec<CompactString>,
    /// Recommendations for missing signals, each once.
    to_do: Vec<ToDo>,
    result: &'static str,
    exit_code: u8,
    next: String,
}

/// A loop, and the preventions of a stall.
#[derive(Clone, Debug, Serialize)]
struct LoopFound {
    #[serde(flatten)]
    found: Loop,
    preventions: Vec<Measure>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    report: SignalReport,
    remedy: Option<String>,
}

/// A recommendation.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ToDo {
    what: String,
    /// The privileges and signals that it provides.
    gives: Vec<String>,
}

/// Attaches everything for a moment and reports the result.
///
/// # Errors
///
/// Output cannot be written.
pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (mut found, _) = look(&args.kernel);
    let file = args.config.config.as_deref();
    found.configuration = file.map(|path| path.display().to_string());
    let mut code = found.exit_code;
    match args.format {
        CheckFormat::Text => {
            let mut text_report = TextReport::for_stdout();
            text::text(&mut text_report, &found, args.verbose);
            text_report.print()?;
        }
        CheckFormat::Json => println!("{}", serde_json::to_string_pretty(&found)?),
        CheckFormat::Npd => {
            let line;
            (line, code) = npd::npd(&found);
            println!("{line}");
        }
    }
    Ok(ExitCode::from(code))
}

/// Attaches everything, searches for loops, and judges the signals.
pub(super) fn look(kernel: &KernelArgs) -> (Found, Option<Attached>) {
    let missing = Privileges::of_this_process(&kernel.procfs).missing();
    let mut attached = if missing.iter().any(|m| m.fatal) {
        None
    } else {
        match attach::attach_all(kernel.settings()) {
            Ok(attached) => Some(attached),
            Err(error) => {
                eprintln!("throttle-monitor: {error}");
                None
            }
        }
    };
    let search = attached.as_mut().map(loops::find).unwrap_or_default();
    (judge(missing, attached.as_ref(), search), attached)
}

fn judge(missing: Vec<Missing>, attached: Option<&Attached>, search: Search) -> Found {
    let signals: Vec<_> = attached
        .iter()
        .flat_map(|a| {
            a.reports.iter().map(|report| Line {
                report: report.clone(),
                remedy: report.remedy(&a.facts),
            })
        })
        .collect();
    let blind = attached.is_none()
        || signals
            .iter()
            .any(|s| s.report.needed && s.report.state == State::Unavailable);
    let lossy = signals.iter().any(|s| s.report.is_lossy())
        || !missing.is_empty()
        || !search.incomplete.is_empty();
    let (result, exit_code) = match (blind, lossy) {
        (true, _) => ("cannot monitor", 2),
        (false, true) => ("degraded", 1),
        (false, false) => ("all signals attached", 0),
    };
    let kernel = attached.map_or_else(
        || {
            rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned()
        },
        |a| a.facts.release.clone(),
    );
    Found {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        kernel,
        configuration: None,
        lockdown: attached.and_then(|a| a.facts.lockdown.clone()),
        to_do: to_do(&missing, &signals),
        next: next(exit_code, &search.found),
        missing_privileges: missing,
        signals,
        loops: search.found,
        incomplete: search.incomplete,
        result,
        exit_code,
    }
}

/// Merges equal recommendations of several signals.
fn to_do(missing: &[Missing], signals: &[Line]) -> Vec<ToDo> {
    let privileges = missing.iter().map(|one| (one.remedy, one.privilege));
    let lossy = signals.iter().filter(|line| line.report.is_lossy());
    let signals = lossy.filter_map(|line| Some((line.remedy.as_deref()?, &*line.report.signal)));
    let mut all: Vec<ToDo> = Vec::new();
    for (what, of) in privileges.chain(signals) {
        match all.iter_mut().find(|one| one.what == what) {
            Some(one) => one.gives.push(of.to_owned()),
            None => all.push(ToDo {
                what: what.to_owned(),
                gives: vec![of.to_owned()],
            }),
        }
    }
    all
}

/// The next step, in a sentence.
fn next(exit_code: u8, loops: &[LoopFound]) -> String {
    let dangerous = loops.iter().filter(|one| !one.found.risk.is_empty());
    let dangerous: Vec<&str> = dangerous.map(|one| &*one.found.id).collect();
    let run = match exit_code {
        0 => "All signals are attached.",
        1 => "Degraded: livelocks are found, less precisely.",
        _ => return "Cannot monitor: do what is listed above, then run this again.".to_owned(),
    };
    match dangerous.as_slice() {
        [] => format!("{run} Next: throttle-monitor run"),
        [first, ..] => {
            let it = match dangerous.len() {
                1 => format!("The loop {first} is"),
                more => format!("The loop {first} and {} more are", more - 1),
            };
            format!(
                "{run} {it} at risk of a livelock: see above what prevents it. Next: throttle-monitor run, and top to watch it"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use monitor_collector::kernel::preflight::Privileges;

    use monitor_model::testing;

    use super::{LoopFound, ToDo, next, to_do};

    #[test]
    fn a_shared_recommendation_is_reported_once_with_all_that_it_provides() {
        let missing = Privileges::default().missing();
        let all = to_do(&missing, &[]);
        let root = |one: &&ToDo| one.what.contains("run as root");
        assert_eq!(all.iter().filter(root).count(), 1, "{all:?}");
        let root = all.iter().find(root).map(|one| one.gives.len());
        assert!(root > Some(2), "{all:?}");
    }

    #[test]
    fn the_last_line_is_what_to_do_next() {
        assert_eq!(
            next(0, &[]),
            "All signals are attached. Next: throttle-monitor run"
        );
        assert!(next(2, &[]).contains("run this again"));
        let one = LoopFound {
            found: testing::found_loop(),
            preventions: Vec::new(),
        };
        let (alone, both) = (
            next(0, std::slice::from_ref(&one)),
            next(1, &[one.clone(), one]),
        );
        assert!(
            alone.contains("The loop 0:29-nfsd is at risk of a livelock: "),
            "{alone}"
        );
        assert!(
            both.contains("The loop 0:29-nfsd and 1 more are at risk of a livelock: "),
            "{both}"
        );
    }
}
