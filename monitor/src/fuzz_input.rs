//! Shared parts of the fuzz targets.

pub use monitor_collector::fuzz_input::{parts, text};

/// A livelock, for targets that need a loop.
pub const RECORDING: &[u8] = include_bytes!("../tests/corpus/6.12-netns-livelock.tmrec");

/// Stands for passwords, hashes and keys in the corpora.
pub const SECRET: &str = "S3CRET-OF-NOBODY";

/// Panics if an error contains the secret. Unknown keys and choices are quoted, but are not
/// secrets.
#[track_caller]
pub fn keeps_the_secret(error: &str) {
    let word = ["unknown field", "unknown variant", "duplicate"]
        .iter()
        .any(|kind| error.contains(kind));
    assert!(word || !error.contains(SECRET), "{error}");
}
