//! The expected alerts, phase by phase.

use std::{collections::BTreeSet, fmt::Write as _, time::Instant};

use super::hook::{Labels, Message};

/// The start of a phase.
pub struct Mark {
    pub name: String,
    pub at: Instant,
    /// The same, seconds since 1970.
    pub unix: u64,
}

/// The active alerts at one moment.
#[derive(Clone, Debug)]
pub struct Active {
    pub at: Instant,
    pub alerts: Vec<Labels>,
}

/// The expected alerts of a phase.
struct Phase {
    name: &'static str,
    /// At its end exactly one of each of these is active, and no other.
    must: &'static [&'static [&'static str]],
    /// These may be active, too.
    may: &'static [&'static str],
    /// These may come, but must be over at its end.
    passing: &'static [&'static str],
}

const CROSS: &str = "NfsLoopCrossNamespace";
const DOWN: &str = "ThrottleMonitorDown";
const BLIND: &str = "ThrottleMonitorBlind";
const LOSES: &str = "ThrottleMonitorLosesEvents";
/// When many tasks wait at once, the end of a wait or two is missed. An alert that waits for a
/// quarter of an hour ignores such a burst; here it waits for 5 s.
const EVICTED: &str = "ThrottleMonitorLosesEvents, evicted";
/// A deadlock is a livelock after half a minute.
const LIVELOCK: &[&str] = &["NfsLoopLivelock", "NfsLoopDeadlock"];

const PHASES: &[Phase] = &[
    Phase {
        name: "loop",
        must: &[&[CROSS]],
        // Until Alertmanager has both.
        may: &["NfsLoopPresent"],
        // Until Prometheus has scraped once.
        passing: &["ThrottleMonitorAbsent"],
    },
    Phase {
        name: "livelock",
        must: &[LIVELOCK],
        may: &[],
        passing: &[],
    },
    Phase {
        name: "recovered",
        must: &[&[CROSS]],
        may: &[],
        passing: &[],
    },
    Phase {
        name: "killed",
        must: &[&[DOWN]],
        may: &[],
        passing: &[],
    },
    Phase {
        name: "back",
        must: &[&[CROSS]],
        may: &[],
        passing: &[],
    },
    Phase {
        name: "blind",
        must: &[&[BLIND]],
        may: &[CROSS],
        passing: &[DOWN],
    },
    Phase {
        name: "seeing",
        must: &[&[CROSS]],
        may: &[],
        passing: &[DOWN],
    },
    Phase {
        name: "full",
        must: &[&[LOSES]],
        // With hundreds of mounts at once, some are looked up after more than five seconds.
        may: &[CROSS, "NfsLoopPresent"],
        passing: &[],
    },
];

/// Labels that an alert must have, beside its name.
const LABELS: &[(&str, &[(&str, &str)])] = &[
    (
        "NfsLoopLivelock",
        &[
            ("severity", "critical"),
            ("signature", "dirty-throttle"),
            ("instance", super::stack::INSTANCE),
        ],
    ),
    (
        BLIND,
        &[("severity", "warning"), ("signal", "nfs_client_writes")],
    ),
    (LOSES, &[("severity", "warning"), ("reason", "map_full")]),
    (
        DOWN,
        &[
            ("severity", "warning"),
            ("instance", super::stack::INSTANCE),
        ],
    ),
];

/// The faults, a sentence each.
pub fn judge(marks: &[Mark], active: &[Active], messages: &[Message]) -> Vec<String> {
    let faults = [
        phases(marks, active),
        labels(messages),
        livelock(marks, messages),
    ];
    faults.into_iter().flatten().collect()
}

/// The alerts, a line each.
pub fn words(messages: &[Message], start: Instant) -> String {
    let mut words = String::new();
    for message in messages {
        let status = if message.firing { "firing" } else { "resolved" };
        let _ = writeln!(
            words,
            "{:8.2}  {:<8} {:<8} {} {:?}",
            message.at.saturating_duration_since(start).as_secs_f64(),
            message.path,
            status,
            name(&message.labels),
            rest(&message.labels),
        );
    }
    words
}

