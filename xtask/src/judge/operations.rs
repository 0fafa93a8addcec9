//! A server that is gone, and what must go on beside its mount.

use guest::Event;

use super::{Fault, Judgement, Seen, seconds, void};

/// Milliseconds for an answer, and for what a dead mount may add to a start.
const PROMPT: u64 = 1_000;

/// How long things took, in milliseconds.
#[derive(Default)]
struct Took {
    /// `check`, with its exit code.
    check: Option<(u64, i32)>,
    /// Another daemon, until it was ready.
    ready: Option<u64>,
    /// Answers of the daemon.
    answers: Vec<(String, u64)>,
}

/// All answer as before, and there is no verdict.
pub fn hung_server(seen: &Seen<'_>) -> Judgement {
    let statfs: Vec<_> = seen
        .0
        .iter()
        .enumerate()
        .filter_map(|(at, fact)| match fact.event {
            Event::Statfs { returned, .. } => Some((at, returned)),
            _ => None,
        })
        .collect();
    let [(_, true), (cut, false)] = statfs.as_slice() else {
        return Err(void(format!(
            "statfs returned: {statfs:?}; right is first only"
        )));
    };
    if !seen.has_daemon() {
        return Ok("the mount hangs; no daemon to judge".to_owned());
    }
    let (before, after) = seen.0.split_at(*cut);
    let (before, after) = (took(&Seen(before)), took(&Seen(after)));
    let words = format!("the mount hangs; {}", compare(&before, &after)?);
    let blocked = seen.0.iter().find_map(|fact| match &fact.event {
        Event::Blocked(stacks) => Some(stacks),
        _ => None,
    });
    let blocked = blocked.ok_or("nobody looked at the daemon's threads")?;
    if !blocked.is_empty() {
        return Err(format!("{words}; blocked in NFS: {}", blocked.join("; ")).into());
    }
    if let Some(entry) = seen.confirmed() {
        return Err(format!("{words}; false verdict: {}: {}", entry.to, entry.reason).into());
    }
    Ok(words)
}

/// In words; wrong if anything took too long.
fn compare(before: &Took, after: &Took) -> Result<String, Fault> {
    let (Some((check, code)), Some((check_then, code_then))) = (after.check, before.check) else {
        return Err("check did not end twice".into());
    };
    let (Some(ready), Some(ready_then)) = (after.ready, before.ready) else {
        return Err("a second daemon was not started twice".into());
    };
    let answers: Vec<_> = after
        .answers
        .iter()
        .map(|(path, ms)| format!("{path} {ms} ms"))
        .collect();
    let words = format!(
        "check {} (before: {}), a second daemon {} (before: {}), {}",
        seconds(check),
        seconds(check_then),
        seconds(ready),
        seconds(ready_then),
        answers.join(", ")
    );
    if code != code_then {
        return Err(format!("{words}; check: exit code {code}, before {code_then}").into());
    }
    for path in ["/metrics", "/api/v1/loops"] {
        if !after.answers.iter().any(|(served, _)| served == path) {
            return Err(format!("{words}; {path} was not served").into());
        }
    }
    let late = check > check_then + PROMPT
        || ready > ready_then + PROMPT
        || after.answers.iter().any(|(_, ms)| *ms >= PROMPT);
    if late {
        return Err(format!("too slow: {words}").into());
    }
    Ok(words)
}

fn took(seen: &Seen<'_>) -> Took {
    let mut took = Took::default();
    let mut begun = 0;
    for fact in seen.0 {
        match &fact.event {
            Event::Step(_) => begun = fact.ms,
            Event::Output { what, code, .. } if what == "check" => {
                took.check = code.map(|code| (fact.ms - begun, code));
            }
            Event::Served { path, ms, .. } if path == "/-/ready" => took.ready = Some(*ms),
            Event::Served { path, ms, .. } => took.answers.push((path.clone(), *ms)),
            _ => {}
        }
    }
    took
}
