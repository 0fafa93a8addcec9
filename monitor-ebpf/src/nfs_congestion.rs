//! Tasks that wait until an NFS mount's write congestion is over.
//!
//! From 6.11 on `nfs_writepages` (fs/nfs/write.c) begins with that wait; the
//! first call after it is `nfs_pageio_init`. So what lies between the two is
//! the wait, and where a kernel does not wait there it is over at once and not
//! counted. All three are functions of the module nfs.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use monitor_common::{BdiId, Cause, LEAST_CALL_NS, ThrottleReason};

use crate::{
    maps::offsets,
    memory::{follow, inode_bdi},
    task::Task,
    wait::{end_if_longer, keep, now},
};

/// The task goes in.
#[kprobe(function = "nfs_writepages")]
pub fn nfs_writepages_kprobe(ctx: ProbeContext) -> u32 {
    let inode = || follow(ctx.arg(0)?, offsets()?.mapping_host);
    let bdi = inode().and_then(inode_bdi).unwrap_or(BdiId::NONE.0);
    keep(
        &Task::current(),
        Cause::NfsCongestion,
        ThrottleReason::None,
        bdi,
        now(),
        0,
    );
    0
}

/// The task has waited, if it had to, and goes on. It may also come here to
/// read: then nothing is kept of it.
#[kprobe(function = "nfs_pageio_init")]
pub fn nfs_pageio_init_kprobe(_ctx: ProbeContext) -> u32 {
    end_if_longer(Cause::NfsCongestion, LEAST_CALL_NS);
    0
}

/// The task was killed while it waited.
#[kretprobe(function = "nfs_writepages")]
pub fn nfs_writepages_kretprobe(_ctx: RetProbeContext) -> u32 {
    end_if_longer(Cause::NfsCongestion, LEAST_CALL_NS);
    0
}
