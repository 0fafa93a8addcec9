//! Signature `dirty-throttle`: nfsd is in `balance_dirty_pages` on its own,
//! nearly clean BDI, because the client's pages fill the node's dirty limit;
//! and those only nfsd can clean.
//!
//! The event of `balance_dirty_pages` tells it from a slow disk. Frozen (6.12):
//! `limit=19529 dirty=20031 bdi_setpoint=10437 bdi_dirty=48`. Slow but alive:
//! `bdi_dirty` about 8000 of setpoint 9126 and the disk 92-100 % busy. That
//! dirty is over the limit says nothing alone.

use compact_str::CompactString;
use monitor_common::Class;

use super::conditions::{self, View, all_of, condition};
use super::reduce::Client;
use super::text::{percent, rate, seconds};
use super::types::{Condition, Conditions};
use super::window::PauseMeans;

/// What the signature says of one loop at one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The four conditions.
    pub conditions: Conditions,
    /// The BDI that the server was paused on most over the window.
    pub server_bdi: Option<CompactString>,
    /// One sentence for people.
    pub reason: String,
}

/// Judges one loop at one tick.
#[must_use]
pub fn judge(view: &View<'_>) -> Findings {
    let edge = if view.by_nfsd() {
        Edge::find(view)
    } else {
        None
    };
    let conditions = Conditions {
        demand: conditions::demand(view),
        no_progress: conditions::no_progress(view),
        blockage: conditions::blockage(view),
        closing_edge: closing_edge(view, edge.as_ref()),
    };
    let reason = reason(view, &conditions, edge.as_ref());
    Findings {
        conditions,
        server_bdi: edge.map(|edge| edge.server_bdi),
        reason,
    }
}

/// Who holds the dirty pages while the server is paused.
struct Edge {
    server_bdi: CompactString,
    pauses: PauseMeans,
    disk_busy: Option<f64>,
    /// The client's share of the pages that are not the server BDI's.
    own: Option<f64>,
    /// The share of the client devices of all loops together.
    clients: Option<f64>,
}

impl Edge {
    /// `None`: nfsd was not paused on a BDI of its own.
    fn find(view: &View<'_>) -> Option<Self> {
        let (server_bdi, pauses) = paused_most(view)?;
        let newest = view.window.newest()?;
        let rest = pauses.dirty - pauses.bdi_dirty;
        let share = |pages: f64| {
            if rest > 0.0 {
                (pages / rest).min(1.0)
            } else {
                0.0
            }
        };
        let own = newest
            .client(view.client)
            .and_then(|own| pages_of(view, own))
            .map(share);
        let others = newest.clients.iter();
        let others = others.filter(|c| c.bdi != view.client && view.is_loop(&c.bdi));
        // An unknown other is left out, which only makes the sum smaller.
        let others: f64 = others
            .filter_map(|other| pages_of(view, other))
            .map(share)
            .sum();
        let clients = own.map(|own| (own + others).min(1.0));
        let disk_busy = view.window.disk_busy(&server_bdi);
        Some(Self {
            server_bdi,
            pauses,
            disk_busy,
            own,
            clients,
        })
    }

    fn over_limit(&self, view: &View<'_>) -> bool {
        let slack = view.slack(&view.before.closing_edge);
        let share = 1.0 - (1.0 - view.thresholds.over_limit_share) * slack;
        let mean = self.pauses.dirty / self.pauses.limit.max(1.0);
        self.pauses.limit > 0.0 && mean.max(self.pauses.newest_share) >= share
    }

    fn server_clean(&self, view: &View<'_>) -> bool {
        let slack = view.slack(&view.before.closing_edge);
        let setpoint = self.pauses.bdi_setpoint * view.thresholds.server_clean_share;
        let limit = self.pauses.limit * view.thresholds.server_clean_limit_share;
        self.pauses.bdi_dirty < setpoint.max(limit) * slack
    }

    fn disk_idle(&self, view: &View<'_>) -> Option<bool> {
        let slack = view.slack(&view.before.closing_edge);
        self.disk_busy
            .map(|busy| busy < (view.thresholds.disk_busy_share * slack).min(0.9))
    }

    fn clients_hold(&self, view: &View<'_>) -> Option<bool> {
        let slack = view.slack(&view.before.closing_edge);
        let (own, clients) = (view.thresholds.own_share, view.thresholds.clients_share);
        Some(self.own? >= own / slack && self.clients? >= clients / slack)
    }
}

