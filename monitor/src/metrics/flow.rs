//! Dirty pages and their progress: memory, BDIs, NFS client and server.

use std::collections::HashSet;

use monitor_model::observation::{
    Bdi, NfsClient, Nfsd, Observation, SignalStatus, State, ThreadState,
};
use prometheus::Result;

use super::family::{Family, MetricsPage};
use crate::publish::seconds;

pub(super) fn write(observation: &Observation, page: &mut MetricsPage) -> Result<()> {
    memory(observation, page)?;
    bdis(observation, page)?;
    // A device that is mounted but not traced wrote an unknown amount, not none.
    let traced = |signal: &SignalStatus| {
        signal.signal != "nfs_client_writes" || signal.state != State::Unavailable
    };
    if observation.signals.iter().all(traced) {
        clients(&observation.clients, page)?;
    }
    if let Some(nfsd) = &observation.nfsd {
        server(nfsd, page)?;
    }
    let mut retries = Family::counter(
        "throttle_svc_alloc_arg_retries_total",
        "Times that nfsd got no pages for a request and slept in svc_alloc_arg(). Source: eBPF, sunrpc:svc_alloc_arg_err.",
    );
    retries.add_some(&[], observation.svc_alloc_arg_retries.map(|n| n as f64));
    page.put(retries)
}

fn memory(observation: &Observation, page: &mut MetricsPage) -> Result<()> {
    let memory = &observation.memory;
    let mut dirty = Family::gauge(
        "throttle_dirty_bytes",
        "Dirty page cache of the node, bytes, without what is under writeback. Source: nr_dirty of /proc/vmstat.",
    );
    dirty.add_some(&[], memory.dirty_bytes.map(|n| n as f64));
    page.put(dirty)?;
    let mut writeback = Family::gauge(
        "throttle_writeback_bytes",
        "Page cache of the node under writeback, bytes. Source: nr_writeback of /proc/vmstat.",
    );
    writeback.add_some(&[], memory.writeback_bytes.map(|n| n as f64));
    page.put(writeback)?;
    let mut limit = Family::gauge(
        "throttle_dirty_limit_bytes",
        "The vmstat threshold: nr_dirty_threshold of /proc/vmstat, bytes. It lags the dirty limit at which writers are stopped, by up to twice. Source: /proc/vmstat.",
    );
    limit.add_some(&[], memory.dirty_limit_bytes.map(|n| n as f64));
    page.put(limit)
}

/// The BDIs, those of the NFS client first: they are the last to be dropped.
fn ordered(observation: &Observation) -> Vec<&Bdi> {
    let clients: HashSet<&str> = observation
        .clients
        .iter()
        .map(|client| &*client.bdi)
        .collect();
    let (mut bdis, others): (Vec<&Bdi>, Vec<&Bdi>) = observation
        .bdis
        .iter()
        .partition(|bdi| clients.contains(&*bdi.bdi));
    bdis.extend(others);
    bdis
}

fn bdis(observation: &Observation, page: &mut MetricsPage) -> Result<()> {
    let bdis = ordered(observation);
    let mut info = Family::gauge(
        "throttle_bdi_info",
        "Always 1: the file system type and device mounted from a BDI. Source: /proc/PID/mountinfo.",
    );
    for bdi in &bdis {
        info.add(
            &[
                ("bdi", &bdi.bdi),
                ("fstype", &bdi.fstype),
                ("device", &bdi.device),
            ],
            1.0,
        );
    }
    page.put(info)?;
    let mut left_out = Family::gauge(
        "throttle_monitor_bdis_left_out",
        "BDIs in use that are not read because there are more than 256: those of loops are read first, then those whose writers were paused last. Source: /proc/PID/mountinfo.",
    );
    let ticked = observation.monotonic_ns > 0;
    left_out.add_some(&[], ticked.then(|| f64::from(observation.bdis_left_out)));
    page.put(left_out)?;
    for (mut family, value) in bdi_bytes().into_iter().chain(bdi_congestion()) {
        for bdi in &bdis {
            family.add_some(&[("bdi", &bdi.bdi)], value(bdi));
        }
        page.put(family)?;
    }
    Ok(())
}

type FlowValue<T> = fn(&T) -> Option<u64>;
type Number<T> = fn(&T) -> Option<f64>;

