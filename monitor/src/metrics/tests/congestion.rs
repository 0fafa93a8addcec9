//! Tests of congested backing devices and their waiting tasks.

use super::page;
use crate::publish::snapshot::Snapshot;
use crate::publish::testing;

#[test]
fn congestion_comes_with_its_time_and_its_threshold() {
    let page = page(&testing::snapshot());
    for (name, value) in [
        ("throttle_bdi_congested", 1.0),
        ("throttle_bdi_congested_seconds_total", 4.5),
        ("throttle_bdi_congestion_threshold_bytes", 7000.0),
    ] {
        assert_eq!(page.get(name, &[("bdi", "0:29")]), Some(value), "{name}");
    }
}

#[test]
fn congestion_is_absent_if_unknown_and_zero_if_there_is_none() {
    let mut snapshot = testing::snapshot();
    let of =
        |snapshot: &Snapshot, bdi| page(snapshot).get("throttle_bdi_congested", &[("bdi", bdi)]);
    assert_eq!(of(&snapshot, "254:0"), None);
    let bdi = &mut snapshot.observation.bdis[1];
    bdi.congestion.as_mut().unwrap().congested = false;
    assert_eq!(of(&snapshot, "0:29"), Some(0.0));
}

#[test]
fn threads_of_nfsd_behind_a_throttled_one_are_counted_apart() {
    let mut snapshot = testing::snapshot();
    let count =
        |snapshot: &Snapshot| page(snapshot).get("throttle_nfsd_blocked_behind_throttled", &[]);
    assert_eq!(count(&snapshot), Some(0.0));
    let threads = &mut snapshot.observation.nfsd.as_mut().unwrap().threads;
    threads[2].behind_throttled = true;
    assert_eq!(count(&snapshot), Some(1.0));
}
