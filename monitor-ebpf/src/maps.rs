//! Every map and global, each with its bound.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{
        Array, HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, Queue, RingBuf,
    },
};
use monitor_common::{
    BDI_NAME_LEN, BackingKey, BackingTotals, COMM_LEN, Call, CallFlag, CongestedBdi, DIRTY_SLOTS,
    DirtyKey, DirtyTotals, HIST_BUCKETS, HistKey, HistValue, Lost, MAX_SERVERS, NfsClientTotals,
    NfsdTotals, NfsdWrite, Offsets, PEER_LEN, Peer, RpcTotals, Serving, Starting, Taken,
    TaskTotals, Wait, WaitKey, WriteCongested,
};

/// `BPF_NOEXIST`: a key that another CPU made meanwhile is left as it is.
pub const NO_EXIST: u64 = 1;

/// A wait at least this long leaves a record in [`STALLS`], nanoseconds.
#[unsafe(no_mangle)]
pub static THRESHOLD_NS: Global<u64> = Global::new(100_000_000);

/// Upper bounds of the histograms' buckets, nanoseconds, ascending; none is longer than the
/// last.
#[unsafe(no_mangle)]
pub static BOUNDS_NS: [u64; HIST_BUCKETS] = [u64::MAX; HIST_BUCKETS];

/// Where this kernel has its fields. A map, not a global, because a module's
/// tracepoints exist only once it is loaded.
#[map]
pub static OFFSETS: Array<Offsets> = Array::with_max_entries(1, 0);

/// Histograms, but those of `balance_dirty_pages`. The keys are few: causes times
/// classes times BDIs in use.
#[map]
pub static DELAYS: PerCpuHashMap<HistKey, HistValue> = PerCpuHashMap::with_max_entries(512, 0);

/// A histogram of zeros to insert: too large for the stack beside the rest.
#[map]
pub static NO_DELAYS: Array<HistValue> = Array::with_max_entries(1, 0);

/// Waits that last, but those in `balance_dirty_pages`.
#[map]
pub static WAITS: HashMap<WaitKey, Wait> = HashMap::with_max_entries(8192, 0);

/// Totals of the tasks that waited last, and which of them are in
/// `balance_dirty_pages`.
#[map]
pub static TASKS: LruHashMap<WaitKey, TaskTotals> = LruHashMap::with_max_entries(4096, 0);

/// Finished waits over the threshold.
#[map]
pub static STALLS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// What `balance_dirty_pages` said, with its histograms. A task remembers its slot: an array
/// touches fewer pages of memory than a hash.
#[map]
pub static DIRTY: PerCpuArray<DirtyTotals> = PerCpuArray::with_max_entries(DIRTY_SLOTS, 0);

/// The slots of [`DIRTY`] in use.
#[map]
pub static DIRTY_SLOT: HashMap<DirtyKey, u32> = HashMap::with_max_entries(DIRTY_SLOTS, 0);

/// The other slots; the daemon puts them there.
#[map]
pub static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(DIRTY_SLOTS, 0);

/// The names behind the ids of BDIs. Written when [`DIRTY`] gets a new key.
#[map]
pub static BDI_NAMES: HashMap<u64, [u64; BDI_NAME_LEN / 8]> = HashMap::with_max_entries(512, 0);

/// Which BDIs are congested by the kernel's flag; one that never was set or
/// cleared while this watched is not here.
#[map]
pub static CONGESTED: HashMap<u64, CongestedBdi> = HashMap::with_max_entries(512, 0);

/// The NFS mounts whose pages were written, by device, and which of them are
/// congested by the client's flag.
#[map]
pub static WRITE_CONGESTED: LruHashMap<u32, WriteCongested> = LruHashMap::with_max_entries(1024, 0);

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

/// When nfsd's threads last got no pages for a request, by thread id.
#[map]
pub static ALLOC_RETRIES: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4096, 0);

/// Retries of `svc_alloc_arg`.
#[map]
pub static SVC_ALLOC_ARG_RETRIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Calls that clients sent, by transaction id. Large enough that the kernel's
/// per-CPU free lists (128 entries each) leave something to all on a large
/// machine.
#[map]
pub static CALLS: LruHashMap<u32, Call> = LruHashMap::with_max_entries(16384, 0);

/// Calls that the server took before a client was seen to send them. Apart from
/// [`CALLS`]: calls of other hosts, of which there may be thousands a second, must
/// not push out those that this kernel sent and that wait for a stuck server.
#[map]
pub static TAKEN: LruHashMap<u32, Taken> = LruHashMap::with_max_entries(4096, 0);

/// What RPC clients sent.
#[map]
pub static RPC: LruPerCpuHashMap<u32, RpcTotals> = LruPerCpuHashMap::with_max_entries(1024, 0);

/// RPC clients' addresses as the server saw them, by client.
#[map]
pub static PEERS: LruHashMap<u32, [u8; PEER_LEN]> = LruHashMap::with_max_entries(1024, 0);

/// Room for one address: too large for the stack beside the rest.
#[map]
pub static PEER: PerCpuArray<Peer> = PerCpuArray::with_max_entries(1, 0);

/// Where the call came from that a server thread works on, by thread id; kept
/// only while some client's address is wanted.
#[map]
pub static FROM: LruHashMap<u32, Peer> = LruHashMap::with_max_entries(1024, 0);

/// One for each [`CallFlag`].
#[map]
pub static FLAGS: Array<u32> = Array::with_max_entries(CallFlag::COUNT, 0);

/// The WRITE that a task has just begun, by thread id.
#[map]
pub static STARTING: LruHashMap<u32, Starting> = LruHashMap::with_max_entries(4096, 0);

/// The device whose WRITEs an RPC client carries.
#[map]
pub static CLIENT_DEVICES: LruHashMap<u32, u32> = LruHashMap::with_max_entries(1024, 0);

/// The call that a server thread works on, by thread id.
#[map]
pub static SERVING: LruHashMap<u32, Serving> = LruHashMap::with_max_entries(4096, 0);

/// What the server writes to for each client.
#[map]
pub static BACKING: LruHashMap<BackingKey, BackingTotals> = LruHashMap::with_max_entries(1024, 0);

/// The processes that serve a client of this node, by process id; the daemon writes it each
/// time that others do.
#[map]
pub static SERVERS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_SERVERS, 0);

/// Names of the processes that are userspace NFS servers: a hint for those that are not found
/// otherwise. The daemon writes it once.
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
