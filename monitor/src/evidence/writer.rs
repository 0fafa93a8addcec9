//! The writer thread and its queue.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::directory::{EvidenceDirectory, WriteError};
use super::{Counts, Document, MAX_DOCUMENTS, Sink, count};

/// Time between two attempts to write a document.
const RETRY: Duration = Duration::from_secs(30);
/// To list a directory and write a file.
const STACK: usize = 256 * 1024;

/// The writer thread; it ends after the last [`Sink`].
#[derive(Debug)]
pub struct EvidenceWriter(JoinHandle<()>);

impl EvidenceWriter {
    /// Waits until everything is written, or until the deadline: the disk may hang.
    pub fn finish(self, deadline: Duration) {
        let end = Instant::now() + deadline;
        while !self.0.is_finished() {
            if Instant::now() >= end {
                tracing::warn!("unwritten evidence is lost: the directory hangs");
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts it.
///
/// # Errors
///
/// No thread can be started.
pub fn start(directory: EvidenceDirectory) -> io::Result<(Sink, EvidenceWriter)> {
    start_with(directory, RETRY)
}

pub(super) fn start_with(
    directory: EvidenceDirectory,
    retry: Duration,
) -> io::Result<(Sink, EvidenceWriter)> {
    // The queue and the retries each hold as many documents as memory does.
    let (queue, documents) = sync_channel(MAX_DOCUMENTS);
    let counts = Arc::new(Counts::default());
    let sink = Sink {
        to: Some((queue, Arc::clone(&counts))),
    };
    let thread = thread::Builder::new()
        .name("evidence".to_owned())
        .stack_size(STACK);
    let mut pending = Pending {
        directory,
        counts,
        documents: VecDeque::new(),
        trouble: None,
    };
    let handle = thread.spawn(move || pending.run(&documents, retry))?;
    Ok((sink, EvidenceWriter(handle)))
}

struct Pending {
    directory: EvidenceDirectory,
    counts: Arc<Counts>,
    /// The documents to write, oldest first, each with whether it failed before.
    documents: VecDeque<(Arc<Document>, bool)>,
    /// The last reported problem of the directory.
    trouble: Option<String>,
}

impl Pending {
    fn run(&mut self, documents: &Receiver<Arc<Document>>, retry: Duration) {
        self.tidy();
        loop {
            let next = if self.trouble.is_none() {
                documents.recv().map_err(RecvTimeoutError::from)
            } else {
                documents.recv_timeout(retry)
            };
            match next {
                Ok(document) => self.add(document),
                Err(RecvTimeoutError::Timeout) if self.documents.is_empty() => {
                    self.tidy();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            self.write();
        }
    }

    /// Cleans up. This also shows early whether the directory is usable.
    fn tidy(&mut self) {
        let tidied = self.directory.tidy();
        self.tell(tidied.err().as_ref());
    }

    fn add(&mut self, document: Arc<Document>) {
        self.documents.push_back((document, false));
        if self.documents.len() > MAX_DOCUMENTS
            && let Some((lost, failed)) = self.documents.pop_front()
        {
            if !failed {
                count(&self.counts.failed);
            }
            tracing::warn!(id = %lost.head.id, "evidence was never written: newer evidence replaced it");
        }
    }

    /// Writes as many documents as possible, oldest first.
    fn write(&mut self) {
        let mut trouble = None;
        for (document, failed) in std::mem::take(&mut self.documents) {
            let id = &document.head.id;
            match self.directory.write(id, &document.json) {
                Ok(path) => {
                    let file = path.display().to_string();
                    count(&self.counts.written);
                    tracing::info!(%id, file, "evidence");
                    let _ = document.file.set(file);
                }
                Err(error) => {
                    if !failed {
                        count(&self.counts.failed);
                    }
                    self.documents.push_back((document, true));
                    trouble.get_or_insert(error);
                }
            }
        }
        self.tell(trouble.as_ref());
    }

    /// Reports once if the directory fails, fails in another way, or works again.
    fn tell(&mut self, error: Option<&WriteError>) {
        let error = error.map(ToString::to_string);
        if error == self.trouble {
            return;
        }
        let dir = self.directory.path().display();
        if let Some(error) = &error {
            tracing::warn!(
                %dir,
                error,
                "evidence cannot be written: it stays in memory, at /api/v1/verdicts, and is tried again"
            );
        } else {
            tracing::info!(%dir, "evidence can be written again");
        }
        self.trouble = error;
    }
}
