//! nfsd's threads, and what nfsd wrote for each client. This separates one loop's share if nfsd
//! serves several, in several network namespaces.

use compact_str::CompactString;
use monitor_common::Cause;
use monitor_model::observation::{Caller, Nfsd, Observation, Waiting};

use super::Threads;

/// Bounds on what one observation may bring.
const MAX_THREADS: usize = 1024;
const MAX_RPC_CLIENTS: usize = 1024;
const MAX_WAITED: usize = 16;

/// A thread of nfsd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NfsdThread {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The sender of its current or last call.
    pub caller: Caller,
    /// Its state.
    pub does: Threads,
    /// Total nanoseconds of its finished waits by cause, with the BDI of the last one.
    pub waited: Vec<(Cause, CompactString, u64)>,
}

impl NfsdThread {
    /// Total nanoseconds of its finished waits of a cause.
    #[must_use]
    pub fn waited_ns(&self, cause: Cause) -> u64 {
        let all = self.waited.iter().filter(|(of, ..)| *of == cause);
        all.map(|&(.., ns)| ns).fold(0, u64::saturating_add)
    }
}

/// Sorted by thread id.
pub(super) fn threads(nfsd: &Nfsd, waits: &[Waiting]) -> Option<Vec<NfsdThread>> {
    let mut serving: Vec<_> = nfsd.serving.as_ref()?.iter().take(MAX_THREADS).collect();
    serving.sort_by_key(|one| one.tid);
    let all = nfsd.threads.iter().take(MAX_THREADS).map(|thread| {
        let at = serving.binary_search_by_key(&thread.tid, |one| one.tid);
        let own = at.ok().and_then(|at| serving.get(at));
        let waited = own.map(|own| own.waited.iter()).unwrap_or_default();
        NfsdThread {
            tid: thread.tid,
            caller: own.map_or(Caller::Unknown, |own| own.caller),
            does: Threads::of_nfsd_thread(thread, waits),
            waited: waited
                .take(MAX_WAITED)
                .map(|one| (one.cause, one.bdi.clone(), one.sum_ns))
                .collect(),
        }
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|one| one.tid);
    all.dedup_by_key(|one| one.tid);
    Some(all)
}

/// Sorted by the RPC clients' ids.
pub(super) fn wrote(into: &mut Vec<(u32, u64)>, observation: &Observation) {
    into.clear();
    let clients = observation.rpc_clients.iter().take(MAX_RPC_CLIENTS);
    into.extend(clients.filter_map(|client| Some((client.id, client.bytes_written?))));
    into.sort_unstable();
    into.dedup_by_key(|(id, _)| *id);
}
