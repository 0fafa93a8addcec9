//! The kernel stacks of tasks that wait.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Result;
use guest::Event;

use crate::tell;

/// The outermost functions say little.
const FRAMES: usize = 9;

/// Reports the stacks of all tasks in uninterruptible sleep; equal ones once, with their count.
pub fn report() -> Result<()> {
    let mut stacks: BTreeMap<(String, String), usize> = BTreeMap::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let threads = fs::read_dir(process.path().join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            if let Some(found) = stack(&thread.path()) {
                *stacks.entry(found).or_default() += 1;
            }
        }
    }
    let lines: Vec<_> = stacks
        .iter()
        .map(|((name, stack), count)| format!("{count} {name}: {stack}"))
        .collect();
    tell::event(Event::Output {
        what: "stacks".to_owned(),
        code: None,
        text: lines.join("\n"),
    });
    Ok(())
}

/// The name of a task and its stack, if it sleeps without a signal to wake it.
fn stack(task: &Path) -> Option<(String, String)> {
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    if !stat.rsplit(") ").next()?.starts_with('D') {
        return None;
    }
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let stack = fs::read_to_string(task.join("stack")).ok()?;
    let functions = stack.lines().filter_map(|line| {
        let function = line.split_whitespace().last()?;
        function.split('+').next()
    });
    let functions: Vec<_> = functions.take(FRAMES).collect();
    Some((name.trim().to_owned(), functions.join(" < ")))
}
