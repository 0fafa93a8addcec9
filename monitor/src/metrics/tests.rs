mod across;
mod caps;
mod congestion;
mod daemon;

use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use monitor_model::{
    loops::{Exemption, Proof, Scope},
    observation::Container,
    related::RelatedKind,
    verdict::{LivelockState, Signature},
};

use super::render;
use crate::evidence::Results;
use crate::publish::process::ProcessStats;
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;
use crate::publish::testing::{Exposition, NOW_NS};

fn page(snapshot: &Snapshot) -> Exposition {
    Exposition::parse(&render(snapshot).unwrap())
}

#[test]
fn the_contract_s_families_have_their_names_and_types() {
    let mut snapshot = testing::snapshot();
    snapshot.process = Some(ProcessStats::default());
    snapshot.observation.svc_alloc_arg_retries = Some(1);
    snapshot.observation.bdis[0].threshold_bytes = Some(1);
    snapshot.evidence_results = Some(Results::default());
    snapshot.config = Some(std::sync::Arc::default());
    let page = page(&snapshot);
    let contract = [
        ("throttle_monitor_build_info", "gauge"),
        ("throttle_monitor_probe_state", "gauge"),
        ("throttle_monitor_lost_events_total", "counter"),
        ("throttle_delay_seconds", "histogram"),
        ("throttle_reclaim_throttle_total", "counter"),
        ("throttle_waiting_tasks", "gauge"),
        ("throttle_oldest_wait_seconds", "gauge"),
        ("throttle_bdi_info", "gauge"),
        ("throttle_bdi_dirty_bytes", "gauge"),
        ("throttle_bdi_writeback_bytes", "gauge"),
        ("throttle_bdi_dirty_threshold_bytes", "gauge"),
        ("throttle_bdi_written_bytes_total", "counter"),
        ("throttle_bdi_congested", "gauge"),
        ("throttle_bdi_congested_seconds_total", "counter"),
        ("throttle_bdi_congestion_threshold_bytes", "gauge"),
        ("throttle_dirty_bytes", "gauge"),
        ("throttle_dirty_limit_bytes", "gauge"),
        ("throttle_nfs_write_sent_bytes_total", "counter"),
        ("throttle_nfs_write_acked_bytes_total", "counter"),
        ("throttle_nfs_write_errors_total", "counter"),
        ("throttle_nfs_commits_sent_total", "counter"),
        ("throttle_nfs_commits_done_total", "counter"),
        ("throttle_nfsd_written_bytes_total", "counter"),
        ("throttle_nfsd_threads", "gauge"),
        ("throttle_nfsd_blocked_behind_throttled", "gauge"),
        ("throttle_svc_alloc_arg_retries_total", "counter"),
        ("throttle_loop_info", "gauge"),
        ("throttle_loop_progress_bytes_per_second", "gauge"),
        ("throttle_loop_blockage_ratio", "gauge"),
        ("throttle_loop_demand_bytes", "gauge"),
        ("throttle_livelock_state", "gauge"),
        ("throttle_livelock_detections_total", "counter"),
        ("throttle_livelock_seconds_total", "counter"),
        ("throttle_related_condition", "gauge"),
        ("throttle_related_conditions_total", "counter"),
        ("throttle_related_condition_seconds_total", "counter"),
        ("throttle_monitor_evidence_documents_total", "counter"),
        ("throttle_monitor_config_last_reload_successful", "gauge"),
        (
            "throttle_monitor_config_last_reload_success_timestamp_seconds",
            "gauge",
        ),
        ("throttle_monitor_tick_duration_seconds", "histogram"),
        (
            "throttle_monitor_tick_last_success_timestamp_seconds",
            "gauge",
        ),
        ("process_cpu_seconds_total", "counter"),
        ("process_start_time_seconds", "gauge"),
    ];
    for (name, kind) in contract {
        assert_eq!(
            page.kinds().get(name).map(String::as_str),
            Some(kind),
            "{name}"
        );
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn the_numbers_of_an_observation_come_out_in_base_units() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.bdis_left_out = 44;
    let page = page(&snapshot);
    let expected = [
        (
            "throttle_monitor_build_info",
            &[
                ("version", "0.1.0"),
                ("revision", "abc"),
                ("kernel", "6.12.1"),
            ][..],
            1.0,
        ),
        (
            "throttle_monitor_probe_state",
            &[
                ("signal", "balance_dirty_pages"),
                ("strategy", "fentry"),
                ("state", "attached"),
            ],
            1.0,
        ),
        ("throttle_monitor_bdis_left_out", &[][..], 44.0),
        (
            "throttle_monitor_lost_events_total",
            &[("reason", "evicted")],
            3.0,
        ),
        (
            "throttle_waiting_tasks",
            &[("cause", "balance_dirty_pages"), ("class", "nfsd")],
            2.0,
        ),
        (
            "throttle_oldest_wait_seconds",
            &[("cause", "balance_dirty_pages"), ("class", "nfsd")],
            2.5,
        ),
        (
            "throttle_bdi_info",
            &[("bdi", "254:0"), ("fstype", "ext4"), ("device", "/dev/vda")],
            1.0,
        ),
        (
            "throttle_bdi_written_bytes_total",
            &[("bdi", "254:0")],
            1_073_741_824.0,
        ),
        ("throttle_dirty_bytes", &[], 77.0),
        ("throttle_dirty_limit_bytes", &[], 99.0),
        (
            "throttle_nfs_write_sent_bytes_total",
            &[("bdi", "0:29")],
            1000.0,
        ),
        (
            "throttle_nfs_write_acked_bytes_total",
            &[("bdi", "0:29")],
            900.0,
        ),
        ("throttle_nfs_write_errors_total", &[("bdi", "0:29")], 3.0),
        ("throttle_nfsd_written_bytes_total", &[], 4242.0),
        ("throttle_nfsd_threads", &[("state", "throttled")], 2.0),
        ("throttle_nfsd_threads", &[("state", "blocked")], 0.0),
        (
            "throttle_loop_progress_bytes_per_second",
            &[("loop", "0:29-nfsd")],
            12.5,
        ),
        (
            "throttle_loop_blockage_ratio",
            &[("loop", "0:29-nfsd")],
            0.75,
        ),
        (
            "throttle_loop_demand_bytes",
            &[("loop", "0:29-nfsd")],
            5000.0,
        ),
        (
            "throttle_livelock_state",
            &[("loop", "0:29-nfsd"), ("signature", "dirty-throttle")],
            2.0,
        ),
        (
            "throttle_livelock_detections_total",
            &[("loop", "0:29-nfsd"), ("signature", "dirty-throttle")],
            2.0,
        ),
        (
            "throttle_livelock_seconds_total",
            &[("loop", "0:29-nfsd"), ("signature", "dirty-throttle")],
            8.25,
        ),
        ("throttle_monitor_tick_duration_seconds_count", &[], 1.0),
        (
            "throttle_monitor_tick_last_success_timestamp_seconds",
            &[],
            1_700_000_000.5,
        ),
    ];
    for (name, labels, value) in expected {
        assert_eq!(page.get(name, labels), Some(value), "{name} {labels:?}");
    }
}

#[test]
fn a_loop_has_a_series_for_every_signature_from_the_start() {
    let page = page(&testing::snapshot());
    for signature in Signature::ALL {
        let labels = [("loop", "0:29-nfsd"), ("signature", signature.as_str())];
        let state = page.get("throttle_livelock_state", &labels);
        let own = signature == Signature::DirtyThrottle;
        assert_eq!(state, Some(if own { 2.0 } else { 0.0 }), "{signature:?}");
    }
}

#[test]
fn every_kind_of_related_condition_is_counted_and_shown_while_it_holds() {
    let mut snapshot = testing::snapshot();
    let labels = [("kind", "slow-disk"), ("bdi", "254:0")];
    assert_eq!(
        page(&snapshot).get("throttle_related_condition", &labels),
        Some(1.0)
    );
    snapshot.related.clear();
    let page = page(&snapshot);
    assert_eq!(page.count("throttle_related_condition"), 0);
    for kind in RelatedKind::ALL {
        let labels = [("kind", kind.as_str())];
        let slow = kind == RelatedKind::SlowDisk;
        let began = page.get("throttle_related_conditions_total", &labels);
        assert_eq!(began, Some(f64::from(u8::from(slow))), "{kind:?}");
        let seconds = page.get("throttle_related_condition_seconds_total", &labels);
        assert_eq!(seconds, Some(if slow { 9.5 } else { 0.0 }), "{kind:?}");
    }
}

#[test]
fn what_could_not_be_read_is_absent_and_no_zero() {
    let page = page(&testing::snapshot());
    for name in [
        "throttle_writeback_bytes",
        "throttle_bdi_dirty_threshold_bytes",
        "throttle_svc_alloc_arg_retries_total",
    ] {
        assert!(!page.kinds().contains_key(name), "{name}");
    }
}

#[test]
fn the_reasons_of_reclaim_throttle_fold_into_one_histogram_and_stay_apart_in_the_counter() {
    let page = page(&testing::snapshot());
    let labels = [
        ("cause", "reclaim_throttle"),
        ("class", "user"),
        ("bdi", ""),
    ];
    assert_eq!(
        page.get("throttle_delay_seconds_count", &labels),
        Some(12.0)
    );
    assert_eq!(page.get("throttle_delay_seconds_sum", &labels), Some(3.0));
    for (reason, count) in [("writeback", 5.0), ("noprogress", 7.0)] {
        let labels = [("class", "user"), ("reason", reason)];
        assert_eq!(
            page.get("throttle_reclaim_throttle_total", &labels),
            Some(count)
        );
    }
    assert_eq!(page.count("throttle_reclaim_throttle_total"), 2);
}

#[test]
fn buckets_are_cumulative_and_the_one_beyond_all_bounds_is_only_in_inf() {
    let mut snapshot = testing::snapshot();
    let mut delay = testing::delay(
        Cause::DirectReclaim,
        Class::Nfsd,
        ThrottleReason::None,
        "",
        &[1, 2, 3],
    );
    delay.buckets[HIST_BUCKETS - 1] = 10;
    snapshot.observation.delays = vec![delay];
    let page = page(&snapshot);
    for (le, count) in [
        ("0.001", 1.0),
        ("0.002", 3.0),
        ("0.004", 6.0),
        ("16.384", 6.0),
        ("+Inf", 16.0),
    ] {
        assert_eq!(
            page.get("throttle_delay_seconds_bucket", &[("le", le)]),
            Some(count),
            "le={le}"
        );
    }
    assert_eq!(page.count("throttle_delay_seconds_bucket"), HIST_BUCKETS);
}

#[test]
fn with_fewer_bounds_what_is_beyond_them_is_only_in_inf() {
    let mut snapshot = testing::snapshot();
    let mut daemon = testing::daemon();
    daemon.bounds = vec![0.5, 1.0];
    snapshot.daemon = daemon.into();
    let (cause, class) = (Cause::DirectReclaim, Class::Nfsd);
    let delay = testing::delay(cause, class, ThrottleReason::None, "", &[1, 2, 4]);
    snapshot.observation.delays = vec![delay];
    let page = page(&snapshot);
    for (le, count) in [("0.5", 1.0), ("1", 3.0), ("+Inf", 7.0)] {
        let found = page.get("throttle_delay_seconds_bucket", &[("le", le)]);
        assert_eq!(found, Some(count), "le={le}");
    }
    assert_eq!(page.count("throttle_delay_seconds_bucket"), 3);
}

#[test]
fn a_wait_that_is_over_leaves_its_series_at_zero() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.waits.clear();
    snapshot.observation.delays.clear();
    let page = page(&snapshot);
    let labels = [("cause", "balance_dirty_pages"), ("class", "nfsd")];
    assert_eq!(page.get("throttle_waiting_tasks", &labels), Some(0.0));
    assert_eq!(page.get("throttle_oldest_wait_seconds", &labels), Some(0.0));
    let never = [("cause", "nfs_commit"), ("class", "nfsd")];
    assert_eq!(page.get("throttle_waiting_tasks", &never), None);
}

