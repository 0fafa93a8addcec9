//! Kernel lockdown: what it is set to.

use std::{fs, path::Path};

use crate::host::pseudofs;

/// The level that forbids reading the kernel's memory.
pub const CONFIDENTIALITY: &str = "confidentiality";

/// `none`, `integrity` or `confidentiality`; `None` where the kernel has no
/// lockdown or does not show it.
#[must_use]
pub fn read(sysfs: &Path) -> Option<String> {
    let text = fs::read_to_string(sysfs.join("kernel/security/lockdown"))
        .or_else(|_| pseudofs::read_at(&pseudofs::detached("securityfs")?, "lockdown"))
        .ok()?;
    level(&text)
}

/// The word in brackets: `none [integrity] confidentiality`.
pub(super) fn level(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn the_level_is_the_word_in_brackets() {
        assert_eq!(
            level("none [integrity] confidentiality\n").as_deref(),
            Some("integrity")
        );
        assert_eq!(
            level("[none] integrity confidentiality\n").as_deref(),
            Some("none")
        );
        assert_eq!(level("none integrity\n"), None);
    }
}
