//! `check`: what this kernel and these privileges allow.

mod loops;

use std::{fmt::Write as _, process::ExitCode};

use compact_str::CompactString;
use serde::Serialize;

use self::loops::Search;
use super::args::{CheckArgs, Format};
use crate::{
    kernel::{
        attach::{self, Attached},
        preflight::{Missing, Privileges},
        report::{Applies, SignalReport},
    },
    sample::State,
    verdict::Loop,
};

/// What `check` found.
#[derive(Serialize)]
struct Found {
    kernel: String,
    lockdown: Option<String>,
    missing_privileges: Vec<Missing>,
    signals: Vec<Line>,
    loops: Vec<Loop>,
    /// What the look for loops could not see, as at /api/v1/loops.
    incomplete: Vec<CompactString>,
    result: &'static str,
    exit_code: u8,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    report: SignalReport,
    remedy: Option<String>,
}

/// Attaches everything for a moment and says how it went.
///
/// # Errors
///
/// Output cannot be written.
pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let missing = Privileges::of_this_process(&args.kernel.procfs).missing();
    let mut attached = if missing.iter().any(|m| m.fatal) {
        None
    } else {
        match attach::attach_all(args.kernel.settings()) {
            Ok(attached) => Some(attached),
            Err(error) => {
                eprintln!("throttle-monitor: {error}");
                None
            }
        }
    };
    let search = attached.as_mut().map(loops::find).unwrap_or_default();
    let found = judge(missing, attached.as_ref(), search);
    match args.format {
        Format::Text => print!("{}", text(&found)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&found)?),
    }
    Ok(ExitCode::from(found.exit_code))
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
        (false, false) => ("all signals come in", 0),
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
    let lockdown = attached.and_then(|a| a.facts.lockdown.clone());
    Found {
        kernel,
        lockdown,
        missing_privileges: missing,
        signals,
        loops: search.found,
        incomplete: search.incomplete,
        result,
        exit_code,
    }
}

fn text(found: &Found) -> String {
    let mut out = format!("kernel {}", found.kernel);
    if let Some(lockdown) = found.lockdown.as_deref().filter(|l| *l != "none") {
        let _ = write!(out, ", lockdown={lockdown}");
    }
    out.push_str("\n\n");
    privileges(&mut out, &found.missing_privileges);
    for line in &found.signals {
        signal(&mut out, line);
    }
    if !found.signals.is_empty() {
        loops::loops(&mut out, &found.loops, &found.incomplete);
    }
    let _ = writeln!(
        out,
        "{}{}",
        if found.signals.is_empty() { "" } else { "\n" },
        conclusion(found)
    );
    out
}

fn privileges(out: &mut String, missing: &[Missing]) {
    for one in missing {
        let _ = writeln!(out, "{} is missing: {}", one.privilege, one.loses);
    }
    let mut remedies: Vec<_> = missing.iter().map(|m| m.remedy).collect();
    remedies.dedup();
    for remedy in &remedies {
        let _ = writeln!(out, "to do: {remedy}");
    }
    if !missing.is_empty() {
        out.push('\n');
    }
}

fn signal(out: &mut String, line: &Line) {
    let report = &line.report;
    let state = match (&report.applies, report.state) {
        (Applies::No(_), _) => "not here",
        (Applies::OnceLoaded(_), _) => "waiting",
        (Applies::Yes, state) => state.as_str(),
    };
    let how = match &report.applies {
        Applies::No(why) => why.clone(),
        Applies::OnceLoaded(module) => format!("the module {module} is not loaded"),
        Applies::Yes if report.rank.is_some() => format!("by {}", report.strategy),
        Applies::Yes => "no way to attach it".into(),
    };
    let _ = writeln!(out, "{state:<12}{:<24}{how}", report.signal);
    let _ = writeln!(out, "{:<12}{:<24}shows {}", "", "", report.shows);
    if report.is_lossy() {
        for (strategy, why) in &report.refused {
            let _ = writeln!(out, "{:<12}{:<24}not by {strategy}: {why}", "", "");
        }
        let _ = writeln!(out, "{:<12}{:<24}lost: {}", "", "", report.loses);
    }
    if let Some(remedy) = &line.remedy {
        let _ = writeln!(out, "{:<12}{:<24}to do: {remedy}", "", "");
    }
}

fn conclusion(found: &Found) -> &'static str {
    match found.exit_code {
        0 => "All signals come in. Next: throttle-monitor run",
        1 => {
            "Degraded: livelocks are found, less exactly; see above what is lost or not seen. Next: throttle-monitor run"
        }
        _ => "Cannot monitor: do what is said above, then run this again.",
    }
}
