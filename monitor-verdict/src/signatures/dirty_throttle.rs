//! Signature `dirty-throttle`: the server is in `balance_dirty_pages` on its own, nearly clean BDI,
//! because the client's pages fill the node's dirty limit. Only the server can clean those.
//!
//! The event of `balance_dirty_pages` distinguishes it from a slow disk. Frozen (6.12):
//! `limit=19529 dirty=20031 bdi_setpoint=10437 bdi_dirty=48`. Slow but alive: `bdi_dirty` about
//! 8000 of setpoint 9126 and the disk 92-100 % busy. Dirty pages over the limit alone prove
//! nothing.

use monitor_model::verdict::Signature;

use crate::text::percent;
use crate::window::PauseMeans;
use crate::window::confidence::MissingInput;
use crate::window::view::{Disk, View, all_of};

use super::Edge;

const SIGNATURE: Signature = Signature::DirtyThrottle;

/// Whether the server is throttled over the client's pages.
#[must_use]
pub fn edge(view: &View<'_>) -> Edge {
    let Some(throttle) = Throttle::find(view) else {
        return unpaused(view);
    };
    let slack = view.edge_slack(SIGNATURE);
    let works = throttle.disk.works.unwrap_or(false);
    let holds = all_of(&[
        throttle.over_limit(view, slack),
        Some(throttle.server_clean(view, slack)),
        Some(!works),
        throttle.clients_hold(view, slack),
    ]);
    let closed = holds == Some(true);
    Edge {
        signature: SIGNATURE,
        holds,
        value: throttle.own,
        why: throttle.why(view, closed).into(),
        words: if closed {
            throttle.words(view)
        } else {
            String::new()
        },
        weight_ns: view.paused_ns(),
        server_bdi: Some(throttle.server_bdi.into()),
        gaps: throttle.gaps,
    }
}

/// The holders of the dirty pages while the server is paused.
pub struct Throttle<'a> {
    pub server_bdi: &'a str,
    pub pauses: PauseMeans,
    pub disk: Disk,
    /// The client's share of the pages outside the server's BDI, with those of the loop devices on
    /// it.
    pub own: Option<f64>,
    /// The share of the client devices of all loops together.
    pub clients: Option<f64>,
    pub gaps: Vec<MissingInput>,
}

impl<'a> Throttle<'a> {
    /// `None`: the server was not paused on a BDI of its own.
    pub fn find(view: &'a View<'_>) -> Option<Self> {
        let (server_bdi, pauses) = view.paused_most()?;
        let newest = view.newest()?;
        let rest = pauses.dirty - pauses.bdi_dirty;
        let share = |pages: f64| {
            if rest > 0.0 {
                (pages / rest).min(1.0)
            } else {
                0.0
            }
        };
        let client = newest.client(view.client);
        let pages = client.and_then(|client| view.window.pages_of(client).0);
        let own = pages.map(share);
        let clients = own.map(|own| share(view.loops.pages).max(own));
        let mut gaps = view.loops.gaps.clone();
        let disk = Disk::of(view, server_bdi, view.edge_slack(SIGNATURE));
        gaps.extend(disk.gap());
        Some(Self {
            server_bdi,
            pauses,
            disk,
            own,
            clients,
            gaps,
        })
    }

    /// Whether the node is over its hard limit, or almost; `None`: unknown.
    pub fn over_limit(&self, view: &View<'_>, slack: f64) -> Option<bool> {
        let share = 1.0 - (1.0 - view.thresholds.over_limit_share) * slack;
        let mean = self.pauses.dirty / self.pauses.limit.max(1.0);
        (self.pauses.limit > 0.0).then(|| mean.max(self.pauses.newest_share) >= share)
    }

    fn server_clean(&self, view: &View<'_>, slack: f64) -> bool {
        let setpoint = self.pauses.bdi_setpoint * view.thresholds.server_clean_share;
        let limit = self.pauses.limit * view.thresholds.server_clean_limit_share;
        self.pauses.bdi_dirty < setpoint.max(limit) * slack
    }

