//! What nfsd writes to for a client: the BDI of the file that it is given to
//! write, while it works on a call whose sender is known.
//!
//! nfsd writes by `vfs_iter_write` (fs/read_write.c), newer kernels by
//! `vfs_iocb_iter_write`. Hardly anything else does, so that the look-up of the
//! thread is paid by few.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use monitor_common::{BDI_NAME_LEN, BackingKey, BackingTotals, BdiId, Lost};

use crate::{
    maps::{BACKING, BDI_NAMES, lost, offsets},
    memory::{follow, read},
    rpc::serving,
    wait::now,
};

/// `vfs_iter_write`, by `fentry`.
#[fentry(function = "vfs_iter_write")]
pub fn vfs_iter_write_fentry(ctx: FEntryContext) -> i32 {
    writes(ctx.arg(0));
    0
}

/// `vfs_iocb_iter_write`, by `fentry`.
#[fentry(function = "vfs_iocb_iter_write")]
pub fn vfs_iocb_iter_write_fentry(ctx: FEntryContext) -> i32 {
    writes(ctx.arg(0));
    0
}

/// `vfs_iter_write`, by `kprobe`.
#[kprobe(function = "vfs_iter_write")]
pub fn vfs_iter_write_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(file) = ctx.arg(0) {
        writes(file);
    }
    0
}

/// `vfs_iocb_iter_write`, by `kprobe`.
#[kprobe(function = "vfs_iocb_iter_write")]
pub fn vfs_iocb_iter_write_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(file) = ctx.arg(0) {
        writes(file);
    }
    0
}

/// This task writes to a file; both functions have it first.
#[inline(always)]
fn writes(file: *const u8) {
    let Some(serving) = serving().filter(|serving| serving.known != 0) else {
        return;
    };
    let _ = remember(file, serving.client);
}

#[inline(always)]
fn remember(file: *const u8, client: u32) -> Option<()> {
    let offsets = offsets()?;
    let inode = follow(file, offsets.file_inode)?;
    let sb = follow(inode, offsets.inode_sb)?;
    let bdi = follow(sb, offsets.sb_bdi)?;
    let dev: u32 = read(sb, offsets.sb_dev)?;
    let name: [u64; BDI_NAME_LEN / 8] = read(bdi, offsets.bdi_name)?;
    let id = BdiId::from_words(name).0;
    let key = BackingKey {
        bdi: id,
        client,
        dev,
    };
    if let Some(totals) = BACKING.get_ptr_mut(key) {
        // SAFETY: as in `rpc`; threads that write at once may lose a count.
        let totals = unsafe { &mut *totals };
        totals.writes += 1;
        totals.last_ns = now();
        return Some(());
    }
    if id != BdiId::NONE.0 && BDI_NAMES.insert(id, name, 0).is_err() {
        lost(Lost::MapFull);
    }
    let first = BackingTotals {
        writes: 1,
        last_ns: now(),
    };
    let _ = BACKING.insert(key, first, 0);
    Some(())
}
