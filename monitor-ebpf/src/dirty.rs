//! `balance_dirty_pages`, mm/page-writeback.c.
//!
//! The tracepoint fires before each pause and tells how long the task has been
//! in the call already (`paused`) and how long it is about to sleep (`pause`).
//! So the entry needs no probe of its own: the wait began `paused`
//! milliseconds ago. Only the exit does.
//!
//! A task that pauses has slept before and will sleep again: caches and TLB are cold, and
//! each line of memory that an event touches, of code as of data, costs more than its
//! instructions. So a pause changes two entries, the task's and the device's, and what is
//! needed seldom stands in functions of its own, behind the rest.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use monitor_common::{
    BDI_NAME_LEN, BdiId, Cause, Class, DirtyKey, DirtyTotals, Lost, Offsets, TaskTotals, Wait,
    WaitKey, is_of_node,
};

use crate::{
    maps::{BDI_NAMES, DIRTY, NO_EXIST, TASKS, lost, offsets},
    memory::field,
    task::{Task, current_tid},
    wait::{bucket, is_long, now, report},
};

const NS_PER_MS: u64 = 1_000_000;
/// `paused` is counted in jiffies, which are up to 10 ms: a wait that began this much later
/// than the one kept is another call.
const SAME_CALL_NS: u64 = 30_000_000;
/// A process may execute another program: for so long its name and class are believed.
const KNOWN_NS: u64 = 1_000_000_000;

/// A pause is about to begin.
#[tracepoint]
pub fn balance_dirty_pages_pause(ctx: TracePointContext) -> u32 {
    let _ = pause(&ctx);
    0
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of an id")]
fn pause(ctx: &TracePointContext) -> Option<()> {
    let offsets = offsets()?;
    let pause_ms: i64 = field(ctx, offsets.bdp_pause)?;
    // The kernel announces a pause of zero or less when it lets the task go.
    if pause_ms <= 0 {
        return Some(());
    }
    let paused_ms: u64 = field(ctx, offsets.bdp_paused)?;
    let name: [u64; BDI_NAME_LEN / 8] = field(ctx, offsets.bdp_bdi)?;
    let bdi = BdiId::from_words(name).0;
    let pause_ns = pause_ms as u64 * NS_PER_MS;
    let now = now();
    let since_ns = now.saturating_sub(paused_ms.wrapping_mul(NS_PER_MS));

    let id = bpf_get_current_pid_tgid();
    let (tid, tgid) = (id as u32, (id >> 32) as u32);
    let task = task(tid, tgid, now)?;
    let earlier_ns = task.since_ns;
    // Where no exit can be probed, the next call of the same task tells that the
    // one before is over; it ended with the last pause announced.
    if earlier_ns != 0 && earlier_ns + SAME_CALL_NS < since_ns {
        over(tid, task, task.until_ns);
    }
    task.delay_ns += pause_ns;
    task.waits += 1;
    task.bdi = bdi;
    task.last_ns = now;
    task.since_ns = since_ns;
    task.until_ns = now + pause_ns;

    let key = DirtyKey {
        bdi,
        class: task.class,
        zero: [0; 7],
    };
    let device = device(ctx, &key, &name)?;
    device.pause_ns += pause_ns;
    device.buckets[bucket(pause_ns)] += 1;
    remember(ctx, offsets, device, now)
}

/// What is kept of the task that runs.
#[inline(always)]
fn task(tid: u32, tgid: u32, now: u64) -> Option<&'static mut TaskTotals> {
    let key = key(tid);
    if let Some(task) = TASKS.get_ptr_mut(key) {
        // SAFETY: only the task itself writes its own totals.
        let task = unsafe { &mut *task };
        if task.tgid == tgid && now < task.known_until_ns {
            return Some(task);
        }
    }
    look(tid, tgid, now);
    // SAFETY: as above.
    TASKS.get_ptr_mut(key).map(|task| unsafe { &mut *task })
}

#[inline(always)]
const fn key(tid: u32) -> WaitKey {
    WaitKey {
        tid,
        cause: Cause::BalanceDirtyPages as u32,
    }
}

