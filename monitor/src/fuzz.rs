//! Hostile input: for each parser a function that is given any bytes, and says by
//! a panic that the parser did wrong. docs/fuzzing.md has what came of it.
//!
//! The functions are beside the parsers. Here is the one list of them, by which
//! both the fuzz targets (`monitor/fuzz`) and the tests know what there is.

use crate::{cli, export, guard, kernel, placement, recording, sample};

/// A parser, given these bytes.
pub type Target = fn(&[u8]);

/// Each with its name: of the file in `fuzz_targets`, of the directory in `corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("access", cli::fuzz::access),
    ("addresses", sample::fuzz::lookup::addresses),
    ("bdi_stats", sample::fuzz::bdi_stats),
    ("btf", kernel::fuzz::btf),
    ("cgroup", sample::fuzz::lookup::cgroup),
    ("config", cli::fuzz::config),
    ("daemon_loops", cli::fuzz::daemon_loops),
    ("daemon_node", cli::fuzz::daemon_node),
    ("exports", sample::fuzz::lookup::exports),
    ("guard_state", guard::fuzz::state),
    ("guard_wanted", guard::fuzz::wanted),
    ("http_connection", export::http::fuzz::connection),
    ("http_request", export::http::fuzz::request),
    ("kallsyms", kernel::fuzz::kallsyms),
    ("kernel_words", kernel::fuzz::kernel_words),
    ("lines", sample::fuzz::lookup::lines),
    ("links", sample::fuzz::lookup::links),
    ("loop_devices", sample::fuzz::lookup::loop_devices),
    ("memory", sample::fuzz::memory),
    ("mountinfo", sample::fuzz::lookup::mountinfo),
    ("placement", placement::fuzz::placement),
    ("process_status", export::fuzz::process_status),
    ("recording", recording::fuzz::recording),
    ("records", recording::fuzz::records),
    ("replay", cli::fuzz::replay),
    ("shelf", recording::fuzz::shelf),
    ("sockets", sample::fuzz::lookup::sockets),
    ("stacks", sample::fuzz::stacks),
    ("telemetry_path", export::http::fuzz::telemetry_path),
    ("threads", sample::fuzz::threads),
    ("tracepoint_format", kernel::fuzz::tracepoint_format),
    ("transports", sample::fuzz::lookup::transports),
    ("url", cli::fuzz::url),
    ("volumes", sample::fuzz::lookup::volumes),
    ("web_authorization", export::web::fuzz::authorization),
    ("web_certificates", export::web::fuzz::certificates),
    ("web_config", export::web::fuzz::config),
];

/// Runs the target of this name.
///
/// # Panics
///
/// There is none, or it found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = target else {
        panic!("there is no target {name:?}: see fuzz.rs");
    };
    target(data);
}

/// A livelock, for what needs something to tell of.
pub(crate) const RECORDING: &[u8] = include_bytes!("../tests/corpus/6.12-netns-livelock.tmrec");

/// What stands for passwords, hashes and keys in the corpora.
pub(crate) const SECRET: &str = "S3CRET-OF-NOBODY";

/// Says so if an error tells the secret. A key or a choice that is not known is told
/// as it was written, and is none.
pub(crate) fn keeps_the_secret(error: &str) {
    let word = ["unknown field", "unknown variant", "duplicate"]
        .iter()
        .any(|kind| error.contains(kind));
    assert!(word || !error.contains(SECRET), "{error}");
}

/// As the parsers take what is no UTF-8.
pub(crate) fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Parts of one input, for a parser that takes more than one text: they are
/// separated by a line that is `%%`.
pub(crate) fn parts<const N: usize>(text: &str) -> [&str; N] {
    let mut parts = text.splitn(N, "\n%%\n");
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
