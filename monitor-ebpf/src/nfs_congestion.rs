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
use monitor_common::{BDI_NAME_LEN, BdiId, Cause, Lost, ThrottleReason};

use crate::{
    maps::{BDI_NAMES, lost, offsets},
    memory::{follow, read},
    task::Task,
    wait::{end_if_longer, keep, now},
};

/// What is shorter is no wait.
const LEAST_NS: u64 = 1_000_000;

/// The task goes in.
#[kprobe(function = "nfs_writepages")]
pub fn nfs_writepages_kprobe(ctx: ProbeContext) -> u32 {
    let bdi = ctx.arg(0).and_then(bdi).unwrap_or(BdiId::NONE.0);
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
    end_if_longer(Cause::NfsCongestion, LEAST_NS);
    0
}

/// The task was killed while it waited.
#[kretprobe(function = "nfs_writepages")]
pub fn nfs_writepages_kretprobe(_ctx: RetProbeContext) -> u32 {
    end_if_longer(Cause::NfsCongestion, LEAST_NS);
    0
}

/// The BDI of a file's pages.
#[inline(always)]
fn bdi(mapping: *const u8) -> Option<u64> {
    let offsets = offsets()?;
    let inode = follow(mapping, offsets.mapping_host)?;
    let sb = follow(inode, offsets.inode_sb)?;
    let bdi = follow(sb, offsets.sb_bdi)?;
    let name: [u64; BDI_NAME_LEN / 8] = read(bdi, offsets.bdi_name)?;
    let id = BdiId::from_words(name).0;
    // SAFETY: the reference is not kept.
    if id != BdiId::NONE.0
        && unsafe { BDI_NAMES.get(id) }.is_none()
        && BDI_NAMES.insert(id, name, 0).is_err()
    {
        lost(Lost::MapFull);
    }
    Some(id)
}
