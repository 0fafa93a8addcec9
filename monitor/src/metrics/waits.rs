//! Waits of tasks, and their duration.

use std::collections::BTreeMap;

use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use monitor_model::observation::Delay;
use prometheus::Result;

use super::family::{Family, MetricsPage};
use crate::publish::seconds;
use crate::publish::snapshot::Snapshot;

pub(super) fn write(snapshot: &Snapshot, page: &mut MetricsPage) -> Result<()> {
    page.put(delay_seconds(
        &snapshot.observation.delays,
        &snapshot.daemon.bounds,
    ))?;
    page.put(reclaim_throttles(&snapshot.observation.delays))?;
    let (waiting, oldest) = lasting(snapshot);
    page.put(waiting)?;
    page.put(oldest)
}

fn delay_seconds(delays: &[Delay], bounds: &[f64]) -> Family {
    let mut family = Family::histogram(
        "throttle_delay_seconds",
        "Finished waits, seconds, by kernel function, class of the task and BDI. Source: eBPF.",
    );
    for ((_, cause, class, bdi), histogram) in fold_reasons(delays) {
        let labels = [
            ("cause", cause.as_str()),
            ("class", class.as_str()),
            ("bdi", bdi),
        ];
        family.add_histogram(
            &labels,
            bounds,
            &histogram.buckets,
            seconds(histogram.sum_ns),
        );
    }
    family
}

#[derive(Default)]
struct Folded {
    sum_ns: u64,
    buckets: [u64; HIST_BUCKETS],
}

/// The histograms without the reason. The order decides which are dropped if there are too many,
/// and is stable between ticks.
fn fold_reasons(delays: &[Delay]) -> BTreeMap<(u8, Cause, Class, &str), Folded> {
    let mut all = BTreeMap::<_, Folded>::new();
    for delay in delays {
        let folded = all
            .entry((
                rank(delay.class),
                delay.cause,
                delay.class,
                delay.bdi.as_str(),
            ))
            .or_default();
        folded.sum_ns = folded.sum_ns.saturating_add(delay.sum_ns);
        for (sum, count) in folded.buckets.iter_mut().zip(delay.buckets) {
            *sum = sum.saturating_add(count);
        }
    }
    all
}

/// Servers and kernel threads precede programs: they can be in a livelock.
const fn rank(class: Class) -> u8 {
    match class {
        Class::Nfsd | Class::Server | Class::Target => 0,
        Class::Kswapd | Class::Kworker | Class::LoopDevice | Class::Kthread => 1,
        Class::User => 2,
    }
}

fn reclaim_throttles(delays: &[Delay]) -> Family {
    let mut family = Family::counter(
        "throttle_reclaim_throttle_total",
        "Finished waits in reclaim_throttle() by class of the task and the kernel's reason (Linux 5.16 and later). Source: eBPF.",
    );
    let mut counts = BTreeMap::<_, u64>::new();
    for delay in delays
        .iter()
        .filter(|delay| delay.cause == Cause::ReclaimThrottle)
    {
        let count = counts.entry((delay.class, delay.reason)).or_default();
        *count = count.saturating_add(delay.count());
    }
    for ((class, reason), count) in counts {
        let reason = if reason == ThrottleReason::None {
            "unknown"
        } else {
            reason.as_str()
        };
        family.add(
            &[("class", class.as_str()), ("reason", reason)],
            count as f64,
        );
    }
    family
}

/// The tasks that wait at the time of the tick, and for how long.
fn lasting(snapshot: &Snapshot) -> (Family, Family) {
    let mut waiting = Family::gauge(
        "throttle_waiting_tasks",
        "Tasks that wait now, by kernel function and class of the task. Source: eBPF, waits that have not ended.",
    );
    let mut oldest = Family::gauge(
        "throttle_oldest_wait_seconds",
        "Age of the longest wait that has not ended, seconds, 0 for none. Source: eBPF.",
    );
    let now_ns = snapshot.observation.monotonic_ns;
    let mut waits = BTreeMap::<_, (u64, u64)>::new();
    for pair in snapshot.known_waits.iter() {
        waits.insert(pair, (0, 0));
    }
    for wait in &snapshot.observation.waits {
        let (count, age_ns) = waits.entry((wait.cause, wait.class)).or_default();
        *count += 1;
        *age_ns = (*age_ns).max(now_ns.saturating_sub(wait.since_ns));
    }
    for ((cause, class), (count, age_ns)) in waits {
        let labels = [("cause", cause.as_str()), ("class", class.as_str())];
        waiting.add(&labels, count as f64);
        oldest.add(&labels, seconds(age_ns));
    }
    (waiting, oldest)
}

#[cfg(test)]
mod tests {
    use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
    use monitor_model::observation::Delay;

    use super::fold_reasons;

    #[test]
    fn waits_beyond_all_numbers_stay_at_the_largest() {
        let delay = |reason| Delay {
            cause: Cause::ReclaimThrottle,
            class: Class::User,
            reason,
            bdi: "".into(),
            sum_ns: u64::MAX,
            buckets: [u64::MAX; HIST_BUCKETS],
        };
        let both = [ThrottleReason::None, ThrottleReason::Writeback].map(delay);
        assert_eq!(both[0].count(), u64::MAX);
        let all = fold_reasons(&both);
        let folded = all.values().next().unwrap();
        assert_eq!((all.len(), folded.sum_ns), (1, u64::MAX));
        assert_eq!(folded.buckets, [u64::MAX; HIST_BUCKETS]);
    }
}
