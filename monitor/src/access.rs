//! Who may connect: the web configuration file of Prometheus' exporters.
//!
//! It is read once at the start, and again when it or a file that it names has
//! changed, on a thread of its own. No request ever opens a file: what holds a
//! file system up must not hold up the metrics that tell of it.

#![forbid(unsafe_code)]

mod clients;
mod document;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod policy;
mod rate;
mod reload;
mod tls;
mod users;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use monitor_collector::host::local_path::PlacementError;

pub use policy::{Admission, Policy};

/// Why a web configuration is refused. None of the words holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("{what} {path} cannot be read: {why}")]
    Read {
        /// The flag or the key that names it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words, or what it is instead of a file.
        why: String,
    },
    /// A file is on NFS, or that cannot be told.
    #[error("{what}: {why}")]
    Placement {
        /// The flag or the key that names it.
        what: &'static str,
        /// Where it is.
        #[source]
        why: PlacementError,
    },
    /// It is not YAML, or has a key that there is not.
    #[error("{path}: {why}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        why: String,
    },
    /// A value is wrong, or does not fit to the others.
    #[error("{path}: {key}: {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// What is wrong, and what it must be.
        why: String,
    },
}

/// What is wrong with a value; the file is not known yet.
#[derive(Debug)]
struct Wrong {
    key: &'static str,
    why: String,
}

impl Wrong {
    fn new(key: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { key, why }
    }

    fn of(self, path: &Path) -> WebError {
        WebError::Value {
            path: path.to_owned(),
            key: self.key,
            why: self.why,
        }
    }
}

/// Who may connect at this moment.
#[derive(Debug)]
pub struct Web {
    current: ArcSwap<Policy>,
}

impl Default for Web {
    /// Everybody, without TLS.
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Web {
    fn new(policy: Policy) -> Self {
        Self {
            current: ArcSwap::from_pointee(policy),
        }
    }

    /// As the file says, now and after each change of it.
    ///
    /// # Errors
    ///
    /// Says where what is wrong and what it must be.
    pub fn of_file(procfs: &Path, path: &Path) -> Result<Arc<Self>, WebError> {
        reload::start(procfs, path)
    }

    /// What counts for a connection or request that begins now.
    pub fn policy(&self) -> Arc<Policy> {
        self.current.load_full()
    }
}
