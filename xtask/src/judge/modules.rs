//! Judges modules that are unloaded and loaded again.

use guest::{Event, Fact};

use super::{Fault, Judgement, Seen, probes::waiting};

/// The daemon leaves nothing behind, and the next one loses nothing.
pub fn reload(seen: &Seen<'_>) -> Judgement {
    let unloads: Vec<_> = seen
        .0
        .iter()
        .filter_map(|fact| match &fact.event {
            Event::Unloaded { modules, error } => Some((modules.join(" "), error.as_deref())),
            _ => None,
        })
        .collect();
    let [(held, first), (all, second)] = unloads.as_slice() else {
        return Err("the modules were not unloaded twice".into());
    };
    if let Some(error) = second {
        return Err(format!("{all} could not be unloaded: {error}").into());
    }
    let words = format!("{all} unloaded");
    if !seen.has_daemon() {
        return Ok(format!("{words}; no daemon to judge"));
    }
    let words = format!(
        "{words}; before the daemon's end, {held}: {}",
        first.map_or("too", |error| error.lines().last().unwrap_or(error))
    );
    ended(seen)?;
    let probes = reported(seen);
    if probes.len() != 2 {
        return Err("the probes were not reported twice".into());
    }
    for (when, probes) in ["before", "after"].iter().zip(probes) {
        let left = waiting(probes);
        if !left.is_empty() {
            return Err(format!("not attached {when}: {}", left.join(", ")).into());
        }
    }
    let ready = |fact: &&Fact| matches!(fact.event, Event::Ready);
    let again = seen.0.iter().rfind(ready).map_or(0, |fact| fact.ms);
    for (when, after) in [("before", false), ("after", true)] {
        if !seen.reports().any(|(ms, _)| (ms > again) == after) {
            return Err(format!("{words}, but no loop was reported {when}").into());
        }
    }
    Ok(format!("{words}; the loop is reported before and after"))
}

/// The daemon ended well, and the kernel has no more BPF objects than before.
fn ended(seen: &Seen<'_>) -> Result<(), Fault> {
    let code = seen.0.iter().find_map(|fact| match &fact.event {
        Event::Output { what, code, .. } if what == "SIGTERM" => Some(*code),
        _ => None,
    });
    if code != Some(Some(0)) {
        return Err(format!("the daemon's exit code on SIGTERM: {code:?}").into());
    }
    let objects: Vec<_> = seen
        .0
        .iter()
        .filter_map(|fact: &Fact| match fact.event {
            Event::BpfObjects {
                programs,
                maps,
                links,
            } => Some([programs, maps, links]),
            _ => None,
        })
        .collect();
    match objects.as_slice() {
        [before, during, _] if before == during => Err("the daemon has no BPF objects".into()),
        [before, _, after] if before == after => Ok(()),
        [before, _, after] => Err(format!(
            "BPF programs, maps, links left behind: {after:?}, at first {before:?}"
        )
        .into()),
        _ => Err("BPF objects were not counted three times".into()),
    }
}

fn reported<'a>(seen: &Seen<'a>) -> Vec<&'a serde_json::Value> {
    seen.0
        .iter()
        .filter_map(|fact| match &fact.event {
            Event::Probes(value) => Some(value),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use guest::Loop;
    use serde_json::json;

    use super::*;

    struct Play {
        code: i32,
        during: usize,
        left: usize,
        error: Option<&'static str>,
        /// The state of the signals while the second daemon runs.
        state: &'static str,
        loop_again: bool,
    }

    const WELL: Play = Play {
        code: 0,
        during: 30,
        left: 0,
        error: None,
        state: "attached",
        loop_again: true,
    };

    fn played(play: &Play) -> Judgement {
        let unloaded = |modules: &str, error: Option<&str>| Event::Unloaded {
            modules: vec![modules.to_owned()],
            error: error.map(str::to_owned),
        };
        let probes = |state| {
            let signal = json!({"signal": "nfsd_writes", "state": state, "reason": "gone"});
            Event::Probes(json!({ "signals": [signal] }))
        };
        let objects = |programs| Event::BpfObjects {
            programs,
            maps: 0,
            links: 0,
        };
        let found = || Event::Loop(Loop::default());
        let stopped = Event::Output {
            what: "SIGTERM".to_owned(),
            code: Some(play.code),
            text: String::new(),
        };
        let events = [
            objects(0),
            Event::Ready,
            found(),
            probes("attached"),
            objects(play.during),
            unloaded("nfsd", Some("Module nfsd is in use.")),
            stopped,
            objects(play.left),
            unloaded("nfs", play.error),
            Event::Ready,
            if play.loop_again {
                found()
            } else {
                Event::Written
            },
            probes(play.state),
        ];
        let facts: Vec<_> = (0..)
            .zip(events)
            .map(|(ms, event)| Fact { ms, event })
            .collect();
        reload(&Seen(&facts))
    }

    #[test]
    fn a_reload_is_right_if_nothing_is_left_and_nothing_is_lost() {
        assert!(played(&WELL).is_ok());
        let wrong = [
            Play { code: 1, ..WELL },
            Play { left: 1, ..WELL },
            Play { during: 0, ..WELL },
            Play {
                error: Some("in use"),
                ..WELL
            },
            Play {
                state: "unavailable",
                ..WELL
            },
            Play {
                loop_again: false,
                ..WELL
            },
        ];
        for play in &wrong {
            assert!(played(play).is_err());
        }
    }
}
