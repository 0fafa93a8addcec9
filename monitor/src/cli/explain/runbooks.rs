//! Tests that the runbooks have the same commands as `explain`: their lists are generated from the
//! same texts and measures.

use std::fmt::Write as _;

use monitor_verdict::mitigation::{self, Target};

use monitor_model::mitigation::{Ineffective, Measure};

use super::{
    EXPLANATIONS, FIND_BDI, NOT_MEASURED,
    texts::{Chain, Explanation},
};
use crate::cli::generated;
use crate::text::wrap;

/// Maximum length of a line in a runbook, characters.
const WIDTH: usize = 125;

#[test]
fn docs_runbooks_give_the_commands_of_explain() {
    for one in &EXPLANATIONS {
        let (signature, place) = (one.signature, Target::default());
        let mitigations = mitigation::mitigations_at(signature, &place);
        let preventions = mitigation::preventions_at(signature, &place);
        let parts = [
            ("path", path(one.path)),
            ("kernels", prose(one.kernels)),
            ("confirm", confirm(one)),
            ("mitigations", measures(&mitigations)),
            (
                "ineffective",
                failures(&mitigation::ineffective(signature, &place)),
            ),
            ("preventions", measures(&preventions)),
            (
                "not preventing",
                failures(&mitigation::not_preventing(signature, &place)),
            ),
        ];
        generated::hold(&format!("runbooks/{}.md", signature.as_str()), &parts);
    }
}

fn path(chains: &[Chain]) -> String {
    let mut text = String::from("```text\n");
    for chain in chains {
        let _ = writeln!(text, "{}", chain.who);
        for (depth, function) in chain.functions.iter().enumerate() {
            let _ = writeln!(text, "  {}{function}", "  ".repeat(depth));
        }
        let _ = writeln!(text, "  waits for {}", chain.waits_for);
    }
    text + "```"
}

fn prose(words: &str) -> String {
    let mut text = String::new();
    wrap(&mut text, words, "", WIDTH);
    text
}

fn confirm(one: &Explanation) -> String {
    let mut text = format!(
        "```sh\n# Which mounts are NFS, with their BDI, without touching them.\n{FIND_BDI}\nbdi=0:29  # the mount's\n"
    );
    for (number, confirm) in one.confirm.iter().enumerate() {
        let _ = writeln!(
            text,
            "\n# {}. {}\n{}",
            number + 1,
            confirm.look,
            confirm.command
        );
    }
    text + "```"
}

fn measures(all: &[Measure]) -> String {
    if all.is_empty() {
        return prose(NOT_MEASURED);
    }
    let mut text = String::new();
    for (number, one) in all.iter().enumerate() {
        let line = format!("{}. **{}** {}", number + 1, one.what, sentence(&one.seen));
        let mut lines = String::new();
        wrap(&mut lines, &line, "   ", WIDTH);
        // The number is in the margin.
        let _ = writeln!(text, "{}", lines.trim_start());
        block(&mut text, "", &one.commands);
        block(&mut text, "To undo it, when the load is gone:", &one.undo);
    }
    text
}

/// Adds a full stop.
fn sentence(words: &str) -> String {
    format!("Seen: {}.", words.trim_end_matches('.'))
}

fn block(text: &mut String, title: &str, commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    if !title.is_empty() {
        let _ = writeln!(text, "   {title}\n");
    }
    let _ = writeln!(text, "   ```sh");
    for command in commands {
        let _ = writeln!(text, "   {command}");
    }
    let _ = writeln!(text, "   ```\n");
}

fn failures(all: &[Ineffective]) -> String {
    if all.is_empty() {
        return "Every action tried was effective.".to_owned();
    }
    let mut text = String::from("| action | outcome |\n|---|---|\n");
    for one in all {
        let _ = writeln!(text, "| {} | {} |", one.what, one.seen);
    }
    text
}
