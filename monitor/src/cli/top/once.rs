//! Without a screen: one view as text, or a document for each tick.

use std::{
    io::{self, IsTerminal as _, Write as _, stderr, stdout},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use monitor_model::verdict::LivelockState;
use monitor_verdict::Thresholds;

use super::{TopArgs, source::Source};
use crate::{
    publish::node::Node,
    terminal::{Answer, PLAIN_TASKS, Request, View, ansi, plain},
};

/// Columns of text that is not for a terminal.
const WIDTH: usize = 100;

/// The least that is said of a node.
const NARROW: usize = 40;

/// Prints one view.
///
/// # Errors
///
/// The daemon does not answer, or output cannot be written.
pub fn text(mut source: Source, mut view: View, args: &TopArgs) -> anyhow::Result<ExitCode> {
    look_long_enough(&source, args)?;
    let mut request: Request = view.request();
    request.rows.limit = PLAIN_TASKS;
    let answer = source.answer(&request);
    if let Answer::Failed(why) = &answer {
        anyhow::bail!("nothing to show: {why}");
    }
    view.answer(answer);
    let width = if stdout().is_terminal() {
        ratatui::crossterm::terminal::size().map_or(WIDTH, |size| usize::from(size.0))
    } else {
        WIDTH
    };
    let width = if width == 0 { WIDTH } else { width.max(NARROW) };
    let text = if view.is_coloured() {
        ratatui::crossterm::style::force_color_output(true);
        ansi(&view, width)
    } else {
        plain(&view, width)
    };
    print(&text)?;
    let node = view.data().map(|data| &data.node);
    Ok(code(node))
}

/// Prints a document for each tick, or one.
///
/// # Errors
///
/// The daemon does not answer at first, or output cannot be written.
pub fn json(source: &Source, args: &TopArgs) -> anyhow::Result<ExitCode> {
    if args.once {
        look_long_enough(source, args)?;
        let node = source.node()?;
        print(&line(&node)?)?;
        return Ok(code(Some(&node)));
    }
    let mut last = None;
    let mut is_away = false;
    let mut next = Instant::now();
    loop {
        match source.node() {
            Ok(node) => {
                is_away = false;
                let tick = Some(node.unix_ms).filter(|unix_ms| *unix_ms > 0);
                if tick.is_some() && last != tick && !print(&line(&node)?)? {
                    return Ok(ExitCode::SUCCESS);
                }
                last = tick;
            }
            Err(error) => {
                if !is_away {
                    eprintln!("throttle-monitor: {error:#}; asking again");
                }
                is_away = true;
            }
        }
        next = (next + args.interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn line(node: &Node) -> anyhow::Result<String> {
    Ok(serde_json::to_string(node)? + "\n")
}

/// What was just attached has seen nothing yet: a livelock that is there is found
/// within the window and the time of confirmation.
fn look_long_enough(source: &Source, args: &TopArgs) -> anyhow::Result<()> {
    if matches!(source, Source::Daemon { .. }) {
        return Ok(());
    }
    let patience = patience(&args.thresholds.thresholds, args.interval);
    if stderr().is_terminal() {
        eprintln!("throttle-monitor: looking for {} s", patience.as_secs());
    }
    let begin = Instant::now();
    while begin.elapsed() < patience {
        thread::sleep(args.interval.min(patience.saturating_sub(begin.elapsed())));
        if source.node()?.state.is_livelock() {
            break;
        }
    }
    Ok(())
}

fn patience(thresholds: &Thresholds, interval: Duration) -> Duration {
    let window = thresholds.window.saturating_add(thresholds.confirm);
    window.saturating_add(interval.saturating_mul(2))
}

/// 3: there is a livelock. 2: nobody can tell.
fn code(node: Option<&Node>) -> ExitCode {
    ExitCode::from(match node {
        Some(node) if node.state.is_livelock() => 3,
        Some(node) if node.ready || node.state != LivelockState::None => 0,
        _ => 2,
    })
}

/// Prints it; `false`: nobody reads any more.
fn print(text: &str) -> anyhow::Result<bool> {
    let mut stdout = stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("stdout"),
    }
}