    fn clients_hold(&self, view: &View<'_>, slack: f64) -> Option<bool> {
        let (own, clients) = (view.thresholds.own_share, view.thresholds.clients_share);
        Some(self.own? >= own / slack && self.clients? >= clients / slack)
    }

    fn why(&self, view: &View<'_>, closed: bool) -> String {
        format!(
            "{}: {:.0} dirty pages of limit {:.0}, the server's {} has {:.0} of setpoint {:.0}, \
             {}, the client's {} holds {} of the others, all loops' clients {}",
            if closed { "closed" } else { "open" },
            self.pauses.dirty,
            self.pauses.limit,
            self.server_bdi,
            self.pauses.bdi_dirty,
            self.pauses.bdi_setpoint,
            self.disk.words(),
            view.client,
            share(self.own),
            share(self.clients),
        )
    }

    fn words(&self, view: &View<'_>) -> String {
        let over = self.pauses.dirty / self.pauses.limit.max(1.0) - 1.0;
        format!(
            "{} wait in balance_dirty_pages on {} ({:.0} of {:.0} setpoint pages dirty, {}) while \
             {} holds {} of the dirty pages, {}",
            who(view),
            self.server_bdi,
            self.pauses.bdi_dirty,
            self.pauses.bdi_setpoint,
            self.disk.words(),
            view.client,
            share(self.own),
            beside_limit(over),
        )
    }
}

/// The distance of the node from its dirty limit: a livelock holds it within about a percent.
fn beside_limit(over: f64) -> String {
    /// Values below round to 0.0 % or almost.
    const AT: f64 = 0.001;
    if over.abs() < AT {
        return "at the dirty limit".to_owned();
    }
    let side = if over < 0.0 { "under" } else { "over" };
    format!("{:.1} % {side} the dirty limit", over.abs() * 100.0)
}

/// Text such as `2 of 8 busy nfsd threads`: the threads throttled by dirty pages.
pub fn who(view: &View<'_>) -> String {
    let threads = view.threads().unwrap_or_default();
    // Between two pauses only its state shows that a thread is throttled.
    let seen = threads.most_in_dirty;
    let waiting = if seen > 0 {
        seen
    } else {
        threads.most_throttled
    };
    let busy = threads.most_busy;
    format!("{waiting} of {busy} busy {} threads", view.server)
}

/// No pause was counted. If threads are seen to wait, or nothing is visible yet, the edge is
/// unknown.
fn unpaused(view: &View<'_>) -> Edge {
    let unknown = |why| Edge {
        holds: None,
        ..Edge::open(SIGNATURE, why)
    };
    match view.threads() {
        Some(threads) if threads.most_in_dirty > 0 => unknown(
            "the server waits in balance_dirty_pages, but the pause's numbers are not available",
        ),
        Some(_) => Edge::open(SIGNATURE, "the server was not paused"),
        None if view.by_nfsd() && view.newest().is_some_and(|s| s.server.is_none()) => {
            Edge::open(SIGNATURE, "nfsd does not run")
        }
        None => unknown("waits of the server are not visible"),
    }
}

pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "an unknown share".to_owned(), percent)
}

#[cfg(test)]
mod tests {
    use super::beside_limit;

    #[test]
    fn a_node_at_its_limit_is_never_reported_as_zero_over_it() {
        for (dirty, limit, words) in [
            (20031.0, 19529.0, "2.6 % over the dirty limit"),
            (10476.0, 10434.0, "0.4 % over the dirty limit"),
            (10000.0, 10000.0, "at the dirty limit"),
            (10009.0, 10000.0, "at the dirty limit"),
            (9991.0, 10000.0, "at the dirty limit"),
            (9989.0, 10000.0, "0.1 % under the dirty limit"),
        ] {
            assert_eq!(beside_limit(dirty / limit - 1.0), words);
        }
        let mut over = -0.05;
        while over < 0.05 {
            let words = beside_limit(over);
            assert!(
                !words.starts_with("0.0 %") && !words.starts_with("0 %"),
                "{words}"
            );
            over += 0.000_1;
        }
    }
}
