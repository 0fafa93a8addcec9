//! What targets of hostile input need.

pub use monitor_collector::fuzz_input::{parts, text};

/// A livelock, for what needs something to tell of.
pub const RECORDING: &[u8] = include_bytes!("../tests/corpus/6.12-netns-livelock.tmrec");

/// What stands for passwords, hashes and keys in the corpora.
pub const SECRET: &str = "S3CRET-OF-NOBODY";

/// Says so if an error tells the secret. A key or a choice that is not known is told
/// as it was written, and is none.
#[track_caller]
pub fn keeps_the_secret(error: &str) {
    let word = ["unknown field", "unknown variant", "duplicate"]
        .iter()
        .any(|kind| error.contains(kind));
    assert!(word || !error.contains(SECRET), "{error}");
}
