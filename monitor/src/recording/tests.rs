//! Tests of recordings: as bytes, over a daemon's life, and on a disk.

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

/// A header with defaults where a test sets no value.
fn header() -> Header {
    Header {
        program: "0.1.0".into(),
        kernel: "6.12.0".into(),
        interval_ms: 1000,
        run: 7,
        ..Header::default()
    }
}

/// A complete recording with its end mark.
fn recording(observations: &[Observation]) -> Vec<u8> {
    let mut bytes = file_head().to_vec();
    let mut encoder = Encoder::new(header()).unwrap();
    for observation in observations {
        encoder.observation(observation, &mut bytes).unwrap();
    }
    super::encoder::end(&mut bytes);
    bytes
}

/// The observations of a recording, and the reason why reading ended.
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

/// The changes of an engine at each observation.
fn judged(observations: &[Observation]) -> Vec<Changes> {
    let mut engine = Engine::new(Thresholds::default());
    observations.iter().map(|one| engine.observe(one)).collect()
}
