//! Signature `request-starvation`: nfsd gets no pages for its next request (`svc_alloc_arg` sleeps
//! and tries again) while the client's pages fill the memory. Only that request would clean those.

use monitor_model::verdict::Signature;

use crate::text::percent;
use crate::window::confidence::MissingInput;
use crate::window::reduce::Signals;
use crate::window::view::{View, all_of};

use super::Edge;
use super::reclaim_congestion::server_disk;

const SIGNATURE: Signature = Signature::RequestStarvation;

/// Whether nfsd starves for pages because of the client's.
#[must_use]
pub fn edge(view: &View<'_>) -> Edge {
    if !view.by_nfsd() {
        return Edge::open(SIGNATURE, "a server in userspace has no svc_alloc_arg");
    }
    let spent = view.alloc_ns();
    if spent == 0 {
        return nobody(view);
    }
    let slack = view.edge_slack(SIGNATURE);
    let share = view.share_of_thread(spent).min(1.0);
    let enough = share >= view.thresholds.signatures.starvation_share / slack;
    let jam = view.jam(slack);
    let disk = server_disk(view, slack);
    let holds = all_of(&[Some(enough), jam.holds, disk.works.map(|works| !works)]);
    let starves = format!(
        "nfsd has no pages for a request for {} of the time",
        percent(share)
    );
    let disk_words = disk.words();
    Edge {
        signature: SIGNATURE,
        holds,
        value: Some(share),
        why: format!("{starves}, {}, {disk_words}", jam.words).into(),
        words: if holds == Some(true) {
            format!(
                "{starves} while {} and the server's {disk_words}",
                jam.words
            )
        } else {
            String::new()
        },
        weight_ns: spent,
        server_bdi: None,
        gaps: jam.gap.into_iter().chain(disk.gap()).collect(),
    }
}

fn nobody(view: &View<'_>) -> Edge {
    let signals = view.newest().map(|sample| sample.signals);
    if Signals::has(signals.unwrap_or_default().alloc) {
        Edge::open(SIGNATURE, "nfsd gets pages for its requests")
    } else {
        let why = "whether nfsd gets pages for its requests is unknown";
        Edge::unseen(SIGNATURE, why, MissingInput::AllocUnseen)
    }
}
