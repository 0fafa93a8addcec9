//! Recordings as files of bytes, as lives of a daemon, as files on a disk.

mod anything;
mod damage;
mod format;
mod life;
mod node;
mod rolling;
mod writing;

use monitor_verdict::{Changes, Engine, Thresholds};

use monitor_model::observation::Observation;

use super::{Encoder, Header, ReadError, Reader, RecordingItem, frame::file_head};

/// A header with nothing in it that a test does not name.
fn header() -> Header {
    Header {
        program: "0.1.0".into(),
        kernel: "6.12.0".into(),
        interval_ms: 1000,
        run: 7,
        ..Header::default()
    }
}

/// A whole recording, with its end.
fn recording(observations: &[Observation]) -> Vec<u8> {
    let mut bytes = file_head().to_vec();
    let mut encoder = Encoder::new(header()).unwrap();
    for observation in observations {
        encoder.observation(observation, &mut bytes).unwrap();
    }
    super::encoder::end(&mut bytes);
    bytes
}

/// The observations of a recording, and why there are no more.
fn read(bytes: &[u8]) -> (Vec<Observation>, Result<super::Ending, ReadError>) {
    let mut all = Vec::new();
    let mut reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return (all, Err(error)),
    };
    loop {
        match reader.item() {
            Ok(Some(RecordingItem::Observation(one))) => all.push(*one),
            Ok(Some(RecordingItem::Segment(_))) => {}
            Ok(None) => return (all, Ok(reader.ending().unwrap())),
            Err(error) => return (all, Err(error)),
        }
    }
}

/// What an engine that sees these says of each.
fn judged(observations: &[Observation]) -> Vec<Changes> {
    let mut engine = Engine::new(Thresholds::default());
    observations.iter().map(|one| engine.observe(one)).collect()
}
