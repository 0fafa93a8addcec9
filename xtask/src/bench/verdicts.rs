//! Measures the time from the onset of a livelock to its verdict, over recordings of real ones,
//! each judged with the daemon's thresholds.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{
    BenchArgs,
    report::{Report, quantile},
};

const PART: &str = "verdicts";

#[derive(Deserialize)]
struct Labels {
    recording: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    file: String,
    expect: String,
    onset: Option<f64>,
}

#[derive(Deserialize)]
struct Replayed {
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Transition {
    monotonic_ms: u64,
    to: String,
}

/// Measures all that have a verdict.
pub fn measure(choice: &BenchArgs, report: &mut Report) -> Result<()> {
    let text = fs::read_to_string(choice.recordings.join("labels.toml"))?;
    let labels: Labels = toml::from_str(&text)?;
    let (mut suspected, mut confirmed) = (Vec::new(), Vec::new());
    for label in labels
        .recording
        .iter()
        .filter(|label| label.expect == "livelock")
    {
        let Some(onset) = label.onset else { continue };
        let path = choice.recordings.join(&label.file);
        let output = Command::new(&choice.daemon)
            .arg("replay")
            .arg(&path)
            .args(["--format", "json"])
            .output()?;
        let replayed: Replayed =
            serde_json::from_slice(&output.stdout).with_context(|| path.display().to_string())?;
        let after = |states: &[&str]| {
            let mut all = replayed.transitions.iter();
            let first = all.find(|one| states.contains(&one.to.as_str()));
            first.map(|one| one.monotonic_ms as f64 / 1e3 - onset)
        };
        suspected.extend(after(&["suspected", "livelock", "deadlock"]));
        confirmed.extend(after(&["livelock", "deadlock"]));
    }
    for (words, times) in [("suspected", suspected), ("confirmed", confirmed)] {
        report.one(PART, format!("{words}: livelocks"), "", times.len() as f64);
        for (name, share) in [("median", 0.5), ("95 % within", 0.95), ("the latest", 1.0)] {
            report.one(
                PART,
                format!("{words}, from the onset: {name}"),
                "s",
                quantile(&times, share),
            );
        }
        report.add(PART, format!("{words}, from the onset"), "s", times);
    }
    Ok(())
}
