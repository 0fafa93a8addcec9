//! Hostile input: what the kernel tells of the daemon itself.

use crate::fuzz_input::text;
use crate::publish::process;

/// `/proc/self/status`.
pub fn process_status(data: &[u8]) {
    let text = text(data);
    for name in ["VmRSS:", "VmSize:"] {
        let bytes = process::memory(&text, name);
        assert!(bytes.is_none_or(|bytes| bytes % 1024 == 0));
    }
    assert!(process::field(&text, "Threads:").is_none() || text.contains("Threads:"));
}
