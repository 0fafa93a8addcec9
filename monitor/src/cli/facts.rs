//! `facts`: the features of this kernel and its refusals, as JSON.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use monitor_collector::kernel::{
    attach::{self, Attached},
    facts::Facts,
    plan,
    signals::SIGNALS,
};

use super::flags::KernelArgs;

/// Arguments of `facts`.
#[derive(Debug, Args)]
pub struct FactsArgs {
    /// Flags shared with `run`.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Prints the facts of this kernel, with its errors for each kind of hook and for functions of
/// modules.
///
/// # Errors
///
/// Nothing can be loaded.
pub fn facts(args: &FactsArgs) -> anyhow::Result<ExitCode> {
    let facts = of(attach::attach_all(args.kernel.settings())?);
    println!(
        "{}",
        serde_json::to_string(&facts).context("facts as JSON")?
    );
    Ok(ExitCode::SUCCESS)
}

/// The facts, with the kernel's refusals.
pub(super) fn of(attached: Attached) -> Facts {
    let mut facts = attached.facts;
    for (signal, report) in SIGNALS.iter().zip(&attached.reports) {
        for (strategy, why) in &report.refused {
            let planned = signal.strategies.iter().find(|one| one.name == strategy);
            // Skip strategies that the plan itself ruled out: the kernel did not refuse them.
            let tried = planned.filter(|strategy| plan::obstacle(strategy, &facts, &[]).is_none());
            for probe in tried.into_iter().flat_map(|strategy| strategy.probes) {
                let (what, words) = match (probe.hook.module_function(), probe.hook.kind()) {
                    // A function that is missing in a module proves nothing about others.
                    (Some(function), _) => (function, named(why, function)),
                    (None, "tracepoint") => continue,
                    (None, kind) => (kind, Some(why.as_str())),
                };
                if let Some(words) = words {
                    facts.refuses.insert(what.to_owned(), words.to_owned());
                }
            }
        }
    }
    facts
}

/// The kernel's error for this function, in the plan's text.
fn named<'a>(why: &'a str, function: &str) -> Option<&'a str> {
    why.strip_prefix(function)?.strip_prefix(": ")
}
