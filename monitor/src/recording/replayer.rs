//! Replays recordings through the engine, with the results of the live daemon.

use std::io::Read;

use monitor_model::observation::Observation;
use monitor_verdict::{Changes, Engine, Thresholds};
use serde::Serialize;

use super::{
    header::Header,
    reader::{Ending, ReadError, Reader, RecordingItem},
};

/// Maximum number of notes about a file.
const MAX_NOTES: usize = 20;

/// Replays recordings, one file after the other.
///
/// A segment that continues the previous one uses the same engine, even across files. If the daemon
/// restarted, so does the engine.
#[derive(Debug, Default)]
pub struct Replayer {
    thresholds: Option<Thresholds>,
    life: Option<Life>,
}

/// A life of a daemon.
#[derive(Debug)]
struct Life {
    run: u64,
    /// Its observations so far, read or missing.
    observations: u64,
    engine: Engine,
    /// The recorded ones.
    thresholds: Thresholds,
}

/// The result of reading a file.
#[derive(Debug, Default, Serialize)]
pub struct PlayedPart {
    /// The header of its first segment.
    pub header: Option<Header>,
    /// Observations that were read.
    pub observations: u64,
    /// Wall clock of the first of them, milliseconds since 1970.
    pub first_unix_ms: Option<u64>,
    /// Wall clock of the last of them, milliseconds since 1970.
    pub last_unix_ms: Option<u64>,
    /// Remarks for people, a sentence each.
    pub notes: Vec<String>,
    /// The reason why the rest could not be read.
    #[serde(skip)]
    pub error: Option<ReadError>,
}

impl Replayer {
    /// Uses these thresholds, or those of the recording.
    #[must_use]
    pub const fn new(thresholds: Option<Thresholds>) -> Self {
        Self {
            thresholds,
            life: None,
        }
    }

    /// Replays a file; `each` receives every observation and its changes.
    pub fn play(
        &mut self,
        file: impl Read,
        mut each: impl FnMut(&Observation, &Changes, &Engine),
    ) -> PlayedPart {
        let mut part = PlayedPart::default();
        let error = match Reader::open(file) {
            Err(error) => Some(error),
            Ok(mut reader) => {
                let read = self.read(&mut reader, &mut part, &mut each);
                part.end(reader.ending());
                read.err()
            }
        };
        part.error = error;
        part
    }

    fn read<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        part: &mut PlayedPart,
        each: &mut impl FnMut(&Observation, &Changes, &Engine),
    ) -> Result<(), ReadError> {
        while let Some(item) = reader.item()? {
            match item {
                RecordingItem::Segment(header) => {
                    self.begin(&header, part);
                    part.header.get_or_insert(*header);
                }
                RecordingItem::Observation(observation) => {
                    part.count(&observation);
                    // The reader returns no observation before a segment.
                    if let Some(life) = &mut self.life {
                        life.observations = life.observations.saturating_add(1);
                        let changes = life.engine.observe(&observation);
                        each(&observation, &changes, &life.engine);
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, part: &mut PlayedPart) {
        match &mut self.life {
            Some(life) if life.run == header.run => {
                let (was, is) = (life.observations, header.before);
                if is > was {
                    part.note(format!("{} observations are missing here: they were lost, or are in a file that was not given", is - was));
                } else if is < was {
                    part.note(
                        "this part was replayed before, or the files are not in order".to_owned(),
                    );
                }
                life.observations = is;
                // The daemon may have reloaded its configuration.
                if self.thresholds.is_none() && life.thresholds != header.thresholds {
                    life.thresholds = header.thresholds.clone();
                    let changed = checked(&header.thresholds, part);
                    life.engine.set_thresholds(changed);
                    part.note(
                        "the daemon reloaded its configuration here: the thresholds changed"
                            .to_owned(),
                    );
                }
            }
            _ => {
                if header.before > 0 {
                    part.note(format!("the daemon had seen {} observations before: replay does not know what it had learned from them", header.before));
                }
                let thresholds = self.thresholds.as_ref().unwrap_or(&header.thresholds);
                self.life = Some(Life {
                    run: header.run,
                    observations: header.before,
                    engine: Engine::new(checked(thresholds, part)),
                    thresholds: header.thresholds.clone(),
                });
            }
        }
    }
}

/// Thresholds that make a verdict possible: these, or the defaults.
fn checked(thresholds: &Thresholds, part: &mut PlayedPart) -> Thresholds {
    match thresholds.check() {
        Ok(()) => thresholds.clone(),
        Err(error) => {
            part.note(format!("{error}: judged by the defaults instead"));
            Thresholds::default()
        }
    }
}

impl PlayedPart {
    fn count(&mut self, observation: &Observation) {
        self.observations += 1;
        self.first_unix_ms.get_or_insert(observation.unix_ms);
        self.last_unix_ms = Some(observation.unix_ms);
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    fn end(&mut self, ending: Option<Ending>) {
        match ending {
            Some(Ending::Cut { offset }) => self.note(format!(
                "it ends within a record, at byte {offset}: the recorder was stopped while it wrote, or the file was not copied completely; everything before was read"
            )),
            Some(Ending::Open) => self.note(
                "it has no end mark: the recorder still runs, was killed, or continued in the next file".to_owned(),
            ),
            Some(Ending::Ended) | None => {}
        }
    }
}
