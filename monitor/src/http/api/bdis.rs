//! `/api/v1/bdis`.

use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::response::Response;
use compact_str::CompactString;
use monitor_model::observation::Bdi;
use serde::Serialize;

use super::{App, answer, rfc3339, seconds};
use crate::publish::snapshot::Snapshot;

/// The most BDIs in one answer; the sampler reads no more either.
pub(in crate::http) const MAX_BDIS: usize = 256;

#[derive(Serialize)]
struct Answer<'a> {
    /// All BDIs in use; `bdis` are at most [`MAX_BDIS`] of them.
    total: usize,
    /// A sentence if some are left out.
    incomplete: Vec<CompactString>,
    bdis: Vec<One<'a>>,
}

/// A BDI. What is not known is `null`.
#[derive(Serialize)]
struct One<'a> {
    bdi: &'a str,
    fstype: &'a str,
    device: &'a str,
    dirty_bytes: Option<u64>,
    writeback_bytes: Option<u64>,
    threshold_bytes: Option<u64>,
    written_bytes: Option<u64>,
    disk_busy_ms: Option<u64>,
    disk_sectors_written: Option<u64>,
    disk_sectors_read: Option<u64>,
    disk_requests: Option<u64>,
    disk_request_ms: Option<u64>,
    max_ratio: Option<u32>,
    strict_limit: Option<bool>,
    congested: Option<bool>,
    congested_by: Option<&'static str>,
    congested_since: Option<String>,
    congested_seconds: Option<f64>,
    congestion_threshold_bytes: Option<u64>,
    /// Tasks that wait because of its pages.
    waiting_tasks: usize,
    /// Whether it is a mount of the NFS client.
    nfs_client: bool,
}

/// By name.
pub(in crate::http) async fn bdis(State(shared): App) -> Response {
    let snapshot = shared.load();
    let observation = &snapshot.observation;
    let clients: HashSet<&str> = observation.clients.iter().map(|c| &*c.bdi).collect();
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    for wait in &observation.waits {
        *waiting.entry(&wait.bdi).or_default() += 1;
    }
    let mut bdis: Vec<&Bdi> = observation.bdis.iter().collect();
    bdis.sort_unstable_by(|a, b| a.bdi.cmp(&b.bdi));
    let total = bdis
        .len()
        .saturating_add(observation.bdis_left_out as usize);
    bdis.truncate(MAX_BDIS);
    let bdis = bdis.into_iter().map(|bdi| One {
        waiting_tasks: waiting.get(&*bdi.bdi).copied().unwrap_or(0),
        nfs_client: clients.contains(&*bdi.bdi),
        ..one(bdi, &snapshot)
    });
    let body = Answer {
        total,
        incomplete: observation.bdis_gap().into_iter().collect(),
        bdis: bdis.collect(),
    };
    answer(&snapshot, body)
}

fn one<'a>(bdi: &'a Bdi, snapshot: &Snapshot) -> One<'a> {
    let congestion = bdi.congestion.as_ref();
    let since_ns = congestion.and_then(|c| c.since_ns);
    One {
        bdi: &bdi.bdi,
        fstype: &bdi.fstype,
        device: &bdi.device,
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
        congested_by: congestion.map(|c| c.by.as_str()),
        congested_since: since_ns.map(|ns| rfc3339(snapshot.unix_ms(ns))),
        congested_seconds: congestion.map(|c| seconds(c.total_ns)),
        congestion_threshold_bytes: congestion.and_then(|c| c.threshold_bytes),
        waiting_tasks: 0,
        nfs_client: false,
    }
}
