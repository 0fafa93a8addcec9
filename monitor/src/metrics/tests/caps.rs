//! Tests of the maximum size of a page.

use std::time::Duration;

use monitor_common::{Cause, Class, ThrottleReason};
use monitor_model::{
    loops::Loop,
    observation::{NfsClient, Observation},
};
use rustix::time::{ClockId, clock_gettime};

use super::page;
use crate::metrics::{MAX_HISTOGRAMS, MAX_SERIES, render};
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;
use crate::publish::testing::NOW_NS;

/// Thousands of everything with an external name.
fn crowded() -> Snapshot {
    let mut snapshot = testing::snapshot();
    let Observation {
        bdis,
        delays,
        waits,
        clients,
        ..
    } = &mut snapshot.observation;
    for n in 0..5000 {
        let name = format!("{}:{n}", n % 7);
        bdis.insert(0, testing::bdi(&name, "server:/export"));
        clients.push(NfsClient {
            bdi: format!("9:{n}").into(),
            ..NfsClient::default()
        });
        delays.insert(
            0,
            testing::delay(
                Cause::BalanceDirtyPages,
                Class::User,
                ThrottleReason::None,
                &name,
                &[1, 2, 3],
            ),
        );
        waits.push(testing::wait(
            n,
            Cause::NfsCongestion,
            Class::User,
            NOW_NS - 1,
        ));
    }
    for n in 0..5000 {
        let one = Loop {
            id: format!("9:{n}-nfsd").into(),
            ..testing::found_loop()
        };
        snapshot.loops.push(one);
    }
    snapshot
}

#[test]
fn thousands_of_bdis_and_waits_stay_within_the_caps_and_are_counted() {
    let page = page(&crowded());
    for name in [
        "throttle_bdi_info",
        "throttle_bdi_dirty_bytes",
        "throttle_nfs_commits_done_total",
        "throttle_loop_info",
    ] {
        assert_eq!(page.count(name), MAX_SERIES, "{name}");
    }
    assert_eq!(page.count("throttle_delay_seconds_count"), MAX_HISTOGRAMS);
    let dropped = |family| page.get("throttle_monitor_dropped_series", &[("family", family)]);
    assert_eq!(
        dropped("throttle_bdi_info"),
        Some((5002 - MAX_SERIES) as f64)
    );
    assert_eq!(
        dropped("throttle_delay_seconds"),
        Some((5003 - MAX_HISTOGRAMS) as f64)
    );
    assert_eq!(dropped("throttle_monitor_lost_events_total"), Some(0.0));
    assert_eq!(
        page.get("throttle_waiting_tasks", &[("cause", "nfs_congestion")]),
        Some(5000.0)
    );
}

#[test]
fn what_is_left_out_is_neither_the_server_s_waits_nor_the_client_s_bdi() {
    let page = page(&crowded());
    let server = [
        ("cause", "balance_dirty_pages"),
        ("class", "nfsd"),
        ("bdi", "254:0"),
    ];
    assert_eq!(page.get("throttle_delay_seconds_count", &server), Some(3.0));
    assert_eq!(
        page.get("throttle_bdi_dirty_bytes", &[("bdi", "0:29")]),
        Some(4096.0)
    );
}

/// Run with `cargo test --release -- --ignored --nocapture a_crowded_page`.
#[test]
#[ignore = "a measurement, of use in release builds only"]
fn a_crowded_page_is_rendered_within_five_milliseconds() {
    let snapshot = crowded();
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let (rounds, start) = (50_u32, cpu());
    let len = (0..rounds)
        .map(|_| render(&snapshot).unwrap().len())
        .max()
        .unwrap();
    let each = cpu().saturating_sub(start) / rounds;
    println!("{len} bytes in {each:?}");
    assert!(each.as_millis() < 5, "{each:?}");
}
