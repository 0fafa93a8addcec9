//! `balance_dirty_pages`, mm/page-writeback.c.
//!
//! The tracepoint fires before each pause and tells how long the task has been
//! in the call already (`paused`) and how long it is about to sleep (`pause`).
//! So the entry needs no probe of its own: the wait began `paused`
//! milliseconds ago. Only the exit does.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf},
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use monitor_common::{BDI_NAME_LEN, BdiId, Cause, DirtyKey, Lost, RECORD_WORDS, Wait, WaitKey};

use crate::{
    maps::{BDI_NAMES, DIRTY, NO_DIRTY, NO_EXIST, RECORD, TASKS, WAITS, lost, offsets},
    task::{Task, current_tid},
    wait::{bucket, now, report, total_at},
};

const NS_PER_MS: u64 = 1_000_000;
/// `paused` is counted in jiffies, which are up to 10 ms: a wait that began
/// this much later than the one kept is another call.
const SAME_CALL_NS: u64 = 30 * NS_PER_MS;
/// A field of a tracepoint record; `None` where this kernel has no such field.
#[inline(always)]
pub fn field<T: Copy>(ctx: &TracePointContext, offset: i32) -> Option<T> {
    if offset < 0 {
        return None;
    }
    // SAFETY: reads the record through the fault-tolerant helper.
    unsafe { bpf_probe_read_kernel(ctx.as_ptr().cast::<u8>().add(offset as usize).cast::<T>()) }
        .ok()
}

/// A pause is about to begin.
#[tracepoint]
pub fn balance_dirty_pages_pause(ctx: TracePointContext) -> u32 {
    let _ = pause(&ctx);
    0
}

#[inline(always)]
fn pause(ctx: &TracePointContext) -> Option<()> {
    let offsets = offsets()?;
    let record = record(ctx)?;
    let name = name(record, offsets.bdp_bdi)?;
    let bdi = BdiId::from_words(name).0;
    let pause_ms = word(record, offsets.bdp_pause)?.cast_signed();
    let paused_ms = word(record, offsets.bdp_paused)?;
    // The kernel announces a pause of zero or less when it lets the task go.
    let pause_ns = if pause_ms > 0 {
        pause_ms as u64 * NS_PER_MS
    } else {
        0
    };

    let mut totals = None;
    let task = Task::known_as(|tid| {
        totals = TASKS.get_ptr_mut(WaitKey {
            tid,
            cause: Cause::BalanceDirtyPages as u32,
        });
        totals
    });
    let key = WaitKey {
        tid: task.tid,
        cause: Cause::BalanceDirtyPages as u32,
    };
    let now = now();
    let wait = Wait {
        since_ns: now.saturating_sub(paused_ms.wrapping_mul(NS_PER_MS)),
        until_ns: now + pause_ns,
        bdi,
        tgid: task.tgid,
        class: task.class,
        reason: 0,
        level: 0,
        zero: 0,
        comm: task.comm,
    };
    total_at(totals, key, &wait, pause_ns, now);
    remember(ctx, record, &name, &wait, now, pause_ns);
    keep_call(key, &wait, pause_ns);
    Some(())
}

/// The record, copied.
#[inline(always)]
fn record(ctx: &TracePointContext) -> Option<&'static [u64; RECORD_WORDS]> {
    let room = RECORD.get_ptr_mut(0)?;
    // SAFETY: the value of a per-CPU array; only this program uses it, and the kernel
    // runs one of its kind at a time on a CPU. What lies behind a shorter record is
    // read as well, through the fault-tolerant helper, and nobody asks for it.
    unsafe {
        let bytes = &mut *room.cast::<[u8; RECORD_WORDS * 8]>();
        bpf_probe_read_kernel_buf(ctx.as_ptr().cast::<u8>(), bytes).ok()?;
        Some(&*room)
    }
}

/// A field of eight bytes; `None` where this kernel has no such field.
#[inline(always)]
fn word(record: &[u64; RECORD_WORDS], offset: i32) -> Option<u64> {
    if offset < 0 {
        return None;
    }
    Some(record[(offset as usize / 8) & (RECORD_WORDS - 1)])
}

/// The name of the BDI.
#[inline(always)]
fn name(record: &[u64; RECORD_WORDS], offset: i32) -> Option<[u64; BDI_NAME_LEN / 8]> {
    if offset < 0 {
        return None;
    }
    let first = offset as usize / 8;
    let word = |at: usize| record[(first + at) & (RECORD_WORDS - 1)];
    Some([word(0), word(1), word(2), word(3)])
}

