//! The kernel's own trace of an event, in a separate buffer.

use std::fs;

use anyhow::{Context as _, Result};
use guest::Event;

use crate::tell;

const BUFFER: &str = "/sys/kernel/debug/tracing/instances/guest";

/// Trace an event of tasks with this name.
pub fn begin(event: &str, task: &str) -> Result<()> {
    fs::create_dir_all(BUFFER).context("making a trace buffer")?;
    let set = |file: &str, value: &str| {
        let path = format!("{BUFFER}/events/{event}/{file}");
        fs::write(&path, value).context(path)
    };
    set("filter", &format!("comm == \"{task}\""))?;
    set("enable", "1")
}

/// Reports its count.
pub fn report() -> Result<()> {
    let trace = fs::read_to_string(format!("{BUFFER}/trace")).context("reading the trace")?;
    let lines: Vec<_> = trace
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    tell::event(Event::Traced {
        count: lines.len() as u64,
        line: lines.last().copied().unwrap_or_default().trim().to_owned(),
    });
    Ok(())
}
