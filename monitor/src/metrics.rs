//! Renders a snapshot for Prometheus, with the metric names of the contract.
//!
//! Families are built with the `prometheus` crate's own types and written one by one, so that only
//! one is held as objects. There is no registry: the kernel counts, and the snapshot holds the
//! values.

#![forbid(unsafe_code)]

mod across;
mod daemon;
mod family;
mod flow;
mod guard;
mod related;
mod verdicts;
mod waits;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::publish::snapshot::Snapshot;
use family::MetricsPage;

pub use family::{MAX_HISTOGRAMS, MAX_LABEL_LEN, MAX_SERIES};
/// The content type of [`render`]'s output.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders a snapshot.
///
/// # Errors
///
/// The encoder's errors. A family without a series is skipped.
pub fn render(snapshot: &Snapshot) -> prometheus::Result<String> {
    // The next page is about as long, so reserving its size avoids copies.
    static LAST_LEN: AtomicUsize = AtomicUsize::new(16 * 1024);
    let mut text = String::with_capacity(LAST_LEN.load(Ordering::Relaxed) + 1024);
    let mut page = MetricsPage::new(&mut text);
    waits::write(snapshot, &mut page)?;
    flow::write(&snapshot.observation, &mut page)?;
    verdicts::write(&snapshot.loops, &snapshot.verdicts, &mut page)?;
    related::write(&snapshot.related, &snapshot.related_tallies, &mut page)?;
    if snapshot.ticked() {
        across::write(snapshot, &mut page)?;
    }
    if let Some(guard) = &snapshot.guard {
        guard::write(guard, &mut page)?;
    }
    daemon::write(snapshot, &mut page)?;
    page.finish()?;
    LAST_LEN.store(text.len(), Ordering::Relaxed);
    Ok(text)
}

#[cfg(test)]
mod tests;