fn bdi_bytes() -> [(Family, Number<Bdi>); 4] {
    let dirty = Family::gauge(
        "throttle_bdi_dirty_bytes",
        "Dirty page cache of a BDI, bytes. Source: debugfs bdi/BDI/stats.",
    );
    let writeback = Family::gauge(
        "throttle_bdi_writeback_bytes",
        "Page cache of a BDI under writeback, bytes. Source: debugfs bdi/BDI/stats.",
    );
    let threshold = Family::gauge(
        "throttle_bdi_dirty_threshold_bytes",
        "BDI share: the part of the dirty limit that this BDI may hold, bytes. Source: debugfs bdi/BDI/stats.",
    );
    let written = Family::counter(
        "throttle_bdi_written_bytes_total",
        "Written back to a BDI since it exists, bytes. Source: debugfs bdi/BDI/stats.",
    );
    [
        (dirty, |bdi| bdi.dirty_bytes.map(|n| n as f64)),
        (writeback, |bdi| bdi.writeback_bytes.map(|n| n as f64)),
        (threshold, |bdi| bdi.threshold_bytes.map(|n| n as f64)),
        (written, |bdi| bdi.written_bytes.map(|n| n as f64)),
    ]
}

fn bdi_congestion() -> [(Family, Number<Bdi>); 3] {
    let congested = Family::gauge(
        "throttle_bdi_congested",
        "1 while a BDI is congested, 0 while not, by its file system's rule. Source: eBPF, set_bdi_congested() up to 5.17; debugfs, /proc/sys/fs/nfs, fusectl.",
    );
    let time = Family::counter(
        "throttle_bdi_congested_seconds_total",
        "Time that a BDI was congested, seconds. Source: as of throttle_bdi_congested.",
    );
    let threshold = Family::gauge(
        "throttle_bdi_congestion_threshold_bytes",
        "Bytes above which a BDI counts as congested: under writeback for an NFS client, dirty or under writeback else. Source: as of throttle_bdi_congested.",
    );
    [
        (congested, |bdi| {
            bdi.congestion.map(|c| f64::from(u8::from(c.congested)))
        }),
        (time, |bdi| bdi.congestion.map(|c| seconds(c.total_ns))),
        (threshold, |bdi| {
            bdi.congestion?.threshold_bytes.map(|n| n as f64)
        }),
    ]
}

fn clients(clients: &[NfsClient], page: &mut MetricsPage) -> Result<()> {
    for (mut family, value) in client_values() {
        for client in clients {
            family.add_some(&[("bdi", &client.bdi)], value(client).map(|n| n as f64));
        }
        page.put(family)?;
    }
    Ok(())
}

fn client_values() -> [(Family, FlowValue<NfsClient>); 5] {
    let sent = Family::counter(
        "throttle_nfs_write_sent_bytes_total",
        "Bytes of the WRITE calls that the NFS client began, by BDI of the mount. Source: eBPF, nfs:nfs_initiate_write.",
    );
    let acked = Family::counter(
        "throttle_nfs_write_acked_bytes_total",
        "Bytes that NFS servers took from the client, by BDI of the mount. Source: eBPF, nfs:nfs_writeback_done.",
    );
    let errors = Family::counter(
        "throttle_nfs_write_errors_total",
        "WRITE calls of the NFS client that failed, by BDI of the mount. Source: eBPF, nfs:nfs_writeback_done.",
    );
    let commits_sent = Family::counter(
        "throttle_nfs_commits_sent_total",
        "COMMIT calls that the NFS client began, by BDI of the mount. Source: eBPF, nfs:nfs_initiate_commit.",
    );
    let commits_done = Family::counter(
        "throttle_nfs_commits_done_total",
        "COMMIT calls of the NFS client that were answered, by BDI of the mount. Source: eBPF, nfs:nfs_commit_done.",
    );
    [
        (sent, |client| Some(client.bytes_sent)),
        (acked, |client| Some(client.bytes_acked)),
        (errors, |client| Some(client.writes_failed)),
        (commits_sent, |client| Some(client.commits_sent)),
        (commits_done, |client| Some(client.commits_done)),
    ]
}

fn server(nfsd: &Nfsd, page: &mut MetricsPage) -> Result<()> {
    let mut written = Family::counter(
        "throttle_nfsd_written_bytes_total",
        "Bytes that nfsd wrote to exported file systems. Source: eBPF, nfsd:nfsd_write_io_done.",
    );
    written.add_some(&[], nfsd.bytes_written.map(|n| n as f64));
    page.put(written)?;
    let mut threads = Family::gauge(
        "throttle_nfsd_threads",
        "Threads of nfsd by what they do at the tick. Source: /proc/PID/stat and the eBPF waits that have not ended.",
    );
    for state in ThreadState::ALL {
        let count = nfsd
            .threads
            .iter()
            .filter(|thread| thread.state == state)
            .count();
        threads.add(&[("state", state.as_str())], count as f64);
    }
    page.put(threads)?;
    let mut behind = Family::gauge(
        "throttle_nfsd_blocked_behind_throttled",
        "Blocked threads of nfsd that wait for a lock while another one is throttled. Source: /proc/PID/wchan and the eBPF waits that have not ended.",
    );
    let count = nfsd.threads.iter().filter(|t| t.behind_throttled).count();
    behind.add(&[], count as f64);
    page.put(behind)
}
