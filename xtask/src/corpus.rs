//! The corpus: recordings of correct plays, each with its label.
//!
//! A play with `--record` leaves a recording beside its facts. The facts are judged again, and a
//! correct play becomes a file of the corpus. The times of its label are the guest's observations,
//! never the daemon's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use guest::{Event, Fact, Transition};
use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    judge::{self, Times},
    kernels::{self, Kernel},
    qemu::Outcome,
    scenario::{self, Expect, Scenario},
};

/// The source and the destination of recordings.
#[derive(Args)]
pub struct CorpusArgs {
    /// Directory of the logs of plays with `--record`
    #[arg(long)]
    logs: PathBuf,
    /// The directory of the corpus, with its `labels.toml`
    #[arg(long)]
    corpus: PathBuf,
    /// The daemon, to replay each recording and compare with what was told live
    #[arg(long)]
    daemon: PathBuf,
    /// Only scenarios whose names contain this
    #[arg(long, default_value = "")]
    only: String,
}

/// Adds or replaces the recordings of these plays; labels of other files stay.
pub fn run(choice: &CorpusArgs) -> Result<bool> {
    let mut labels = Labels::open(&choice.corpus.join("labels.toml"))?;
    let (mut added, mut same) = (0, 0);
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| scenario.name.contains(&choice.only));
    for scenario in &scenarios {
        for &kernel in kernels::EVERY {
            let logs = choice.logs.join(format!("{kernel}-{}", scenario.name));
            match play(kernel, scenario, &logs)? {
                Play::Right(recording, label, told) => {
                    match compare(&choice.daemon, &recording, &told)? {
                        None => same += 1,
                        Some(differs) => println!("{kernel} {}: {differs}", scenario.name),
                    }
                    let file = file_name(kernel, scenario);
                    fs::copy(&recording, choice.corpus.join(&file))
                        .with_context(|| recording.display().to_string())?;
                    labels.set(file, label);
                    added += 1;
                }
                Play::Useless(why) => println!("{kernel} {}: {why}", scenario.name),
                Play::None => {}
            }
        }
    }
    labels.write()?;
    println!(
        "{added} recordings, {same} of them replayed as they were told live; {} labels",
        labels.entries.len()
    );
    Ok(same == added)
}

/// The differences between a replay and the verdicts in the guest.
fn compare(daemon: &Path, recording: &Path, told: &[Transition]) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Replayed {
        transitions: Vec<Transition>,
    }
    let output = Command::new(daemon)
        .args(["replay", "--format", "json"])
        .arg(recording)
        .output()
        .with_context(|| daemon.display().to_string())?;
    let replayed: Replayed = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("replay of {}", recording.display()))?;
    // The guest may have missed the very last transitions.
    let replayed = &replayed.transitions[..replayed.transitions.len().min(told.len())];
    let pair = told
        .iter()
        .zip(replayed)
        .find(|(live, again)| live != again)
        .map(|(live, again)| format!("told live: {live:?}, replayed: {again:?}"));
    Ok(pair.or_else(|| {
        (replayed.len() < told.len()).then(|| {
            format!(
                "{} transitions were told, {} replayed",
                told.len(),
                replayed.len()
            )
        })
    }))
}

/// The content of one directory of logs.
enum Play {
    /// A recording, its label, and the daemon's transitions.
    Right(PathBuf, Table, Vec<Transition>),
    /// The reason why it does not qualify for the corpus.
    Useless(String),
    /// There was no play, or no recording.
    None,
}

fn play(kernel: Kernel, scenario: &Scenario, logs: &Path) -> Result<Play> {
    let facts = facts(&logs.join("facts.jsonl"));
    if facts.is_empty() {
        return Ok(Play::None);
    }
    let mut recordings = Vec::new();
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".tmrec") && !name.starts_with("peer") {
            recordings.push(path);
        }
    }
    let Some(expect) = expect(&scenario.expect) else {
        return Ok(Play::None);
    };
    let recording = match recordings.as_slice() {
        [] => return Ok(Play::None),
        [one] => one.clone(),
        more => return Ok(Play::Useless(format!("{} recordings, not one", more.len()))),
    };
    if !facts.iter().any(|fact| matches!(fact.event, Event::End)) {
        return Ok(Play::Useless("it never came to its end".to_owned()));
    }
    let outcome = Outcome::told(
        facts,
        vec![self::facts(&logs.join("peer-facts.jsonl"))],
        logs,
    );
    if let Err(fault) = judge::judge(scenario, &outcome) {
        return Ok(Play::Useless(fault.to_string()));
    }
    let times = judge::times(scenario, &outcome);
    let told = outcome.facts.into_iter();
    let told = told.filter_map(|fact| match fact.event {
        Event::Verdict(entry) => Some(entry),
        _ => None,
    });
    Ok(Play::Right(
        recording,
        label(kernel, scenario, expect, &times),
        told.collect(),
    ))
}

/// The facts of a guest; empty if there are none.
fn facts(path: &Path) -> Vec<Fact> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let facts = text.lines().map(serde_json::from_str);
    facts.filter_map(Result::ok).collect()
}

