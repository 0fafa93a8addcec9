//! Conditions that look like a livelock but are not one.

use monitor_model::related::{Related, RelatedTally};
use prometheus::Result;

use super::family::{Family, MetricsPage};

pub(super) fn write(
    now: &[Related],
    tallies: &[RelatedTally],
    page: &mut MetricsPage,
) -> Result<()> {
    let mut holds = Family::gauge(
        "throttle_related_condition",
        "Always 1: a condition that looks like a livelock and is none, while it holds. Source: the verdict.",
    );
    for one in now {
        let labels = [("kind", one.kind.as_str()), ("bdi", one.bdi.as_str())];
        holds.add(&labels, 1.0);
    }
    page.put(holds)?;
    let mut began = Family::counter(
        "throttle_related_conditions_total",
        "How often a related condition began, since the daemon started. Source: the verdict.",
    );
    let mut seconds = Family::counter(
        "throttle_related_condition_seconds_total",
        "Time in which a related condition held, of one BDI or of many, since the daemon started, seconds. Source: the verdict.",
    );
    for tally in tallies {
        let labels = [("kind", tally.kind.as_str())];
        began.add(&labels, tally.beginnings as f64);
        seconds.add_some(&labels, Some(tally.seconds));
    }
    page.put(began)?;
    page.put(seconds)
}
