//! The text report of `check`.

use std::fmt::Write as _;

use monitor_model::observation::State;

use monitor_collector::kernel::{report::Applies, signals::About};

use super::{
    Found, Line, loops,
    text_report::{Severity, TextReport},
};

/// The whole report; `verbose`: with every signal, and why no better strategy is used.
pub fn text(text_report: &mut TextReport, found: &Found, verbose: bool) {
    let mut title = format!(
        "throttle-monitor {} on Linux {}",
        found.version, found.kernel
    );
    if let Some(lockdown) = found.lockdown.as_deref().filter(|l| *l != "none") {
        title.push_str(", lockdown=");
        title.push_str(lockdown);
    }
    text_report.line(Severity::Plain, &title);
    if let Some(file) = &found.configuration {
        text_report.line(Severity::Plain, &format!("Configuration: {file}"));
    }
    text_report.empty();
    privileges(text_report, found);
    for about in About::ALL {
        let lines = found.signals.iter().filter(|s| s.report.about == about);
        let lines: Vec<&Line> = lines.collect();
        if !lines.is_empty() {
            signals(text_report, about, &lines, verbose);
        }
    }
    if !found.signals.is_empty() {
        text_report.empty();
        loops::loops(text_report, &found.loops, &found.incomplete);
    }
    to_do(text_report, found);
    text_report.empty();
    let tone = match found.exit_code {
        0 => Severity::Good,
        1 => Severity::Fair,
        _ => Severity::Bad,
    };
    text_report.line(tone, &found.next);
}

fn privileges(text_report: &mut TextReport, found: &Found) {
    let missing = &found.missing_privileges;
    let sum = match missing.len() {
        0 => "complete".to_owned(),
        count => format!("{count} missing"),
    };
    text_report.heading("Privileges", &sum);
    for one in missing {
        text_report.row(Severity::Bad, "missing", one.privilege);
        text_report.more(&format!("lost: {}", one.limitation));
    }
}

fn signals(text_report: &mut TextReport, about: About, lines: &[&Line], verbose: bool) {
    text_report.heading(about.words(), &sum(lines));
    if verbose {
        for line in lines {
            whole(text_report, line);
        }
        return;
    }
    for line in lines.iter().filter(|line| line.report.is_lossy()) {
        lossy(text_report, line);
    }
    // Report a missing module, or a kernel without it, only once.
    let mut others: Vec<(&str, String, Vec<&str>)> = Vec::new();
    for line in lines {
        let (word, why) = match &line.report.applies {
            Applies::Yes => continue,
            Applies::No(why) => ("not here", why.clone()),
            Applies::OnceLoaded(module) => ("later", once_loaded(module)),
        };
        match others.iter_mut().find(|other| other.1 == why) {
            Some(other) => other.2.push(&line.report.signal),
            None => others.push((word, why, vec![&line.report.signal])),
        }
    }
    for (word, why, names) in others {
        text_report.row(
            Severity::Faint,
            word,
            &format!("{}: {why}", names.join(", ")),
        );
    }
}

/// The number of attached signals, of those that this kernel supports now.
fn sum(lines: &[&Line]) -> String {
    let here = lines.iter().filter(|s| s.report.applies == Applies::Yes);
    let count = |state| {
        let mut all = here.clone();
        all.by_ref().filter(|s| s.report.state == state).count()
    };
    let (all, whole, lesser) = (
        here.clone().count(),
        count(State::Attached),
        count(State::Degraded),
    );
    if all == 0 {
        return "none now".to_owned();
    }
    let signals = if all == 1 { "signal" } else { "signals" };
    if whole == all {
        return format!("all {all} {signals}").replace("all 1 signal", "its signal");
    }
    let mut sum = format!("{whole} of {all} {signals}");
    if lesser > 0 {
        let _ = write!(sum, ", {lesser} degraded");
    }
    let none = all - whole - lesser;
    if none > 0 {
        let _ = write!(sum, ", {none} unavailable");
    }
    sum
}

fn lossy(text_report: &mut TextReport, line: &Line) {
    let report = &line.report;
    let (tone, how) = match report.state {
        State::Degraded => (
            Severity::Fair,
            format!("{}, by {}", report.signal, report.strategy),
        ),
        _ => (Severity::Bad, report.signal.to_string()),
    };
    text_report.row(tone, report.state.as_str(), &how);
    text_report.more(&format!("lost: {}", report.limitation));
}

/// A signal with all its details.
fn whole(text_report: &mut TextReport, line: &Line) {
    let report = &line.report;
    let (tone, word, how) = match &report.applies {
        Applies::No(why) => (Severity::Faint, "not here", why.clone()),
        Applies::OnceLoaded(module) => (Severity::Faint, "later", once_loaded(module)),
        Applies::Yes => {
            let tone = match report.state {
                State::Attached => Severity::Good,
                State::Degraded => Severity::Fair,
                State::Unavailable => Severity::Bad,
            };
            let how = match report.rank {
                Some(_) => format!("by {}", report.strategy),
                None => "no strategy is left to attach it".to_owned(),
            };
            (tone, report.state.as_str(), how)
        }
    };
    text_report.row(tone, word, &format!("{}: {how}", report.signal));
    text_report.more(&format!("shows {}", report.shows));
    if report.is_lossy() {
        for (strategy, why) in &report.refused {
            text_report.more(&format!("not by {strategy}: {why}"));
        }
        text_report.more(&format!("lost: {}", report.limitation));
    }
}

fn once_loaded(module: &str) -> String {
    format!("the module {module} is not loaded; attaches by itself once it is")
}

fn to_do(text_report: &mut TextReport, found: &Found) {
    if found.to_do.is_empty() {
        return;
    }
    text_report.empty();
    text_report.heading("To do", "");
    for one in &found.to_do {
        text_report.row(Severity::Plain, "-", &one.what);
        text_report.more(&format!("for {}", one.gives.join(", ")));
    }
}
