//! Keys and values of the eBPF maps.

/// `TASK_COMM_LEN`, include/linux/sched.h.
pub const COMM_LEN: usize = 16;

/// Buckets of a histogram, the last of which is "longer than all bounds".
pub const HIST_BUCKETS: usize = 16;

/// A call that may wait is a wait from here on, nanoseconds: `nfs_congestion`
/// and `nfs_commit`, whose functions are also called when there is nothing to
/// wait for.
pub const LEAST_CALL_NS: u64 = 1_000_000;

/// How many server processes the programs are told.
pub const MAX_SERVERS: u32 = 256;

/// How many [`DirtyTotals`] there are.
pub const DIRTY_SLOTS: u32 = 256;

/// Whether `dirty` and `limit` of an event of `balance_dirty_pages` are the node's.
///
/// The kernel holds a writer to the limit of its memory cgroup or to the node's, whichever
/// brakes harder (`balance_dirty_pages`, mm/page-writeback.c), and reports the one that
/// it took: `dirty` always, `limit` from 7.x on. Only for the part of a BDI that belongs to
/// the root cgroup is there nothing but the node's. Its inode number is 1; all bits are
/// set, in 32 or 64 of them, or it is zero, where the kernel has no such cgroups.
#[must_use]
pub const fn is_of_node(cgroup_ino: u64) -> bool {
    matches!(cgroup_ino, 0 | 1 | 0xffff_ffff | u64::MAX)
}

macro_rules! plain {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(C)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> Self {
                // SAFETY: as below, any bytes are a value.
                unsafe { core::mem::zeroed() }
            }
        }

        // SAFETY: repr(C), made of integers and arrays of integers only, and
        // without padding (the const assertion), so any bytes are a value.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}

        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$ty>())*, "padding in a map type");
    )*};
}

