//! A snapshot as text for Prometheus: the names of the contract.
//!
//! Families are built with the `prometheus` crate's own types and written one
//! after the other, so that no more than one is held as objects. Nothing is
//! registered: the kernel counts, the snapshot is the registry.

#![forbid(unsafe_code)]

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
/// The content type of what [`render`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders a snapshot.
///
/// # Errors
///
/// What the encoder refused. A family without a series is left out, not an
/// error.
pub fn render(snapshot: &Snapshot) -> prometheus::Result<String> {
    // The next page is about as long as the last one: no doubling, no copies.
    static LAST_LEN: AtomicUsize = AtomicUsize::new(16 * 1024);
    let mut text = String::with_capacity(LAST_LEN.load(Ordering::Relaxed) + 1024);
    let mut page = MetricsPage::new(&mut text);
    waits::write(snapshot, &mut page)?;
    flow::write(&snapshot.observation, &mut page)?;
    verdicts::write(&snapshot.loops, &snapshot.verdicts, &mut page)?;
    related::write(&snapshot.related, &snapshot.related_tallies, &mut page)?;
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