/// Keeps the wait, or brings the kept one of the same call up to date.
///
/// Where no exit can be probed, the next call of the same task tells that the
/// one before is over; it ended with the last pause announced.
#[inline(always)]
fn keep_call(key: WaitKey, wait: &Wait, pause_ns: u64) {
    if let Some(kept) = WAITS.get_ptr_mut(key) {
        // SAFETY: only this task writes its key.
        let kept = unsafe { &mut *kept };
        if kept.since_ns + SAME_CALL_NS >= wait.since_ns {
            if pause_ns > 0 {
                kept.until_ns = wait.until_ns;
                kept.bdi = wait.bdi;
            }
            return;
        }
        let lasted = kept.until_ns.saturating_sub(kept.since_ns);
        report(key.tid, Cause::BalanceDirtyPages, kept, lasted);
        if pause_ns == 0 {
            let _ = WAITS.remove(key);
        }
    }
    if pause_ns > 0 && WAITS.insert(key, wait, 0).is_err() {
        lost(Lost::MapFull);
    }
}

/// Adds what the kernel said about the node's and the BDI's pages.
#[inline(always)]
fn remember(
    ctx: &TracePointContext,
    record: &[u64; RECORD_WORDS],
    name: &[u64; BDI_NAME_LEN / 8],
    wait: &Wait,
    now: u64,
    pause_ns: u64,
) {
    let key = DirtyKey {
        bdi: wait.bdi,
        class: wait.class,
        zero: [0; 7],
    };
    let totals = match DIRTY.get_ptr_mut(key) {
        Some(totals) => totals,
        None => {
            first_pause(ctx, &key, name);
            match DIRTY.get_ptr_mut(key) {
                Some(totals) => totals,
                None => return lost(Lost::MapFull),
            }
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU.
    let totals = unsafe { &mut *totals };
    totals.pause_ns += pause_ns;
    totals.buckets[bucket(pause_ns)] += 1;
    let Some(offsets) = offsets() else { return };
    let (Some(dirty), Some(limit), Some(bdi_dirty), Some(bdi_setpoint)) = (
        word(record, offsets.bdp_dirty),
        word(record, offsets.bdp_limit),
        word(record, offsets.bdp_bdi_dirty),
        word(record, offsets.bdp_bdi_setpoint),
    ) else {
        return;
    };
    totals.events += 1;
    totals.dirty += dirty;
    totals.limit += limit;
    totals.bdi_dirty += bdi_dirty;
    totals.bdi_setpoint += bdi_setpoint;
    totals.task_ratelimit += word(record, offsets.bdp_task_ratelimit).unwrap_or(0);
    totals.last_ns = now;
    totals.last_dirty = dirty;
    totals.last_limit = limit;
}

/// Not part of what comes often: see [`crate::task`].
#[cold]
#[inline(never)]
fn first_pause(ctx: &TracePointContext, key: &DirtyKey, name: &[u64; BDI_NAME_LEN / 8]) {
    debug!(
        ctx,
        "first pause on BDI {:x} by class {}", key.bdi, key.class
    );
    if BDI_NAMES.insert(key.bdi, name, 0).is_err() {
        lost(Lost::MapFull);
    }
    if let Some(zeros) = NO_DIRTY.get(0) {
        let _ = DIRTY.insert(key, zeros, NO_EXIST);
    }
}

/// The call is over, by `fexit`.
#[fexit(function = "balance_dirty_pages")]
pub fn balance_dirty_pages_fexit(_ctx: FExitContext) -> i32 {
    exit();
    0
}

/// The call is over, by `kretprobe`.
#[kretprobe(function = "balance_dirty_pages")]
pub fn balance_dirty_pages_kretprobe(_ctx: RetProbeContext) -> u32 {
    exit();
    0
}

/// Most calls end without a pause: they have no wait kept and pay one look-up.
#[inline(always)]
fn exit() {
    let key = WaitKey {
        tid: current_tid(),
        cause: Cause::BalanceDirtyPages as u32,
    };
    let Some(wait) = WAITS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: only this task writes its key; until it is removed the value stays.
    let wait = unsafe { &*wait };
    let lasted = now().saturating_sub(wait.since_ns);
    report(key.tid, Cause::BalanceDirtyPages, wait, lasted);
    let _ = WAITS.remove(key);
}
