//! Without a screen: one view as text, or a document for each tick.

use std::{
    io::{self, IsTerminal as _, Write as _, stderr, stdout},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use monitor_model::verdict::LivelockState;
use ratatui::crossterm::style::force_color_output;

use super::{
    data::Answer,
    plain::{PLAIN_TASKS, plain},
    source::{Source, answer},
    view::View,
};
use crate::publish::node::Node;

/// Columns of text that is not for a terminal.
const WIDTH: u16 = 100;

/// The least that is said of a node.
const NARROW: u16 = 40;

/// Prints one view.
pub(crate) fn text(source: &dyn Source, mut view: View) -> anyhow::Result<ExitCode> {
    let mut request = view.request();
    request.rows.limit = PLAIN_TASKS;
    let answer = answer(source, &mut false, &request);
    if let Answer::Failed(why) = &answer {
        anyhow::bail!("nothing to show: {why}");
    }
    view.answer(answer);
    let size = if stdout().is_terminal() {
        ratatui::crossterm::terminal::size().ok()
    } else {
        None
    };
    let width = match size {
        None | Some((0, _)) => WIDTH,
        Some((width, _)) => width.max(NARROW),
    };
    force_color_output(true);
    print(&plain(&view, width))?;
    Ok(code(view.data().map(|data| &data.node)))
}

/// Prints a document for each tick, or one.
pub(crate) fn json(
    source: &dyn Source,
    once: bool,
    interval: Duration,
) -> anyhow::Result<ExitCode> {
    if once {
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
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn line(node: &Node) -> anyhow::Result<String> {
    Ok(serde_json::to_string(node)? + "\n")
}

/// Waits until a livelock is seen, or so long.
pub(crate) fn look_for(
    source: &dyn Source,
    patience: Duration,
    interval: Duration,
) -> anyhow::Result<()> {
    if stderr().is_terminal() {
        eprintln!("throttle-monitor: looking for {} s", patience.as_secs());
    }
    let begin = Instant::now();
    while begin.elapsed() < patience && !source.node()?.state.is_livelock() {
        thread::sleep(interval.min(patience.saturating_sub(begin.elapsed())));
    }
    Ok(())
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
