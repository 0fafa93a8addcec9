//! Every map and global, each with its bound.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use monitor_common::{
    BDI_NAME_LEN, COMM_LEN, DirtyKey, DirtyTotals, HIST_BUCKETS, HistKey, HistValue, Lost,
    NfsClientTotals, NfsdTotals, NfsdWrite, Offsets, TaskTotals, Wait, WaitKey,
};

/// `BPF_NOEXIST`: a key that another CPU made meanwhile is left as it is.
pub const NO_EXIST: u64 = 1;

/// A wait at least this long leaves a record in [`STALLS`], nanoseconds.
#[unsafe(no_mangle)]
pub static THRESHOLD_NS: Global<u64> = Global::new(100_000_000);

/// Upper bounds of the histograms' buckets but the last, nanoseconds,
/// ascending.
#[unsafe(no_mangle)]
pub static BOUNDS_NS: Global<[u64; HIST_BUCKETS - 1]> = Global::new([u64::MAX; HIST_BUCKETS - 1]);

/// Where this kernel has its fields. A map, not a global, because a module's
/// tracepoints exist only once it is loaded.
#[map]
pub static OFFSETS: Array<Offsets> = Array::with_max_entries(1, 0);

/// Histograms. The keys are few: causes times classes times BDIs in use.
#[map]
pub static DELAYS: PerCpuHashMap<HistKey, HistValue> = PerCpuHashMap::with_max_entries(512, 0);

/// A histogram of zeros to insert: too large for the stack beside the rest.
#[map]
pub static NO_DELAYS: Array<HistValue> = Array::with_max_entries(1, 0);

/// Waits that last.
#[map]
pub static WAITS: HashMap<WaitKey, Wait> = HashMap::with_max_entries(8192, 0);

/// Totals of the tasks that waited last.
#[map]
pub static TASKS: LruHashMap<WaitKey, TaskTotals> = LruHashMap::with_max_entries(4096, 0);

/// Finished waits over the threshold.
#[map]
pub static STALLS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// What `balance_dirty_pages` said.
#[map]
pub static DIRTY: PerCpuHashMap<DirtyKey, DirtyTotals> = PerCpuHashMap::with_max_entries(512, 0);

/// The names behind the ids of BDIs. Written when [`DIRTY`] gets a new key.
#[map]
pub static BDI_NAMES: HashMap<u64, [u64; BDI_NAME_LEN / 8]> = HashMap::with_max_entries(512, 0);

/// The NFS client's writes by device: the kernel's `dev_t`.
#[map]
pub static NFS_CLIENT: PerCpuHashMap<u32, NfsClientTotals> =
    PerCpuHashMap::with_max_entries(256, 0);

/// nfsd's writes.
#[map]
pub static NFSD: PerCpuArray<NfsdTotals> = PerCpuArray::with_max_entries(1, 0);

/// WRITE operations that an nfsd thread is in, by thread id.
#[map]
pub static NFSD_WRITES: HashMap<u32, NfsdWrite> = HashMap::with_max_entries(4096, 0);

/// Retries of `svc_alloc_arg`.
#[map]
pub static SVC_ALLOC_ARG_RETRIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Names of the processes that are userspace NFS servers; the daemon writes
/// it.
#[map]
pub static NFS_SERVERS: HashMap<[u8; COMM_LEN], u8> = HashMap::with_max_entries(64, 0);

/// What was lost, by [`Lost`].
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Lost::COUNT, 0);

/// Counts something lost.
#[inline(always)]
pub fn lost(what: Lost) {
    if let Some(count) = LOST.get_ptr_mut(what as u32) {
        // SAFETY: the value of a per-CPU array, only written on this CPU.
        unsafe { *count += 1 };
    }
}

/// Where this kernel has its fields.
#[inline(always)]
pub fn offsets() -> Option<&'static Offsets> {
    OFFSETS.get(0)
}
