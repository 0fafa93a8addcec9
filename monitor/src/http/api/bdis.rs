//! `/api/v1/bdis`.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use monitor_model::{
    api::{BdiEntry, Bdis},
    observation::Bdi,
};
use monitor_verdict::timeline::time;

use super::{Latest, answer};
use crate::publish::node::waiting_by_bdi;
use crate::publish::seconds;
use crate::publish::snapshot::Snapshot;

/// The most BDIs in one answer; the sampler reads no more either.
pub(in crate::http) const MAX_BDIS: usize = 256;

/// By name.
pub(in crate::http) async fn bdis(State(shared): Latest) -> Response {
    let snapshot = shared.load();
    let observation = &snapshot.observation;
    let clients: HashSet<&str> = observation.clients.iter().map(|c| &*c.bdi).collect();
    let waiting = waiting_by_bdi(observation);
    let mut bdis: Vec<&Bdi> = observation.bdis.iter().collect();
    bdis.sort_unstable_by(|a, b| a.bdi.cmp(&b.bdi));
    let total = bdis
        .len()
        .saturating_add(observation.bdis_left_out as usize);
    bdis.truncate(MAX_BDIS);
    let bdis = bdis.into_iter().map(|bdi| BdiEntry {
        waiting_tasks: waiting.get(&*bdi.bdi).copied().unwrap_or(0),
        nfs_client: clients.contains(&*bdi.bdi),
        ..entry(bdi, &snapshot)
    });
    let body = Bdis {
        total,
        incomplete: observation.bdis_gap().into_iter().collect(),
        bdis: bdis.collect(),
    };
    answer(&snapshot, body)
}

fn entry(bdi: &Bdi, snapshot: &Snapshot) -> BdiEntry {
    let congestion = bdi.congestion.as_ref();
    let since_ns = congestion.and_then(|c| c.since_ns);
    BdiEntry {
        bdi: bdi.bdi.clone(),
        fstype: bdi.fstype.clone(),
        device: bdi.device.clone(),
        dirty_bytes: bdi.dirty_bytes,
        writeback_bytes: bdi.writeback_bytes,
        threshold_bytes: bdi.threshold_bytes,
        written_bytes: bdi.written_bytes,
        disk_busy_ms: bdi.disk_busy_ms,
        disk_sectors_written: bdi.disk_sectors_written,
        disk_sectors_read: bdi.disk_sectors_read,
        disk_requests: bdi.disk_requests,
        disk_request_ms: bdi.disk_request_ms,
        max_ratio: bdi.max_ratio,
        strict_limit: bdi.strict_limit,
        congested: congestion.map(|c| c.congested),
        congested_by: congestion.map(|c| c.by.as_str().into()),
        congested_since: since_ns.map(|ns| time(snapshot.unix_ms(ns))),
        congested_seconds: congestion.map(|c| seconds(c.total_ns)),
        congestion_threshold_bytes: congestion.and_then(|c| c.threshold_bytes),
        ..BdiEntry::default()
    }
}
