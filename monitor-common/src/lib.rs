//! The only words that the eBPF programs and the daemon share: causes of a
//! wait, classes of tasks, and the keys and values of the maps.
//!
//! Every type here is `#[repr(C)]`, has no padding, and means the same on both
//! sides. Nothing here decides anything.
#![no_std]

mod bdi;
mod cause;
mod kernel_const;
mod maps;
mod offsets;

pub use bdi::{BDI_NAME_LEN, BdiId};
pub use cause::{Cause, Class, End, ThrottleReason};
pub use kernel_const::KernelConst;
pub use maps::{
    BackingKey, BackingTotals, COMM_LEN, Call, CallFlag, CongestedBdi, DIRTY_SLOTS, DirtyKey,
    DirtyTotals, HIST_BUCKETS, HistKey, HistValue, LEAST_CALL_NS, Lost, MAX_SERVERS,
    NfsClientTotals, NfsdTotals, NfsdWrite, PEER_LEN, Peer, RpcTotals, Serving, Stall, Starting,
    Taken, TaskTotals, Wait, WaitKey, WriteCongested, is_of_node,
};
pub use offsets::{Member, Offsets, RequiredField};