#[test]
fn a_wait_that_began_after_the_tick_s_clock_was_read_has_age_zero() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.waits = vec![testing::wait(
        1,
        Cause::NfsCommit,
        Class::Kswapd,
        NOW_NS + 5,
    )];
    assert_eq!(
        page(&snapshot).get("throttle_oldest_wait_seconds", &[("cause", "nfs_commit")]),
        Some(0.0)
    );
}

#[test]
fn hostile_names_of_bdis_and_devices_come_back_as_they_were() {
    let hostile = "a\"} 1\nthrottle_livelock_state{x=\"\\n\\";
    let mut snapshot = testing::snapshot();
    snapshot.observation.bdis = vec![testing::bdi(hostile, "\\\"\n{},= ü")];
    snapshot.verdicts.clear();
    let page = page(&snapshot);
    assert_eq!(
        page.get(
            "throttle_bdi_info",
            &[("bdi", hostile), ("device", "\\\"\n{},= ü")]
        ),
        Some(1.0)
    );
    assert_eq!(page.count("throttle_livelock_state"), 0);
}

#[test]
fn a_bdi_that_is_listed_twice_is_one_series() {
    let mut snapshot = testing::snapshot();
    snapshot.observation.bdis = vec![
        testing::bdi("8:1", "/dev/sda1"),
        testing::bdi("8:1", "/dev/sda1"),
    ];
    // The parser rejects duplicate series.
    assert_eq!(page(&snapshot).count("throttle_bdi_dirty_bytes"), 1);
}

