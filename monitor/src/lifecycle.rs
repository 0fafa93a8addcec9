//! Requests to reload the configuration: by SIGHUP, or by HTTP.
//!
//! A thread of its own answers them, for it reads a file, which may take long where a disk hangs.

#![forbid(unsafe_code)]

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// Maximum number of requests that wait. More than one in a row read the same file.
const MAX_WAITING: usize = 4;

/// How long a client waits for the outcome.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome of a reload: keys that need a restart, or the reason of the failure.
pub type Outcome = Result<Vec<String>, String>;

/// A request, and who waits for its outcome.
#[derive(Debug)]
pub struct Request {
    outcome: Option<oneshot::Sender<Outcome>>,
}

impl Request {
    /// Reports the outcome.
    pub fn answer(self, outcome: Outcome) {
        if let Some(waiting) = self.outcome {
            // A client that hung up needs none.
            let _ = waiting.send(outcome);
        }
    }
}

/// The requesting side.
#[derive(Clone, Debug)]
pub struct Lifecycle(SyncSender<Request>);

impl Lifecycle {
    /// The requesting side, and the receiver of the thread that reloads.
    #[must_use]
    pub fn new() -> (Self, Receiver<Request>) {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        (Self(sender), receiver)
    }

    /// Requests a reload without waiting for its outcome, which is logged.
    pub fn request(&self) {
        // If it is full, a reload that has not read the file yet is waiting already.
        let _ = self.0.try_send(Request { outcome: None });
    }

    /// Requests a reload and waits for its outcome.
    ///
    /// # Errors
    ///
    /// The reload failed; the reason is in words.
    pub async fn reload(&self) -> Outcome {
        let (outcome, received) = oneshot::channel();
        let outcome = Some(outcome);
        if self.0.try_send(Request { outcome }).is_err() {
            return Err("other reloads are waiting: does the disk with the file hang?".to_owned());
        }
        match timeout(PATIENCE, received).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("the thread that reloads ended: this is a bug".to_owned()),
            Err(_) => Err(format!(
                "it takes longer than {} s, and continues: does the disk with the file hang?",
                PATIENCE.as_secs()
            )),
        }
    }
}