/// `expect` of the label, if a verdict can be right or wrong in this scenario.
fn expect(expect: &Expect) -> Option<&'static str> {
    match expect {
        Expect::Livelock(_)
        | Expect::Recovery(_)
        | Expect::LivelockAfterTakeover(_)
        | Expect::LivelockBeside { .. } => Some("livelock"),
        Expect::Survival(signatures) => (!signatures.is_empty()).then_some("livelock"),
        Expect::Nothing(_) | Expect::NoLoop { .. } | Expect::HungServer => Some("none"),
        _ => None,
    }
}

fn label(kernel: Kernel, scenario: &Scenario, expect: &str, times: &Times) -> Table {
    let words = |all: &[&str]| Value::from(all.to_vec());
    let seconds = |ms: u64| Value::from(ms as f64 / 1000.0);
    let mut label = Table::new();
    label.insert("file".into(), file_name(kernel, scenario).into());
    label.insert("scenario".into(), scenario.name.into());
    label.insert("kernel".into(), kernel.to_string().into());
    label.insert("expect".into(), expect.into());
    match &scenario.expect {
        Expect::Livelock(signatures)
        | Expect::Recovery(signatures)
        | Expect::LivelockAfterTakeover(signatures)
        | Expect::LivelockBeside { signatures, .. }
        | Expect::Survival(signatures) => {
            label.insert("signature".into(), words(signatures));
        }
        Expect::Nothing(quiet) if !quiet.related.is_empty() => {
            label.insert("related".into(), words(quiet.related));
        }
        _ => {}
    }
    let times = [
        ("onset", times.onset),
        ("helped_out", times.helped_out),
        ("moves_again", times.moves_again),
    ];
    for (key, ms) in times {
        if let Some(ms) = ms {
            label.insert(key.into(), seconds(ms));
        }
    }
    label
}

fn file_name(kernel: Kernel, scenario: &Scenario) -> String {
    format!("{kernel}-{}.tmrec", scenario.name)
}

/// `labels.toml`: a comment, and an entry for each file.
struct Labels {
    path: PathBuf,
    comment: String,
    entries: Vec<Table>,
}

impl Labels {
    fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text.lines().take_while(|line| !line.starts_with('['));
        let comment: Vec<_> = lines.collect();
        let mut table: Table = text.parse().with_context(|| path.display().to_string())?;
        let entries = match table.remove("recording") {
            None => Vec::new(),
            Some(Value::Array(all)) => all
                .into_iter()
                .map(|one| one.try_into().context("an entry that is not a table"))
                .collect::<Result<_>>()?,
            Some(_) => anyhow::bail!("{}: recording is not an array", path.display()),
        };
        ensure!(table.is_empty(), "{}: unknown keys", path.display());
        Ok(Self {
            path: path.to_owned(),
            comment: comment.join("\n").trim_end().to_owned(),
            entries,
        })
    }

    fn set(&mut self, file: String, label: Table) {
        let file = Value::from(file);
        self.entries
            .retain(|entry| entry.get("file") != Some(&file));
        self.entries.push(label);
    }

    fn write(&mut self) -> Result<()> {
        const ORDER: &[&str] = &[
            "file",
            "scenario",
            "kernel",
            "expect",
            "signature",
            "onset",
            "within",
            "helped_out",
            "moves_again",
            "related",
            "not_related",
        ];
        let text = |entry: &Table, key: &str| entry.get(key).map(ToString::to_string);
        self.entries
            .sort_by_key(|entry| (text(entry, "scenario"), text(entry, "file")));
        let mut out = format!("{}\n", self.comment);
        for entry in &self.entries {
            out.push_str("\n[[recording]]\n");
            let lines = ORDER
                .iter()
                .filter_map(|key| Some([*key, " = ", &text(entry, key)?, "\n"].concat()));
            out.extend(lines);
        }
        fs::write(&self.path, out).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_replaced_and_the_others_and_the_comment_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.toml");
        fs::write(
            &path,
            "# What is right.\n\n[[recording]]\nfile = 'a'\nscenario = 'x'\n[[recording]]\nfile = 'b'\nscenario = 'x'\n",
        )
        .unwrap();
        let mut labels = Labels::open(&path).unwrap();
        let mut label = Table::new();
        label.insert("file".into(), "a".into());
        label.insert("scenario".into(), "y".into());
        labels.set("a".into(), label);
        labels.write().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "# What is right.\n\n[[recording]]\nfile = \"b\"\nscenario = \"x\"\n\n[[recording]]\nfile = \"a\"\nscenario = \"y\"\n"
        );
    }

    #[test]
    fn what_a_label_says_is_what_the_scenario_expects_and_the_guest_saw() {
        let scenario = scenario::find("netns-drained").unwrap();
        let times = Times {
            onset: Some(14_500),
            helped_out: Some(55_000),
            moves_again: Some(60_000),
        };
        let label = label(Kernel::V6_1, &scenario, "livelock", &times);
        assert_eq!(label["file"].as_str(), Some("6.1-netns-drained.tmrec"));
        assert_eq!(label["signature"].to_string(), r#"["dirty-throttle"]"#);
        assert_eq!(label["onset"].as_float(), Some(14.5));
        assert_eq!(label["moves_again"].as_float(), Some(60.0));
    }
}