#[test]
fn a_loop_says_who_it_is_and_how_that_is_known() {
    let mut snapshot = testing::snapshot();
    let labels = |server_bdi, proof, scope, exempt, localio| {
        [
            ("loop", "0:29-nfsd"),
            ("client_bdi", "0:29"),
            ("server", "nfsd"),
            ("server_bdi", server_bdi),
            ("proof", proof),
            ("scope", scope),
            ("exempt", exempt),
            ("localio", localio),
            ("client_pod_uid", ""),
            ("server_pod_uid", ""),
        ]
    };
    let known = labels("254:0", "xid", "cross-netns", "no", "false");
    assert_eq!(page(&snapshot).get("throttle_loop_info", &known), Some(1.0));
    snapshot.loops[0].server_bdi = None;
    snapshot.loops[0].proof = Proof::Socket;
    snapshot.loops[0].scope = Scope::Unknown;
    snapshot.loops[0].exempt = Exemption::default();
    snapshot.loops[0].localio = true;
    let vague = labels("", "socket", "unknown", "unknown", "true");
    assert_eq!(page(&snapshot).get("throttle_loop_info", &vague), Some(1.0));
    assert_eq!(page(&snapshot).count("throttle_loop_info"), 1);
}

#[test]
fn a_loop_has_the_uids_of_its_pods_and_is_one_series_with_many_clients() {
    let pod = |uid: &str| Container {
        pod_uid: uid.into(),
        ..Container::default()
    };
    let mut snapshot = testing::snapshot();
    let one = &mut snapshot.loops[0];
    // The first is a container outside a pod.
    one.client_containers = ["", "u-1", "u-2"].map(pod).into();
    one.server_container = Some(pod("u-3"));
    let labels = [("client_pod_uid", "u-1"), ("server_pod_uid", "u-3")];
    let page = page(&snapshot);
    assert_eq!(page.get("throttle_loop_info", &labels), Some(1.0));
    assert_eq!(page.count("throttle_loop_info"), 1);
}

#[test]
fn a_loop_with_two_verdicts_shows_its_numbers_once() {
    let mut snapshot = testing::snapshot();
    let mut first = testing::verdict(LivelockState::None);
    first.conditions.demand.value = None;
    snapshot.verdicts.insert(0, first);
    assert_eq!(
        page(&snapshot).get("throttle_loop_demand_bytes", &[("loop", "0:29-nfsd")]),
        Some(5000.0)
    );
}
