//! Alerts, end to end. A guest livelocks, recovers, and loses its daemon, a signal and a map. A
//! real Prometheus scrapes it with the committed rules, and a real Alertmanager with the committed
//! inhibition calls a webhook.
//!
//! Only the times differ: a scrape per second, and alerts after seconds instead of minutes.

pub mod hook;
mod judge;
mod page;
pub mod stack;

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use guest::{Event, Fact, Step};

use crate::{
    Files, initramfs,
    judge::Judgement,
    kernels::Kernel,
    processes::{free_port, get},
    qemu::{self, Outcome},
    scenario,
};
use hook::Hook;
use judge::{Active, Mark};
use stack::Stack;

/// Plays the scenario and judges the alerts. `alerts.log`, beside the logs, lists all of them.
pub fn play(
    kernel: Kernel,
    files: &Files,
    each: &mut dyn FnMut(usize, &Fact),
) -> Result<(Outcome, Judgement)> {
    let start = Instant::now();
    let deploy = files.deploy.as_deref().context("--deploy is missing")?;
    let hook = Hook::listen()?;
    let port = free_port()?;
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let scenario = scenario::alerts(Some(port));
    let base = initramfs::base(kernel, &scenario.parts(), files)?;
    let over = Arc::new(AtomicBool::new(false));
    let mut marks = Vec::new();
    let mut watching = None;
    let outcome = qemu::play(kernel, &scenario, &base, files, &mut |peer, fact| {
        each(peer, fact);
        marks.extend(mark(fact));
        // Wait for the daemon, or the first alert would be its absence.
        if watching.is_none() && !marks.is_empty() {
            let stack = Stack::start(
                deploy,
                scratch.path(),
                &[(stack::INSTANCE, port)],
                hook.port(),
                &stack::HURRIED,
            );
            watching = Some(stack.map(|stack| {
                let (over, alertmanager) = (Arc::clone(&over), stack.alertmanager());
                let page = format!("http://127.0.0.1:{port}/metrics");
                (
                    stack,
                    thread::spawn(move || watch(&over, &alertmanager, &page)),
                )
            }));
        }
    });
    over.store(true, Relaxed);
    let outcome = outcome?;
    if let Some(trouble) = &outcome.trouble {
        let trouble = trouble.clone();
        return Ok((outcome, Err(trouble.into())));
    }
    let (stack, watcher) = watching.context("the daemon never began")??;
    let seen = watcher.join().unwrap_or_default();
    let messages = hook.messages();
    let mut told = judge::words(&messages, start);
    let mut faults = judge::judge(&marks, &seen.active, &messages);
    faults.extend(page::faults(&seen.pages)?);
    let queried = queries(deploy, &stack, &marks)?;
    told.push_str(&queried.said);
    if !queried.right {
        faults.push("a query of the dashboards gives nothing, or cannot be read".to_owned());
    }
    fs::write(outcome.logs.join("alerts.log"), &told)?;
    let judgement = if faults.is_empty() {
        Ok(format!("{} messages, all right", messages.len()))
    } else {
        let mut words = faults.join("; ");
        let _ = write!(words, "\n{told}");
        Err(words.into())
    };
    Ok((outcome, judgement))
}

/// The phase that begins with this fact.
fn mark(fact: &Fact) -> Option<Mark> {
    let Event::Step(words) = &fact.event else {
        return None;
    };
    match serde_json::from_str(words) {
        Ok(Step::Phase(name)) => Some(Mark {
            name,
            at: Instant::now(),
            unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }),
        _ => None,
    }
}

/// The observations during the play.
#[derive(Default)]
struct Seen {
    active: Vec<Active>,
    pages: Vec<String>,
}

/// Records active alerts without inhibited ones, twice a second, and sometimes the daemon's page.
fn watch(over: &AtomicBool, alertmanager: &str, page: &str) -> Seen {
    let mut seen = Seen::default();
    for look in 0_u32.. {
        if over.load(Relaxed) {
            break;
        }
        if let Ok(alerts) = stack::active(alertmanager) {
            seen.active.push(Active {
                at: Instant::now(),
                alerts,
            });
        }
        if look % 30 == 0 {
            // The daemon is killed in between.
            seen.pages.extend(get(page));
        }
        thread::sleep(Duration::from_millis(500));
    }
    seen
}

struct Queried {
    right: bool,
    said: String,
}

/// Runs every query of the dashboards at the times of the livelock.
fn queries(deploy: &Path, stack: &Stack, marks: &[Mark]) -> Result<Queried> {
    let at = |name: &str| marks.iter().find(|mark| mark.name == name);
    let begin = at("loop").context("no loop")?.unix;
    let end = at("recovered").context("no livelock")?.unix;
    let program = deploy.join("grafana/check");
    let output = Command::new(&program)
        .args([
            "--prometheus",
            &stack.prometheus(),
            "--node",
            stack::INSTANCE,
        ])
        .args(["--scrape-interval", "1"])
        .args(["--end", &end.to_string()])
        .args(["--range", &end.saturating_sub(begin).to_string()])
        .output()
        .with_context(|| program.display().to_string())?;
    Ok(Queried {
        right: output.status.success(),
        said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    })
}
