//! The node's boot.

use std::{fs, path::Path};

/// Its id (`proc_do_uuid`, drivers/char/random.c); empty: unknown.
#[must_use]
pub fn boot_id(procfs: &Path) -> String {
    let id = fs::read_to_string(procfs.join("sys/kernel/random/boot_id"));
    id.unwrap_or_default().trim().to_owned()
}
