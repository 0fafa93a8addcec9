//! Access control: the web configuration file of Prometheus' exporters.
//!
//! A separate thread reads it at the start, and again when it or a file that it names has changed.
//! No request ever opens a file: a stalled file system must not delay the metrics that report it.

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

/// The reason why a web configuration is refused. The message never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("{what} {path} cannot be read: {why}")]
    Read {
        /// The flag or the key that names it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's message, or the type of the file.
        why: String,
    },
    /// A file is on NFS, or the check failed.
    #[error("{what}: {why}")]
    Placement {
        /// The flag or the key that names it.
        what: &'static str,
        /// The location.
        #[source]
        why: PlacementError,
    },
    /// It is not YAML, or has an unknown key.
    #[error("{path}: {why}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        why: String,
    },
    /// A value is wrong, or contradicts others.
    #[error("{path}: {key}: {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// The problem, and the valid values.
        why: String,
    },
}

/// The problem with a value, before the file is known.
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

/// The current policy.
#[derive(Debug)]
pub struct Web {
    current: ArcSwap<Policy>,
}

impl Default for Web {
    /// Admits every client, without TLS.
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

    /// The policy of the file, reloaded after each change.
    ///
    /// # Errors
    ///
    /// The message names the position, the problem and the valid values.
    pub fn of_file(procfs: &Path, path: &Path) -> Result<Arc<Self>, WebError> {
        reload::start(procfs, path)
    }

    /// The policy for a new connection or request.
    pub fn policy(&self) -> Arc<Policy> {
        self.current.load_full()
    }
}
