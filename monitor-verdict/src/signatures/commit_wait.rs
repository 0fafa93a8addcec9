//! Signature `commit-wait`: to free a page of the client, memory allocation waits until the loop's
//! own server has committed it (`nfs_release_folio`, `nfs_wb_folio`, `nfs_commit_inode`). If a
//! thread of that server waits, that alone closes the cycle. If kswapd or kcompactd waits, the
//! server's threads must lack memory at the same time.

use monitor_common::Class;
use monitor_model::{observation::ClientKind, verdict::Signature};

use crate::text::percent;
use crate::window::confidence::MissingInput;
use crate::window::reduce::Signals;
use crate::window::view::{View, all_of};

use super::Edge;
use super::reclaim_congestion::server_disk;

const SIGNATURE: Signature = Signature::CommitWait;

/// Whether the server waits for its own COMMIT.
#[must_use]
pub fn edge(view: &View<'_>) -> Edge {
    if view.kind != ClientKind::Nfs {
        return Edge::open(SIGNATURE, "only an NFS client sends COMMIT");
    }
    let own = view.servers_commit_ns();
    let helpers = [Class::Kswapd, Class::Kthread].map(|class| view.commit_ns(class));
    let helpers = helpers.into_iter().fold(0, u64::saturating_add);
    if own == 0 && helpers == 0 {
        return nobody(view);
    }
    let slack = view.edge_slack(SIGNATURE);
    let least = view.thresholds.signatures.commit_share / slack;
    let share = |ns: u64| view.share_of_thread(ns).min(1.0);
    let starved = view.reclaim_ns();
    let by_server = share(own) >= least;
    let by_helpers = share(helpers) >= least && share(starved) >= least;
    let disk = server_disk(view, slack);
    let works = disk.works.unwrap_or(false);
    let holds = all_of(&[Some(by_server || by_helpers), Some(!works)]);
    let (who, ns) = if by_server || own >= helpers {
        (view.server, own)
    } else {
        ("kswapd or kcompactd", helpers)
    };
    let waits = format!(
        "{who} waits for the COMMIT of pages of {} for {} of the time",
        view.client,
        percent(share(ns)),
    );
    let beside = if by_server {
        String::new()
    } else {
        format!(
            ", {} reclaims memory for {}",
            view.server,
            percent(share(starved))
        )
    };
    let disk_words = disk.words();
    Edge {
        signature: SIGNATURE,
        holds,
        value: Some(share(ns)),
        why: format!("{waits}{beside}, {disk_words}").into(),
        words: if holds == Some(true) {
            format!("{waits}{beside} while the server's {disk_words}")
        } else {
            String::new()
        },
        // A stuck kswapd is the reason why the server's threads are stuck.
        weight_ns: if by_helpers && !by_server {
            helpers.saturating_add(starved)
        } else {
            own
        },
        server_bdi: None,
        gaps: disk.gap().into_iter().collect(),
    }
}

fn nobody(view: &View<'_>) -> Edge {
    let signals = view.newest().map(|sample| sample.signals);
    if Signals::has(signals.unwrap_or_default().commit) {
        Edge::open(SIGNATURE, "no task waits for a COMMIT of the server")
    } else {
        let why = "waits for a COMMIT are not visible";
        Edge::unseen(SIGNATURE, why, MissingInput::CommitUnseen)
    }
}
