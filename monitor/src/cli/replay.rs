//! `replay`: prints the verdicts of a recording, as from the live daemon.

use std::{
    error::Error as _,
    fmt::Write as _,
    fs,
    io::{self, BufReader, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use compact_str::CompactString;
use monitor_model::{
    loops::LoopEvent, observation::Observation, related::RelatedEvent, verdict::Transition,
};
use monitor_verdict::{Changes, Engine, Thresholds, timeline};
use serde::Serialize;

use super::{
    evidence::EvidenceArgs,
    flags::{Format, duration},
    serve::{self, ServeArgs, Show},
};
use crate::{
    evidence::{Document, EvidenceDirectory},
    recording::{PlayedPart, ReadError, Replayer},
};

/// Maximum number of entries in each list of the JSON document: a recording may contain anything.
const MAX_LISTED: usize = 100_000;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings; several of one daemon in their order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Judge by this program's default thresholds, not by those of the recording.
    #[arg(long)]
    pub default_thresholds: bool,
    /// Judge by the default thresholds with this confirmation time.
    #[arg(long = "thresholds.confirm", value_name = "DURATION", value_parser = duration)]
    pub confirm: Option<Duration>,
    /// The evidence of its verdicts.
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// Serving it.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The JSON document.
#[derive(Default, Serialize)]
struct Replayed {
    livelock: bool,
    recordings: Vec<Recorded>,
    loops: Vec<LoopEvent>,
    related: Vec<RelatedEvent>,
    transitions: Vec<Transition>,
    evidence: Vec<CompactString>,
    /// Entries that did not fit into the lists.
    left_out: u64,
}

#[derive(Serialize)]
struct Recorded {
    file: String,
    #[serde(flatten)]
    part: PlayedPart,
    error: Option<String>,
}

/// Prints the timeline of recordings.
///
/// # Errors
///
/// Output or evidence cannot be written.
pub fn replay(args: &Arc<ReplayArgs>) -> anyhow::Result<ExitCode> {
    if args.serve.is_wanted() {
        let played = Arc::clone(args);
        return serve::serve(&args.serve, &args.files, move |show| {
            play_all(&played, show)
        });
    }
    Ok(play_all(args, None)?.into())
}

/// Plays all files, as fast as `show` shows them, or without it as fast as possible.
///
/// # Errors
///
/// Output or evidence cannot be written.
pub fn play_all(args: &ReplayArgs, mut show: Option<&mut Show>) -> anyhow::Result<u8> {
    let mut player = Replayer::new(thresholds(args)?);
    let directory = args.evidence.directory(Path::new("/proc"))?;
    let mut replayed = Replayed::default();
    let mut unreadable = false;
    let text = args.format == Format::Text;
    let mut stdout = io::stdout().lock();
    for path in &args.files {
        let mut written = Ok(());
        let part = play(&mut player, path, |observation, changes, engine| {
            if let Some(directory) = directory.as_ref().filter(|_| written.is_ok()) {
                written = write_evidence(directory, changes);
            }
            replayed.livelock |= changes.transitions.iter().any(|t| t.to.is_livelock());
            if text && written.is_ok() {
                let lines = timeline::lines(changes);
                written = stdout.write_all(lines.as_bytes()).context("stdout");
            } else {
                replayed.add(changes);
            }
            if let Some(show) = &mut show {
                if written.is_ok() {
                    // Readers see each line at once.
                    written = stdout.flush().context("stdout");
                }
                show.tick(observation, changes, engine);
            }
        });
        written?;
        stdout.flush().context("stdout")?;
        unreadable |= part.error.is_some() || part.observations == 0;
        let recorded = Recorded::new(path, part);
        eprint!("{}", recorded.words());
        replayed.recordings.push(recorded);
    }
    if !text {
        serde_json::to_writer_pretty(&mut stdout, &replayed).context("stdout")?;
        writeln!(stdout).context("stdout")?;
    }
    Ok(match (unreadable, replayed.livelock) {
        (true, _) => 2,
        (false, true) => 3,
        (false, false) => 0,
    })
}

fn thresholds(args: &ReplayArgs) -> anyhow::Result<Option<Thresholds>> {
    let mut thresholds = Thresholds::default();
    if let Some(confirm) = args.confirm {
        thresholds.confirm = confirm;
    }
    thresholds.check()?;
    let own = args.default_thresholds || args.confirm.is_some();
    Ok(own.then_some(thresholds))
}

fn write_evidence(directory: &EvidenceDirectory, changes: &Changes) -> anyhow::Result<()> {
    for evidence in &changes.evidence {
        let document = Document::new(evidence)?;
        let path = directory
            .write(&document.head.id, &document.json())
            .context("--evidence.dir")?;
        eprintln!("evidence: {}", path.display());
    }
    Ok(())
}

fn play(
    player: &mut Replayer,
    path: &Path,
    each: impl FnMut(&Observation, &Changes, &Engine),
) -> PlayedPart {
    match fs::File::open(path) {
        Ok(file) => player.play(BufReader::new(file), each),
        Err(source) => PlayedPart {
            error: Some(ReadError::Io { offset: 0, source }),
            ..PlayedPart::default()
        },
    }
}

impl Replayed {
    fn add(&mut self, changes: &Changes) {
        let evidence = changes.evidence.iter().map(|one| &one.id);
        self.left_out += extend(&mut self.loops, &changes.loops)
            + extend(&mut self.related, &changes.related)
            + extend(&mut self.transitions, &changes.transitions)
            + extend(&mut self.evidence, evidence);
    }
}

/// Adds the entries that fit; returns the number of others.
fn extend<'a, T: Clone + 'a>(to: &mut Vec<T>, new: impl IntoIterator<Item = &'a T>) -> u64 {
    let mut left_out = 0;
    for one in new {
        if to.len() < MAX_LISTED {
            to.push(one.clone());
        } else {
            left_out += 1;
        }
    }
    left_out
}

impl Recorded {
    fn new(path: &Path, part: PlayedPart) -> Self {
        let error = part.error.as_ref().map(chain);
        Self {
            file: path.display().to_string(),
            part,
            error,
        }
    }

    /// The summary for people, on stderr beside the timeline.
    fn words(&self) -> String {
        let Self { file, part, error } = self;
        let mut words = String::new();
        for note in &part.notes {
            let _ = writeln!(words, "{file}: {note}");
        }
        if let Some(error) = error {
            let _ = writeln!(words, "{file}: {error}");
        }
        let _ = writeln!(words, "{file}: {}", read(part));
        // Names come from a recording, so they must not move the cursor.
        words.replace(|c: char| c.is_control() && c != '\n', " ")
    }
}

fn read(part: &PlayedPart) -> String {
    let (Some(first), Some(last)) = (part.first_unix_ms, part.last_unix_ms) else {
        return "not one observation could be read".to_owned();
    };
    let (count, by) = (part.observations, part.header.as_ref());
    let by = by.map_or_else(String::new, |header| {
        let words = |text: &str| text.chars().take(64).collect::<String>();
        let (program, kernel) = (words(&header.program), words(&header.kernel));
        format!(", by throttle-monitor {program} on Linux {kernel}")
    });
    format!(
        "{count} observations read, {} to {}{by}",
        timeline::time(first),
        timeline::time(last)
    )
}

/// An error with its causes.
fn chain(error: &ReadError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(words, ": {cause}");
        source = cause.source();
    }
    words
}
