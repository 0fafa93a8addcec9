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

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;

    struct Play {
        check_ms: u64,
        code: i32,
        ready_ms: u64,
        answer_ms: u64,
        hangs: bool,
        blocked: Vec<String>,
    }

    const WELL: Play = Play {
        check_ms: 2_500,
        code: 0,
        ready_ms: 2_500,
        answer_ms: 900,
        hangs: true,
        blocked: Vec::new(),
    };

    fn asked(from: u64, play: &Play) -> Vec<Fact> {
        let served = |path: &str, ms| Event::Served {
            path: path.to_owned(),
            ms,
            text: String::new(),
        };
        let check = Event::Output {
            what: "check".to_owned(),
            code: Some(play.code),
            text: String::new(),
        };
        [
            (from, Event::Step("check".to_owned())),
            (from + play.check_ms, check),
            (from + 10_000, served("/-/ready", play.ready_ms)),
            (from + 10_100, served("/metrics", play.answer_ms)),
            (from + 10_200, served("/api/v1/loops", play.answer_ms)),
        ]
        .map(|(ms, event)| Fact { ms, event })
        .into()
    }

    /// Before the cut all takes two seconds; then as given.
    fn hung(play: &Play) -> Judgement {
        let statfs = |ms, returned| Fact {
            ms,
            event: Event::Statfs {
                path: "/mnt".to_owned(),
                returned,
            },
        };
        let usual = Play {
            check_ms: 2_000,
            ready_ms: 2_000,
            ..WELL
        };
        let mut facts = vec![statfs(1_000, true)];
        facts.extend(asked(2_000, &usual));
        facts.push(statfs(20_000, !play.hangs));
        facts.extend(asked(21_000, play));
        facts.push(Fact {
            ms: 40_000,
            event: Event::Blocked(play.blocked.clone()),
        });
        hung_server(&Seen(&facts))
    }

    #[test]
    fn answers_beside_a_dead_mount_are_right_if_they_are_as_fast_as_before() {
        assert!(hung(&WELL).is_ok());
        let slow = [
            Play {
                check_ms: 3_100,
                ..WELL
            },
            Play {
                ready_ms: 3_100,
                ..WELL
            },
            Play {
                answer_ms: 1_000,
                ..WELL
            },
        ];
        for play in &slow {
            assert!(hung(play).is_err());
        }
    }

    #[test]
    fn another_exit_code_or_a_blocked_thread_is_wrong() {
        assert!(hung(&Play { code: 1, ..WELL }).is_err());
        let blocked = vec!["7 (sampler): nfs_wait".to_owned()];
        assert!(hung(&Play { blocked, ..WELL }).is_err());
    }

    #[test]
    fn a_mount_that_does_not_hang_proves_nothing() {
        let play = Play {
            hangs: false,
            ..WELL
        };
        assert!(matches!(hung(&play), Err(Fault::Void(_))));
    }
}
