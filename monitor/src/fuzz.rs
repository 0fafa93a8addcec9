//! Hostile input: for each parser a function that accepts any bytes, and panics if the parser
//! misbehaves. docs/fuzzing.md has the results.
//!
//! The functions are next to the parsers. This is their only list, for both the fuzz targets
//! (`monitor/fuzz`) and the tests.

use monitor_collector::{host::local_path, kernel, sample, topology};

use crate::{access, cli, guard, http, publish, recording};

/// A fuzz function.
pub type Target = fn(&[u8]);

/// The targets by name: that of the file in `fuzz_targets`, and of the directory in `corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("access", cli::fuzz::access),
    ("addresses", topology::fuzz::addresses),
    ("bdi_stats", sample::fuzz::bdi_stats),
    ("btf", kernel::fuzz::btf),
    ("cgroup", topology::fuzz::cgroup),
    ("config", cli::fuzz::config),
    ("daemon_loops", cli::fuzz::daemon_loops),
    ("daemon_node", cli::fuzz::daemon_node),
    ("exports", topology::fuzz::exports),
    ("guard_state", guard::fuzz::state),
    ("guard_wanted", guard::fuzz::wanted),
    ("http_connection", http::fuzz::connection),
    ("http_request", http::fuzz::request),
    ("kallsyms", kernel::fuzz::kallsyms),
    ("kernel_words", kernel::fuzz::kernel_words),
    ("lines", topology::fuzz::lines),
    ("links", topology::fuzz::links),
    ("loop_devices", topology::fuzz::loop_devices),
    ("memory", sample::fuzz::memory),
    ("mountinfo", topology::fuzz::mountinfo),
    ("open_files", topology::fuzz::open_files),
    ("placement", local_path::fuzz::placement),
    ("process_status", publish::fuzz::process_status),
    ("recording", recording::fuzz::recording),
    ("records", recording::fuzz::records),
    ("replay", cli::fuzz::replay),
    ("shelf", recording::fuzz::store),
    ("smb", topology::fuzz::smb),
    ("sockets", topology::fuzz::sockets),
    ("stacks", sample::fuzz::stacks),
    ("tcp_info", topology::fuzz::tcp_info),
    ("telemetry_path", http::fuzz::telemetry_path),
    ("threads", sample::fuzz::threads),
    ("tracepoint_format", kernel::fuzz::tracepoint_format),
    ("transports", topology::fuzz::transports),
    ("unix_peers", topology::fuzz::unix_peers),
    ("url", cli::fuzz::url),
    ("volumes", topology::fuzz::volumes),
    ("web_authorization", access::fuzz::authorization),
    ("web_certificates", access::fuzz::certificates),
    ("web_config", access::fuzz::config),
];

/// Runs the target of this name.
///
/// # Panics
///
/// The target does not exist, or it found a bug.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = target else {
        panic!("there is no target {name:?}: see fuzz.rs");
    };
    target(data);
}

#[cfg(test)]
mod tests;