fn phases(marks: &[Mark], active: &[Active]) -> Vec<String> {
    let mut faults = Vec::new();
    for phase in PHASES {
        let Some(index) = marks.iter().position(|mark| mark.name == phase.name) else {
            faults.push(format!("the phase {} did not begin", phase.name));
            continue;
        };
        let (Some(begin), Some(end)) = (marks.get(index), marks.get(index + 1)) else {
            faults.push(format!("the phase {} did not end", phase.name));
            continue;
        };
        let last = active.iter().rfind(|seen| seen.at < end.at);
        let at_end = last.map(names).unwrap_or_default();
        let told = |any: &&[&str]| any.iter().any(|one| at_end.contains(one));
        if !phase.must.iter().all(told) || !at_end.iter().all(|one| phase.knows(one)) {
            faults.push(format!(
                "at the end of the phase {} these were active: {at_end:?}; right are {:?}, and \
                 perhaps {:?}",
                phase.name, phase.must, phase.may
            ));
        }
        // An alert that came and went in between is wrong, too.
        let before = active.iter().rfind(|seen| seen.at < begin.at);
        let before = before.map(names).unwrap_or_default();
        let within = active
            .iter()
            .filter(|seen| (begin.at..end.at).contains(&seen.at));
        let came: BTreeSet<&str> = within.flat_map(names).collect();
        let came = came.difference(&before);
        let wrong = came.filter(|one| !phase.knows(one) && !phase.passing.contains(one));
        let wrong: Vec<_> = wrong.collect();
        if !wrong.is_empty() {
            faults.push(format!("in the phase {} these came: {wrong:?}", phase.name));
        }
    }
    faults
}

impl Phase {
    fn knows(&self, alert: &str) -> bool {
        let must = self.must.iter().flat_map(|any| any.iter());
        must.chain(self.may)
            .chain(&[EVICTED])
            .any(|one| *one == alert)
    }
}

fn names(seen: &Active) -> BTreeSet<&str> {
    let evicted = |labels: &Labels| {
        labels
            .get("reason")
            .is_some_and(|reason| reason == "evicted")
    };
    let title = |labels| {
        if evicted(labels) {
            EVICTED
        } else {
            name(labels)
        }
    };
    seen.alerts.iter().map(title).collect()
}

/// Checks the labels of the alerts that must have some.
fn labels(messages: &[Message]) -> Vec<String> {
    let mut faults = Vec::new();
    for (alert, wanted) in LABELS {
        let has = |message: &Message| {
            let label = |(key, value): &(&str, &str)| {
                message.labels.get(*key).is_some_and(|is| is == value)
            };
            name(&message.labels) == *alert && message.firing && wanted.iter().all(label)
        };
        if !messages.iter().any(has) {
            faults.push(format!("no message told of {alert} with {wanted:?}"));
        }
    }
    for message in messages {
        // No daemon has the runbook of an alert of no node.
        let of_node = message.labels.contains_key("instance");
        let runbook = of_node.then_some("runbook_url");
        for annotation in ["summary", "description"].into_iter().chain(runbook) {
            let text = message
                .annotations
                .get(annotation)
                .map_or("", String::as_str);
            if text.is_empty() || text.contains("<no value>") || text.contains("<error") {
                faults.push(format!(
                    "{} has the {annotation} {text:?}",
                    name(&message.labels)
                ));
            }
        }
    }
    faults
}

/// The livelock's page comes in its phase and is resolved in the next.
fn livelock(marks: &[Mark], messages: &[Message]) -> Vec<String> {
    let phase = |at: Instant| {
        let mark = marks.iter().rfind(|mark| mark.at <= at);
        mark.map_or("", |mark| mark.name.as_str())
    };
    let paged = |firing: bool| {
        let of = messages.iter().filter(move |message| {
            message.path == "/page"
                && message.firing == firing
                && LIVELOCK.contains(&name(&message.labels))
        });
        of.map(|message| phase(message.at)).collect::<BTreeSet<_>>()
    };
    let mut faults = Vec::new();
    let (told, taken_back) = (paged(true), paged(false));
    if told != BTreeSet::from(["livelock"]) {
        faults.push(format!("the livelock was paged in the phases {told:?}"));
    }
    if !taken_back.contains("recovered")
        || taken_back
            .iter()
            .any(|at| !["livelock", "recovered"].contains(at))
    {
        faults.push(format!(
            "the page was taken back in the phases {taken_back:?}"
        ));
    }
    faults
}

fn name(labels: &Labels) -> &str {
    labels.get("alertname").map_or("", String::as_str)
}

/// The labels without the name.
fn rest(labels: &Labels) -> Vec<String> {
    let rest = labels.iter().filter(|(key, _)| *key != "alertname");
    rest.map(|(key, value)| format!("{key}={value}")).collect()
}
