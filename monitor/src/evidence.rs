//! Evidence: documents that are kept in memory, served, and written to a
//! directory.
//!
//! The tick makes and renders a document when a state is entered and offers it
//! to the thread that writes. Nobody waits for that thread: in a livelock a
//! write may take as long as the livelock.

#![forbid(unsafe_code)]

mod directory;
mod json;
mod writer;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use monitor_model::{
    api::EvidenceHead,
    evidence::{Evidence, Step},
};

pub use directory::{EvidenceDirectory, EvidenceLimits, WriteError};
pub use writer::{Writer, start};

/// Documents kept in memory, the newest ones.
pub const MAX_DOCUMENTS: usize = 16;
/// Bytes of them at most. A document has some 30 KB; the largest there can be,
/// of a node made up to make it large, about 1 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// A document as it is served and written.
#[derive(Debug)]
pub struct Document {
    /// What it is.
    pub head: EvidenceHead,
    /// Who waits for whom.
    pub steps: Vec<Step>,
    json: Bytes,
    file: OnceLock<String>,
}

impl Document {
    /// Renders it.
    ///
    /// # Errors
    ///
    /// What serde refuses, which plain data is not.
    pub fn new(evidence: &Evidence) -> serde_json::Result<Self> {
        let json = json::render(evidence)?;
        let head = EvidenceHead {
            id: evidence.id.clone(),
            loop_id: evidence.loop_id.clone(),
            signature: evidence.signature,
            occasion: evidence.occasion,
            at: evidence.at.clone(),
            unix_ms: evidence.unix_ms,
            bytes: json.len(),
        };
        Ok(Self {
            head,
            steps: evidence.steps.clone(),
            json: json.into(),
            file: OnceLock::new(),
        })
    }

    /// The whole of it, JSON.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// Where it was written; its directory's limits may have removed it since.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.get().map(String::as_str)
    }
}

/// What became of the documents, totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Written.
    pub written: u64,
    /// Not written at once. They are tried again, and count as written too once
    /// that works.
    pub failed: u64,
    /// Not even tried: too many wait for the thread that writes.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    fn read(&self) -> Results {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Results {
            written: read(&self.written),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
        }
    }
}

fn count(one: &AtomicU64) {
    one.fetch_add(1, Ordering::Relaxed);
}

/// The tick's side: makes documents of evidence and offers them to the thread
/// that writes, where there is one.
#[derive(Debug, Default)]
pub struct Sink {
    to: Option<(SyncSender<Arc<Document>>, Arc<Counts>)>,
}

impl Sink {
    /// Keeps documents in memory only.
    #[must_use]
    pub fn memory_only() -> Self {
        Self::default()
    }

    /// Renders; never waits.
    #[must_use]
    pub fn take(&self, evidence: &[Evidence]) -> Vec<Arc<Document>> {
        let mut documents = Vec::new();
        for one in evidence {
            match Document::new(one) {
                Ok(document) => documents.push(Arc::new(document)),
                Err(error) => {
                    tracing::error!(id = %one.id, %error, "evidence cannot be rendered");
                }
            }
        }
        for document in &documents {
            self.offer(document);
        }
        documents
    }

    fn offer(&self, document: &Arc<Document>) {
        let Some((queue, counts)) = &self.to else {
            return;
        };
        let why = match queue.try_send(Arc::clone(document)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "too many documents wait to be written",
            Err(TrySendError::Disconnected(_)) => "the thread that writes is gone",
        };
        count(&counts.dropped);
        tracing::warn!(id = %document.head.id, why, "evidence is kept in memory only");
    }

    /// What became of the documents; `None`: none is to be written.
    #[must_use]
    pub fn results(&self) -> Option<Results> {
        self.to.as_ref().map(|(_, counts)| counts.read())
    }
}

/// Leaves the newest documents: so many, and of so many bytes.
pub fn keep_newest(kept: &mut Arc<VecDeque<Arc<Document>>>, new: Vec<Arc<Document>>) {
    if new.is_empty() {
        return;
    }
    let mut all: VecDeque<Arc<Document>> = kept.iter().cloned().chain(new).collect();
    let mut bytes: usize = all.iter().map(|one| one.head.bytes).sum();
    while all.len() > MAX_DOCUMENTS || (all.len() > 1 && bytes > MAX_BYTES) {
        bytes -= all.pop_front().map_or(0, |one| one.head.bytes);
    }
    *kept = Arc::new(all);
}

#[cfg(test)]
mod tests;
