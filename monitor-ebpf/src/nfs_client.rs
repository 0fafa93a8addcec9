//! The NFS client's WRITE and COMMIT calls, counted per device; at each, the
//! mount's congestion is looked at.
//! include/trace: fs/nfs/nfstrace.h.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use monitor_common::{Lost, NfsClientTotals, Starting};

use crate::{
    maps::{NFS_CLIENT, NO_EXIST, STARTING, lost, offsets},
    memory::field,
    task::current_tid,
    wait::now,
    write_congested,
};

/// A WRITE goes to the server.
#[tracepoint]
pub fn nfs_initiate_write(ctx: TracePointContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    let count: u32 = field(&ctx, offsets.initiate_write_count).unwrap_or(0);
    let dev = field(&ctx, offsets.initiate_write_dev);
    let now = now();
    if let Some(totals) = totals(dev) {
        totals.writes_sent += 1;
        totals.bytes_sent += u64::from(count);
        totals.last_sent_ns = now;
    }
    if let Some(dev) = dev {
        let starting = Starting {
            since_ns: now,
            dev,
            zero: 0,
        };
        let _ = STARTING.insert(current_tid(), starting, 0);
        write_congested::look(dev);
    }
    0
}

/// The server answered a WRITE.
#[tracepoint]
pub fn nfs_writeback_done(ctx: TracePointContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    let count: u32 = field(&ctx, offsets.writeback_done_count).unwrap_or(0);
    let error: i32 = field(&ctx, offsets.writeback_done_error).unwrap_or(0);
    let dev = field(&ctx, offsets.writeback_done_dev);
    if let Some(totals) = totals(dev) {
        if error < 0 {
            totals.writes_failed += 1;
        } else {
            totals.writes_acked += 1;
            totals.bytes_acked += u64::from(count);
            totals.last_acked_ns = now();
        }
    }
    if let Some(dev) = dev {
        write_congested::look(dev);
    }
    0
}

/// A COMMIT goes to the server.
#[tracepoint]
pub fn nfs_initiate_commit(ctx: TracePointContext) -> u32 {
    let dev = offsets().and_then(|o| field(&ctx, o.initiate_commit_dev));
    if let Some(totals) = totals(dev) {
        totals.commits_sent += 1;
    }
    if let Some(dev) = dev {
        write_congested::look(dev);
    }
    0
}

/// The server answered a COMMIT.
#[tracepoint]
pub fn nfs_commit_done(ctx: TracePointContext) -> u32 {
    let dev = offsets().and_then(|o| field(&ctx, o.commit_done_dev));
    if let Some(totals) = totals(dev) {
        totals.commits_done += 1;
    }
    if let Some(dev) = dev {
        write_congested::look(dev);
    }
    0
}

#[inline(always)]
pub fn totals(dev: Option<u32>) -> Option<&'static mut NfsClientTotals> {
    let key = dev?;
    let totals = match NFS_CLIENT.get_ptr_mut(key) {
        Some(totals) => totals,
        None => {
            let _ = NFS_CLIENT.insert(key, NfsClientTotals::default(), NO_EXIST);
            match NFS_CLIENT.get_ptr_mut(key) {
                Some(totals) => totals,
                None => {
                    lost(Lost::MapFull);
                    return None;
                }
            }
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU; nothing
    // deletes keys.
    Some(unsafe { &mut *totals })
}
