//! What people are told, end to end: a guest livelocks, recovers, loses its daemon,
//! a signal, a map; a real Prometheus scrapes it by the committed rules, a real
//! Alertmanager with the committed inhibition tells a webhook.
//!
//! Only times are other ones: a scrape a second, and alerts that wait for seconds
//! where a site's wait for minutes.

mod hook;
mod judge;
mod stack;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use guest::{Event, Fact, Step};

use crate::{Files, initramfs, kernels::Kernel, processes::free_port, qemu, report, scenario};
use hook::Hook;
use judge::{Active, Mark};
use stack::Stack;

/// Where the committed rules are, and what reads them.
#[derive(Args)]
pub struct Choice {
    /// One of 5.10, 6.1, 6.12, newest
    #[arg(long, default_value = "newest")]
    kernel: Kernel,
    /// The repository's deploy/
    #[arg(long)]
    deploy: PathBuf,
    /// Run at the end, with the Prometheus that has seen it all: it is given
    /// `--prometheus URL --node INSTANCE`
    #[arg(long)]
    then: Option<PathBuf>,
}

/// Play, and tell what was told. Whether all was right.
pub fn run(choice: &Choice, files: &Files) -> Result<bool> {
    let start = Instant::now();
    let hook = Hook::listen()?;
    let port = free_port()?;
    let scratch = tempfile::tempdir().context("making a temporary directory")?;
    let stack = Stack::start(&choice.deploy, scratch.path(), port, hook.port())?;
    let scenario = scenario::alerts(port);
    let base = initramfs::base(choice.kernel, &scenario.parts(), files)?;
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (over, alertmanager) = (Arc::clone(&over), stack.alertmanager());
        thread::spawn(move || watch(&over, &alertmanager))
    };
    let mut marks = Vec::new();
    let mut printer = report::Live::default().printer();
    let played = qemu::play(choice.kernel, &scenario, &base, files, &mut |peer, fact| {
        printer(peer, fact);
        marks.extend(mark(fact));
    });
    over.store(true, Relaxed);
    let active = watcher.join().unwrap_or_default();
    let outcome = played?;
    if let Some(trouble) = &outcome.trouble {
        println!(
            "FAIL  alerts: {trouble}\n      logs: {}",
            outcome.logs.display()
        );
        return Ok(false);
    }
    let (right, words) = judge::judge(&marks, &active, &hook.messages(), start);
    print!("{words}");
    if let Some(program) = &choice.then {
        let status = std::process::Command::new(program)
            .args([
                "--prometheus",
                &stack.prometheus(),
                "--node",
                stack::INSTANCE,
            ])
            .status()
            .with_context(|| program.display().to_string())?;
        ensure!(status.success(), "{} failed", program.display());
    }
    let verdict = if right { "pass" } else { "FAIL" };
    println!(
        "{verdict}  {}  alerts, end to end  {} s",
        choice.kernel,
        start.elapsed().as_secs()
    );
    Ok(right)
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
        }),
        _ => None,
    }
}

/// What is active and not inhibited, twice a second.
fn watch(over: &AtomicBool, alertmanager: &str) -> Vec<Active> {
    let mut all = Vec::new();
    while !over.load(Relaxed) {
        if let Ok(alerts) = stack::active(alertmanager) {
            all.push(Active {
                at: Instant::now(),
                alerts,
            });
        }
        thread::sleep(Duration::from_millis(500));
    }
    all
}
