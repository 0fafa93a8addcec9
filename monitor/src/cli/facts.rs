//! `facts`: what this kernel offers and what it refused, as JSON.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::FactsArgs;
use crate::kernel::{attach, plan, signals::SIGNALS};

/// Prints the facts of this kernel, with the words in which it refused each
/// kind of hook.
///
/// # Errors
///
/// Nothing can be loaded.
pub fn facts(args: &FactsArgs) -> anyhow::Result<ExitCode> {
    let attached = attach::attach_all(args.kernel.settings())?;
    let mut facts = attached.facts;
    for (signal, report) in SIGNALS.iter().zip(&attached.reports) {
        for (strategy, why) in &report.refused {
            let planned = signal.ways.iter().find(|way| way.strategy == strategy);
            // What the plan itself ruled out is no word of the kernel's.
            let tried = planned.filter(|way| plan::obstacle(way, &facts, &[]).is_none());
            let kinds = tried
                .into_iter()
                .flat_map(|way| way.probes)
                .map(|probe| probe.hook.kind());
            for kind in kinds.filter(|kind| *kind != "tracepoint") {
                facts.refuses.insert(kind.to_owned(), why.clone());
            }
        }
    }
    println!(
        "{}",
        serde_json::to_string(&facts).context("facts as JSON")?
    );
    Ok(ExitCode::SUCCESS)
}