/// The BDI, not an NFS client's, on which nfsd was paused most.
fn paused_most(view: &View<'_>) -> Option<(CompactString, PauseMeans)> {
    let newest = view.window.newest()?;
    let mut most: Option<(CompactString, PauseMeans)> = None;
    for pauses in newest
        .pauses
        .iter()
        .filter(|pauses| pauses.class == Class::Nfsd)
    {
        if newest.client(&pauses.bdi).is_some() || pauses.bdi == view.client {
            continue;
        }
        let Some(means) = view.window.pauses(&pauses.bdi, Class::Nfsd) else {
            continue;
        };
        if most
            .as_ref()
            .is_none_or(|(_, best)| means.pause_ns > best.pause_ns)
        {
            most = Some((pauses.bdi.clone(), means));
        }
    }
    most
}

/// Pages of an NFS client device: from its BDI, else from what
/// `balance_dirty_pages` says to those who write to it.
fn pages_of(view: &View<'_>, client: &Client) -> Option<f64> {
    let page_size = view.window.newest()?.page_size;
    if let (Some(held), Some(page)) = (client.held_bytes, page_size) {
        return Some(held as f64 / page as f64);
    }
    let classes = Class::ALL.iter();
    let means = classes.filter_map(|&class| view.window.pauses(&client.bdi, class));
    means.map(|means| means.bdi_dirty).reduce(f64::max)
}

fn closing_edge(view: &View<'_>, edge: Option<&Edge>) -> Condition {
    let before = &view.before.closing_edge;
    if !view.by_nfsd() {
        let why = format!("what {} waits for is not watched", view.server);
        return condition(None, None, why);
    }
    let Some(edge) = edge else {
        return unpaused(view, before);
    };
    let holds = all_of(&[
        Some(edge.over_limit(view)),
        Some(edge.server_clean(view)),
        edge.disk_idle(view).or(Some(true)),
        edge.clients_hold(view),
    ]);
    let why = format!(
        "{}: {:.0} dirty pages of limit {:.0}, the server's {} has {:.0} of setpoint {:.0}, its \
         disk is {} busy, the client's {} holds {} of the others, all loops' clients {}",
        if holds == Some(true) {
            "closed"
        } else {
            "open"
        },
        edge.pauses.dirty,
        edge.pauses.limit,
        edge.server_bdi,
        edge.pauses.bdi_dirty,
        edge.pauses.bdi_setpoint,
        share(edge.disk_busy),
        view.client,
        share(edge.own),
        share(edge.clients),
    );
    condition(holds, edge.own, why)
}

/// No pause was counted. Where threads are seen to wait all the same, or
/// nothing is seen yet, that is no answer.
fn unpaused(view: &View<'_>, before: &Condition) -> Condition {
    match view.window.threads() {
        Some(threads) if threads.most_in_dirty > 0 => {
            let why = "nfsd waits in balance_dirty_pages, but what that says is not seen";
            condition(None, before.value, why.to_owned())
        }
        Some(_) => condition(Some(false), None, "nfsd was not made to pause".to_owned()),
        None if view
            .window
            .newest()
            .is_some_and(|sample| sample.server.is_none()) =>
        {
            condition(Some(false), None, "no nfsd runs".to_owned())
        }
        None => condition(None, None, "what nfsd waits for is not seen".to_owned()),
    }
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "an unknown share".to_owned(), percent)
}

fn reason(view: &View<'_>, conditions: &Conditions, edge: Option<&Edge>) -> String {
    let closed = conditions.closing_edge.holds == Some(true);
    let (Some(edge), Some(threads), true) = (edge, view.window.threads(), closed) else {
        return missing(conditions);
    };
    let over = edge.pauses.dirty / edge.pauses.limit.max(1.0) - 1.0;
    let acked = view.acked();
    // A thread between two pauses is throttled by its state alone.
    let seen = threads.most_in_dirty;
    let waiting = if seen > 0 {
        seen
    } else {
        threads.most_throttled
    };
    format!(
        "{} of {} busy nfsd threads wait in balance_dirty_pages on {} ({:.0} of {:.0} setpoint \
         pages dirty, disk {} busy) while {} holds {} of the dirty pages, {} {} the limit; {} \
         acknowledged, no progress for {}",
        waiting,
        threads.most_busy,
        edge.server_bdi,
        edge.pauses.bdi_dirty,
        edge.pauses.bdi_setpoint,
        share(edge.disk_busy),
        view.client,
        share(edge.own),
        percent(over.abs()),
        if over < 0.0 { "under" } else { "over" },
        acked.map_or_else(|| "unknown bytes".to_owned(), |acked| rate(acked.rate())),
        seconds(view.stalled_ns),
    )
}

/// Which conditions do not hold, in their own words.
fn missing(conditions: &Conditions) -> String {
    let open = conditions
        .all()
        .into_iter()
        .filter(|(_, c)| c.holds != Some(true));
    let open: Vec<String> = open.map(|(name, c)| format!("{name}: {}", c.why)).collect();
    format!(
        "{} of 4 conditions hold; not {}",
        4usize.saturating_sub(open.len()),
        open.join("; not ")
    )
}
