//! Output for people.

use guest::{Event, Fact, Mounted, Sample};

use crate::{
    judge::{Fault, Judgement},
    kernels::Kernel,
    qemu::Outcome,
    scenario::{self, Scenario},
};

/// Kernels in one line.
pub fn words(kernels: &[Kernel]) -> String {
    kernels
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The scenarios.
pub fn list() {
    for scenario in scenario::all() {
        println!(
            "{:20} {:22} {}",
            scenario.name,
            words(scenario.kernels),
            scenario.about
        );
    }
}

/// Prints facts as they come, but only changes of the counters.
#[derive(Default)]
pub struct Live {
    last: Option<(u64, Sample)>,
}

impl Live {
    /// The callback for [`crate::qemu::play`].
    pub fn printer(mut self) -> impl FnMut(usize, &Fact) {
        move |guest, fact| {
            if let Event::Sample(sample) = fact.event {
                // A peer's counters are in its log.
                if guest > 0 {
                    return;
                }
                if !self.is_news(fact.ms, sample) {
                    return;
                }
                self.last = Some((fact.ms, sample));
            }
            live(guest, fact);
        }
    }

    /// Once a second while bytes move, otherwise every ten.
    fn is_news(&self, ms: u64, sample: Sample) -> bool {
        self.last.is_none_or(|(then, before)| {
            let moved = before.acked != sample.acked || before.disk != sample.disk;
            ms > then + if moved { 900 } else { 10_000 }
        })
    }
}

fn live(guest: usize, fact: &Fact) {
    let peer = match guest {
        0 => String::new(),
        1 => "peer ".to_owned(),
        more => format!("peer {more} "),
    };
    let at = format!("{peer}{:>8.2}", fact.ms as f64 / 1000.0);
    match &fact.event {
        Event::Booted { kernel } => println!("{at}  Linux {kernel}"),
        Event::Step(words) => println!("{at}  . {words}"),
        Event::NoDaemon => println!("{at}  no daemon in this image"),
        Event::Ready => println!("{at}  the daemon is ready"),
        Event::Mounted(mounted) => {
            let Mounted {
                at: point,
                source,
                device,
                bdis,
            } = mounted;
            println!("{at}  {source} on {point} is {device}, new BDIs: {bdis:?}");
        }
        Event::Server {
            name,
            threads,
            exempt,
        } => println!("{at}  {name} listens, {exempt} of {threads} threads exempt"),
        Event::FirstWrite { dir } => println!("{at}  the first write in {dir}"),
        Event::Written => println!("{at}  all is written"),
        Event::Counted(counts) => println!("{at}  {counts:?}"),
        Event::Loop(entry) => println!("{at}  LOOP {entry:?}"),
        Event::LoopGone(name) => println!("{at}  LOOP {name} is gone"),
        Event::Values(values) => println!("{at}  {} values", values.len()),
        Event::Changed(values) => println!("{at}  {} values, some of them changed", values.len()),
        Event::WritersStarted => println!("{at}  the writers begin"),
        Event::Sample(sample) => {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            println!(
                "{at}    acked {:8.1} MB  synced {:6.1} MB  disk {:8.1} MB  dirty {:6.1} MB  writeback {:6.1} MB  oom {}",
                mb(sample.acked),
                mb(sample.synced),
                mb(sample.disk),
                mb(sample.dirty),
                mb(sample.writeback),
                sample.oom_kills
            );
        }
        Event::Verdict(entry) => println!(
            "{at}  VERDICT at {:.2}: {} {}: {} -> {}: {}",
            entry.monotonic_ms as f64 / 1000.0,
            entry.of,
            entry.signature,
            entry.from,
            entry.to,
            entry.reason
        ),
        Event::HasRelated => {}
        Event::Related(entry) => println!(
            "{at}  RELATED at {:.2}: {} {} {}: {}",
            entry.monotonic_ms as f64 / 1000.0,
            entry.kind,
            entry.bdi,
            if entry.began { "begins" } else { "ends" },
            entry.reason
        ),
        Event::Traced { count, line } => println!("{at}  traced {count} times, at last: {line}"),
        Event::Metric { line } => println!("{at}  {line}"),
        Event::Output { what, code, text } => {
            println!("{at}  {what}: exit code {code:?}\n{}", text.trim_end());
        }
        Event::HelpedOut => println!("{at}  the node is helped out"),
        Event::Served { path, ms, text } => println!("{at}  {path}, served in {ms} ms:\n{text}"),
        Event::Probes(value) => println!("{at}  probes: {value}"),
        Event::TookOver => println!("{at}  the server from now on"),
        Event::Unloaded { modules, error } => println!(
            "{at}  unloading {}: {}",
            modules.join(" "),
            error.as_deref().unwrap_or("done")
        ),
        Event::Took { what, ms, cpu_ms } => {
            println!("{at}  {what} took {ms} ms, {cpu_ms} ms of them running");
        }
        Event::BpfObjects {
            programs,
            maps,
            links,
        } => println!("{at}  BPF: {programs} programs, {maps} maps, {links} links"),
        Event::Statfs { path, returned } => println!("{at}  statfs {path} returned: {returned}"),
        Event::Blocked(stacks) => println!("{at}  blocked in NFS: {stacks:?}"),
        Event::Congestion {
            kernel,
            daemon,
            bytes,
        } => {
            println!("{at}  congested: {kernel}, the daemon says {daemon:?}, the bytes {bytes}");
        }
        Event::DaemonDied { status } => println!("{at}  THE DAEMON DIED: {status}"),
        Event::Failed(words) => println!("{at}  FAILED: {words}"),
        Event::File { name, .. } => println!("{at}  a part of {name}"),
        Event::End => println!("{at}  over"),
    }
}

/// The judgement in one line. `again`: it will be repeated.
pub fn verdict(
    kernel: Kernel,
    scenario: &Scenario,
    outcome: &Outcome,
    judgement: &Judgement,
    again: bool,
) {
    let (word, why) = match judgement {
        Ok(why) if again => ("pass", format!("{why}; once more, as it was wrong before")),
        Ok(why) => ("pass", why.clone()),
        Err(fault @ Fault::Void(_)) if again => ("void", format!("{fault}; once more")),
        Err(fault) if again => ("doubt", format!("{fault}; twice more")),
        Err(fault) => ("FAIL", fault.to_string()),
    };
    println!(
        "{word:5} {kernel:7} {:24} {:4} s {:3} %  {why}",
        scenario.name,
        outcome.took.as_secs(),
        outcome.busy
    );
    if judgement.is_err() {
        println!("      logs: {}", outcome.logs.display());
        last_words(outcome);
    }
}

/// The most useful part for a reader without the logs.
fn last_words(outcome: &Outcome) {
    const LINES: usize = 8;
    for fact in &outcome.facts {
        if matches!(fact.event, Event::Verdict(_) | Event::DaemonDied { .. }) {
            live(0, fact);
        }
    }
    let console = std::fs::read(outcome.logs.join("console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let killed: Vec<_> = console
        .lines()
        .filter(|line| {
            ["Killed process", "oom-kill:"]
                .iter()
                .any(|word| line.contains(word))
        })
        .collect();
    for line in &killed[killed.len().saturating_sub(LINES)..] {
        println!("      {}", line.trim());
    }
}
