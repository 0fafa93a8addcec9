//! `balance_dirty_pages`, mm/page-writeback.c.
//!
//! The tracepoint fires before each pause and tells how long the task has been
//! in the call already (`paused`) and how long it is about to sleep (`pause`).
//! So the entry needs no probe of its own: the wait began `paused`
//! milliseconds ago. Only the exit does.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_probe_read_kernel,
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use monitor_common::{
    BDI_NAME_LEN, BdiId, Cause, DirtyKey, DirtyTotals, Lost, SAME_CALL_NS, ThrottleReason, Wait,
    WaitKey, is_of_node,
};

use crate::{
    maps::{BDI_NAMES, DIRTY, LOOK, NO_EXIST, WAITS, lost, offsets},
    pauses::{is_pause, note},
    task::{Task, current_tid},
    wait::{count, drop_wait, keep, now, report, total},
};

const NS_PER_MS: u64 = 1_000_000;
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

/// A pause is about to begin. Most are only noted; the others are looked at by the
/// program below. Two programs, for this one has to be small: one with both in it took
/// 1,100 ns instead of 700.
#[tracepoint]
pub fn balance_dirty_pages_pause(ctx: TracePointContext) -> u32 {
    if !is_pause(&ctx) {
        return 0;
    }
    if note(&ctx).is_none() {
        // SAFETY: the helper takes the context of this program and does not return.
        unsafe { LOOK.tail_call(&ctx, 0) };
    }
    0
}

/// Looks at a pause that was not noted.
#[tracepoint]
pub fn balance_dirty_pages_look(ctx: TracePointContext) -> u32 {
    if pause(&ctx).is_none() {
        debug!(&ctx, "balance_dirty_pages: a field could not be read");
    }
    0
}

#[inline(always)]
fn pause(ctx: &TracePointContext) -> Option<()> {
    let offsets = offsets()?;
    let name: [u64; BDI_NAME_LEN / 8] = field(ctx, offsets.bdp_bdi)?;
    let bdi = BdiId::from_words(name).0;
    let pause_ms: i64 = field(ctx, offsets.bdp_pause)?;
    let paused_ms: u64 = field(ctx, offsets.bdp_paused)?;
    // The kernel announces a pause of zero or less when it lets the task go.
    if pause_ms <= 0 {
        return Some(());
    }
    let pause_ns = pause_ms as u64 * NS_PER_MS;

    let task = Task::current();
    let now = now();
    let since_ns = now.saturating_sub(paused_ms.wrapping_mul(NS_PER_MS));
    let wait = Wait {
        since_ns,
        until_ns: now + pause_ns,
        bdi,
        tgid: task.tgid,
        class: task.class as u8,
        reason: 0,
        level: 0,
        zero: 0,
        comm: task.comm,
    };
    count(Cause::BalanceDirtyPages, wait.class, 0, bdi, pause_ns);
    total(task.tid, Cause::BalanceDirtyPages, &wait, pause_ns);
    remember(ctx, &name, wait.class, now, pause_ns);
    end_of_earlier_call(since_ns);
    keep(
        &task,
        Cause::BalanceDirtyPages,
        ThrottleReason::None,
        bdi,
        since_ns,
        now + pause_ns,
    );
    Some(())
}

/// Where no exit can be probed, the next call of the same task tells that the
/// one before is over; it ended with the last pause announced.
#[inline(always)]
fn end_of_earlier_call(since_ns: u64) {
    let key = WaitKey {
        tid: current_tid(),
        cause: Cause::BalanceDirtyPages as u32,
    };
    // SAFETY: only this task writes its key.
    if let Some(&earlier) = unsafe { WAITS.get(key) }
        && earlier.since_ns + SAME_CALL_NS < since_ns
    {
        report(
            key.tid,
            Cause::BalanceDirtyPages,
            &earlier,
            earlier.until_ns.saturating_sub(earlier.since_ns),
        );
        drop_wait(Cause::BalanceDirtyPages);
    }
}

/// Adds what the kernel said about the node's and the BDI's pages.
#[inline(always)]
fn remember(
    ctx: &TracePointContext,
    name: &[u64; BDI_NAME_LEN / 8],
    class: u8,
    now: u64,
    pause_ns: u64,
) {
    let Some(offsets) = offsets() else { return };
    let (Some(dirty), Some(limit), Some(bdi_dirty), Some(bdi_setpoint)) = (
        field::<u64>(ctx, offsets.bdp_dirty),
        field::<u64>(ctx, offsets.bdp_limit),
        field::<u64>(ctx, offsets.bdp_bdi_dirty),
        field::<u64>(ctx, offsets.bdp_bdi_setpoint),
    ) else {
        return;
    };
    let task_ratelimit = field::<u64>(ctx, offsets.bdp_task_ratelimit).unwrap_or(0);
    let bdi = BdiId::from_words(*name).0;
    let key = DirtyKey {
        bdi,
        class,
        zero: [0; 7],
    };
    let totals = match DIRTY.get_ptr_mut(key) {
        Some(totals) => totals,
        None => {
            debug!(ctx, "first pause on BDI {:x} by class {}", bdi, class);
            if BDI_NAMES.insert(bdi, name, 0).is_err() {
                lost(Lost::MapFull);
            }
            let _ = DIRTY.insert(key, DirtyTotals::default(), NO_EXIST);
            match DIRTY.get_ptr_mut(key) {
                Some(totals) => totals,
                None => return lost(Lost::MapFull),
            }
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU.
    let totals = unsafe { &mut *totals };
    totals.events += 1;
    totals.pause_ns += pause_ns;
    totals.bdi_dirty += bdi_dirty;
    totals.bdi_setpoint += bdi_setpoint;
    totals.task_ratelimit += task_ratelimit;
    totals.last_ns = now;
    if is_of_node(field::<u64>(ctx, offsets.bdp_cgroup).unwrap_or(0)) {
        totals.node_events += 1;
        totals.dirty += dirty;
        totals.limit += limit;
        totals.last_dirty = dirty;
        totals.last_limit = limit;
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
    // SAFETY: only this task writes its key.
    let Some(&wait) = (unsafe { WAITS.get(key) }) else {
        return;
    };
    let _ = WAITS.remove(key);
    report(
        key.tid,
        Cause::BalanceDirtyPages,
        &wait,
        now().saturating_sub(wait.since_ns),
    );
}
