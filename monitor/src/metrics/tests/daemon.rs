//! Tests of the daemon's own metrics.

use std::sync::Arc;

use monitor_model::{api::ConfigStatus, observation::State};

use super::page;
use crate::evidence::Results;
use crate::publish::snapshot::{ProbeReport, Snapshot};
use crate::publish::testing;

#[test]
fn before_the_first_tick_only_the_build_is_known() {
    let page = page(&Snapshot::before_the_first_tick(testing::daemon()));
    let names: Vec<_> = page.kinds().keys().collect();
    assert_eq!(
        names,
        [
            "throttle_monitor_build_info",
            "throttle_monitor_dropped_series"
        ]
    );
}

#[test]
fn each_kind_of_loss_has_its_series() {
    let page = page(&testing::snapshot());
    for (n, reason) in (1..).zip(["ringbuf", "map_full", "evicted", "recording"]) {
        let lost = page.get("throttle_monitor_lost_events_total", &[("reason", reason)]);
        assert_eq!(lost, Some(f64::from(n)), "{reason}");
    }
}

#[test]
fn what_became_of_documents_is_counted_where_a_directory_was_given() {
    let mut snapshot = testing::snapshot();
    let name = "throttle_monitor_evidence_documents_total";
    assert_eq!(page(&snapshot).count(name), 0);
    snapshot.evidence_results = Some(Results {
        written: 3,
        failed: 2,
        dropped: 1,
    });
    let page = page(&snapshot);
    for (result, count) in [("written", 3.0), ("failed", 2.0), ("dropped", 1.0)] {
        assert_eq!(
            page.get(name, &[("result", result)]),
            Some(count),
            "{result}"
        );
    }
}

#[test]
fn a_signal_is_missing_where_it_could_tell_something_and_is_not_attached() {
    let mut snapshot = testing::snapshot();
    let missing = "throttle_monitor_probe_missing";
    let signal = |name: &str, state, applies, needed| {
        let mut signal = testing::signal(name, state);
        (signal.applies, signal.needed) = (applies, needed);
        signal
    };
    snapshot.probes = ProbeReport {
        kernel: "6.12".to_owned(),
        signals: vec![
            signal("balance_dirty_pages", State::Unavailable, true, true),
            signal("compaction", State::Unavailable, true, false),
            signal("reclaim_throttle", State::Degraded, true, false),
            signal("nfsd_writes", State::Unavailable, false, true),
            signal("rpc_xid", State::Attached, true, true),
        ],
    }
    .into();
    let page = page(&snapshot);
    assert_eq!(page.count(missing), 2);
    for (name, needed) in [("balance_dirty_pages", "true"), ("compaction", "false")] {
        let series = [("signal", name), ("needed", needed)];
        assert_eq!(page.get(missing, &series), Some(1.0), "{name}");
    }
}

#[test]
fn the_outcome_of_the_last_reload_is_shown_where_a_daemon_can_reload() {
    let mut snapshot = testing::snapshot();
    let names = [
        "throttle_monitor_config_last_reload_successful",
        "throttle_monitor_config_last_reload_success_timestamp_seconds",
    ];
    for (successful, expected) in [(true, 1.0), (false, 0.0)] {
        snapshot.config = Some(Arc::new(ConfigStatus {
            last_reload_successful: successful,
            last_reload_success_unix_ms: 1_500,
            ..ConfigStatus::default()
        }));
        let page = page(&snapshot);
        assert_eq!(
            names.map(|name| page.get(name, &[])),
            [Some(expected), Some(1.5)]
        );
    }
    snapshot.config = None;
    assert_eq!(names.map(|name| page(&snapshot).count(name)), [0, 0]);
}
