//! Guests that serve each other, each with its daemon, and a real Prometheus that scrapes all of
//! them with the committed rules, every five seconds.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use guest::{Event, Fact, Sample};
use serde::Deserialize;

use crate::{
    Files,
    alerts::{
        hook::Hook,
        stack::{COMMITTED, Stack},
    },
    initramfs,
    judge::{Judgement, Seen, void},
    kernels::Kernel,
    processes::{free_port, get},
    qemu::{self, Outcome},
    scenario::{self, Across, Scenario},
};

/// Milliseconds from the last progress of the last node to the alert.
const IN_TIME: i64 = 30_000;

/// Bytes that each node must have moved at least.
const MOVED: u64 = 5_000_000;

/// Bytes that a frozen node does not move.
const GOES_ON: u64 = 2_000_000;

const ALERT: &str = "NfsLivelockAcrossNodes";

type Labels = BTreeMap<String, String>;

/// What Prometheus said: alerts and blocked edges, when it was asked.
struct Said {
    at: Instant,
    alerts: Vec<Labels>,
    /// Instances with a blocked mount.
    blocked: Vec<String>,
    /// The first time that there is an alert: the device that the runbook of the alert's node says
    /// to exempt.
    device: Option<String>,
}

/// Plays the scenario and judges the alert. `across.log`, beside the logs, has all that was said.
pub fn play(
    kernel: Kernel,
    scenario: &Scenario,
    wanted: Across,
    files: &Files,
    each: &mut dyn FnMut(usize, &Fact),
) -> Result<(Outcome, Judgement)> {
    let deploy = files.deploy.as_deref().context("--deploy is missing")?;
    let start = Instant::now();
    let mut scenario = scenario::find(scenario.name)?;
    let count = scenario.peers.len() + 1;
    let names: Vec<String> = (1..=count).map(|number| format!("node-{number}")).collect();
    let ports = (0..count)
        .map(|_| free_port())
        .collect::<Result<Vec<_>>>()?;
    scenario.forward = ports.first().copied();
    for (peer, port) in scenario.peers.iter_mut().zip(ports.iter().skip(1)) {
        peer.forward = Some(*port);
    }
    let targets: Vec<(&str, u16)> = names.iter().map(String::as_str).zip(ports).collect();
    let hook = Hook::listen()?;
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let stack = Stack::start(deploy, scratch.path(), &targets, hook.port(), &COMMITTED)?;
    let over = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (over, prometheus) = (Arc::clone(&over), stack.prometheus());
        let pages = names
            .iter()
            .cloned()
            .zip(targets.iter().map(|(_, port)| *port));
        let pages = pages.collect();
        move || watch(&over, &prometheus, &pages)
    });
    let base = initramfs::base(kernel, &scenario.parts(), files)?;
    let mut clocks: Vec<Option<i64>> = vec![None; count];
    let outcome = qemu::play(kernel, &scenario, &base, files, &mut |guest, fact| {
        each(guest, fact);
        if let Some(clock) = clocks.get_mut(guest) {
            // What comes late comes later: the least difference is the clocks'.
            let ahead = since(start, Instant::now()) - signed(fact.ms);
            *clock = Some(clock.map_or(ahead, |least| least.min(ahead)));
        }
    });
    over.store(true, Relaxed);
    let said = watcher.join().unwrap_or_default();
    let outcome = outcome?;
    fs::write(outcome.logs.join("across.log"), words(&said, start))?;
    if let Some(trouble) = &outcome.trouble {
        let trouble = trouble.clone();
        return Ok((outcome, Err(void(trouble))));
    }
    let guests: Vec<&[Fact]> = std::iter::once(&outcome.facts)
        .chain(&outcome.peers)
        .map(Vec::as_slice)
        .collect();
    let judged = Judged {
        guests,
        clocks: clocks.into_iter().map(Option::unwrap_or_default).collect(),
        names,
        said: &said,
        start,
    };
    let judgement = match wanted {
        Across::Livelock => judged.livelock(),
        Across::Quiet => judged.quiet(),
        Across::Measured => judged.measured(),
        Across::ByTheBook => judged.by_the_book(),
    };
    Ok((outcome, judgement))
}

/// Times are milliseconds of the host since the start of the play.
struct Judged<'a> {
    guests: Vec<&'a [Fact]>,
    clocks: Vec<i64>,
    names: Vec<String>,
    said: &'a [Said],
    start: Instant,
}

