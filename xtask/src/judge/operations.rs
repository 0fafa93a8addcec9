//! Judges a dead server, and the programs that must work beside its mount.

use guest::Event;

use super::{Fault, Judgement, Seen, seconds, void};

/// Milliseconds for an answer, and for what a dead mount may add to a start.
const PROMPT: u64 = 1_000;

/// The results.
#[derive(Default)]
struct Asked {
    /// The exit code of `check`.
    code: Option<i32>,
    /// The time of `check` to its end, and of another daemon until it was ready.
    took: Vec<Took>,
    /// Answers of the daemon, with their milliseconds.
    answers: Vec<(String, u64)>,
}

struct Took {
    what: String,
    ms: u64,
    /// Milliseconds without a processor. On an emulated, busy host a start may take twice as long
    /// as the one before, but a wait stays a wait.
    idle: u64,
}

/// All programs answer as before, and there is no verdict.
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
    let (before, after) = (asked(&Seen(before)), asked(&Seen(after)));
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

/// Describes the difference; a fault if anything took too long.
fn compare(before: &Asked, after: &Asked) -> Result<String, Fault> {
    let names = |asked: &Asked| -> Vec<_> {
        let names = asked.took.iter().map(|took| took.what.clone());
        names.collect()
    };
    if names(after) != ["check", "run"] || names(before) != names(after) {
        return Err("check and a second daemon were not started twice".into());
    }
    let pairs = || before.took.iter().zip(&after.took);
    let mut words: Vec<_> = pairs()
        .map(|(before, after)| {
            format!(
                "{} {}, waiting for {} of them (before: {} and {})",
                after.what,
                seconds(after.ms),
                seconds(after.idle),
                seconds(before.ms),
                seconds(before.idle)
            )
        })
        .collect();
    let answers = after.answers.iter();
    words.extend(answers.map(|(path, ms)| format!("{path} {ms} ms")));
    let words = words.join(", ");
    if after.code.is_none() || after.code != before.code {
        return Err(format!("{words}; check: {:?}, then {:?}", before.code, after.code).into());
    }
    for path in ["/metrics", "/api/v1/loops"] {
        if !after.answers.iter().any(|(served, _)| served == path) {
            return Err(format!("{words}; {path} was not served").into());
        }
    }
    let waits = pairs().any(|(before, after)| after.idle > before.idle + PROMPT);
    if waits || after.answers.iter().any(|(_, ms)| *ms >= PROMPT) {
        return Err(format!("too slow: {words}").into());
    }
    Ok(words)
}

fn asked(seen: &Seen<'_>) -> Asked {
    let mut asked = Asked::default();
    for fact in seen.0 {
        match &fact.event {
            Event::Output { what, code, .. } if what == "check" => asked.code = *code,
            Event::Took { what, ms, cpu_ms } => asked.took.push(Took {
                what: what.clone(),
                ms: *ms,
                idle: ms.saturating_sub(*cpu_ms),
            }),
            Event::Served { path, ms, .. } => asked.answers.push((path.clone(), *ms)),
            _ => {}
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use guest::Fact;

    use super::*;

    struct Play {
        check_idle: u64,
        code: i32,
        ready_idle: u64,
        answer_ms: u64,
        hangs: bool,
        blocked: Vec<String>,
    }

    const WELL: Play = Play {
        check_idle: 2_500,
        code: 0,
        ready_idle: 2_500,
        answer_ms: 900,
        hangs: true,
        blocked: Vec::new(),
    };

    /// Another host would need another processor time.
    fn told(from: u64, cpu_ms: u64, play: &Play) -> Vec<Fact> {
        let served = |path: &str| Event::Served {
            path: path.to_owned(),
            ms: play.answer_ms,
            text: String::new(),
        };
        let took = |what: &str, idle| Event::Took {
            what: what.to_owned(),
            ms: cpu_ms + idle,
            cpu_ms,
        };
        let check = Event::Output {
            what: "check".to_owned(),
            code: Some(play.code),
            text: String::new(),
        };
        [
            took("check", play.check_idle),
            check,
            took("run", play.ready_idle),
            served("/metrics"),
            served("/api/v1/loops"),
        ]
        .map(|event| Fact { ms: from, event })
        .into()
    }

    /// Before the cut everything takes two seconds; afterwards as in `play`.
    fn hung(play: &Play) -> Judgement {
        let statfs = |ms, returned| Fact {
            ms,
            event: Event::Statfs {
                path: "/mnt".to_owned(),
                returned,
            },
        };
        let usual = Play {
            check_idle: 2_000,
            ready_idle: 2_000,
            ..WELL
        };
        let mut facts = vec![statfs(1_000, true)];
        facts.extend(told(2_000, 3_000, &usual));
        facts.push(statfs(20_000, !play.hangs));
        facts.extend(told(21_000, 9_000, play));
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
                check_idle: 3_100,
                ..WELL
            },
            Play {
                ready_idle: 3_100,
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
