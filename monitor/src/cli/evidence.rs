//! The flags for the evidence.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::size::at_least;
use crate::evidence::{EvidenceDirectory, EvidenceLimits};

/// Minimum of the limit, so that one document fits.
const MIN_BYTES: u64 = 2 << 20;

/// Flags for the evidence.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// Directory for the evidence of verdicts: a JSON document at the confirmation of a livelock,
    /// at a deadlock, and at the end. It must not be on NFS; it is created if its parent exists.
    /// Without it, the newest 16 documents are kept in memory.
    #[arg(id = "evidence.dir", long = "evidence.dir", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Most files in --evidence.dir; the oldest are removed.
    #[arg(id = "evidence.max-files", long = "evidence.max-files", value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub files: u16,
    /// Largest size of all files in --evidence.dir, with a unit: B, KiB, MiB, GiB.
    #[arg(id = "evidence.max-size", long = "evidence.max-size", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub size: u64,
}

impl EvidenceArgs {
    /// The directory, if one is configured.
    ///
    /// # Errors
    ///
    /// It is on NFS, or the check failed.
    pub fn directory(&self, procfs: &Path) -> anyhow::Result<Option<EvidenceDirectory>> {
        let limits = EvidenceLimits {
            files: self.files.into(),
            bytes: self.size,
        };
        let dir = self.dir.as_deref();
        let directory = dir.map(|dir| EvidenceDirectory::new(procfs, dir, limits));
        directory.transpose().context("--evidence.dir")
    }
}

/// A size that fits one document.
fn size(text: &str) -> Result<u64, String> {
    at_least(MIN_BYTES, text)
}
