//! Loops and whether they are in a livelock.

use monitor_model::{
    loops::Loop,
    verdict::{Condition, Conditions, Signature, Verdict},
};
use prometheus::Result;

use super::family::{Family, MetricsPage};

pub(super) fn write(found: &[Loop], verdicts: &[Verdict], page: &mut MetricsPage) -> Result<()> {
    info(found, page)?;
    loops(verdicts, page)?;
    livelocks(verdicts, page)
}

fn info(found: &[Loop], page: &mut MetricsPage) -> Result<()> {
    let mut family = Family::gauge(
        "throttle_loop_info",
        "Always 1: a backing device that this node serves to itself, and how that is known. Source: the verdict, from eBPF, /proc, /sys and debugfs.",
    );
    for one in found {
        let labels = [
            ("loop", &*one.id),
            ("client_kind", one.client_kind.as_str()),
            ("client_bdi", &one.client_bdi),
            ("server", &one.server),
            ("server_bdi", one.server_bdi.as_deref().unwrap_or_default()),
            ("proof", one.proof.as_str()),
            ("scope", one.scope.as_str()),
            ("exempt", one.exempt.state.as_str()),
            ("localio", if one.localio { "true" } else { "false" }),
            ("client_pod_uid", one.client_pod_uid()),
            ("server_pod_uid", one.server_pod_uid()),
        ];
        family.add(&labels, 1.0);
    }
    page.put(family)
}

/// The numbers of a loop are the same under each signature, so the first verdict provides them.
fn loops(verdicts: &[Verdict], page: &mut MetricsPage) -> Result<()> {
    for (mut family, condition) in loop_values() {
        for verdict in verdicts {
            family.add_some(
                &[("loop", &verdict.loop_id)],
                condition(&verdict.conditions).value,
            );
        }
        page.put(family)?;
    }
    Ok(())
}

type ConditionOf = fn(&Conditions) -> &Condition;

fn loop_values() -> [(Family, ConditionOf); 3] {
    let progress = Family::gauge(
        "throttle_loop_progress_bytes_per_second",
        "What moves through a loop, bytes a second over the verdict's window. Source: the verdict.",
    );
    let blockage = Family::gauge(
        "throttle_loop_blockage_ratio",
        "Share of the busy server threads' time spent waiting, 0 to 1, over the verdict's window. Source: the verdict.",
    );
    let demand = Family::gauge(
        "throttle_loop_demand_bytes",
        "What the loop's client has to write, bytes. Source: the verdict.",
    );
    [
        (progress, |conditions| &conditions.no_progress),
        (blockage, |conditions| &conditions.blockage),
        (demand, |conditions| &conditions.demand),
    ]
}

fn livelocks(verdicts: &[Verdict], page: &mut MetricsPage) -> Result<()> {
    // An open livelock is the last to be dropped.
    let mut worst_first: Vec<&Verdict> = verdicts.iter().collect();
    worst_first.sort_by(|a, b| b.state.metric().total_cmp(&a.state.metric()));
    for (mut family, value) in livelock_values() {
        for (verdict, signature) in pairs(&worst_first) {
            let labels = [
                ("loop", verdict.loop_id.as_str()),
                ("signature", signature.as_str()),
            ];
            family.add_some(&labels, Some(value(verdict, signature)));
        }
        page.put(family)?;
    }
    Ok(())
}

/// Every loop with every signature, so that each series begins at zero; the loop's own signature
/// first.
fn pairs<'a>(verdicts: &[&'a Verdict]) -> impl Iterator<Item = (&'a Verdict, Signature)> {
    let others = |verdict: &'a Verdict| {
        let all = Signature::ALL.into_iter();
        all.filter(|&one| one != verdict.signature)
    };
    let own = verdicts.iter().map(|&verdict| (verdict, verdict.signature));
    let rest = verdicts
        .iter()
        .flat_map(move |&verdict| others(verdict).map(move |one| (verdict, one)));
    own.chain(rest)
}

type VerdictValue = fn(&Verdict, Signature) -> f64;

fn livelock_values() -> [(Family, VerdictValue); 3] {
    let state = Family::gauge(
        "throttle_livelock_state",
        "State of a loop under a signature: 0 none, 1 suspected, 2 livelock, 3 deadlock. Source: the verdict.",
    );
    let detections = Family::counter(
        "throttle_livelock_detections_total",
        "Livelocks confirmed since the daemon started. Source: the verdict.",
    );
    let seconds = Family::counter(
        "throttle_livelock_seconds_total",
        "Time in livelock or deadlock since the daemon started, seconds. Source: the verdict.",
    );
    [
        (state, |verdict, by| verdict.state_by(by).metric()),
        (detections, |verdict, by| {
            verdict.tally(by).detections as f64
        }),
        (seconds, |verdict, by| verdict.tally(by).livelock_seconds),
    ]
}
