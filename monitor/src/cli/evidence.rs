//! Where the evidence goes.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::export::evidence::{Directory, Limits};

/// What a document may have: less would leave no room for one.
const MIN_BYTES: u64 = 2 << 20;
const MAX_BYTES: u64 = 1 << 40;

/// Flags for the evidence.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// Directory to which the evidence of each verdict is written, a JSON
    /// document when a livelock is confirmed, when nothing moves any more, and
    /// at its end. It must not be on NFS, and is made where only its own name is
    /// missing. Without it, the newest 16 documents are kept in memory.
    #[arg(id = "evidence-dir", long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Files in it at most: the oldest are removed.
    #[arg(id = "evidence-max-files", long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub files: u16,
    /// Size of all of them at most, with a unit: B, KiB, MiB, GiB.
    #[arg(id = "evidence-max-size", long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub size: u64,
}

impl EvidenceArgs {
    /// The directory, if there is to be one.
    ///
    /// # Errors
    ///
    /// It is on NFS, or that cannot be told.
    pub fn directory(&self, procfs: &Path) -> anyhow::Result<Option<Directory>> {
        let limits = Limits {
            files: self.files.into(),
            bytes: self.size,
        };
        let dir = self.dir.as_deref();
        let directory = dir.map(|dir| Directory::new(procfs, dir, limits));
        directory
            .transpose()
            .map_err(|error| anyhow::anyhow!("--evidence-dir: {error}"))
    }
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("must be a number and one of B, KiB, MiB, GiB, such as 64MiB".into()),
    };
    let number: u64 = digits
        .trim_end()
        .parse()
        .map_err(|_| "must begin with a whole number")?;
    let bytes = number
        .checked_mul(1 << unit)
        .filter(|bytes| *bytes <= MAX_BYTES);
    bytes
        .filter(|bytes| *bytes >= MIN_BYTES)
        .ok_or_else(|| "must be from 2MiB, room for one document, to 1024GiB".into())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_is_a_number_and_a_unit_with_room_for_a_document() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("3 GiB"), Ok(3 << 30));
        assert_eq!(size("2097152B"), Ok(2 << 20));
        for no in [
            "",
            "64",
            "64MB",
            "-1MiB",
            "1.5GiB",
            "MiB",
            "1MiB",
            "2000GiB",
            "18446744073709551615GiB",
        ] {
            assert!(size(no).is_err(), "{no}");
        }
    }
}
