//! Signature `reclaim-congestion`: the server reclaims memory, or sleeps in reclaim, because the
//! client holds the pages that could be freed, under writeback or dirty. Only the server can clean
//! those.
//!
//! Measured on 5.10 on a node that stays usable: both nfsd threads are in `wait_iff_congested`,
//! with 20 sleeps of 100 ms a second, and nothing moves. A working storm has the same sleeps
//! (76-421 in 40 s) and moves 22-30 MB/s: there only progress makes the difference.

use monitor_model::verdict::Signature;

use crate::text::percent;
use crate::window::confidence::MissingInput;
use crate::window::reduce::Signals;
use crate::window::view::{Disk, View, all_of};

use super::Edge;

const SIGNATURE: Signature = Signature::ReclaimCongestion;

/// Whether the server is in reclaim over the client's pages.
#[must_use]
pub fn edge(view: &View<'_>) -> Edge {
    let mut gaps = gaps(view);
    let spent = view.reclaim_ns();
    if spent == 0 {
        let why = "no thread of the server reclaims memory";
        return Edge {
            gaps,
            ..Edge::open(SIGNATURE, why)
        };
    }
    let slack = view.edge_slack(SIGNATURE);
    let share = view.share_of_unblocked(spent).min(1.0);
    let enough = share >= view.thresholds.signatures.reclaim_share / slack;
    let jam = view.jam(slack);
    let disk = server_disk(view, slack);
    gaps.extend(jam.gap);
    gaps.extend(disk.gap());
    let holds = all_of(&[Some(enough), jam.holds, disk.works.map(|works| !works)]);
    let disk_words = disk.words();
    let spends = format!(
        "{} threads spend {} of their time in reclaim",
        view.server,
        percent(share)
    );
    Edge {
        signature: SIGNATURE,
        holds,
        value: Some(share),
        why: format!("{spends}, {}, {disk_words}", jam.words).into(),
        words: if holds == Some(true) {
            format!("{spends} while {} and the server's {disk_words}", jam.words)
        } else {
            String::new()
        },
        // Waits for COMMIT within reclaim belong to commit-wait.
        weight_ns: spent.saturating_sub(view.servers_commit_ns()),
        server_bdi: None,
        gaps,
    }
}

/// The disk that the server writes to, as far as known. A disk with much to write counts as
/// working, even if it is idle or hangs.
pub fn server_disk(view: &View<'_>, slack: f64) -> Disk {
    let paused = || view.paused_most().map(|(bdi, _)| bdi);
    let Some(bdi) = view.server_bdi.or_else(paused) else {
        return Disk::default();
    };
    let mut disk = Disk::of(view, bdi, slack);
    disk.has_pages = view.clean_beside_client(bdi, slack) == Some(false);
    if disk.has_pages {
        disk.works = Some(true);
    }
    disk
}

fn gaps(view: &View<'_>) -> Vec<MissingInput> {
    let signals = view.newest().map(|sample| sample.signals);
    let signals = signals.unwrap_or_default();
    if Signals::has(signals.reclaim) && Signals::has(signals.sleeps) {
        Vec::new()
    } else {
        vec![MissingInput::ReclaimUnseen]
    }
}
