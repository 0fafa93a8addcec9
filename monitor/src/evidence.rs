//! Evidence: documents that are kept in memory, served, and written to a directory.
//!
//! When a loop enters a state, the tick renders a document and queues it for the writer thread. The
//! tick never waits for that thread: in a livelock a write may take as long as the livelock.

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
pub use writer::{EvidenceWriter, start};

/// Maximum number of documents in memory, the newest ones.
pub const MAX_DOCUMENTS: usize = 16;
/// Maximum bytes of them. A document has some 30 KB; the largest possible one, of a made-up node,
/// has about 1 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// A document in its served and written form.
#[derive(Debug)]
pub struct Document {
    /// Its metadata.
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
    /// serde's errors, which plain data does not cause.
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

    /// The whole document as JSON.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.json.clone()
    }

    /// The path of its file. The directory's limits may have removed it since.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.get().map(String::as_str)
    }
}

/// Totals of documents by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Written.
    pub written: u64,
    /// Failed at first. They are retried, and a success counts as written too.
    pub failed: u64,
    /// Dropped because the writer's queue was full.
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

/// The tick's side: renders documents and queues them for the writer thread, if there is one.
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

    /// The totals; `None`: documents are not written to a directory.
    #[must_use]
    pub fn results(&self) -> Option<Results> {
        self.to.as_ref().map(|(_, counts)| counts.read())
    }
}

/// Keeps the newest documents within the limits of number and bytes.
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
