//! Tasks that wait until pages of an NFS file are written and committed.
//!
//! Four functions of the module nfs (fs/nfs/write.c, fs/nfs/file.c) wait so, and
//! the outer call the inner:
//!
//! | function | by whom | level |
//! |---|---|---|
//! | `nfs_file_fsync` | fsync, a loop device's flush | 3 |
//! | `nfs_wb_all` | close, truncate, a lock | 3 |
//! | `nfs_wb_folio` (`nfs_wb_page` up to 6.2) | one page: a partial write, a read of it, invalidation; from 6.3 on `nfs_release_folio`, which is reclaim, until that no longer waits (6.19, and what it was brought back to, as Debian's 6.12.107) | 2 |
//! | `__nfs_commit_inode` | all three, and writeback of the inode | 1 |
//!
//! The outermost is the wait. What the inner ones do meanwhile is not another.
//! An entry of the same or an outer level than the one kept tells that a return
//! was missed: there are some ten return probes for each function, and then no
//! more. The daemon looks after those that are never followed by another.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use monitor_common::{BdiId, Cause, LEAST_CALL_NS, Lost, ThrottleReason, Wait, WaitKey};

use crate::{
    maps::{WAITS, lost, offsets},
    memory::{follow, inode_bdi},
    task::{Task, current_tid},
    wait::{end_if_longer, now},
};

const FILE: u8 = 3;
const PAGE: u8 = 2;
const COMMIT: u8 = 1;

/// fsync begins.
#[kprobe(function = "nfs_file_fsync")]
pub fn nfs_file_fsync_kprobe(ctx: ProbeContext) -> u32 {
    let inode = || follow(ctx.arg(0)?, offsets()?.file_inode);
    goes_in(FILE, inode);
    0
}

/// fsync ends.
#[kretprobe(function = "nfs_file_fsync")]
pub fn nfs_file_fsync_kretprobe(_ctx: RetProbeContext) -> u32 {
    comes_out(FILE);
    0
}

/// All of a file is to be written.
#[kprobe(function = "nfs_wb_all")]
pub fn nfs_wb_all_kprobe(ctx: ProbeContext) -> u32 {
    goes_in(FILE, || ctx.arg(0));
    0
}

/// All of a file is written.
#[kretprobe(function = "nfs_wb_all")]
pub fn nfs_wb_all_kretprobe(_ctx: RetProbeContext) -> u32 {
    comes_out(FILE);
    0
}

/// A page is to be written; also for `nfs_wb_page`.
#[kprobe(function = "nfs_wb_folio")]
pub fn nfs_wb_folio_kprobe(ctx: ProbeContext) -> u32 {
    goes_in(PAGE, || ctx.arg(0));
    0
}

/// A page is written; also for `nfs_wb_page`.
#[kretprobe(function = "nfs_wb_folio")]
pub fn nfs_wb_folio_kretprobe(_ctx: RetProbeContext) -> u32 {
    comes_out(PAGE);
    0
}

/// What is written is to be committed.
#[kprobe(function = "__nfs_commit_inode")]
pub fn nfs_commit_inode_kprobe(ctx: ProbeContext) -> u32 {
    goes_in(COMMIT, || ctx.arg(0));
    0
}

/// What is written is committed, or nobody wanted to wait for it.
#[kretprobe(function = "__nfs_commit_inode")]
pub fn nfs_commit_inode_kretprobe(_ctx: RetProbeContext) -> u32 {
    comes_out(COMMIT);
    0
}

#[inline(always)]
fn key() -> WaitKey {
    WaitKey {
        tid: current_tid(),
        cause: Cause::NfsCommit as u32,
    }
}

#[inline(always)]
fn goes_in(level: u8, inode: impl Fn() -> Option<*const u8>) {
    let key = key();
    // SAFETY: only this task writes its key; the reference is not kept.
    if unsafe { WAITS.get(key) }.is_some_and(|outer| outer.level > level) {
        return;
    }
    let task = Task::current();
    let wait = Wait {
        since_ns: now(),
        until_ns: 0,
        bdi: inode().and_then(inode_bdi).unwrap_or(BdiId::NONE.0),
        tgid: task.tgid,
        class: task.class as u8,
        reason: ThrottleReason::None as u8,
        level,
        zero: 0,
        comm: task.comm,
    };
    if WAITS.insert(key, wait, 0).is_err() {
        lost(Lost::MapFull);
    }
}

#[inline(always)]
fn comes_out(level: u8) {
    // SAFETY: as above.
    if unsafe { WAITS.get(key()) }.is_some_and(|wait| wait.level == level) {
        end_if_longer(Cause::NfsCommit, LEAST_CALL_NS);
    }
}