plain! {
    /// Key of the histograms.
    pub struct HistKey {
        /// BDI, zero where the cause has none.
        pub bdi: u64,
        /// A [`crate::Cause`].
        pub cause: u8,
        /// A [`crate::Class`].
        pub class: u8,
        /// A [`crate::ThrottleReason`].
        pub reason: u8,
        /// Always zero.
        pub zero: [u8; 5],
    }

    /// A histogram of waits, one per CPU.
    pub struct HistValue {
        /// All waits together, nanoseconds.
        pub sum_ns: u64,
        /// Waits no longer than the bound of the same index and longer than
        /// the one before; the last: longer than all bounds.
        pub buckets: [u64; HIST_BUCKETS],
    }

    /// Key of the waits that last, and of the totals of a task.
    pub struct WaitKey {
        /// Thread id in the initial pid namespace.
        pub tid: u32,
        /// A [`crate::Cause`]; waits of different causes nest.
        pub cause: u32,
    }

    /// A wait that lasts.
    pub struct Wait {
        /// When it began, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// Where the end is not seen: when the pause that the kernel announced
        /// is over, `CLOCK_MONOTONIC` nanoseconds. Zero: the end is seen.
        pub until_ns: u64,
        /// BDI, zero where the cause has none.
        pub bdi: u64,
        /// Process id in the initial pid namespace.
        pub tgid: u32,
        /// A [`crate::Class`].
        pub class: u8,
        /// A [`crate::ThrottleReason`].
        pub reason: u8,
        /// Of a cause with functions that call each other: how far out the one
        /// is that the wait began in; else zero.
        pub level: u8,
        /// Always zero.
        pub zero: u8,
        /// The task's name.
        pub comm: [u8; COMM_LEN],
    }

    /// A finished wait that was longer than the threshold: a record of the
    /// ring buffer.
    pub struct Stall {
        /// When it began, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// How long it took, nanoseconds.
        pub delay_ns: u64,
        /// BDI, zero where the cause has none.
        pub bdi: u64,
        /// Thread id in the initial pid namespace.
        pub tid: u32,
        /// Process id in the initial pid namespace.
        pub tgid: u32,
        /// A [`crate::Cause`].
        pub cause: u8,
        /// A [`crate::Class`].
        pub class: u8,
        /// A [`crate::ThrottleReason`].
        pub reason: u8,
        /// Always zero.
        pub zero: [u8; 5],
        /// The task's name.
        pub comm: [u8; COMM_LEN],
    }

    /// Totals of a task for one cause; for `balance_dirty_pages` also the wait that lasts.
    pub struct TaskTotals {
        /// All finished waits together, nanoseconds.
        pub delay_ns: u64,
        /// Finished waits (for `balance_dirty_pages`: pauses).
        pub waits: u64,
        /// The last wait's BDI.
        pub bdi: u64,
        /// When the last wait was counted, `CLOCK_MONOTONIC` nanoseconds.
        pub last_ns: u64,
        /// `balance_dirty_pages`: when the call that lasts began, `CLOCK_MONOTONIC`
        /// nanoseconds. Zero: none lasts.
        pub since_ns: u64,
        /// `balance_dirty_pages`: when the last announced pause is over,
        /// `CLOCK_MONOTONIC` nanoseconds.
        pub until_ns: u64,
        /// `balance_dirty_pages`: until when name and class need not be read again,
        /// `CLOCK_MONOTONIC` nanoseconds.
        pub known_until_ns: u64,
        /// Process id in the initial pid namespace.
        pub tgid: u32,
        /// `balance_dirty_pages`: where its pauses on this BDI are counted, an index of
        /// [`DirtyTotals`].
        pub slot: u32,
        /// The task's name.
        pub comm: [u8; COMM_LEN],
        /// A [`crate::Class`].
        pub class: u8,
        /// Always zero.
        pub zero: [u8; 7],
    }

    /// Key of what `balance_dirty_pages` said.
    pub struct DirtyKey {
        /// The BDI whose dirtier was made to pause.
        pub bdi: u64,
        /// A [`crate::Class`].
        pub class: u64,
    }

    /// What `balance_dirty_pages` said at its pauses, one per CPU. Sums are of
    /// pages, one addend an event, so that a difference of two readings
    /// divided by that of `events` is the mean over the time between.
    pub struct DirtyTotals {
        /// Pauses announced with all that is summed below.
        pub events: u64,
        /// Those of them whose `dirty` and `limit` are the node's: [`is_of_node`].
        pub node_events: u64,
        /// All pauses announced together, nanoseconds.
        pub pause_ns: u64,
        /// Sum of `dirty`, of the events that are the node's: its dirty and writeback
        /// pages.
        pub dirty: u64,
        /// Sum of `limit`, of the same events: the hard dirty limit.
        pub limit: u64,
        /// Sum of `bdi_dirty` (`wb_dirty` in 6.18 and later): this BDI's part.
        pub bdi_dirty: u64,
        /// Sum of `bdi_setpoint` (`wb_setpoint`): where the kernel would
        /// have this BDI's part.
        pub bdi_setpoint: u64,
        /// Sum of `task_ratelimit`, KiB a second.
        pub task_ratelimit: u64,
        /// The last event, `CLOCK_MONOTONIC` nanoseconds.
        pub last_ns: u64,
        /// `dirty` of the last event that is the node's, pages.
        pub last_dirty: u64,
        /// `limit` of the same event, pages.
        pub last_limit: u64,
        /// Pauses by length, as in [`HistValue`].
        pub buckets: [u64; HIST_BUCKETS],
    }

    /// The NFS client's writes on one device, one per CPU.
    pub struct NfsClientTotals {
        /// WRITE calls begun.
        pub writes_sent: u64,
        /// Those of them that became RPC calls.
        pub writes_by_rpc: u64,
        /// Bytes in them.
        pub bytes_sent: u64,
        /// WRITE calls answered without an error.
        pub writes_acked: u64,
        /// Bytes that the server took.
        pub bytes_acked: u64,
        /// WRITE calls that failed.
        pub writes_failed: u64,
        /// COMMIT calls begun.
        pub commits_sent: u64,
        /// COMMIT calls answered, with or without an error.
        pub commits_done: u64,
        /// Last WRITE begun, `CLOCK_MONOTONIC` nanoseconds.
        pub last_sent_ns: u64,
        /// Last WRITE answered, `CLOCK_MONOTONIC` nanoseconds.
        pub last_acked_ns: u64,
    }

    /// A call on its way, by its transaction id.
    pub struct Call {
        /// When it was first seen, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// The RPC client that sent it.
        pub client: u32,
        /// [`Call::SENT`] and [`Call::SERVED`].
        pub seen: u32,
    }

    /// A call that the server took before a client was seen to send it.
    pub struct Taken {
        /// When, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// The server's thread.
        pub tid: u32,
        /// Always zero.
        pub zero: u32,
    }

    /// Where a call came from, as the server saw it.
    pub struct Peer {
        /// The call's transaction id.
        pub xid: u32,
        /// Always zero.
        pub zero: u32,
        /// Address and port as text, with a NUL.
        pub text: [u8; PEER_LEN],
    }

    /// A WRITE that a task has just begun.
    pub struct Starting {
        /// When, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// On which device: the kernel's `dev_t`.
        pub dev: u32,
        /// Always zero.
        pub zero: u32,
    }

    /// What an RPC client sent, one per CPU.
    pub struct RpcTotals {
        /// Calls sent.
        pub calls: u64,
        /// Those of them that this kernel's own server took.
        pub served_here: u64,
        /// Last call sent, `CLOCK_MONOTONIC` nanoseconds.
        pub last_call_ns: u64,
        /// Last call served here, `CLOCK_MONOTONIC` nanoseconds.
        pub last_served_ns: u64,
        /// Bytes that nfsd wrote for its calls.
        pub bytes_written: u64,
        /// WRITEs that nfsd served while it was exempt from local dirty
        /// throttling (`PF_LOCAL_THROTTLE`).
        pub exempt_writes: u64,
        /// WRITEs that it served while it was not.
        pub other_writes: u64,
    }

    /// The call that a thread of a kernel's server works on, or did last.
    pub struct Serving {
        /// The call's transaction id.
        pub xid: u32,
        /// The RPC client of this kernel that sent it, if `known`.
        pub client: u32,
        /// 1: an RPC client of this kernel was seen to send it; 0: none was, so
        /// that it came from another host.
        pub known: u32,
        /// Always zero.
        pub zero: u32,
    }

    /// What the server writes to for a client: a key.
    pub struct BackingKey {
        /// The BDI, zero where it has no name.
        pub bdi: u64,
        /// The RPC client.
        pub client: u32,
        /// The file system's device: the kernel's `dev_t`.
        pub dev: u32,
    }

    /// What the server writes to for a client: totals.
    pub struct BackingTotals {
        /// Writes.
        pub writes: u64,
        /// The last of them, `CLOCK_MONOTONIC` nanoseconds.
        pub last_ns: u64,
    }

    /// Since when and how long a BDI is congested, by the kernel's flag.
    pub struct CongestedBdi {
        /// Since when it is, `CLOCK_MONOTONIC` nanoseconds; zero: it is not.
        pub since_ns: u64,
        /// All times that are over, nanoseconds.
        pub total_ns: u64,
    }

    /// The same of an NFS mount, by the client's flag.
    pub struct WriteCongested {
        /// The mount's `nfs_server`: a pointer, to be read with a helper only.
        pub server: u64,
        /// Since when it is, `CLOCK_MONOTONIC` nanoseconds; zero: it is not.
        pub since_ns: u64,
        /// All times that are over, nanoseconds.
        pub total_ns: u64,
    }

    /// nfsd's writes, one per CPU.
    pub struct NfsdTotals {
        /// WRITE operations begun.
        pub writes_started: u64,
        /// WRITE operations ended.
        pub writes_done: u64,
        /// Bytes written to the exported file systems.
        pub bytes_written: u64,
        /// Last WRITE operation ended, `CLOCK_MONOTONIC` nanoseconds.
        pub last_done_ns: u64,
        /// Of `bytes_written`, those written in a call of which nothing was seen.
        pub bytes_unattributed: u64,
    }

    /// A WRITE operation that an nfsd thread is in.
    pub struct NfsdWrite {
        /// Since when, `CLOCK_MONOTONIC` nanoseconds.
        pub since_ns: u64,
        /// Bytes asked for.
        pub len: u64,
    }
}

impl Call {
    /// A client sent it.
    pub const SENT: u32 = 1;
    /// The server took it.
    pub const SERVED: u32 = 2;
}

/// Longest address that `svc_process` tells, with its port and a NUL:
/// `RPC_MAX_ADDRBUFLEN` of `include/linux/sunrpc/msg_prot.h`, rounded up.
pub const PEER_LEN: usize = 64;

/// What the programs of calls know of this kernel: indices of an array of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CallFlag {
    /// It sends calls.
    Sends = 0,
    /// It serves calls.
    Serves = 1,
    /// The address of a client is wanted.
    PeerWanted = 2,
}

impl CallFlag {
    /// The number of flags.
    pub const COUNT: u32 = 3;
}

/// What was lost: indices of a per-CPU array of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Lost {
    /// A record found no room in the ring buffer.
    RingBuf = 0,
    /// A new key found no room in a map.
    MapFull = 1,
}

impl Lost {
    /// How many there are.
    pub const COUNT: u32 = 2;
}