impl Judged<'_> {
    fn livelock(&self) -> Judgement {
        let mut last = i64::MIN;
        let mut words = String::new();
        for (guest, (facts, clock)) in self.guests.iter().zip(&self.clocks).enumerate() {
            let seen = Seen(facts);
            let started = seen.writers_started()?;
            let stopped = seen.stopped(started);
            let stopped = stopped.ok_or_else(|| void(format!("guest {guest} never stopped")))?;
            let _ = write!(words, "stopped={} ", in_seconds(stopped - started));
            last = last.max(signed(stopped) + clock);
        }
        let Some((at, labels)) = self.told() else {
            return Err(format!("{words}and no alert of it").into());
        };
        let late = at - last;
        let _ = write!(words, "alert={}", late as f64 / 1000.0);
        let named = |name: &String| labels.values().any(|value| value == name);
        if !self.names.iter().all(named) {
            return Err(format!("{words}, but it names {labels:?}").into());
        }
        if late > IN_TIME {
            return Err(format!("{words}: too late").into());
        }
        Ok(words)
    }

    fn quiet(&self) -> Judgement {
        let mut words = "acked=".to_owned();
        for (guest, facts) in self.guests.iter().enumerate() {
            let acked = Seen(facts).samples().map(|(_, sample)| sample.acked).max();
            let acked = acked.unwrap_or(0);
            if acked < MOVED {
                return Err(void(format!("guest {guest} moved {acked} bytes")));
            }
            let _ = write!(words, "{acked} ");
        }
        let blocked = self.said.iter().flat_map(|said| &said.blocked);
        let blocked: std::collections::BTreeSet<_> = blocked.collect();
        let _ = write!(words, "looks={} blocked={blocked:?}", self.said.len());
        match self.told() {
            Some((_, labels)) => Err(format!("{words}, and an alert: {labels:?}").into()),
            None => Ok(words),
        }
    }

    /// The alert names both nodes, the runbook of one of them fills in its device, and what it says
    /// gets both going again.
    fn by_the_book(&self) -> Judgement {
        let alert = self.livelock()?;
        let device = self.said.iter().find_map(|said| said.device.as_ref());
        let Some(device) = device else {
            return Err(format!("{alert}, but the runbook fills in no device").into());
        };
        let words = format!("{alert} runbook: {device}; {}", self.measured()?);
        if words.contains("first=never") {
            return Err(format!("{words}: not both go on").into());
        }
        Ok(words)
    }

    fn measured(&self) -> Judgement {
        let helped = self.guests.first().and_then(|facts| {
            let mut facts = facts.iter();
            facts.find_map(|fact| matches!(fact.event, Event::HelpedOut).then_some(fact.ms))
        });
        let helped = helped.ok_or_else(|| void("no action"))?;
        let helped = signed(helped) + self.clocks.first().copied().unwrap_or_default();
        let mut words = String::new();
        for (name, (facts, clock)) in self.names.iter().zip(self.guests.iter().zip(&self.clocks)) {
            let seen = Seen(facts);
            let samples: Vec<(i64, Sample)> = seen
                .samples()
                .map(|(ms, sample)| (signed(ms) + clock - helped, sample))
                .collect();
            let at = |time: i64| {
                let mut before = samples.iter().rev();
                let found = before.find(|(ms, _)| *ms <= time);
                found.map_or(0, |(_, sample)| sample.acked)
            };
            let before = at(0).saturating_sub(at(-5_000));
            if before > GOES_ON {
                return Err(void(format!("{name} was not frozen: {before} bytes")));
            }
            let moved = |time| at(time).saturating_sub(at(0));
            let mut after = samples.iter().filter(|(ms, _)| *ms > 0);
            let first = after.find(|(_, sample)| sample.acked > at(0) + GOES_ON);
            let first = first.map_or("never".to_owned(), |(ms, _)| {
                format!("{:.1}", *ms as f64 / 1000.0)
            });
            let _ = write!(
                words,
                "{name}: before={before} first={first} 10s={} 20s={} 40s={} last10s={}; ",
                moved(10_000),
                moved(20_000),
                moved(40_000),
                at(40_000).saturating_sub(at(30_000)),
            );
        }
        Ok(words)
    }

    fn told(&self) -> Option<(i64, &Labels)> {
        self.said.iter().find_map(|said| {
            let first = said.alerts.first()?;
            Some((since(self.start, said.at), first))
        })
    }
}

/// Asks Prometheus twice a second.
fn watch(over: &AtomicBool, prometheus: &str, daemons: &BTreeMap<String, u16>) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    while !over.load(Relaxed) {
        let alerts = ask(prometheus, &format!("ALERTS{{alertname=\"{ALERT}\"}}"));
        let blocked = ask(prometheus, "throttle_remote_mount_blocked==1");
        if let (Ok(alerts), Ok(blocked)) = (alerts, blocked) {
            let read = all.iter().any(|said| said.device.is_some());
            let node = alerts.first().and_then(|labels| labels.get("node_a"));
            let port = node.filter(|_| !read).and_then(|node| daemons.get(node));
            all.push(Said {
                at: Instant::now(),
                device: port.and_then(|port| device_to_exempt(*port)),
                alerts,
                blocked: blocked
                    .into_iter()
                    .filter_map(|mut labels| labels.remove("instance"))
                    .collect(),
            });
        }
        thread::sleep(Duration::from_millis(500));
    }
    all
}

/// What the runbook of a daemon has in place of its example.
fn device_to_exempt(port: u16) -> Option<String> {
    let page = get(&format!("http://127.0.0.1:{port}/runbooks/across-nodes")).ok()?;
    let (_, rest) = page.split_once("export_bdi=")?;
    let device = rest
        .split(|c: char| !(c.is_ascii_digit() || c == ':'))
        .next()?;
    // It says so where it has none to fill in.
    (!page.contains("replace it")).then(|| device.to_owned())
}

/// The labels of what a query finds.
fn ask(prometheus: &str, query: &str) -> Result<Vec<Labels>> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        result: Vec<Found>,
    }
    #[derive(Deserialize)]
    struct Found {
        metric: Labels,
    }
    let escaped: String = query
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let answer = get(&format!("{prometheus}/api/v1/query?query={escaped}"))?;
    let answer: Answer = serde_json::from_str(&answer)?;
    let found = answer.data.result.into_iter();
    Ok(found.map(|found| found.metric).collect())
}

/// Each change, a line.
fn words(said: &[Said], start: Instant) -> String {
    let mut words = String::new();
    let mut last = String::new();
    for one in said {
        let now = format!("blocked {:?} alerts {:?}", one.blocked, one.alerts);
        if now != last {
            let at = since(start, one.at) as f64 / 1000.0;
            let _ = writeln!(words, "{at:8.2}  {now}");
            last = now;
        }
    }
    words
}

fn since(start: Instant, at: Instant) -> i64 {
    i64::try_from(at.saturating_duration_since(start).as_millis()).unwrap_or(i64::MAX)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn in_seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