/// Reads what the task is.
#[cold]
#[inline(never)]
fn look(tid: u32, tgid: u32, now: u64) {
    let Task { class, comm, .. } = Task::current();
    let known_until_ns = match class {
        // A worker works for another device the next moment.
        Class::Kworker | Class::LoopDevice => 0,
        _ => now + KNOWN_NS,
    };
    if let Some(task) = TASKS.get_ptr_mut(key(tid)) {
        // SAFETY: as above.
        let task = unsafe { &mut *task };
        if task.tgid == tgid {
            task.known_until_ns = known_until_ns;
            task.class = class as u8;
            task.comm = comm;
            return;
        }
    }
    let task = TaskTotals {
        tgid,
        known_until_ns,
        class: class as u8,
        comm,
        ..TaskTotals::default()
    };
    if TASKS.insert(key(tid), task, 0).is_err() {
        lost(Lost::MapFull);
    }
}

/// What is counted of pauses on this device by this class.
#[inline(always)]
fn device(
    ctx: &TracePointContext,
    key: &DirtyKey,
    name: &[u64; BDI_NAME_LEN / 8],
) -> Option<&'static mut DirtyTotals> {
    let device = match DIRTY.get_ptr_mut(key) {
        Some(device) => device,
        None => {
            meet(ctx, key, name);
            let Some(device) = DIRTY.get_ptr_mut(key) else {
                lost(Lost::MapFull);
                return None;
            };
            device
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU.
    Some(unsafe { &mut *device })
}

/// Takes note of a new device.
#[cold]
#[inline(never)]
fn meet(ctx: &TracePointContext, key: &DirtyKey, name: &[u64; BDI_NAME_LEN / 8]) {
    debug!(
        ctx,
        "first pause on BDI {:x} by class {}", key.bdi, key.class
    );
    if BDI_NAMES.insert(key.bdi, name, 0).is_err() {
        lost(Lost::MapFull);
    }
    let _ = DIRTY.insert(key, DirtyTotals::default(), NO_EXIST);
}

/// Adds what the kernel said about the node's and the BDI's pages.
#[inline(always)]
fn remember(
    ctx: &TracePointContext,
    offsets: &Offsets,
    totals: &mut DirtyTotals,
    now: u64,
) -> Option<()> {
    let dirty: u64 = field(ctx, offsets.bdp_dirty)?;
    let limit: u64 = field(ctx, offsets.bdp_limit)?;
    let bdi_dirty: u64 = field(ctx, offsets.bdp_bdi_dirty)?;
    let bdi_setpoint: u64 = field(ctx, offsets.bdp_bdi_setpoint)?;
    totals.events += 1;
    totals.bdi_dirty += bdi_dirty;
    totals.bdi_setpoint += bdi_setpoint;
    totals.task_ratelimit += field::<u64>(ctx, offsets.bdp_task_ratelimit).unwrap_or(0);
    totals.last_ns = now;
    if is_of_node(field::<u64>(ctx, offsets.bdp_cgroup).unwrap_or(0)) {
        totals.node_events += 1;
        totals.dirty += dirty;
        totals.limit += limit;
        totals.last_dirty = dirty;
        totals.last_limit = limit;
    }
    Some(())
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

/// Most calls end without a pause and pay one look-up.
#[inline(always)]
fn exit() {
    let tid = current_tid();
    let Some(task) = TASKS.get_ptr_mut(key(tid)) else {
        return;
    };
    // SAFETY: as above.
    let task = unsafe { &mut *task };
    if task.since_ns != 0 {
        over(tid, task, now());
        task.since_ns = 0;
    }
}

/// A call of a task is over since then.
#[inline(always)]
fn over(tid: u32, task: &TaskTotals, until_ns: u64) {
    let delay_ns = until_ns.saturating_sub(task.since_ns);
    if is_long(delay_ns) {
        was_long(tid, task, delay_ns);
    }
}

#[cold]
#[inline(never)]
fn was_long(tid: u32, task: &TaskTotals, delay_ns: u64) {
    let wait = Wait {
        since_ns: task.since_ns,
        bdi: task.bdi,
        tgid: task.tgid,
        class: task.class,
        comm: task.comm,
        ..Wait::default()
    };
    report(tid, Cause::BalanceDirtyPages, &wait, delay_ns);
}
